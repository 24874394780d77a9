"""The compiled loops of B-spline interpolation and of filters along an axis.

Arrays here are C-contiguous, axes slowest to fastest. Indices are unsigned and sums are written out in the order in
which they are to be made: so the compiler can take several points at once without changing a bit of the result.
"""

from __future__ import annotations

import math

import numpy as np

from streamer.compiled import compiled
from streamer.messages import F32, F64, Array

_PAD = 2
# points of a row that are worked on at a time, and the room that a stretch may run over
_BLOCK = 128
_LANES = 8
_WIDTH = _BLOCK + _LANES
_NONE = -(1 << 60)

# rows of the working space: weights along the slowest, middle and fastest axis, and the sums
_MIDDLE = tuple(np.uint64((4 + k) * _WIDTH) for k in range(4))
_FAST = tuple(np.uint64((8 + k) * _WIDTH) for k in range(4))
_SUM = np.uint64(12 * _WIDTH)
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@compiled
def _weights(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    # of the four coefficients around a point at the fraction t between the inner two
    r = np.float32(1) - t
    two, sixth, half, most = np.float32(2), np.float32(1 / 6), np.float32(0.5), np.float32(2 / 3)
    return r * r * r * sixth, most - t * t * (two - t) * half, most - r * r * (two - r) * half, t * t * t * sixth


@compiled
def _plane(
    f: F32, at: np.uint64, pitch: np.uint64, work: F32, row: np.uint64, begin: np.uint64, end: np.uint64
) -> None:
    # adds the 16 coefficients of one plane to the sums of neighbouring points
    at1 = at + pitch
    at2 = at1 + pitch
    at3 = at2 + pitch
    for k in range(begin, end):
        w0, w1, w2, w3 = work[_FAST[0] + k], work[_FAST[1] + k], work[_FAST[2] + k], work[_FAST[3] + k]
        a, b, c, d = at + k, at1 + k, at2 + k, at3 + k
        line0 = (w0 * f[a] + w1 * f[a + _1]) + (w2 * f[a + _2] + w3 * f[a + _3])
        line1 = (w0 * f[b] + w1 * f[b + _1]) + (w2 * f[b + _2] + w3 * f[b + _3])
        line2 = (w0 * f[c] + w1 * f[c + _1]) + (w2 * f[c + _2] + w3 * f[c + _3])
        line3 = (w0 * f[d] + w1 * f[d + _1]) + (w2 * f[d + _2] + w3 * f[d + _3])
        inner = work[_MIDDLE[0] + k] * line0 + work[_MIDDLE[1] + k] * line1
        outer = work[_MIDDLE[2] + k] * line2 + work[_MIDDLE[3] + k] * line3
        work[_SUM + k] += work[row + k] * (inner + outer)


@compiled
def at_rows(padded: F32, matrix: F64, rows: Array, margin: float, values: F32) -> None:
    """Interpolate along rows of a grid; see :func:`streamer.clean.bold.spline.sample_rows`."""
    n0, n1, n2 = padded.shape[0] - 2 * _PAD, padded.shape[1] - 2 * _PAD, padded.shape[2] - 2 * _PAD
    high0, high1, high2 = n0 - 1 + margin, n1 - 1 + margin, n2 - 1 + margin
    pitch, plane = padded.shape[2], padded.shape[1] * padded.shape[2]
    f = padded.reshape(-1)
    # beyond this a stretch may not run over its end
    last = f.size - 3 * plane - 3 * pitch - 3
    work = np.zeros(13 * _WIDTH, np.float32)
    first = np.empty(_BLOCK, np.int64)
    step0, step1, step2 = matrix[0, 2], matrix[1, 2], matrix[2, 2]
    done = 0
    for r in range(rows.shape[0]):
        row0, row1 = float(rows[r, 0]), float(rows[r, 1])
        for start in range(0, rows[r, 3], _BLOCK):
            n = min(rows[r, 3] - start, _BLOCK)
            row2 = float(rows[r, 2] + start)
            from0 = matrix[0, 0] * row0 + matrix[0, 1] * row1 + matrix[0, 2] * row2 + matrix[0, 3]
            from1 = matrix[1, 0] * row0 + matrix[1, 1] * row1 + matrix[1, 2] * row2 + matrix[1, 3]
            from2 = matrix[2, 0] * row0 + matrix[2, 1] * row1 + matrix[2, 2] * row2 + matrix[2, 3]
            for k in range(n):
                x0, x1, x2 = from0 + step0 * k, from1 + step1 * k, from2 + step2 * k
                in0 = (x0 >= -margin) & (x0 <= high0)
                in1 = (x1 >= -margin) & (x1 <= high1)
                in2 = (x2 >= -margin) & (x2 <= high2)
                i0, i1, i2 = math.floor(x0), math.floor(x1), math.floor(x2)
                work[k], work[_WIDTH + k], work[2 * _WIDTH + k], work[3 * _WIDTH + k] = _weights(np.float32(x0 - i0))
                m0, m1, m2, m3 = _weights(np.float32(x1 - i1))
                work[4 * _WIDTH + k], work[5 * _WIDTH + k], work[6 * _WIDTH + k], work[7 * _WIDTH + k] = m0, m1, m2, m3
                f0, f1, f2, f3 = _weights(np.float32(x2 - i2))
                work[8 * _WIDTH + k], work[9 * _WIDTH + k], work[10 * _WIDTH + k], work[11 * _WIDTH + k] = (
                    f0,
                    f1,
                    f2,
                    f3,
                )
                # the same for all points of a stretch that runs along the volume's fastest axis
                corner = (i0 + _PAD - 1) * plane + (i1 + _PAD - 1) * pitch + (i2 + _PAD - 1) - k
                first[k] = corner if in0 & in1 & in2 else _NONE
            begin = 0
            while begin < n:
                end = begin + 1
                while end < n and first[end] == first[begin]:
                    end += 1
                if first[begin] == _NONE:
                    for k in range(begin, end):
                        values[done + k] = np.nan
                else:
                    # a whole number of lanes: what runs over belongs to later stretches, which begin with zeros
                    over = begin + (end - begin + _LANES - 1) // _LANES * _LANES
                    if first[begin] + over > last:
                        over = end
                    for k in range(begin, over):
                        work[12 * _WIDTH + k] = np.float32(0)
                    at = np.uint64(first[begin])
                    for layer in range(4):
                        below = at + np.uint64(layer * plane)
                        row = np.uint64(layer * _WIDTH)
                        _plane(f, below, np.uint64(pitch), work, row, np.uint64(begin), np.uint64(over))
                    for k in range(begin, end):
                        values[done + k] = work[12 * _WIDTH + k]
                begin = end
            done += n


@compiled
def _mirrored(index: int, n: int) -> int:
    if n == 1:
        return 0
    index %= 2 * n - 2
    return min(index, 2 * n - 2 - index)


@compiled
def at_points(coefficients: F32, points: F64, values: F32) -> None:
    """Interpolate at points (n, 3), in voxels, slowest axis first; beyond its edges the volume is mirrored."""
    n0, n1, n2 = coefficients.shape
    for p in range(points.shape[0]):
        x0, x1, x2 = points[p, 0], points[p, 1], points[p, 2]
        if not (abs(x0) < 1e9 and abs(x1) < 1e9 and abs(x2) < 1e9):
            values[p] = np.nan
            continue
        i0, i1, i2 = math.floor(x0), math.floor(x1), math.floor(x2)
        w0, w1, w2 = _weights(np.float32(x0 - i0)), _weights(np.float32(x1 - i1)), _weights(np.float32(x2 - i2))
        k0, k1 = _mirrored(i2 - 1, n2), _mirrored(i2, n2)
        k2, k3 = _mirrored(i2 + 1, n2), _mirrored(i2 + 2, n2)
        total = np.float32(0)
        for a in range(4):
            i = _mirrored(i0 - 1 + a, n0)
            for b in range(4):
                line = coefficients[i, _mirrored(i1 - 1 + b, n1)]
                along = (w2[0] * line[k0] + w2[1] * line[k1]) + (w2[2] * line[k2] + w2[3] * line[k3])
                total += w0[a] * w1[b] * along
        values[p] = total


@compiled
def filter_rows(data: F32, pole: np.float32, first: F32) -> None:
    """Run the spline's recursion along the middle axis of (slabs, n, width), in place; ``first`` starts it."""
    n, width = data.shape[1], data.shape[2]
    end = pole / (pole * pole - np.float32(1))
    start = np.empty(width, np.float32)
    for slab in range(data.shape[0]):
        start[:] = 0
        for i in range(first.size):
            row, share = data[slab, i], first[i]
            for k in range(width):
                start[k] += share * row[k]
        data[slab, 0, :] = start
        for i in range(1, n):
            row, before = data[slab, i], data[slab, i - 1]
            for k in range(width):
                row[k] += pole * before[k]
        row, before = data[slab, n - 1], data[slab, n - 2]
        for k in range(width):
            row[k] = end * (row[k] + pole * before[k])
        for i in range(n - 2, -1, -1):
            row, after = data[slab, i], data[slab, i + 1]
            for k in range(width):
                row[k] = pole * (after[k] - row[k])


@compiled
def filter_inner(data: F32, pole: np.float32, first: F32) -> None:
    """Run the spline's recursion along the last axis of (lines, n), in place."""
    n = data.shape[1]
    lines = 16
    turned = np.empty((1, n, lines), np.float32)
    for begin in range(0, data.shape[0], lines):
        count = min(lines, data.shape[0] - begin)
        for line in range(count):
            for k in range(n):
                turned[0, k, line] = data[begin + line, k]
        filter_rows(turned, pole, first)
        for line in range(count):
            for k in range(n):
                data[begin + line, k] = turned[0, k, line]


@compiled
def convolve_rows(source: F32, kernel: F32, mirror: bool, result: F32) -> None:
    """Convolve (slabs, n, width) along the middle axis with a symmetric kernel, given from its middle to its end.

    Beyond the ends the data are mirrored about the outermost samples, or zero.
    """
    n, width = source.shape[1], source.shape[2]
    for slab in range(source.shape[0]):
        for i in range(n):
            out, row = result[slab, i], source[slab, i]
            for k in range(width):
                out[k] = kernel[0] * row[k]
            for t in range(1, kernel.size):
                share = kernel[t]
                for other in (i - t, i + t):
                    if 0 <= other < n:
                        row = source[slab, other]
                    elif mirror:
                        row = source[slab, _mirrored(other, n)]
                    else:
                        continue
                    for k in range(width):
                        out[k] += share * row[k]


@compiled
def convolve_inner(source: F32, kernel: F32, mirror: bool, result: F32) -> None:
    """Convolve (lines, n) along the last axis, as :func:`convolve_rows` does."""
    n = source.shape[1]
    reach = kernel.size - 1
    line = np.zeros(n + 2 * reach, np.float32)
    for i in range(source.shape[0]):
        row, out = source[i], result[i]
        for k in range(n):
            line[reach + k] = row[k]
        if mirror:
            for t in range(1, reach + 1):
                line[reach - t] = row[_mirrored(-t, n)]
                line[reach + n - 1 + t] = row[_mirrored(n - 1 + t, n)]
        for k in range(n):
            out[k] = kernel[0] * line[reach + k]
        for t in range(1, reach + 1):
            share = kernel[t]
            low, high = line[reach - t : reach - t + n], line[reach + t : reach + t + n]
            for k in range(n):
                out[k] += share * (low[k] + high[k])
