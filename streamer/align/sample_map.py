"""From a source's own count of samples to the grid's."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streamer.messages import F64, Array


@dataclass(slots=True)
class _Run:
    """Samples whose number in the source differs from that on the grid by the same."""

    start: int
    stop: int
    """Numbers in the source: first, and one after the last."""
    shift: int
    """Added to them to get the grid's."""
    epoch: int


class SampleMap:
    """What grid sample a sample of the source became.

    The two counts part where samples were lost that the source did not count, where samples came twice, and where the
    source began to count anew. A sample that the source counted and never handed over has its place on the grid, too;
    one that came twice has it under its first number alone.

    Parameters
    ----------
    capacity : int
        Stretches that are kept; the oldest are forgotten.
    """

    def __init__(self, capacity: int = 512) -> None:
        self._runs: deque[_Run] = deque(maxlen=capacity)
        self._begun: deque[tuple[int, float]] = deque(maxlen=16)
        self._epoch = 0

    def add(self, source: Array, first: int, times: F64) -> None:
        """Take consecutive grid samples.

        Parameters
        ----------
        source : array of int, shape (n,)
            Their numbers in the source, rising; a number below the newest means that the source counts anew.
        first : int
            Grid index of the first.
        times : array, shape (n,)
            s, SessionTime.
        """
        if not len(source):
            return
        cuts = [0, *(np.flatnonzero(np.diff(source) != 1) + 1).tolist(), len(source)]
        for a, b in pairwise(cuts):
            self._run(int(source[a]), b - a, first + a, float(times[a]))

    def _run(self, source: int, n: int, grid: int, time: float) -> None:
        shift = grid - source
        newest = self._runs[-1] if self._runs else None
        if newest is None or source < newest.stop:
            self._epoch += 1
            self._begun.append((self._epoch, time))
        elif shift == newest.shift:
            newest.stop = source + n
            return
        self._runs.append(_Run(source, source + n, shift, self._epoch))

    def grid(self, sample: int, at: float) -> int | None:
        """Tell the grid index of the source's ``sample``; None when it did not come (yet).

        Parameters
        ----------
        sample : int
        at : float
            About when it was taken, SessionTime s: tells counts apart when the source began anew.
        """
        begun = dict(self._begun)
        found: int | None = None
        for run in reversed(self._runs):
            if not run.start <= sample < run.stop or at >= begun.get(run.epoch + 1, np.inf):
                continue
            if at >= begun.get(run.epoch, -np.inf):
                return sample + run.shift
            # a little before its count began: unless the count before had this number, too
            found = sample + run.shift if found is None else found
        return found

    def passed(self, sample: int) -> bool:
        """Whether the source has counted beyond ``sample`` already."""
        return bool(self._runs) and sample < self._runs[-1].stop
