"""How long a score takes to the screen."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from dashboard.feedback.store import Times

BAR_MS = 100.0
"""Message to pixels, 95th percentile, ms: later feedback teaches less."""
NEWEST = 100_000


class Latency:
    """Measured latencies of the scores that were shown, the newest ``NEWEST``.

    The end is when the pixels are with the window system. What the compositor, the projector and its cable add, a
    photodiode tells.
    """

    def __init__(self) -> None:
        self._rows: deque[tuple[float, float, float]] = deque(maxlen=NEWEST)

    def add(self, times: Times, shown: float) -> None:
        """Note a score that was given to the screen at ``shown``, s on the clock of ``times``."""
        self._rows.append((shown - times.arrival, shown - times.ready, shown - times.about))

    def __len__(self) -> int:
        return len(self._rows)

    def summary(self) -> dict[str, Any]:
        """Give p50, p95 and the largest in ms: from arrival, from when the score was known, from what it speaks of.

        ``None`` while no score was shown.
        """
        names = ("arrival_to_pixels", "ready_to_pixels", "about_to_pixels")
        rows = np.array(self._rows, np.float64).reshape(-1, 3) * 1e3
        return {
            "scores": len(rows),
            "bar_ms": BAR_MS,
            **{name: _quantiles(rows[:, i]) if len(rows) else None for i, name in enumerate(names)},
        }


def _quantiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2), "max_ms": round(float(values.max()), 2)}
