"""Numbering the scanner's volume triggers: which are missing, doubled or extra, and when volume k began."""

from __future__ import annotations

from collections import deque
from enum import Enum

import numpy as np

from streamer.messages import SessionTime


class Verdict(Enum):
    """What a trigger is to the train."""

    VOLUME = "volume"
    DOUBLED = "doubled"
    EXTRA = "extra"


class VolumeTrain:
    """The line ``t_k = t0 + k TR`` through the volume triggers, and what does not lie on it.

    A trigger at a whole number n of TR after the last one is volume k + n, and n - 1 are missing. One less than half a
    TR after the last is doubled. Any other is extra, unless the last one is over ``restart_tr`` TR ago or the next
    trigger comes one TR after it: then a new train begins and numbers start at 0 again.

    Parameters
    ----------
    tolerance : float
        How far from a whole number of TR a trigger may lie, in TR.
    restart_tr : float
        A pause of this many TR that is no whole number of them begins a new train.
    tr_min : float
        Shortest plausible TR, s.
    """

    def __init__(self, tolerance: float, restart_tr: float, tr_min: float) -> None:
        self._tolerance = tolerance
        self._restart = restart_tr
        self._tr_min = tr_min
        self._intervals: deque[float] = deque(maxlen=31)
        self._onsets: dict[int, float] = {}
        self._recent: deque[tuple[int, float]] = deque(maxlen=31)
        self._stray: float | None = None
        self.n_triggers = 0
        self.missing = 0
        self.doubled = 0
        self.extra = 0
        self.trains = 0

    @property
    def tr(self) -> float | None:
        """Median interval, s; None before two triggers."""
        return float(np.median(self._intervals)) if self._intervals else None

    def add(self, time: float) -> Verdict:
        """Number the trigger at ``time`` (s)."""
        if not self._recent:
            return self._begin(time)
        index, last = self._recent[-1]
        since = time - last
        tr = self.tr
        if since < (self._tr_min if tr is None else max(self._tr_min, 0.5 * tr)):
            self.doubled += 1
            return Verdict.DOUBLED
        if tr is None:
            return self._accept(index + 1, time, since)
        n = round(since / tr)
        if n >= 1 and abs(since - n * tr) <= self._tolerance * tr:
            self.missing += n - 1
            return self._accept(index + n, time, since / n)
        if since > self._restart * tr:
            return self._begin(time)
        stray, self._stray = self._stray, time
        if stray is not None and abs(time - stray - tr) <= self._tolerance * tr:
            self._begin(stray)
            self._intervals.append(time - stray)
            return self._accept(1, time, time - stray)
        self.extra += 1
        return Verdict.EXTRA

    def _begin(self, time: float) -> Verdict:
        self._intervals.clear()
        self._onsets.clear()
        self._recent.clear()
        self._stray = None
        self.trains += 1
        return self._accept(0, time, None)

    def _accept(self, index: int, time: float, interval: float | None) -> Verdict:
        if interval is not None:
            self._intervals.append(interval)
        self._onsets[index] = time
        self._recent.append((index, time))
        self._stray = None
        self.n_triggers += 1
        return Verdict.VOLUME

    def onset(self, index: int, newest: float) -> SessionTime | None:
        """Tell when volume ``index`` of the present train began.

        The time of its trigger when it was seen; else the line, when that lies before ``newest`` (SessionTime, s): a
        trigger may still come for what lies after it.
        """
        seen = self._onsets.get(index)
        if seen is not None:
            return SessionTime(seen)
        tr = self.tr
        if tr is None or index < 0:
            return None
        at = float(np.median([t + (index - k) * tr for k, t in self._recent]))
        return SessionTime(at) if at <= newest else None
