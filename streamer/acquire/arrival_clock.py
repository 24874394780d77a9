"""When samples were taken, from their count and from when they arrived: for senders that stamp nothing."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from streamer.messages import F64

_BIN_S = 1.0
_WINDOW_S = 60.0
_SLOPE_AFTER_S = 10.0
"""Before this the rate is taken as it was known: two close arrivals tell nothing of it."""
_MAX_RATE = 200e-6
_STEP_S = 0.05
_LATE_FOR_S = 5.0

_Point = tuple[float, float]
"""Where on the sender's clock, s; how much later than that it arrived, s."""


class ArrivalClock:
    """Map a sender's sample count to session time by its earliest arrivals.

    The way of a block takes a least time, and anything up to seconds more when the network or the program is busy; it
    never takes less. So the arrivals of the last minute lie above a line, and the line under all of them that lies
    closest to them is the sender's clock (Moon, Skelly & Towsley 1999, doi:10.1109/INFCOM.1999.749287). The line is an
    edge of the lower convex hull of each second's earliest arrival; late arrivals cannot move it, early ones at once.
    What the shortest way takes is not seen.

    A sample lasts one period: it is handed over at its end at the earliest, and its time is its beginning.

    When arrivals leave the line for good (later than 50 ms for 5 s, or earlier than 50 ms at once), the sender has lost
    samples that it did not count, or has counted too many; then the line is drawn anew.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._points: deque[_Point] = deque()
        self._rate = 0.0
        self._level = 0.0
        self._late_since: float | None = None

    def restart(self) -> None:
        """Forget all arrivals; what is known of the rate stays."""
        self._points.clear()
        self._late_since = None

    def arrived(self, end: int, at: float) -> None:
        """Take that all samples before ``end`` were there at session time ``at`` (s)."""
        x = end / self._sfreq
        delay = at - x
        points = self._points
        self._judge(x, delay, at)
        if points and x // _BIN_S == points[-1][0] // _BIN_S:
            if delay >= points[-1][1]:
                return
            points[-1] = (x, delay)
        else:
            points.append((x, delay))
        while x - points[0][0] > _WINDOW_S:
            points.popleft()
        self._draw(x)

    def _judge(self, x: float, delay: float, at: float) -> None:
        """Forget the arrivals before this one when it shows that the line holds no more."""
        beyond = delay - self._line(x) if self._points else 0.0
        if beyond < -_STEP_S:
            self.restart()
        elif beyond <= _STEP_S:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = at
        elif at - self._late_since >= _LATE_FOR_S:
            self.restart()

    def _draw(self, x: float) -> None:
        points = self._points
        if x - points[0][0] >= _SLOPE_AFTER_S:
            middle = sum(at for at, _ in points) / len(points)
            (x0, y0), (x1, y1) = next(edge for edge in pairwise(_hull(points)) if edge[1][0] >= middle)
            self._rate = min(max((y1 - y0) / (x1 - x0), -_MAX_RATE), _MAX_RATE)
        self._level = min(delay - self._rate * at for at, delay in points)

    def _line(self, x: float) -> float:
        return self._level + self._rate * x

    def offset(self, sample: int) -> float:
        """Give what is added to ``sample / sfreq`` to get its session time, s."""
        return self._line(sample / self._sfreq)

    def times(self, start: int, stop: int) -> F64:
        """Give the session times (s) of samples ``start`` to ``stop`` (excluded)."""
        raw = np.arange(start, stop, dtype=np.float64) / self._sfreq
        return raw + (self._level + self._rate * raw)


def _hull(points: deque[_Point]) -> list[_Point]:
    """Lower convex hull of points that are sorted by x."""
    hull: list[_Point] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x0) < (y - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull
