"""The displaced volume on the reference's grid, in one interpolation."""

from __future__ import annotations

import numpy as np

from streamer.clean.bold.spline import padded, row_spans, sample_rows
from streamer.messages import F32, F64, Array

_MARGIN = 0.5


class Resampler:
    """Brings volumes onto a grid, by cubic B-splines.

    Parameters
    ----------
    shape : tuple of int
        The grid (x, y, z).
    mask : array of bool, shape (x, y, z), or None
        Voxels to fill; the others are NaN. None fills the whole grid.
    """

    def __init__(self, shape: tuple[int, int, int], mask: Array | None = None) -> None:
        if mask is not None and mask.shape != tuple(shape):
            raise ValueError(f"a mask of {mask.shape} for a grid of {tuple(shape)}: expected the same")
        self.shape = shape
        inside: Array = np.ones(shape, bool) if mask is None else mask.astype(bool)
        self._rows = row_spans(inside)
        self._count = int(np.count_nonzero(inside))
        self._chosen: Array | None = None if mask is None else np.ascontiguousarray(inside.T)

    def __call__(self, coefficients: F32, matrix: F64) -> F32:
        """Resample one volume.

        Parameters
        ----------
        coefficients : array of float32, shape (a, b, c)
            Of :func:`streamer.clean.bold.spline.spline_coefficients`.
        matrix : array, shape (4, 4)
            Voxel index of the grid to voxel index of the volume:
            :meth:`streamer.clean.bold.registration.Registration.matrix`.

        Returns
        -------
        volume : array of float32, shape (x, y, z)
            With x fastest in memory; NaN where the volume has nothing, and outside the mask.
        """
        return self.image(self.values(coefficients, matrix))

    def values(self, coefficients: F32, matrix: F64) -> F32:
        """Resample one volume, at the mask's voxels alone, shape (n_voxels,), as ``np.nonzero(mask.T)`` has them."""
        values = np.empty(self._count, np.float32)
        sample_rows(padded(coefficients), matrix, self._rows, _MARGIN, values)
        return values

    def image(self, values: F32) -> F32:
        """Put the mask's voxels on the grid, (x, y, z) with x fastest in memory; NaN elsewhere."""
        nx, ny, nz = self.shape
        if self._chosen is None:
            return values.reshape(nz, ny, nx).T
        reverse = np.full((nz, ny, nx), np.nan, np.float32)
        reverse[self._chosen] = values
        return reverse.T
