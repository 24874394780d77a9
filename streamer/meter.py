"""Telemetry: how long stages take and how old their results are. Nothing that is decided depends on it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from streamer.clock import stopwatch

KEPT = 8192
"""Newest values that a percentile is taken of."""


class Meter:
    """Counts, and p50 and p99 of durations per stage. Serves the engine as its probe."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._values: dict[str, np.ndarray] = {}
        self._n: dict[str, int] = {}
        self._started = stopwatch()

    def start(self) -> None:
        """Start the watch that :meth:`lap` reads."""
        self._started = stopwatch()

    def lap(self, stage: str) -> None:
        """Add the time since the last ``start`` or ``lap`` to a stage, and start anew."""
        now = stopwatch()
        self.add(stage, now - self._started)
        self._started = now

    def add(self, stage: str, seconds: float) -> None:
        """Add one duration to a stage."""
        values = self._values.get(stage)
        if values is None:
            values = self._values[stage] = np.zeros(KEPT)
            self._n[stage] = 0
        n = self._n[stage]
        values[n % KEPT] = seconds
        self._n[stage] = n + 1

    def latency_ms(self) -> dict[str, tuple[float, float]]:
        """Give p50 and p99 per stage, ms, of the newest values."""
        out: dict[str, tuple[float, float]] = {}
        for stage, values in self._values.items():
            p50, p99 = np.percentile(values[: min(self._n[stage], KEPT)], (50, 99)) * 1e3
            out[stage] = (round(float(p50), 3), round(float(p99), 3))
        return out
