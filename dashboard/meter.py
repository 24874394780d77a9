"""How the window itself does: frames a second, how long they take, and how late what came is on the screen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dashboard.link.feed import Arrival
from streamer.wire import PredictionMessage

_FRAMES = 300
"""That an operator is shown: the last ten seconds."""
_KEPT = 36_000
"""That the summary speaks of: the last twenty minutes."""
_ARRIVALS = 100_000
_SETTLED_S = 5.0
"""Before that a window loads and makes what it needs for the first time, s."""


class FrameMeter:
    """Counts the last frames.

    A frame goes from the timer's call to when all that it changed was painted; the pixels are then with the window
    system. The summary leaves out the first seconds of a window that is open for longer.
    """

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_FRAMES)
        self._spans: deque[float] = deque(maxlen=_FRAMES)
        self._first: float | None = None
        self._early: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._settled: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._from_arrival: deque[float] = deque(maxlen=_ARRIVALS)
        self._from_ready: deque[float] = deque(maxlen=_ARRIVALS)
        self.frames = 0

    def add(self, begin: float, end: float) -> None:
        """Take a frame that was drawn from ``begin`` to ``end``, s on the window's own clock."""
        self._ends.append(end)
        self._spans.append(end - begin)
        if self._first is None:
            self._first = begin
        kept = self._early if begin - self._first < _SETTLED_S else self._settled
        kept.append((end, end - begin))
        self.frames += 1

    def shown(self, arrivals: Iterable[Arrival], at: float) -> None:
        """Take what a frame showed that was painted at ``at``, s on the clock of the feed."""
        for arrival in arrivals:
            if math.isfinite(arrival.came):
                self._from_arrival.append(at - arrival.came)
                message = arrival.message
                if isinstance(message, PredictionMessage) and message.ready is not None:
                    self._from_ready.append(at - message.ready)

    @property
    def fps(self) -> float:
        """Frames per second; NaN before the second one."""
        return _rate(self._ends)

    @property
    def frame_ms_p99(self) -> float:
        """99 % of frames took no longer, ms; NaN before the first."""
        return float(np.percentile(self._spans, 99)) * 1e3 if self._spans else math.nan

    def summary(self) -> dict[str, Any]:
        """Give all figures as plain values, ms; None where nothing was measured.

        ``ready_to_pixels`` holds where the window and the loop are on one machine.
        """
        kept = self._settled or self._early
        return {
            "frames": self.frames,
            "fps": _plain(_rate([end for end, _ in kept])),
            "frame": _quantiles(span for _, span in kept),
            "arrival_to_pixels": _quantiles(self._from_arrival),
            "ready_to_pixels": _quantiles(self._from_ready),
        }


def _rate(ends: Sequence[float]) -> float:
    if len(ends) < 2 or ends[-1] <= ends[0]:
        return math.nan
    return (len(ends) - 1) / (ends[-1] - ends[0])


def _plain(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _quantiles(spans: Iterable[float]) -> dict[str, float] | None:
    values = np.array(list(spans)) * 1e3
    if not len(values):
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2), "p99_ms": round(float(p99), 2)}
