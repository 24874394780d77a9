"""The compiled loop of the registration: weights and normal equations in one pass over the points."""

from __future__ import annotations

import numpy as np

from streamer.compiled import compiled
from streamer.messages import F32, F64

_BLOCK = 2048
# partial sums that are kept side by side, so that the compiler can add several at once in a fixed order
_LANES = 32


@compiled
def _product(left: F32, right: F32, n: int, lanes: F32) -> float:
    lanes[:] = np.float32(0)
    for begin in range(0, n, _LANES):
        a, b = left[begin : begin + _LANES], right[begin : begin + _LANES]
        for k in range(min(_LANES, n - begin)):
            lanes[k] += a[k] * b[k]
    total = 0.0
    for k in range(_LANES):
        total += lanes[k]
    return total


@compiled
def normal_equations(found: F32, values: F32, jacobian: F32, scale: float, limit: float) -> tuple[F64, F64, float, int]:
    """Weigh the points and sum up ``J' W J`` and ``J' W (found - values)``.

    Parameters
    ----------
    found, values : array of float32, shape (n_points,)
        Intensities of the volume, NaN where it has none, and of the reference.
    jacobian : array of float32, shape (7, n_points)
        Transposed.
    scale : float
        Intensity of the volume over the reference's, for the weights.
    limit : float
        Residual from which on a point has no say (Tukey's biweight); not above 0: all weigh the same.

    Returns
    -------
    sides : array, shape (7, 7)
    right : array, shape (7,)
    squares : float
        Sum of the squared residuals, unweighted.
    inside : int
        Points that the volume has.
    """
    sides, right = np.zeros((7, 7)), np.zeros(7)
    weights, change = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    weighted, lanes = np.empty(_BLOCK, np.float32), np.empty(_LANES, np.float32)
    squares, inside = 0.0, 0
    for begin in range(0, found.size, _BLOCK):
        n = min(_BLOCK, found.size - begin)
        for k in range(n):
            value, usual = found[begin + k], values[begin + k]
            weights[k] = change[k] = np.float32(0)
            if not np.isnan(value):
                residual = value - scale * usual
                squares += residual * residual
                inside += 1
                ratio = residual / limit if limit > 0.0 else 0.0
                left = max(0.0, 1.0 - ratio * ratio)
                weights[k] = np.float32(left * left)
                change[k] = value - usual
        for a in range(7):
            row = jacobian[a, begin : begin + n]
            for k in range(n):
                weighted[k] = weights[k] * row[k]
            right[a] += _product(weighted, change, n, lanes)
            for b in range(a + 1):
                sides[a, b] += _product(weighted, jacobian[b, begin : begin + n], n, lanes)
    for a in range(7):
        for b in range(a):
            sides[b, a] = sides[a, b]
    return sides, right, squares, inside
