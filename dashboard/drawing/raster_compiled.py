"""The loop of :mod:`dashboard.drawing.raster`, compiled; imported where nobody waits, since that takes a second."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamer.compiled import compiled
from streamer.messages import F32, F64, Array


@compiled
def draw(
    data: F32,
    starts: NDArray[np.int64],
    shares: F64,
    row: float,
    gain: float,
    thickness: float,
    levels: int,
    table: Array,
    image: Array,
) -> None:
    """Draw traces into ``image``: see :func:`dashboard.drawing.raster.raster`.

    ``gain`` is in pixels per unit of ``data``, ``row`` the distance between traces in pixels.
    """
    n, n_channels = data.shape
    height, width = image.shape
    low = np.empty((width, n_channels))
    high = np.empty((width, n_channels))
    least = np.empty(n_channels, np.float32)
    most = np.empty(n_channels, np.float32)
    for x in range(width):
        begin, end = min(max(starts[x], 0), n), min(max(starts[x + 1], 0), n)
        if end > begin:
            least[:] = np.inf
            most[:] = -np.inf
            for i in range(begin, end):
                for c in range(n_channels):
                    value = data[i, c]
                    least[c] = min(least[c], value)
                    most[c] = max(most[c], value)
            for c in range(n_channels):
                known = least[c] <= most[c]
                low[x, c] = least[c] if known else np.nan
                high[x, c] = most[c] if known else np.nan
        elif starts[x + 1] == starts[x] and 0 < begin < n:
            share = shares[x]
            for c in range(n_channels):
                low[x, c] = high[x, c] = data[begin - 1, c] * (1 - share) + data[begin, c] * share
        else:
            low[x] = np.nan
            high[x] = np.nan

    upper = np.empty(n_channels)
    lower = np.empty(n_channels)
    for x in range(width):
        for c in range(n_channels):
            floor, ceiling = low[x, c], high[x, c]
            # half-way to the neighbours on both sides, so that columns touch
            for side in (x - 1, x + 1):
                if 0 <= side < width:
                    if low[side, c] > high[x, c]:
                        ceiling = max(ceiling, (low[side, c] + high[x, c]) / 2)
                    if high[side, c] < low[x, c]:
                        floor = min(floor, (high[side, c] + low[x, c]) / 2)
            centre = (c + 1) * row
            top = min(max(centre - ceiling * gain, -2.0), height + 2.0)
            bottom = min(max(centre - floor * gain, -2.0), height + 2.0)
            thin = max(0.0, thickness - (bottom - top)) / 2
            upper[c] = top - thin if ceiling == ceiling else np.nan  # noqa: PLR0124 (not NaN)
            lower[c] = bottom + thin
        for c in range(n_channels):
            if not math.isnan(upper[c]):
                y = math.floor(upper[c])
                cover = min(y + 1, lower[c]) - upper[c]
                if 0 <= y < height and cover > 0:
                    image[y, x] = table[max(1, int(cover * levels + 0.5)) + c % 2 * levels]
        for c in range(n_channels):
            if not math.isnan(upper[c]):
                y = math.ceil(lower[c]) - 1
                cover = lower[c] - max(y, upper[c])
                if 0 <= y < height and cover > 0:
                    image[y, x] = table[max(1, int(cover * levels + 0.5)) + c % 2 * levels]
        for tint in range(2):
            colour = table[(tint + 1) * levels]
            for c in range(tint, n_channels, 2):
                if not math.isnan(upper[c]):
                    start = max(math.floor(upper[c]) + 1, 0)
                    stop = min(math.ceil(lower[c]) - 1, height)
                    for y in range(start, stop):
                        image[y, x] = colour
