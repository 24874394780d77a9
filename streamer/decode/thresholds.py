"""Thresholds that follow the participant: percentiles of the last clean scores, moved slowly.

A participant for whom the threshold is out of reach learns nothing, nor does one who is always rewarded. With a target
rate the threshold is the percentile that so large a share of the last clean scores lies above. Scores that count for
nothing (vetoed, stale, sham) do not move it, and it moves by a bounded amount a minute, so that nobody is walked into a
state that only the threshold likes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from streamer.contracts import Settings

MINUTE_S = 60.0
LONGEST_STEP_S = 1.0
"""A pause does not let the threshold jump by more than this much time allows."""


class ThresholdSettings(Settings):
    """Whether thresholds follow the scores."""

    mode: Literal["fixed", "percentile"] = "fixed"
    """fixed: as the settings or the calibration say. percentile: of the last clean scores."""
    on_percentile: float = Field(default=75.0, gt=0, lt=100)
    """Of the last clean scores, for the upper threshold."""
    off_percentile: float = Field(default=55.0, gt=0, lt=100)
    """For the lower one; not above the upper."""
    reward_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of the scores that is to lie above the upper threshold, in place of ``on_percentile``; 0.6 to 0.7 is usual.
    """
    memory_s: float = Field(default=120.0, ge=10, le=600)
    """Scores of so long enter, s."""
    learn_s: float = Field(default=60.0, ge=5, le=600)
    """Clean scores that are needed before anything may fire, s."""
    change_per_minute: float = Field(default=0.05, gt=0, le=1)
    """Most that a threshold moves in a minute once it is there, of the range 0..1."""

    @model_validator(mode="after")
    def _ordered(self) -> ThresholdSettings:
        if self.off_percentile > self.on_percentile:
            raise ValueError(f"off_percentile {self.off_percentile:g} is above on_percentile {self.on_percentile:g}")
        if self.learn_s > self.memory_s:
            raise ValueError(f"learn_s {self.learn_s:g} is longer than memory_s {self.memory_s:g}")
        return self

    @property
    def upper(self) -> float:
        """Percentile of the upper threshold."""
        return self.on_percentile if self.reward_rate is None else 100.0 * (1.0 - self.reward_rate)


class Thresholds:
    """The two thresholds in force.

    Parameters
    ----------
    settings : ThresholdSettings
    on, off : float
        Those of the settings or of a calibration: in force with ``fixed``.
    """

    def __init__(self, settings: ThresholdSettings, on: float, off: float) -> None:
        self.on = on
        """From here a score counts."""
        self.off = off
        """Below here it counts no longer."""
        self._settings = settings
        self._scores: deque[tuple[float, float]] = deque()
        self._clean_s = 0.0
        self._last: float | None = None
        self._there = settings.mode == "fixed"

    @property
    def ready(self) -> bool:
        """Whether enough was seen."""
        return self._there

    def add(self, score: float, at: float) -> None:
        """Take a clean score (0..1) at a time in s; times that jump back start the count of clean time anew."""
        s = self._settings
        if s.mode == "fixed":
            return
        since = 0.0 if self._last is None else at - self._last
        self._last = at
        if since < 0:
            self._scores.clear()
            since = 0.0
        step = min(since, LONGEST_STEP_S)
        self._clean_s += step
        self._scores.append((at, score))
        while self._scores[0][0] < at - s.memory_s:
            self._scores.popleft()
        if self._clean_s < s.learn_s:
            return
        lower = min(s.off_percentile, s.upper)
        on, off = (float(v) for v in np.percentile([score for _, score in self._scores], (s.upper, lower)))
        if self._there:
            most = s.change_per_minute * step / MINUTE_S
            on = self.on + math.copysign(min(abs(on - self.on), most), on - self.on)
            off = self.off + math.copysign(min(abs(off - self.off), most), off - self.off)
        self.on, self.off, self._there = on, min(off, on), True
