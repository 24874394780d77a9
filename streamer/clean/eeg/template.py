"""The running mean of the last epochs, kept up to date a few samples at a time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from streamer.messages import F32


class History:
    """The newest samples of a stream by absolute index, read and written in place.

    Parameters
    ----------
    capacity : int
        Samples kept.
    n_channels : int
    """

    def __init__(self, capacity: int, n_channels: int) -> None:
        self.capacity = capacity
        self._data = np.zeros((capacity, n_channels), np.float32)

    def write(self, start: int, data: F32) -> None:
        """Store samples, at most ``capacity`` of them, from index ``start`` on."""
        for at, stop, i in self._pieces(start, start + len(data)):
            self._data[at:stop] = data[i : i + stop - at]

    def clear(self, start: int, stop: int) -> None:
        """Store zeros at ``start`` to ``stop`` (excluded)."""
        for at, end, _ in self._pieces(max(start, stop - self.capacity), stop):
            self._data[at:end] = 0.0

    def pieces(self, start: int, stop: int) -> list[tuple[int, F32]]:
        """Views of samples ``start`` to ``stop`` (excluded), each with its offset from ``start``."""
        return [(i, self._data[at:end]) for at, end, i in self._pieces(start, stop)]

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        at = start % self.capacity
        n = stop - start
        head = min(n, self.capacity - at)
        return [(at, at + head, 0)] if head == n else [(at, self.capacity, 0), (0, n - head, head)]

    def resized(self, capacity: int, newest: int, keep: int) -> History:
        """Copy the ``keep`` samples before index ``newest`` into a history of another capacity."""
        keep = min(keep, self.capacity, capacity)
        new = History(capacity, self._data.shape[1])
        for offset, view in self.pieces(newest - keep, newest):
            new.write(newest - keep + offset, view)
        return new


class Epoch(NamedTuple):
    """One volume's samples."""

    first: int
    """Index of the first sample."""
    length: int
    """Samples until the next volume."""


class Template:
    """Mean of the last epochs of a history, phase by phase.

    A new epoch enters while the next volume passes: just before the template is used at a phase, that phase of the new
    epoch is added and that of the oldest taken away. So the cost is spread over the volume, and whether an epoch is fit
    to enter is asked when all of it is known. The sum is float64 over float32 values: it does not drift. Epochs may
    differ in length by a sample; a phase is the mean of those that have it.

    Parameters
    ----------
    length : int
        Samples of the longest epoch.
    n_channels : int
    n_max : int
        Epochs kept at most.
    """

    def __init__(self, length: int, n_channels: int, n_max: int) -> None:
        self.length = length
        self._n_max = n_max
        self._sum = np.zeros((length, n_channels))
        self._weight = np.zeros((length, 1))
        self.mean = np.zeros((length, n_channels), np.float32)
        """V, shape (length, n_channels); up to date for the phases that were `advance`-d to."""
        self.epochs: deque[Epoch] = deque()
        """The epochs that are in, oldest first."""
        self._enters: list[Epoch] = []
        self._leaves: list[Epoch] = []
        self._done = length

    def next_volume(self, history: History, epoch: Epoch | None, oldest: int) -> None:
        """Begin a volume: let ``epoch`` enter, and those that begin before ``oldest`` leave."""
        self.advance(history, self.length)
        self._enters = [] if epoch is None else [epoch]
        self._leaves = []
        while self.epochs and (self.epochs[0].first < oldest or (self._enters and len(self.epochs) >= self._n_max)):
            self._leaves.append(self.epochs.popleft())
        self.epochs.extend(self._enters)
        self._done = 0 if self._enters or self._leaves else self.length

    def advance(self, history: History, phase: int) -> None:
        """Bring the template up to date before ``phase`` (excluded)."""
        start, stop = self._done, min(phase, self.length)
        if start >= stop:
            return
        for epoch in self._enters:
            end = min(stop, epoch.length)
            for i, view in history.pieces(epoch.first + start, epoch.first + max(start, end)):
                part = self._sum[start + i : start + i + len(view)]
                np.add(part, view, out=part)
            self._weight[start:end] += 1.0
        for epoch in self._leaves:
            end = min(stop, epoch.length)
            for i, view in history.pieces(epoch.first + start, epoch.first + max(start, end)):
                part = self._sum[start + i : start + i + len(view)]
                np.subtract(part, view, out=part)
            self._weight[start:end] -= 1.0
        self.mean[start:stop] = self._sum[start:stop] * (1.0 / np.maximum(self._weight[start:stop], 1.0))
        self._done = stop
