"""Mutual information of an image's values at moving points with fixed ones, and its slope."""

from __future__ import annotations

import numpy as np

from streamer.compiled import compiled
from streamer.messages import F32, F64, Array


@compiled
def _look_up(moving: F32, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Value and gradient at a place in voxels, trilinear; 0 beyond the edges."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    a, b, c = x - i, y - j, z - k
    value, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
    nx, ny, nz = moving.shape
    for di in range(2):
        if not 0 <= i + di < nx:
            continue
        wx, sx = (a, 1.0) if di else (1.0 - a, -1.0)
        for dj in range(2):
            if not 0 <= j + dj < ny:
                continue
            wy, sy = (b, 1.0) if dj else (1.0 - b, -1.0)
            for dk in range(2):
                if not 0 <= k + dk < nz:
                    continue
                wz, sz = (c, 1.0) if dk else (1.0 - c, -1.0)
                v = moving[i + di, j + dj, k + dk]
                value += wx * wy * wz * v
                gx += sx * wy * wz * v
                gy += wx * sy * wz * v
                gz += wx * wy * sz * v
    return value, gx, gy, gz


@compiled
def _window(u: float) -> float:
    u = abs(u)
    if u < 1.0:
        return (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0
    return (2.0 - u) ** 3 / 6.0 if u < 2.0 else 0.0


@compiled
def _window_slope(u: float) -> float:
    w = abs(u)
    if w >= 2.0:
        return 0.0
    slope = -2.0 * w + 1.5 * w * w if w < 1.0 else -0.5 * (2.0 - w) ** 2
    return slope if u >= 0.0 else -slope


@compiled
def _histogram(points: F64, bins: Array, moving: F32, to_voxels: F64, n_bins: int) -> tuple[F64, F64, F64, F64]:
    """Joint histogram, shape (n_bins, n_bins + 3); value and gradient of the moving image at each point."""
    n = len(points)
    joint = np.zeros((n_bins, n_bins + 3))
    values = np.empty(n)
    slopes = np.empty((n, 3))
    for p in range(n):
        x, y, z = points[p]
        u = to_voxels[0, 0] * x + to_voxels[0, 1] * y + to_voxels[0, 2] * z + to_voxels[0, 3]
        v = to_voxels[1, 0] * x + to_voxels[1, 1] * y + to_voxels[1, 2] * z + to_voxels[1, 3]
        w = to_voxels[2, 0] * x + to_voxels[2, 1] * y + to_voxels[2, 2] * z + to_voxels[2, 3]
        value, gx, gy, gz = _look_up(moving, u, v, w)
        place = value * (n_bins - 1) + 1.0
        values[p] = place
        slopes[p, 0], slopes[p, 1], slopes[p, 2] = gx, gy, gz
        first = int(place) - 1
        for k in range(first, first + 4):
            joint[bins[p], k] += _window(place - k)
    joint /= joint.sum()
    return joint, joint.sum(axis=0), values, slopes


@compiled
def _entropy(share: F64) -> float:
    total = 0.0
    for s in share:
        if s > 0.0:
            total -= s * np.log(s)
    return total


@compiled
def _gain(joint: F64, of_moving: F64) -> tuple[float, float]:
    fixed, moving = _entropy(joint.sum(axis=1)), _entropy(of_moving)
    both = _entropy(joint.ravel())
    return fixed + moving - both, min(fixed, moving)


@compiled
def information(points: F64, bins: Array, moving: F32, to_voxels: F64, n_bins: int) -> float:
    """Mutual information over the smaller entropy; parameters as for :func:`information_and_slope`."""
    joint, of_moving, _, _ = _histogram(points, bins, moving, to_voxels, n_bins)
    gain, least = _gain(joint, of_moving)
    return gain / least if least > 0.0 else 0.0


@compiled
def information_and_slope(points: F64, bins: Array, moving: F32, to_voxels: F64, n_bins: int) -> tuple[float, F64]:
    """Mutual information in nats, and its derivatives.

    Parameters
    ----------
    points : array, shape (n_points, 3)
        mm.
    bins : array of int64, shape (n_points,)
        Bin of the fixed image's value at each point.
    moving : array of float32, shape (x, y, z)
        0 to 1.
    to_voxels : array, shape (3, 4)
        mm to voxels of the moving image.
    n_bins : int

    Returns
    -------
    gain : float
    slope : array, shape (3, 4)
        By the elements of ``to_voxels``.
    """
    joint, of_moving, values, slopes = _histogram(points, bins, moving, to_voxels, n_bins)
    gain, _ = _gain(joint, of_moving)
    tell = np.zeros_like(joint)
    for f in range(joint.shape[0]):
        for m in range(joint.shape[1]):
            if joint[f, m] > 0.0:
                tell[f, m] = np.log(joint[f, m] / of_moving[m])
    out = np.zeros((3, 4))
    scale = (n_bins - 1) / len(points)
    for p in range(len(points)):
        place = values[p]
        first = int(place) - 1
        pull = 0.0
        for k in range(first, first + 4):
            pull += _window_slope(place - k) * tell[bins[p], k]
        pull *= scale
        for axis in range(3):
            push = pull * slopes[p, axis]
            out[axis, 0] += push * points[p, 0]
            out[axis, 1] += push * points[p, 1]
            out[axis, 2] += push * points[p, 2]
            out[axis, 3] += push
    return gain, out
