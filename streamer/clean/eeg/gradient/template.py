"""The weighted mean of the last volumes, kept up to date block by block."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from streamer.clean.eeg.gradient.interpolate import REACH, Shift
from streamer.compiled import compiled
from streamer.messages import F32, Array

MARGIN = 2 * REACH + 8
"""Samples of the template before a volume's first and after its last: what a shifted block is made of."""

_WORTH = 0.02
"""A weight is changed when it changes by more than this."""


class History:
    """The newest samples of a stream by absolute index.

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
        at = start % self.capacity
        if at + len(data) <= self.capacity:
            self._data[at : at + len(data)] = data
            return
        for at, stop, i in self._pieces(start, start + len(data)):
            self._data[at:stop] = data[i : i + stop - at]

    def clear(self, start: int, stop: int) -> None:
        """Store zeros at ``start`` to ``stop`` (excluded)."""
        for at, end, _ in self._pieces(max(start, stop - self.capacity), stop):
            self._data[at:end] = 0.0

    def subtract(self, start: int, data: F32) -> None:
        """Take ``data`` from the samples from index ``start`` on."""
        for at, stop, i in self._pieces(start, start + len(data)):
            self._data[at:stop] -= data[i : i + stop - at]

    def read(self, start: int, stop: int) -> F32:
        """Give samples ``start`` to ``stop`` (excluded); a view where they lie in one piece."""
        at = start % self.capacity
        if at + stop - start <= self.capacity:
            return self._data[at : at + stop - start]
        return np.concatenate([self._data[at:end] for at, end, _ in self._pieces(start, stop)])

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        at = start % self.capacity
        n = stop - start
        head = min(n, self.capacity - at)
        return [(at, at + head, 0)] if head == n else [(at, self.capacity, 0), (0, n - head, head)]


@dataclass(slots=True)
class Epoch:
    """One volume in a template."""

    base: int
    """Sample that is phase 0."""
    shift: float
    """The artefact begins so many samples later."""
    quality: F32
    """Weight per channel from its own samples, shape (n_channels,), at most 1."""
    gains: F32
    """Amplitude per channel against the first epoch's, shape (n_channels,)."""
    motion: float = 1.0
    """Weight from the head's pose, at most 1."""
    decay: float = 1.0
    """Weight from its age, at most 1."""
    slot: int = -1
    weight: F32 = field(init=False)
    """What it is in the sum with, shape (n_channels,)."""

    def __post_init__(self) -> None:
        self.weight = self.wanted

    @property
    def wanted(self) -> F32:
        """The weight that it should have."""
        return self.quality * np.float32(self.motion * self.decay)


