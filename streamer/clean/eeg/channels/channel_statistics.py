"""Per-channel statistics of fixed blocks, gathered in parts so that no call has much to do at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64

_LEVEL_RANK = 0.5
_NOISE_RANK = 0.7


@dataclass(frozen=True, slots=True)
class BlockStatistics:
    """One whole block."""

    sd: F64
    """Standard deviation, V, shape (n_channels,)."""
    level: F64
    """Root mean square of the middle one of the block's parts, V, shape (n_channels,): what is short does not count."""
    noise: F64
    """Root mean square of second differences, of the part that 70 % do not exceed, V, shape (n_channels,). They weigh
    an amplitude with the square of its frequency: 40 Hz counts 14 times as much as 10 Hz."""
    correlation: F64
    """Pearson's, of all pairs, shape (n_channels, n_channels); 0 with a channel that does not move, and on the
    diagonal."""
    own: F64
    """Root mean square of what no other single channel explains, of the block's window where that is greatest, V, shape
    (n_channels,): a blink is also at the next electrode, a pop is not."""


class StatisticsOfBlocks:
    """Gather statistics sample by sample.

    Sums are formed over parts that begin at fixed places of the block, each from a copy of its samples of one shape, so
    that the outcome does not depend on how the samples came.

    Parameters
    ----------
    block : int
        Samples per block.
    n_windows : int
        Windows that a block is made of.
    part : int
        Samples that a part has at least; 3 or more. A window is made of as many parts as fit.
    n_channels : int
    """

    def __init__(self, block: int, n_windows: int, part: int, n_channels: int) -> None:
        self._per_window = max(1, block // n_windows // part)
        n_parts = n_windows * self._per_window
        self._ends = [(k + 1) * block // n_parts for k in range(n_parts)]
        self._part = np.empty((-(-block // n_parts), n_channels))
        self._block = block
        self._square = np.empty((n_parts, n_channels))
        self._bend = np.empty((n_parts, n_channels))
        self._sum = np.empty(n_channels)
        self._products = np.empty((n_channels, n_channels))
        self._in_window = np.empty((n_channels, n_channels))
        self._own = np.empty(n_channels)
        self.clear()

    def clear(self) -> None:
        """Begin a new block."""
        self._parts_done = 0
        self._held = 0
        for sums in (self._sum, self._products, self._in_window, self._own):
            sums[:] = 0.0

    def take(self, data: F64) -> None:
        """Take the block's next samples, V, shape (n_times, n_channels); no more than are missing."""
        at = 0
        while at < len(data):
            done = self._parts_done
            length = self._ends[done] - (self._ends[done - 1] if done else 0)
            n = min(length - self._held, len(data) - at)
            self._part[self._held : self._held + n] = data[at : at + n]
            self._held += n
            at += n
            if self._held == length:
                self._add(self._part[:length])

    def _add(self, part: F64) -> None:
        products = part.T @ part
        self._square[self._parts_done] = np.diagonal(products) / len(part)
        bend = part[2:] - 2.0 * part[1:-1] + part[:-2]
        self._bend[self._parts_done] = np.mean(bend * bend, axis=0)
        self._in_window += products
        self._sum += part.sum(axis=0)
        self._parts_done += 1
        self._held = 0
        if self._parts_done % self._per_window == 0:
            self._end_window()

    def _end_window(self) -> None:
        self._products += self._in_window
        last = self._parts_done - self._per_window - 1
        length = self._ends[self._parts_done - 1] - (self._ends[last] if last >= 0 else 0)
        power, cosine = _normalised(self._in_window / length)
        own = power * (1.0 - np.minimum(np.square(cosine).max(axis=1), 1.0))
        np.maximum(self._own, np.sqrt(own), out=self._own)
        self._in_window[:] = 0.0

    def result(self) -> BlockStatistics:
        """Give the statistics of the block, which must be whole."""
        mean = self._sum / self._block
        variance, correlation = _normalised(self._products / self._block - mean[:, None] * mean)
        return BlockStatistics(
            sd=np.sqrt(variance),
            level=np.sqrt(_ranked(self._square, _LEVEL_RANK)),
            noise=np.sqrt(_ranked(self._bend, _NOISE_RANK)),
            correlation=correlation,
            own=self._own.copy(),
        )


def _normalised(products: F64) -> tuple[F64, F64]:
    """Split into the diagonal and what is off it, divided by the diagonal's roots (0 where those are 0)."""
    power = np.maximum(np.diagonal(products), 0.0)
    scale = np.sqrt(np.where(power > 0.0, power, np.inf))
    rest = products / scale[:, None] / scale
    np.fill_diagonal(rest, 0.0)
    return power, rest


def _ranked(values: F64, rank: float) -> F64:
    return np.sort(values, axis=0)[int(rank * (len(values) - 1))]
