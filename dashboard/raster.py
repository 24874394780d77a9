"""Draw many traces into one small picture, numpy only.

Each column of pixels shows the span from the lowest to the highest sample that falls into it, so no spike is lost,
however long the window is, and the cost hardly depends on the number of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64

LEVELS = 127
"""Shades per tint; tint ``i`` uses the values ``1 + i * LEVELS`` to ``(i + 1) * LEVELS``."""


def spans(data: F64, width: int) -> tuple[F64, F64]:
    """Reduce samples to a low and a high value per column.

    Parameters
    ----------
    data : array, shape (n_times, n_channels)
        NaN where there is nothing.
    width : int
        Columns.

    Returns
    -------
    low, high : arrays, shape (width, n_channels)
        NaN where a column has no sample. Neighbouring columns touch, so that the trace is one line.
    """
    n = len(data)
    starts = np.arange(width) * n // width
    if n >= width:
        low = np.fmin.reduceat(data, starts, axis=0)
        high = np.fmax.reduceat(data, starts, axis=0)
    else:
        position = np.minimum((np.arange(width) + 0.5) * n / width - 0.5, n - 1).clip(0)
        left = position.astype(np.intp)
        right = np.minimum(left + 1, n - 1)
        share = (position - left)[:, None]
        low = data[left] * (1 - share) + data[right] * share
        high = low.copy()
    joined_low, joined_high = low.copy(), high.copy()
    rise, fall = low[1:] > high[:-1], high[1:] < low[:-1]
    up, down = (low[1:] + high[:-1]) / 2, (high[1:] + low[:-1]) / 2
    joined_high[:-1] = np.where(rise, np.fmax(up, joined_high[:-1]), joined_high[:-1])
    joined_low[1:] = np.where(rise, np.fmin(up, joined_low[1:]), joined_low[1:])
    joined_low[:-1] = np.where(fall, np.fmin(down, joined_low[:-1]), joined_low[:-1])
    joined_high[1:] = np.where(fall, np.fmax(down, joined_high[1:]), joined_high[1:])
    return joined_low, joined_high


def row_height(height: float, n_channels: int) -> float:
    """Tell the distance between traces; trace ``i`` lies at ``i + 1`` times that, so that the outer ones have room."""
    return height / (n_channels + 1)


def raster(data: F64, width: int, height: int, per_row: float, thickness: float = 1.3) -> NDArray[np.uint8]:
    """Draw traces below each other.

    Parameters
    ----------
    data : array, shape (n_times, n_channels)
        NaN where there is nothing.
    width, height : int
        Pixels.
    per_row : float
        Value (in units of ``data``) that spans the distance between two traces.
    thickness : float
        Pixels.

    Returns
    -------
    image : array of uint8, shape (height, width)
        0 is empty, see :data:`LEVELS` for the rest; traces take two tints in turn.
    """
    image = np.zeros((height, width), dtype=np.uint8)
    n_channels = data.shape[1]
    if not n_channels or not len(data):
        return image
    row = row_height(height, n_channels)
    low, high = spans(data, width)
    centre = (np.arange(n_channels) + 1) * row
    # rows count downwards, voltage upwards
    top = (centre - high * row / per_row).clip(-2, height + 2)
    bottom = (centre - low * row / per_row).clip(-2, height + 2)
    thin = np.maximum(0, thickness - (bottom - top)) / 2
    top, bottom = top - thin, bottom + thin
    column, channel = np.nonzero(np.isfinite(top))
    top, bottom = top[column, channel], bottom[column, channel]
    first = np.floor(top).astype(np.intp)
    last = np.ceil(bottom).astype(np.intp) - 1
    # soft ends first, so that where traces cross they do not eat into the body of another
    for y, cover in ((first, np.minimum(first + 1, bottom) - top), (last, bottom - np.maximum(last, top))):
        seen = (y >= 0) & (y < height) & (cover > 0)
        shade = np.maximum(1, np.round(cover[seen] * LEVELS))
        image[y[seen], column[seen]] = (shade + channel[seen] % 2 * LEVELS).astype(np.uint8)
    start, stop = (first + 1).clip(0, height), last.clip(0, height)
    solid = start < stop
    for tint in (0, 1):
        mine = solid & (channel % 2 == tint)
        # +1 where a body begins, -1 below its end: summed downwards, every row inside it is above 0
        depth = np.zeros((height + 1, width), dtype=np.int16)
        np.add.at(depth, (start[mine], column[mine]), 1)
        np.subtract.at(depth, (stop[mine], column[mine]), 1)
        np.cumsum(depth, axis=0, dtype=np.int16, out=depth)
        np.copyto(image, np.uint8((tint + 1) * LEVELS), where=depth[:height] > 0)
    return image