class Template:
    """Weighted mean of aligned epochs, phase by phase.

    A new epoch enters while the next volume passes, block by block, just before the block is used; so do epochs leave
    and change their weight. So the cost is spread over the volume, and whether and with which weight an epoch enters is
    asked when all of it is known. An epoch is brought to the template's own phase as it enters, and is stored so.

    Parameters
    ----------
    length : int
        Samples of the longest volume.
    block : int
        Samples per block.
    n_channels : int
    n_max : int
        Epochs kept at most.
    forgetting : float
        Factor on all weights per volume; 1 keeps them.
    """

    def __init__(self, length: int, block: int, n_channels: int, n_max: int, forgetting: float = 1.0) -> None:
        self.length = length
        self.block = block
        self.n_blocks = -(-(length + 2 * MARGIN) // block) + 1
        rows = self.n_blocks * block
        self._n_max = n_max
        self._forgetting = forgetting
        self._kept = np.zeros((n_max + 1, rows, n_channels), np.float32)
        self._free = list(range(n_max + 1))
        self._sum = np.zeros((rows, n_channels), np.float32)
        self._inverse = np.zeros(n_channels, np.float32)
        self.mean = np.zeros((rows, n_channels), np.float32)
        """V; row i is phase ``i - MARGIN``, up to date for what was `advance`-d to."""
        self.epochs: deque[Epoch] = deque()
        """The epochs that are in, oldest first."""
        self.gains = np.ones(n_channels, np.float32)
        """Amplitude of the mean against the first epoch's, shape (n_channels,)."""
        self._enters: tuple[Epoch, Shift] | None = None
        self._changes: list[tuple[int, F32]] = []
        self._slots: Array = np.empty(0, np.int64)
        self._by: F32 = np.empty((0, n_channels), np.float32)
        self._leaving: list[int] = []
        self._scale = 1.0
        self._done = self.n_blocks
        self._update(0, 0)

    def next_volume(self, history: History, epoch: Epoch | None, oldest: int) -> None:
        """Begin a volume: let ``epoch`` enter, those that begin before ``oldest`` leave, and new weights hold."""
        self.advance(history, self.n_blocks * self.block)
        self._free += self._leaving
        self._leaving, self._changes, self._enters = [], [], None
        leaves: list[Epoch] = []
        while self.epochs and (self.epochs[0].base < oldest or (epoch is not None and len(self.epochs) >= self._n_max)):
            leaves.append(self.epochs.popleft())
        self._scale = self._forgetting if epoch is not None else 1.0
        for old in (*leaves, *self.epochs) if self._scale != 1.0 else ():
            old.decay *= self._scale
            old.weight = (old.weight * self._scale).astype(np.float32)
        self._changes += [(old.slot, -old.weight) for old in leaves]
        self._leaving = [old.slot for old in leaves]
        self._reweigh()
        if epoch is not None:
            epoch.slot = self._free.pop(0)
            epoch.weight = epoch.wanted
            self.epochs.append(epoch)
            self._enters = epoch, Shift(epoch.shift, self.block)
            self._changes.append((epoch.slot, epoch.weight))
        if not self._changes:
            return
        self._slots = np.array([slot for slot, _ in self._changes], np.int64)
        self._by = np.array([by for _, by in self._changes], np.float32)
        total = np.zeros(self.gains.shape)
        gains = np.zeros(self.gains.shape)
        for e in self.epochs:
            total += e.weight
            gains += e.weight * e.gains
        self._inverse = (1.0 / np.maximum(total, 1e-9)).astype(np.float32)
        self.gains = (gains * self._inverse).astype(np.float32)
        self._done = 0

    def _reweigh(self) -> None:
        for epoch in self.epochs:
            by = epoch.wanted - epoch.weight
            if float(np.abs(by).max()) > _WORTH:
                self._changes.append((epoch.slot, by))
                epoch.weight = (epoch.weight + by).astype(np.float32)

    @property
    def effective(self) -> float:
        """Epochs of equal weight that would average as well, at the median channel."""
        if not self.epochs:
            return 0.0
        weights = np.array([e.weight for e in self.epochs], np.float64)
        return float(np.median(weights.sum(axis=0) ** 2 / np.square(weights).sum(axis=0)))

    def advance(self, history: History, phase: int) -> None:
        """Bring the template up to date before ``phase`` (excluded)."""
        until = min(self.n_blocks, -(-(phase + MARGIN) // self.block))
        while self._done < until:
            at = self._done * self.block
            if self._enters is not None:
                epoch, shift = self._enters
                first = epoch.base + at - MARGIN - shift.before
                shift(history.read(first, first + shift.n), self._kept[epoch.slot, at : at + self.block])
            self._update(at, at + self.block)
            self._done += 1

    def _update(self, start: int, stop: int) -> None:
        scale = np.float32(self._scale)
        _add(self._kept, self._slots, self._by, scale, self._inverse, start, stop, self._sum, self.mean)


@compiled
def _add(
    kept: F32,
    slots: Array,
    by: F32,
    scale: np.float32,
    inverse: F32,
    start: int,
    stop: int,
    total: F32,
    mean: F32,
) -> None:
    """Scale rows of the sum, add epochs to it, each ``by`` its weight, and divide by the sum of weights."""
    n_channels = total.shape[1]
    for i in range(start, stop):
        row, out = total[i], mean[i]
        for c in range(n_channels):
            row[c] = scale * row[c]
        for k in range(len(slots)):
            epoch, weight = kept[slots[k], i], by[k]
            for c in range(n_channels):
                row[c] += weight[c] * epoch[c]
        for c in range(n_channels):
            out[c] = row[c] * inverse[c]
