"""Draw many traces into one picture.

Each column of pixels shows the span from the lowest to the highest sample that falls into it, so no spike is lost,
however long the window is, and the cost hardly depends on the number of samples. Columns lie on a grid of sample
numbers that does not move with the window: a trace that scrolls keeps its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F32, F64, Array

LEVELS = 127
"""Shades per tint; tint ``i`` uses the values ``1 + i * LEVELS`` to ``(i + 1) * LEVELS``."""
N_COLOURS = 1 + 2 * LEVELS
"""Length of a colour table; its first entry is the ground."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which samples each column of a picture shows."""

    first: int
    """Number of the first sample that is needed: the one before the first column."""
    end: int
    """Number after the last that is needed: the one after the last column."""
    starts: Integers
    """Where each column begins in the samples from ``first`` on, and where the last one ends; shape (width + 1,)."""
    shares: F64
    """Where a column's middle lies between its neighbours, for columns without a sample; shape (width,)."""

    @classmethod
    def before(cls, last: int, n_samples: float, width: int) -> Columns:
        """Lay ``width`` columns over the ``n_samples`` before sample ``last``."""
        each = n_samples / width
        # a sample that lies on an edge but for rounding lies on it
        numbers = int(np.floor(last / each + 1e-6)) - width + np.arange(width + 1)
        edges = np.ceil(numbers * each).astype(np.int64)
        first = int(edges[0]) - 1
        shares = ((numbers[:-1] + 0.5) * each - (edges[:-1] - 1)).clip(0.0, 1.0)
        return cls(first, int(edges[-1]) + 1, edges - first, shares)


def spans(data: F32, starts: Integers, shares: F64) -> tuple[F64, F64]:
    """Reduce samples to a low and a high value per column.

    Parameters
    ----------
    data : array of float32, shape (n_times, n_channels)
        NaN where there is nothing.
    starts : array of int64, shape (width + 1,)
    shares : array, shape (width,)
        See :class:`Columns`.

    Returns
    -------
    low, high : arrays, shape (width, n_channels)
        NaN where a column has nothing. Neighbouring columns touch, so that the trace is one line.
    """
    n, width = len(data), len(shares)
    begin, end = starts[:-1].clip(0, n), starts[1:].clip(0, n)
    low, high = np.full((2, width, data.shape[1]), np.nan)
    full = end > begin
    if full.any():
        # the rows behind the last column belong to none
        used = data[: end[-1]]
        low[full] = np.fmin.reduceat(used, begin[full], axis=0)
        high[full] = np.fmax.reduceat(used, begin[full], axis=0)
    between = np.flatnonzero((starts[1:] == starts[:-1]) & (begin > 0) & (begin < n))
    share = shares[between, None]
    low[between] = high[between] = data[begin[between] - 1] * (1 - share) + data[begin[between]] * share
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


def raster(
    image: Array, data: F32, columns: Columns, per_row: float, table: Array, thickness: float = 1.3
) -> None:  # fmt: skip
    """Draw traces below each other.

    Parameters
    ----------
    image : array of the type of ``table``, shape (height, width)
        Drawn on, whatever it held: to ask for new memory at every frame costs as much as the drawing.
    data : array of float32, shape (columns.end - columns.first, n_channels)
        NaN where there is nothing.
    columns : Columns
        As many as ``image`` has.
    per_row : float
        Value (in units of ``data``) that spans the distance between two traces.
    table : array, shape (N_COLOURS,)
        Colours: the ground, then the shades of the two tints that traces take in turn.
    thickness : float
        Pixels.
    """
    image[:] = table[0]
    if data.shape[1] and len(data):
        samples = np.ascontiguousarray(data, np.float32)
        row = row_height(len(image), data.shape[1])
        _way.draw(samples, columns.starts, columns.shares, row, row / per_row, thickness, table, image)


def draw_with_numpy(
    data: F32, starts: Integers, shares: F64, row: float, gain: float, thickness: float, table: Array, image: Array
) -> None:
    """Draw as the compiled one does, to the bit, some ten times slower."""
    height, width = image.shape
    low, high = spans(data, starts, shares)
    centre = (np.arange(data.shape[1]) + 1) * row
    # rows count downwards, voltage upwards
    top = (centre - high * gain).clip(-2.0, height + 2.0)
    bottom = (centre - low * gain).clip(-2.0, height + 2.0)
    thin = np.maximum(0.0, thickness - (bottom - top)) / 2
    top, bottom = top - thin, bottom + thin
    column, channel = np.nonzero(np.isfinite(top))
    top, bottom = top[column, channel], bottom[column, channel]
    first = np.floor(top).astype(np.intp)
    last = np.ceil(bottom).astype(np.intp) - 1
    # soft ends first, so that where traces cross they do not eat into the body of another
    for y, cover in ((first, np.minimum(first + 1, bottom) - top), (last, bottom - np.maximum(last, top))):
        seen = (y >= 0) & (y < height) & (cover > 0)
        shade = np.maximum(1, (cover[seen] * LEVELS + 0.5).astype(np.intp))
        image[y[seen], column[seen]] = table[shade + channel[seen] % 2 * LEVELS]
    start, stop = (first + 1).clip(0, height), last.clip(0, height)
    solid = start < stop
    for tint in (0, 1):
        mine = solid & (channel % 2 == tint)
        # +1 where a body begins, -1 below its end: summed downwards, every row inside it is above 0
        depth = np.zeros((height + 1, width), dtype=np.int16)
        np.add.at(depth, (start[mine], column[mine]), 1)
        np.subtract.at(depth, (stop[mine], column[mine]), 1)
        np.cumsum(depth, axis=0, dtype=np.int16, out=depth)
        np.copyto(image, table[(tint + 1) * LEVELS], where=depth[:height] > 0)


@dataclass(slots=True)
class _Way:
    draw: Callable[..., Any] = draw_with_numpy


_way = _Way()


def warm_up() -> Thread:
    """Load or compile the fast way beside what goes on; until then, and where it cannot be had, numpy draws.

    Returns
    -------
    Thread
        Started; to be joined before the process ends.
    """
    thread = Thread(target=use_compiled, name="raster")
    thread.start()
    return thread


def use_compiled() -> None:
    """Draw with the compiled way from now on."""
    from dashboard.drawing.raster_compiled import draw

    columns = Columns.before(8, 8.0, 4)
    table = np.zeros(N_COLOURS, np.uint32)
    image = np.zeros((4, 4), np.uint32)
    draw(np.zeros((10, 1), np.float32), columns.starts, columns.shares, 2.0, 1.0, 1.3, LEVELS, table, image)

    def with_levels(
        data: F32, starts: Integers, shares: F64, row: float, gain: float, thickness: float, table: Array, image: Array
    ) -> None:
        draw(data, starts, shares, row, gain, thickness, LEVELS, table, image)

    _way.draw = with_levels
