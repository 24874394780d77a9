"""Smoothing within a mask, in millimetres."""

from __future__ import annotations

import numpy as np

from streamer.clean.bold.gaussian import convolve, gaussian_kernels
from streamer.messages import F32, F64, Array


class Smoothing:
    """Gaussian smoothing that neither takes from outside a mask nor fades at its edge (normalised convolution).

    Knutsson & Westin 1993, doi:10.1109/CVPR.1993.341081.

    Parameters
    ----------
    mask : array of bool, shape (x, y, z)
        Voxels that are smoothed, from one another.
    affine : array, shape (4, 4)
        Voxel index to mm.
    fwhm_mm : float
        Full width at half maximum, mm.
    """

    def __init__(self, mask: Array, affine: F64, fwhm_mm: float) -> None:
        if not mask.any():
            raise ValueError("the mask to smooth in is empty: expected at least one voxel")
        if not fwhm_mm > 0:
            raise ValueError(f"smoothing of {fwhm_mm} mm: expected more than 0")
        self._kernels = gaussian_kernels(fwhm_mm, affine)
        # what lies further away than a kernel reaches adds nothing: the mask's own box is enough
        box: list[slice] = []
        for axis in range(3):
            held = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
            box.append(slice(int(held[0]), int(held[-1]) + 1))
        self._box = tuple(box)
        self._outside: Array = np.asfortranarray(~mask[self._box].astype(bool))
        self._held = self._share(self._outside)

    def __call__(self, volume: F32) -> F32:
        """Smooth one volume.

        Parameters
        ----------
        volume : array of float32, shape (x, y, z)
            NaN counts as outside the mask.

        Returns
        -------
        smooth : array of float32, shape (x, y, z)
            With x fastest in memory; NaN outside the mask.
        """
        inner = volume[self._box]
        missing = np.isnan(inner) & ~self._outside
        outside, held = self._outside, self._held
        if missing.any():
            outside = outside | missing
            held = self._share(outside)
        smooth = convolve(np.where(outside, np.float32(0), inner), self._kernels, mirror=False)
        smooth /= held
        result = np.full(volume.shape, np.nan, np.float32, order="F")
        result[self._box] = smooth
        return result

    def _share(self, outside: Array) -> F32:
        held = convolve((~outside).astype(np.float32), self._kernels, mirror=False)
        held[outside] = np.nan
        return held
