"""Where the score comes from: the model's probability, or a feature such as a difference or a connection of regions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.messages import Feature, Flag, Prediction, SessionTime


class ScoreSourceSettings(Settings):
    """What is fed back."""

    feature: str = ""
    """Name of a feature, for instance ``bold.feedback``; empty: the model's probability of the target."""
    label: str = ""
    """Label of one of its values, for instance ``level motor`` or ``motor_L-motor_R``; its unit may be left out."""
    low: float = 0.0
    """The value that is shown as 0."""
    high: float = 1.0
    """The value that is shown as 1; below ``low`` where less is better."""
    age_max_s: float = Field(default=6.0, gt=0, le=60)
    """An older value counts for nothing, s."""

    @model_validator(mode="after")
    def _range(self) -> ScoreSourceSettings:
        if self.low == self.high or not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"low {self.low:g} and high {self.high:g}: expected two different numbers")
        if bool(self.feature) != bool(self.label):
            raise ValueError("feature and label: expected both, or neither for the model's probability")
        return self


class ScoreSource:
    """The newest value of a source, 0..1.

    Parameters
    ----------
    settings : ScoreSourceSettings
    target : int
        Index of the target among the model's classes.
    """

    def __init__(self, settings: ScoreSourceSettings, target: int) -> None:
        self.settings = settings
        self._target = target
        self._newest: Feature | None = None

    def feature(self, feature: Feature) -> None:
        """Take a feature; others than its own are passed over."""
        if feature.name == self.settings.feature:
            self._newest = feature

    def __call__(self, prediction: Prediction) -> tuple[float | None, Flag]:
        """Give the score at a decision, None where nothing counts, and the flags of what it was made from."""
        if not self.settings.feature:
            return prediction.probabilities[self._target], Flag.NONE
        return self.newest(prediction.about)

    def newest(self, about: SessionTime) -> tuple[float | None, Flag]:
        """Give what its feature says at a time, as a call does."""
        s, newest = self.settings, self._newest
        if newest is None:
            return None, Flag.WARMING
        if not -1.0 <= about - newest.about <= s.age_max_s:
            return None, newest.flags | Flag.STALE
        value = _value(newest, s.label)
        if not newest.valid or value is None or not math.isfinite(value):
            return None, newest.flags | Flag.WARMING
        return min(1.0, max(0.0, (value - s.low) / (s.high - s.low))), newest.flags


def _value(feature: Feature, label: str) -> float | None:
    for name, value in zip(feature.labels, feature.values, strict=True):
        if name == label or name.rsplit(" (", 1)[0] == label:
            return value
    return None


class Axes:
    """Several sources by name, as a display with one axis each shows them.

    Parameters
    ----------
    settings : mapping of str to ScoreSourceSettings
    target : int
        Index of the target among the model's classes.
    """

    def __init__(self, settings: Mapping[str, ScoreSourceSettings], target: int) -> None:
        self._sources = {name: ScoreSource(each, target) for name, each in settings.items()}

    def feature(self, feature: Feature) -> None:
        """Take a feature."""
        for source in self._sources.values():
            source.feature(feature)

    def __call__(self, prediction: Prediction, neutral: float) -> dict[str, float]:
        """Give the level of each axis; ``neutral`` where nothing counts."""
        found: dict[str, float] = {}
        for name, source in self._sources.items():
            level, _ = source(prediction)
            found[name] = neutral if level is None else round(level, 5)
        return found
