"""Cubic B-spline interpolation of volumes (Unser 1999, doi:10.1109/79.799930).

Volumes lie in memory with x fastest, as scanners write them. Points are taken along rows of a grid: as long as a row
runs along the volume's own x, which it does for small rotations, neighbouring points need neighbouring coefficients,
and a compiled loop takes several at once.
"""

from __future__ import annotations

import math

import numpy as np

from streamer.clean.bold.loops import at_points, at_rows, filter_inner, filter_rows
from streamer.messages import F32, F64, Array

PAD = 2
"""Voxels that :func:`padded` adds at each end of each axis."""
_POLE = math.sqrt(3.0) - 2.0
_FORGOTTEN = 30


def spline_coefficients(data: Array) -> F32:
    """Cubic B-spline coefficients of a volume (x, y, z) of any real type and memory order.

    Returns
    -------
    coefficients : array of float32, shape (x, y, z)
        With x fastest in memory. The volume is taken as mirrored at its first and last voxels.
    """
    reverse = np.array(data.T, np.float32, order="C")
    if reverse.size:
        _prefilter(reverse)
    return reverse.T


def _prefilter(reverse: F32) -> None:
    gain = math.prod((1.0 - _POLE) * (1.0 - 1.0 / _POLE) for n in reverse.shape if n > 1)
    reverse *= np.float32(gain)
    nz, ny, nx = reverse.shape
    if nz > 1:
        filter_rows(reverse.reshape(1, nz, ny * nx), np.float32(_POLE), _first(nz))
    if ny > 1:
        filter_rows(reverse, np.float32(_POLE), _first(ny))
    if nx > 1:
        filter_inner(reverse.reshape(nz * ny, nx), np.float32(_POLE), _first(nx))


def _first(n: int) -> F32:
    # what each sample adds to the first one of the forward recursion, when the line is mirrored without end
    power = np.arange(n)
    share = _POLE**power + np.where((power > 0) & (power < n - 1), _POLE ** (2 * n - 2 - power), 0.0)
    return (share / (1.0 - _POLE ** (2 * n - 2)))[:_FORGOTTEN].astype(np.float32)


def sample(coefficients: F32, voxels: F64) -> F64:
    """Interpolate at voxel coordinates, shape (3, n_points); beyond its edges the volume is mirrored.

    Returns
    -------
    values : array of float64, shape (n_points,)
        NaN where a coordinate is not finite.
    """
    values = np.empty(voxels.shape[1], np.float32)
    at_points(np.ascontiguousarray(coefficients.T), np.array(voxels[::-1].T, np.float64, order="C"), values)
    return values.astype(np.float64)


def padded(coefficients: F32) -> F32:
    """Mirror coefficients (x, y, z) outwards, so that every point in view has all its neighbours; (z, y, x) + 4."""
    return np.pad(np.ascontiguousarray(coefficients.T), PAD, mode="reflect")


def row_spans(mask: Array) -> Array:
    """Cut the voxels of a mask (x, y, z) into stretches along x.

    Returns
    -------
    rows : array of int32, shape (n_rows, 4)
        z, y, first x, length. Their voxels in this order are those of ``np.nonzero(mask.T)``.
    """
    reverse = np.zeros((mask.shape[2], mask.shape[1], mask.shape[0] + 2), np.int8)
    reverse[:, :, 1:-1] = mask.T
    change = np.diff(reverse, axis=2)
    z, y, begin = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[2]
    return np.ascontiguousarray(np.column_stack([z, y, begin, end - begin]), np.int32)


def sample_rows(coefficients: F32, matrix: F64, rows: Array, margin: float, values: F32) -> None:
    """Interpolate where a grid's voxels fall.

    Parameters
    ----------
    coefficients : array of float32
        Of :func:`padded`.
    matrix : array, shape (4, 4)
        Voxel index of the grid to voxel index of the volume.
    rows : array of int32, shape (n_rows, 4)
        Of :func:`row_spans`: which voxels of the grid to take.
    margin : float
        How far beyond the middles of the volume's outermost voxels a point is still in view, voxels, 0..0.5.
    values : array of float32
        Filled in the order of ``rows``; NaN where the point is out of view.
    """
    reverse = np.ascontiguousarray(matrix[2::-1][:, [2, 1, 0, 3]], np.float64)
    at_rows(coefficients, reverse, rows, float(margin), values)
