"""The reference's grid, and all that is drawn on it: head, regions, tissues."""

from __future__ import annotations

import numpy as np

from streamer.clean.bold.regions import brain_mask, coverage, place_labels, region_means
from streamer.clean.bold.resample import Resampler
from streamer.clean.bold.signal.retroicor import slice_shares
from streamer.clean.bold.smoothing import Smoothing
from streamer.messages import F32, F64, Array

WHITE_MATTER, CSF = 1, 2
"""Values of a tissue image."""


class RunSpace:
    """Brings volumes onto the reference's grid and takes means of what is drawn there.

    Its voxels, in this order, are those of ``np.nonzero(mask.T)``: the head's and those of every region and tissue.

    Parameters
    ----------
    reference : array, shape (x, y, z)
    affine : array, shape (4, 4)
        Of the reference.
    labels : (array of int, array) or None
        Image (0 outside, i + 1 in region i) and affine, in the reference's space; None makes one region of the head.
    n_regions : int
    tissue : (array of int, array) or None
        Image (1 white matter, 2 cerebrospinal fluid) and affine, in the reference's space.
    smooth_mm : float
        Full width of the Gaussian that volumes are smoothed with, mm; 0 for none.

    Raises
    ------
    FormatError
        No region, or no tissue, has a voxel in the reference's grid.
    """

    def __init__(
        self,
        reference: Array,
        affine: F64,
        labels: tuple[Array, F64] | None,
        n_regions: int,
        tissue: tuple[Array, F64] | None,
        smooth_mm: float,
    ) -> None:
        shape = (reference.shape[0], reference.shape[1], reference.shape[2])
        head = brain_mask(reference)
        placed, self.coverage = head, np.ones(1)
        if labels is not None:
            placed = place_labels(*labels, shape, affine)
            self.coverage = coverage(*labels, n_regions, shape, affine)
        tissues = np.zeros(shape, np.int16) if tissue is None else place_labels(*tissue, shape, affine)
        self.mask: Array = (head > 0) | (placed > 0) | (tissues > 0)
        self.affine = affine
        self.n_regions = n_regions
        self.head: Array = self._at(head) > 0
        """Which voxels are the head's, shape (n_voxels,)."""
        labelled = self._at(placed).astype(np.int64)
        self._labelled: Array = np.flatnonzero(labelled)
        self._region: Array = labelled[self._labelled] - 1
        self.shares = slice_shares(placed, n_regions)
        """Share of each region's voxels in each slice, shape (n_regions, n_slices)."""
        self._tissues = [np.flatnonzero(self._at(tissues) == kind) for kind in (WHITE_MATTER, CSF)]
        self._resample = Resampler(shape, self.mask)
        self._smoothing = Smoothing(self.mask, affine, smooth_mm) if smooth_mm else None

    def _at(self, image: Array) -> Array:
        return image.T[self.mask.T]

    def __call__(self, coefficients: F32, matrix: F64) -> tuple[F32, F32]:
        """Resample a volume.

        Parameters
        ----------
        coefficients : array of float32, shape (a, b, c)
            Of :func:`streamer.clean.bold.spline.spline_coefficients`.
        matrix : array, shape (4, 4)
            Voxel index of the grid to voxel index of the volume.

        Returns
        -------
        values, smooth : arrays of float32, shape (n_voxels,)
            As they are, and smoothed; NaN where the volume has nothing.
        """
        values = self._resample.values(coefficients, matrix)
        if self._smoothing is None:
            return values, values
        return values, self._at(self._smoothing(self._resample.image(values)))

    def means(self, values: F32) -> F64:
        """Mean of each region, shape (n_regions,); NaN for one without a voxel in view."""
        chosen = values[self._labelled].astype(np.float64)
        inside: Array = np.isfinite(chosen)
        return region_means(chosen, self._region, inside, self.n_regions).astype(np.float64)

    def tissue(self, values: F32) -> F32:
        """Mean of white matter, cerebrospinal fluid and the head, shape (3,); NaN where there is none."""
        kinds = [values[index] for index in self._tissues] + [values[self.head]]
        seen = [kind[np.isfinite(kind)] for kind in kinds]
        return np.array([kind.mean(dtype=np.float64) if kind.size else np.nan for kind in seen], np.float32)

    def image(self, values: Array) -> F32:
        """Put values of the head's voxels, shape (n_head,), on the grid; NaN elsewhere."""
        flat = np.full(len(self.head), np.nan, np.float32)
        flat[self.head] = values
        return self._resample.image(flat)
