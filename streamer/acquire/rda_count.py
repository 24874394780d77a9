"""From RDA's block numbers to one count of samples, over losses and new starts."""

from __future__ import annotations

from enum import Enum

import numpy as np

from streamer.acquire.arrival_clock import ArrivalClock
from streamer.messages import F64, Flag

_CREDIBLE_S = 1.0
_SAME_S = 0.1
_TURN = 2**32


class Since(Enum):
    """What happened since the last block."""

    BLOCK = "nothing"
    CONNECTION = "the connection is new: Recorder may have gone on counting, or have begun anew"
    START = "Recorder has started anew: so have its block numbers"


class BlockCount:
    """Count samples through blocks, and tell when they were taken.

    Block numbers tell exactly how many samples were lost in between, as long as Recorder goes on counting. Where it has
    begun anew, or claims a loss that the time since does not bear out, the loss is estimated from the arrivals, the
    block is flagged ``CLOCK_STEP``, and the arrivals are judged anew.

    Parameters
    ----------
    sfreq : float
        Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._arrivals = ArrivalClock(sfreq)
        self._next = 0
        self._block: int | None = None
        self._points = 0
        self.since = Since.CONNECTION
        """To be set when something happened."""

    def add(self, block: int, n_points: int, at: float) -> tuple[int, Flag]:
        """Take a block that was there at session time ``at`` (s); give its first sample and what is wrong with it."""
        lost, flags = self._lost(block, n_points, at)
        first = self._next + lost
        self._next, self._block, self._points = first + n_points, block, n_points or self._points
        self.since = Since.BLOCK
        if flags & Flag.CLOCK_STEP:
            self._arrivals.restart()
        self._arrivals.arrived(self._next, at)
        return first, flags | (Flag.GAP if lost else Flag.NONE)

    def _lost(self, block: int, n_points: int, at: float) -> tuple[int, Flag]:
        if self._block is None:
            return 0, Flag.NONE
        # at the turn of the 32-bit number, too; a number that went back becomes a loss that nobody believes
        counted = (block - self._block - 1) % _TURN * self._points
        end = self._next + n_points
        passed = (at - self._arrivals.offset(end)) - end / self._sfreq
        claimed = counted / self._sfreq
        credible = {
            Since.BLOCK: claimed <= max(passed, 0.0) + _CREDIBLE_S,
            Since.CONNECTION: abs(claimed - passed) <= _SAME_S,
            Since.START: False,
        }
        if credible[self.since]:
            return counted, Flag.NONE
        return max(0, round(passed * self._sfreq)), Flag.CLOCK_STEP

    def raw(self, first: int, n: int) -> F64:
        """Give the sender's own times of samples, s: their number over the rate."""
        return np.arange(first, first + n, dtype=np.float64) / self._sfreq

    def times(self, first: int, n: int) -> F64:
        """Give the session times of samples, s."""
        return self._arrivals.times(first, first + n)

    @property
    def offset(self) -> float:
        """What is added to the newest sample's own time to get its session time, s."""
        return self._arrivals.offset(self._next)
