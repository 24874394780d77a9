"""When a trigger is given, and what the participant is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from streamer.contracts import Settings
from streamer.decode.score_source import ScoreSourceSettings
from streamer.decode.thresholds import ThresholdSettings
from streamer.messages import Flag


class DecisionSettings(Settings):
    """When a trigger is given."""

    mode: Literal["trigger", "continuous", "intermittent"] = "trigger"
    """trigger: triggers, and the score beside them. continuous: the score alone. intermittent: the mean score of a
    block, shown after it; no triggers."""
    target: str = "task"
    """The class that is rewarded."""
    threshold_on: float = Field(default=0.7, gt=0, lt=1)
    """Smoothed probability of the target from which it counts, 0..1."""
    threshold_off: float = Field(default=0.55, gt=0, lt=1)
    """Smoothed probability below which it no longer counts, 0..1; not above threshold_on."""
    smoothing_s: float = Field(default=0.5, ge=0, le=60)
    """Time constant of the exponential smoothing, s; 0 takes each probability as it is."""
    dwell_s: float = Field(default=0.5, ge=0, le=60)
    """The probability must count for this long, s."""
    gap_s: float = Field(default=1.5, gt=0, le=60)
    """After a pause in the predictions longer than this, s, smoothing and dwell start anew."""
    refractory_s: float = Field(default=3.0, gt=0, le=600)
    """No other trigger for this long, s."""
    expires_s: float = Field(default=1.0, gt=0, le=60)
    """A trigger may be acted on, and a score shown, until this long after the time that it speaks of, s; what the
    cleaning holds the EEG back is added."""
    max_per_minute: int = Field(default=12, ge=1, le=600)
    """Triggers in any 60 s."""
    max_per_run: int = Field(default=500, ge=1, le=5000)
    """Triggers in the session."""
    action: str = Field(default="feedback", min_length=1)
    """What the trigger asks for."""
    neutral: float = Field(default=0.5, ge=0, le=1)
    """The level that is shown where nothing counts."""
    block_s: float = Field(default=20.0, ge=1, le=300)
    """intermittent: length of a block of regulation, s."""
    show_s: float = Field(default=3.0, ge=0.5, le=60)
    """intermittent: how long the block's score is shown after it, s."""
    source: ScoreSourceSettings = ScoreSourceSettings()
    """What is fed back: the model's probability or a feature."""
    axes: dict[str, ScoreSourceSettings] = Field(default_factory=dict[str, ScoreSourceSettings], max_length=4)
    """Further levels that are shown with the score, by name: for a display with an axis per modality."""
    adapt: ThresholdSettings = ThresholdSettings()
    """Whether thresholds follow the scores."""
    veto: tuple[str, ...] = (
        "GAP",
        "CLOCK_STEP",
        "MOTION",
        "WARMING",
        "STALE",
        "UNSYNCED",
        "MISALIGNED",
        "NO_EEG",
        "NO_BOLD",
        "BAD_CHANNELS",
        "CLIPPED",
        "UNCALIBRATED",
        "ABSTAINED",
    )
    """Flags of a window that forbid a trigger. A session of one modality alone leaves out the other's NO_ flag."""

    @field_validator("veto")
    @classmethod
    def _known_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [flag.name for flag in Flag]
        unknown = [name for name in value if name not in known]
        if unknown:
            raise ValueError(f"no such flag: {', '.join(unknown)}; expected some of {', '.join(map(str, known))}")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> DecisionSettings:
        if self.threshold_off > self.threshold_on:
            raise ValueError(f"threshold_off {self.threshold_off} is above threshold_on {self.threshold_on}")
        return self

    def veto_flags(self) -> Flag:
        """Give the flags that forbid a trigger as one."""
        flags = Flag.NONE
        for name in self.veto:
            flags |= Flag[name]
        return flags
