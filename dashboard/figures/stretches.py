"""Series in time, cut where they have gaps: numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64


def broken(times: F64, values: F64, gap_s: float) -> tuple[F64, F64]:
    """Put a NaN between neighbours that lie more than ``gap_s`` apart, so that no line joins them.

    Parameters
    ----------
    times : array, shape (n,)
        s, rising; rows whose time is NaN are left out.
    values : array, shape (n, ...)
    gap_s : float

    Returns
    -------
    times : array, shape (m,)
        The places of the NaN have the time of the row before them.
    values : array, shape (m, ...)
    """
    known = np.isfinite(times)
    times, values = times[known], values[known]
    after = np.flatnonzero(np.diff(times) > gap_s) + 1
    return np.insert(times, after, times[after - 1]), np.insert(values, after, np.nan, axis=0)


def stretches(times: F64, on: NDArray[np.bool_], gap_s: float) -> list[tuple[float, float]]:
    """Give begin and end of every stretch in which ``on`` holds, s.

    Each time stands for what holds until the next, unless that is more than ``gap_s`` away.

    Parameters
    ----------
    times : array, shape (n,)
        s, rising.
    on : array of bool, shape (n,)
    gap_s : float
    """
    if not len(times):
        return []
    step = np.append(np.diff(times), 0.0)
    apart = step > gap_s
    until = times + np.where(apart, 0.0, step)
    # a stretch begins where the one before was off, or too long ago
    begins = np.flatnonzero(on & ~np.concatenate([[False], on[:-1] & ~apart[:-1]]))
    ends = np.flatnonzero(on & ~np.append(on[1:] & ~apart[:-1], False))
    return [(float(times[b]), float(until[e])) for b, e in zip(begins, ends, strict=True)]


def columns(x: F64, y: F64) -> tuple[F64, F64]:
    """Reduce a line to the lowest and the highest value of each column of pixels; NaN goes on breaking it.

    Parameters
    ----------
    x : array, shape (n,)
        Pixels, rising.
    y : array, shape (n,)

    Returns
    -------
    x, y : arrays, shape (m,)
        As they were where that would not make them fewer.
    """
    breaks = np.isnan(y)
    column = np.floor(x).astype(np.int64) + np.cumsum(breaks) * 1_000_000
    kept = ~breaks
    column, inside_x, inside_y = column[kept], x[kept], y[kept]
    starts = np.flatnonzero(np.diff(column, prepend=column[:1] - 1))
    if 2 * len(starts) >= len(x):
        return x, y
    low, high = np.minimum.reduceat(inside_y, starts), np.maximum.reduceat(inside_y, starts)
    pairs = np.stack([low, high], axis=1)
    # from column to column the line goes on with the nearer end
    pairs[1::2] = pairs[1::2, ::-1]
    apart = np.flatnonzero(np.diff(column[starts]) > 500_000) + 1
    places = np.insert(np.repeat(inside_x[starts], 2), 2 * apart, np.nan)
    return places, np.insert(pairs.ravel(), 2 * apart, np.nan)
