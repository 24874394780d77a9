"""From probabilities to a trigger: smoothing, hysteresis, dwell, vetoes, a cap, refractory time.

::

    IDLE ──clean window── ARMED ──score ≥ on── CANDIDATE ──held for dwell, nothing vetoes── fire ── REFRACTORY ── ARMED
      ▲ stop                ▲────score < off──────┘

Time is ``Prediction.about`` and nothing else, so that a replay decides as the live run did. A window with a veto flag
restarts the dwell: what fires was seen on clean windows alone. Where time jumps back, the refractory time starts anew
and the cap still counts every trigger: the safe output is no trigger.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum

from pydantic import Field, field_validator, model_validator

from streamer.contracts import Settings
from streamer.messages import Flag, Prediction, SessionTime, Trigger, Veto

MINUTE_S = 60.0
VETO_EVERY_S = 1.0
SLACK_S = 1e-6
"""Windows lie on a grid of tenths of a second, which binary fractions miss by less than this."""


class DecisionState(Enum):
    """Where the decision stands."""

    IDLE = "IDLE"
    """No clean window yet, or stopped by the operator."""
    ARMED = "ARMED"
    """Below the threshold."""
    CANDIDATE = "CANDIDATE"
    """Above the threshold, waiting for the dwell time or for a veto to end."""
    REFRACTORY = "REFRACTORY"
    """A trigger was given a moment ago."""


class DecisionSettings(Settings):
    """When a trigger is given."""

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
    """A trigger may be acted on until this long after the time that it speaks of, s; what the cleaning holds the EEG
    back is added."""
    max_per_minute: int = Field(default=12, ge=1, le=600)
    """Triggers in any 60 s."""
    action: str = Field(default="feedback", min_length=1)
    """What the trigger asks for."""
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


class Decision:
    """Decide on triggers, one prediction after the other.

    Parameters
    ----------
    settings : DecisionSettings
    classes : tuple of str
        Of the model.

    Raises
    ------
    ValueError
        The target is not one of the classes.
    """

    def __init__(self, settings: DecisionSettings, classes: tuple[str, ...]) -> None:
        if settings.target not in classes:
            raise ValueError(f"target {settings.target!r} is not a class of the model: expected {', '.join(classes)}")
        self.settings = settings
        self._target = classes.index(settings.target)
        self._veto = settings.veto_flags()
        self._score: float | None = None
        self._last: float | None = None
        self._above_since: float | None = None
        self._clean_since: float | None = None
        self._refractory_until = -math.inf
        self._fired: deque[float] = deque(maxlen=settings.max_per_minute)
        self._seq = 0
        self._last_veto = -math.inf
        self._seen_clean = False
        self._stopped = False

    @property
    def state(self) -> DecisionState:
        """Where the decision stands after the last prediction or command."""
        if self._stopped or not self._seen_clean:
            return DecisionState.IDLE
        if self._last is not None and self._last < self._refractory_until:
            return DecisionState.REFRACTORY
        return DecisionState.ARMED if self._above_since is None else DecisionState.CANDIDATE

    @property
    def score(self) -> float | None:
        """Smoothed probability of the target; None before the first prediction."""
        return self._score

    def command(self, action: str) -> None:
        """Take ``stop`` (no triggers until further notice) or ``arm``; ValueError for anything else."""
        if action not in {"stop", "arm"}:
            raise ValueError(f"command {action!r} is not known: expected stop or arm")
        self._stopped = action == "stop"
        self._above_since = self._clean_since = None

    def __call__(self, prediction: Prediction) -> Trigger | Veto | None:
        """Take one prediction; give a trigger, the veto of one that was due (at most one a second), or nothing."""
        at = float(prediction.about)
        self._pass_time(at)
        self._smooth(prediction.probabilities[self._target], at)
        self._last = at
        vetoing = prediction.flags & self._veto
        self._seen_clean |= not vetoing
        if at < self._refractory_until:
            self._above_since = self._clean_since = None
            return None
        self._hysteresis(at, clean=not vetoing)
        dwell = self.settings.dwell_s - SLACK_S
        if self._above_since is None or at - self._above_since < dwell:
            return None
        reasons = [str(flag.name) for flag in Flag if flag & vetoing]
        if not reasons and (self._clean_since is None or at - self._clean_since < dwell):
            return None
        if self._stopped:
            reasons.append("stopped by the operator")
        if sum(at - fired < MINUTE_S for fired in self._fired) >= self.settings.max_per_minute:
            reasons.append(f"{self.settings.max_per_minute} triggers in a minute")
        if reasons:
            return self._hold(prediction, at, reasons)
        return self._fire(prediction, at)

    def _pass_time(self, at: float) -> None:
        if self._last is None:
            return
        if at < self._last:
            # clocks were set: what is counted from the old time must not come off early
            if self._refractory_until > -math.inf:
                self._refractory_until = at + self.settings.refractory_s
            self._fired = deque((min(fired, at) for fired in self._fired), maxlen=self._fired.maxlen)
            self._last_veto = min(self._last_veto, at - VETO_EVERY_S)
        if not 0 <= at - self._last <= self.settings.gap_s:
            self._score = self._above_since = self._clean_since = None

    def _smooth(self, probability: float, at: float) -> None:
        if self._score is None or self._last is None or self.settings.smoothing_s == 0:
            self._score = probability
            return
        share = 1.0 - math.exp(-(at - self._last) / self.settings.smoothing_s)
        self._score += share * (probability - self._score)

    def _hysteresis(self, at: float, *, clean: bool) -> None:
        score = self._score
        if score is None:
            return
        if self._above_since is None:
            if score >= self.settings.threshold_on:
                self._above_since = at
        elif score < self.settings.threshold_off:
            self._above_since = None
        if self._above_since is None or not clean:
            self._clean_since = None
        elif self._clean_since is None:
            self._clean_since = at

    def _hold(self, prediction: Prediction, at: float, reasons: list[str]) -> Veto | None:
        if at - self._last_veto < VETO_EVERY_S - SLACK_S:
            return None
        self._last_veto = at
        return Veto(window=prediction.seq, reason=", ".join(reasons), about=prediction.about)

    def _fire(self, prediction: Prediction, at: float) -> Trigger:
        s = self.settings
        score = self._score if self._score is not None else 0.0
        trigger = Trigger(
            seq=self._seq,
            window=prediction.seq,
            action=s.action,
            level=round(score, 5),
            about=prediction.about,
            # as soon as it is known; the deadline counts from the evidence, so that a late loop stays silent
            fire_at=prediction.about,
            expires=SessionTime(at + s.expires_s + prediction.hold_eeg),
            reason=_reason(s, score, prediction.flags),
            flags=prediction.flags,
        )
        self._seq += 1
        self._fired.append(at)
        self._refractory_until = at + s.refractory_s
        self._above_since = self._clean_since = None
        return trigger


def _reason(settings: DecisionSettings, score: float, flags: Flag) -> str:
    text = f"p({settings.target}) = {score:.3f}, above {settings.threshold_on:g} for {settings.dwell_s:g} s"
    names = [str(flag.name) for flag in Flag if flag & flags]
    return f"{text}; flags {', '.join(names)}" if names else text
