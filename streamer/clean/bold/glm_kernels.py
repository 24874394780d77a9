"""The loops of the recursive general linear model, compiled."""

from __future__ import annotations

import numpy as np

from streamer.compiled import compiled
from streamer.messages import F64, Array

_BLOCK = 512
"""Voxels that go through all rotations together: what they need stays in the processor's nearest caches."""
_DRIFT = 1
_DRIFT_PIVOT = 0.1
_PIVOT = 1e-6
_CONSTANT_PIVOT = 1e-9


@compiled
def rotate_triangle(triangle: F64, rows: F64, cosines: F64, sines: F64, root: float) -> None:
    """Rotate rows into an upper triangle, one after another; both are overwritten.

    Parameters
    ----------
    triangle : array, shape (p, p)
    rows : array, shape (m, p)
    cosines, sines : array, shape (m, p)
        Filled with the rotations of each row.
    root : float
        What the triangle is multiplied by before each row enters.
    """
    p = len(triangle)
    for k in range(len(rows)):
        row = rows[k]
        for j in range(p):
            if root != 1.0:
                triangle[j, j:] *= root
            # nothing to turn: a column that is zero so far stays out of everything
            if row[j] == 0.0:
                cosines[k, j], sines[k, j] = 1.0, 0.0
                continue
            length = np.hypot(triangle[j, j], row[j])
            cosine, sine = triangle[j, j] / length, row[j] / length
            cosines[k, j], sines[k, j] = cosine, sine
            triangle[j, j] = length
            row[j] = 0.0
            for i in range(j + 1, p):
                old = triangle[j, i]
                triangle[j, i] = cosine * old + sine * row[i]
                row[i] = cosine * row[i] - sine * old


@compiled
def rotate_voxels(
    kept: F64,
    rss: F64,
    values: F64,
    before: F64,
    link: F64,
    scale: F64,
    cosines: F64,
    sines: F64,
    root: float,
) -> None:
    """Whiten volumes and rotate them into what is kept of each voxel.

    Parameters
    ----------
    kept : array, shape (p, n_voxels)
        Changed in place.
    rss : array, shape (n_voxels,)
        Residual sum of squares; changed in place.
    values : array, shape (m, n_voxels)
    before : array, shape (n_voxels,)
        The volume before the first one.
    link, scale : array, shape (m,)
        A volume enters as ``scale (volume - link * the one before)``.
    cosines, sines : array, shape (m, p)
        Of :func:`rotate_triangle`.
    root : float
        Likewise.
    """
    n_voxels = len(rss)
    rest = np.empty(_BLOCK)
    for start in range(0, n_voxels, _BLOCK):
        stop = min(start + _BLOCK, n_voxels)
        left = rest[: stop - start]
        for k in range(len(values)):
            now = values[k, start:stop]
            past = before[start:stop] if k == 0 else values[k - 1, start:stop]
            if link[k] == 0.0:
                for v in range(stop - start):
                    left[v] = scale[k] * now[v]
            else:
                for v in range(stop - start):
                    left[v] = scale[k] * (now[v] - link[k] * past[v])
            for j in range(len(kept)):
                row = kept[j, start:stop]
                cosine, sine = cosines[k, j], sines[k, j]
                if sine == 0.0:
                    if root != 1.0:
                        row *= root
                    continue
                grown, shrunk = cosine * root, sine * root
                for v in range(stop - start):
                    old = row[v]
                    row[v] = grown * old + sine * left[v]
                    left[v] = cosine * left[v] - shrunk * old
            sums = rss[start:stop]
            forget = root * root
            for v in range(stop - start):
                sums[v] = forget * sums[v] + left[v] * left[v]


@compiled
def choose_columns(triangle: F64, stages: Array, through: int, most: float) -> tuple[Array, F64, F64]:
    """Choose the columns that can be estimated, and solve for them.

    A column is taken when what those before it do not explain is more than a millionth of its own spread, of a drift
    column a tenth: slow waves are nearly the same line at the beginning of a run, and would take the task with them.

    Parameters
    ----------
    triangle : array, shape (p, p)
    stages : array of int64, shape (p,)
        Never decreasing.
    through : int
        The last stage to take.
    most : float
        A stage is taken while there are fewer columns than this with it.

    Returns
    -------
    columns : array of int64, shape (k,)
    basis : array, shape (p, k)
        Orthonormal, of the chosen columns of the triangle.
    solve : array, shape (k, p)
        Pseudo-inverse of the chosen columns.
    """
    p = len(triangle)
    columns = np.empty(p, np.int64)
    basis = np.zeros((p, p))
    upper = np.zeros((p, p))
    count = done = 0
    for j in range(p):
        if stages[j] > through:
            break
        if j > 0 and stages[j] != stages[j - 1]:
            if count >= most:
                break
            done = count
        column = triangle[:, j].copy()
        length = np.sqrt(np.sum(column * column))
        spread = np.sqrt(np.sum(column[1:] * column[1:])) if j > 0 else length
        # twice: once leaves rounding of the parts that were taken out
        for _ in range(2):
            for i in range(count):
                part = np.sum(basis[:, i] * column)
                upper[i, count] += part
                column -= part * basis[:, i]
        pivot = np.sqrt(np.sum(column * column))
        least = _DRIFT_PIVOT if stages[j] == _DRIFT else _PIVOT
        if pivot > least * spread and pivot > _CONSTANT_PIVOT * length:
            upper[count, count] = pivot
            basis[:, count] = column / pivot
            columns[count] = j
            count += 1
        else:
            upper[:, count] = 0.0
    if count < most:
        done = count
    solve = np.zeros((done, p))
    for k in range(done - 1, -1, -1):
        solve[k] = basis[:, k]
        for i in range(k + 1, done):
            solve[k] -= upper[k, i] * solve[i]
        solve[k] /= upper[k, k]
    return columns[:done].copy(), basis[:, :done].copy(), solve
