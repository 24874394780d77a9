"""One train of volumes: when volume k began, by its triggers and by the line through them."""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np

from streamer.align.robust_line import Line, line_of_rounded, robust_line
from streamer.messages import SessionTime

_SETTLED = 8
_WINDOW = 64
_POSITIONS = 128
_KEPT = 1024


class VolumeTrain:
    """The line ``t_k = t0 + k TR`` through the volume triggers of one scan, numbered from 0.

    Parameters
    ----------
    number : int
        Of the train in the session, from 0.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.clear()

    def clear(self) -> None:
        """Forget all triggers."""
        self.n_triggers = 0
        self._onsets: OrderedDict[int, float] = OrderedDict()
        self._recent: deque[tuple[int, float]] = deque(maxlen=_WINDOW)
        self._positions: deque[tuple[int, float, bool]] = deque(maxlen=_POSITIONS)
        self._off: list[tuple[int, float, bool]] = []
        self._line: Line | None = None
        self._position_line: Line | None = None
        self.first = self.last = (0, 0.0)
        """Number and time (s) of the first and the newest trigger."""

    @property
    def settled(self) -> bool:
        """Whether there are triggers enough to trust the line more than one of them."""
        return self.n_triggers >= _SETTLED

    @property
    def line(self) -> Line | None:
        """Time (s) against number, through the newest triggers; None before two."""
        if self._line is None and len(self._recent) >= 2:
            k, t = np.array(self._recent, dtype=np.float64).T
            self._line = robust_line(k, t)
        return self._line

    @property
    def tr(self) -> float | None:
        """Interval of the triggers, s; None before two of them."""
        line = self.line
        return None if line is None else line.slope

    @property
    def residual_s(self) -> float:
        """Robust standard deviation of the newest triggers about the line, s."""
        return 0.0 if self.line is None else self.line.scatter

    def add(self, k: int, time: float, position: float | None = None, *, exact: bool = False) -> None:
        """Take the trigger of volume ``k``.

        Parameters
        ----------
        k : int
            Higher than any before.
        time : float
            s.
        position : float or None
            Where it lies on the sample grid.
        exact : bool
            Whether that is the very sample; else it is an estimate from time stamps.
        """
        if not self.n_triggers:
            self.first = (k, time)
        self.last = (k, time)
        self.n_triggers += 1
        self._onsets[k] = time
        if len(self._onsets) > _KEPT:
            self._onsets.popitem(last=False)
        self._recent.append((k, time))
        self._line = None
        if position is not None:
            self._place(k, position, exact=exact)

    def _place(self, k: int, position: float, *, exact: bool) -> None:
        place = (k, position, exact)
        at = self.sample(k)
        if exact and at is not None and len(self._positions) >= 4 and abs(position - at) > 2.0:
            # samples were lost and miscounted, or it is one bad trigger: three in a row tell
            self._off.append(place)
            if len(self._off) < 3:
                return
            self._positions.clear()
            self._positions.extend(self._off)
        else:
            self._positions.append(place)
        self._off.clear()
        self._position_line = None

    def lacks(self, k: int) -> bool:
        """Whether volume ``k`` lies before the newest trigger, and has none."""
        return self.first[0] < k < self.last[0] and k not in self._onsets and self.last[0] - k < _WINDOW

    def fill(self, k: int, time: float) -> None:
        """Take a trigger that was lacking; it draws the line no more."""
        self._onsets[k] = time

    def drop_last(self) -> None:
        """Take the newest trigger back: it belongs to another train."""
        k, _ = self._recent.pop()
        self._onsets.pop(k, None)
        while self._positions and self._positions[-1][0] >= k:
            self._positions.pop()
        self._off.clear()
        self.n_triggers -= 1
        self.last = self._recent[-1] if self._recent else self.first
        self._line = self._position_line = None

    def forget_samples(self) -> None:
        """Begin the sample positions anew: the grid has lost its count."""
        self._positions.clear()
        self._off.clear()
        self._position_line = None

    def onset(self, k: int, newest: float) -> SessionTime | None:
        """Tell when volume ``k`` began.

        The line once it has settled, and where a trigger is missing; before that, and for volumes of long ago, the time
        of its trigger. None when it is not known: before two triggers, and for a volume without a trigger that lies
        after ``newest`` (SessionTime, s), whose trigger may still come.
        """
        own = self._onsets.get(k)
        line = self.line if k >= 0 else None
        if line is None or (own is not None and (not self.settled or k < self._recent[0][0])):
            return None if own is None else SessionTime(own)
        at = line(k)
        return SessionTime(at) if own is not None or at <= newest else None

    def sample(self, k: int) -> float | None:
        """Tell where on the sample grid volume ``k`` began, finer than a sample; None before three triggers.

        The numbers of samples are times rounded to whole samples, and the line through them is what they have in
        common. Estimates from time stamps serve while fewer than 8 samples are exact.
        """
        if self._position_line is None:
            exact = [(k, at) for k, at, sure in self._positions if sure]
            points = exact if len(exact) >= _SETTLED else [(k, at) for k, at, _ in self._positions]
            if len(points) < 3:
                return None
            ks, at = np.array(points, dtype=np.float64).T
            self._position_line = (line_of_rounded if len(points) == len(exact) else robust_line)(ks, at)
        return self._position_line(k)
