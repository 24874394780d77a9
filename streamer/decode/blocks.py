"""Cut cleaned EEG into blocks on an absolute grid: what features beyond band power are made of.

Stages that only ever see whole blocks at fixed sample indices cannot know how the EEG was chunked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from streamer.decode.grid import block_at
from streamer.errors import ConfigError
from streamer.messages import F64, Array, CleanEeg, Flag, SessionTime

DIRTY = Flag.WARMING | Flag.UNSYNCED | Flag.GAP | Flag.CLOCK_STEP
"""Nothing is learned from samples with one of these flags, and no value made of them is valid."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive cleaned samples."""

    index: int
    """Position on the absolute grid of blocks."""
    data: F64
    """V, shape (n_times, n_channels); zeros where a channel is bad or a sample is no number."""
    bad: Array
    """Channels that were bad at any of these samples, shape (n_channels,), bool."""
    end_sample: int
    """Index on the decimated grid of the sample after the last one."""
    end_time: SessionTime
    """Time of the last sample."""
    flags: Flag
    """Of the samples, OR-ed."""
    fresh: bool
    """Whether samples are missing just before, or nothing came before."""

    @property
    def dirty(self) -> bool:
        """Whether these samples are uncorrected, settling or filled."""
        return bool(self.flags & DIRTY)


class Blocks:
    """Gather cleaned EEG into whole blocks.

    Block i covers the samples from ``ceil(i * sfreq / rate_hz)`` to ``ceil((i + 1) * sfreq / rate_hz)`` (excluded). A
    block that the data does not cover wholly is left out, and the next one is ``fresh``.

    Parameters
    ----------
    rate_hz : float
        Blocks per second.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    n_channels : int

    Raises
    ------
    ConfigError
        If a block is shorter than a sample.
    """

    def __init__(self, rate_hz: float, sfreq: float, n_channels: int) -> None:
        # exact: a block that should begin on a sample must not miss it by a rounding
        self._length = Fraction(sfreq).limit_denominator(1_000_000) / Fraction(rate_hz).limit_denominator(1_000_000)
        if self._length < 1:
            raise ConfigError("features", [f"rate_hz is {rate_hz:g} Hz: expected at most {sfreq:g} Hz, the EEG's rate"])
        self._data = np.empty((math.ceil(self._length), n_channels))
        self._bad: Array = np.zeros(n_channels, dtype=bool)
        self._flags = Flag.NONE
        self._next: int | None = None
        self._index = self._begins = self._ends = 0
        self._whole = False
        self._fresh = True

    def __call__(self, clean: CleanEeg, bad: Array) -> list[Block]:
        """Take cleaned EEG; give the blocks that it completes.

        Parameters
        ----------
        clean : CleanEeg
        bad : ndarray, bool, shape (n_channels,)
            Channels that are bad in these samples.

        Raises
        ------
        ValueError
            If samples come that lie before those that came already, or of another width.
        """
        data, first = clean.data, clean.first_sample
        if data.ndim != 2 or data.shape[1] != self._data.shape[1] or bad.shape != self._bad.shape:
            n = self._data.shape[1]
            raise ValueError(f"cleaned EEG of shape {data.shape} with {bad.shape} bad: expected (n_times, {n}), ({n},)")
        if not len(data):
            return []
        if self._next is None or first > self._next:
            self._begin(first)
            self._whole, self._fresh = first == self._begins, True
        elif first < self._next:
            raise ValueError(f"cleaned EEG from sample {first} given, expected {self._next} or later")
        out: list[Block] = []
        at = 0
        while at < len(data):
            stop = min(len(data), self._ends - first)
            self._take(first + at, data[at:stop], bad, clean.flags)
            at = stop
            if first + at == self._ends:
                if self._whole:
                    out.append(self._finish(SessionTime(float(clean.times[at - 1]))))
                self._begin(self._ends)
                self._whole = True
        self._next = first + len(data)
        return out

    def _begin(self, sample: int) -> None:
        """Begin the block that holds ``sample``."""
        self._index, self._begins, self._ends = block_at(sample, self._length)
        self._bad = np.zeros_like(self._bad)
        self._flags = Flag.NONE

    def _take(self, first: int, data: Array, bad: Array, flags: Flag) -> None:
        rows = self._data[first - self._begins : first - self._begins + len(data)]
        rows[:] = data
        if not np.isfinite(rows).all():
            np.nan_to_num(rows, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            flags |= Flag.GAP
        self._bad |= bad
        self._flags |= flags

    def _finish(self, end_time: SessionTime) -> Block:
        data = self._data[: self._ends - self._begins].copy()
        data[:, self._bad] = 0.0
        block = Block(self._index, data, self._bad, self._ends, end_time, self._flags, self._fresh)
        self._fresh = False
        return block
