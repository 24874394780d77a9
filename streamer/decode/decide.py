"""From probabilities to a score and a trigger: smoothing, thresholds, dwell, vetoes, caps, refractory time.

::

    IDLE ──clean, thresholds known── ARMED ──score ≥ on── CANDIDATE ──held for dwell, no veto── fire ── REFRACTORY ─┐
      ▲ stop                           ▲────score < off──────┘                                                     │
      └────────────────────────────────┴───────────────────────────────────────────────────────────────────────────┘

Time is ``Prediction.about`` and nothing else, so that a replay decides as the live run did. A window with a veto flag
restarts the dwell: what fires was seen on clean windows alone. Where time jumps back, the refractory time starts anew
and the caps still count every trigger: the safe output is no trigger, and the safe score is the neutral one.

With sham in force what is shown is not the participant's own score. The own one goes on beside it, and vetoes and caps
hold all the same.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Protocol

from streamer.decode.candidate import Candidate
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.score_source import Axes, ScoreSource
from streamer.decode.thresholds import Thresholds
from streamer.decode.trigger_limits import TriggerLimits
from streamer.messages import Feature, Flag, Prediction, Score, SessionTime, Trigger, Veto

VETO_EVERY_S = 1.0
SLACK_S = 1e-6
"""Windows lie on a grid of tenths of a second, which binary fractions miss by less than this."""
DIGITS = 5


class DecisionState(Enum):
    """Where the decision stands."""

    IDLE = "IDLE"
    """No clean window or no threshold yet, or stopped by the operator."""
    ARMED = "ARMED"
    """Below the threshold."""
    CANDIDATE = "CANDIDATE"
    """Above the threshold, waiting for the dwell time or for a veto to end."""
    REFRACTORY = "REFRACTORY"
    """A trigger was given a moment ago."""


class Sham(Protocol):
    """Replaces what the participant is shown."""

    def feature(self, feature: Feature) -> None:
        """Take a feature that may be shown."""
        ...

    def level(self, actual: float, at: SessionTime, *, clean: bool) -> float | None:
        """Give the level to show (0..1) in place of the participant's own; None while there is nothing to show."""
        ...


class Decision:
    """Decide, one prediction after the other.

    Parameters
    ----------
    settings : DecisionSettings
    classes : tuple of str
        Of the model.
    sham : Sham, optional
        In force for the whole session.

    Raises
    ------
    ValueError
        The target is not one of the classes.
    """

    def __init__(self, settings: DecisionSettings, classes: tuple[str, ...], sham: Sham | None = None) -> None:
        if settings.target not in classes:
            raise ValueError(f"target {settings.target!r} is not a class of the model: expected {', '.join(classes)}")
        self.settings = settings
        self.thresholds = Thresholds(settings.adapt, settings.threshold_on, settings.threshold_off)
        self._sham = sham
        target = classes.index(settings.target)
        self._source = ScoreSource(settings.source, target)
        self._axes = Axes(settings.axes, target)
        self._veto = settings.veto_flags()
        self._limits = TriggerLimits(settings.refractory_s, settings.max_per_minute, settings.max_per_run)
        self._score: float | None = None
        self._last: float | None = None
        self._flags = Flag.NONE
        self._above_since: float | None = None
        self._clean_since: float | None = None
        self._last_veto = -math.inf
        self._seen_clean = False
        self._stopped = False
        self._block = _Block(settings.block_s, settings.show_s)

    @property
    def state(self) -> DecisionState:
        """Where the decision stands after the last prediction or command."""
        if self._stopped or not self._seen_clean or not self.thresholds.ready:
            return DecisionState.IDLE
        if self._last is not None and self._limits.refractory(self._last):
            return DecisionState.REFRACTORY
        return DecisionState.ARMED if self._above_since is None else DecisionState.CANDIDATE

    @property
    def score(self) -> float | None:
        """The participant's own smoothed score; None before the first."""
        return self._score

    def command(self, action: str) -> None:
        """Take ``stop`` (no triggers until further notice) or ``arm``; ValueError for anything else."""
        if action not in {"stop", "arm"}:
            raise ValueError(f"command {action!r} is not known: expected stop or arm")
        self._stopped = action == "stop"
        self._above_since = self._clean_since = None

    def feature(self, feature: Feature) -> None:
        """Take a feature that may be fed back."""
        self._source.feature(feature)
        self._axes.feature(feature)
        if self._sham is not None:
            self._sham.feature(feature)

    def __call__(self, prediction: Prediction) -> list[Score | Trigger | Veto]:
        """Take one prediction; give the score, and a trigger or the veto of one that was due (at most one a second)."""
        at = float(prediction.about)
        self._pass_time(at)
        raw, source_flags = self._source(prediction)
        flags = prediction.flags | source_flags
        if raw is not None:
            self._smooth(raw, at)
        self._last, self._flags = at, flags
        vetoing = flags & self._veto
        clean = raw is not None and not vetoing
        self._seen_clean |= clean
        shown = self._score
        if self._sham is not None:
            shown = None if self._score is None else self._sham.level(self._score, prediction.about, clean=clean)
        elif clean and self._score is not None:
            self.thresholds.add(self._score, at)
        out: list[Score | Trigger | Veto] = [self._show(prediction, shown, flags, clean=clean)]
        if self.settings.mode == "trigger":
            decided = self._decide(prediction, at, shown, vetoing, clean=clean)
            out.extend([] if decided is None else [decided])
        return out

    def candidate(self, candidate: Candidate) -> Trigger | Veto | None:
        """Take a trigger that something else asks for; nothing comes of it within the refractory time."""
        at = float(candidate.about)
        last = self._last
        if self._limits.refractory(max(at, at if last is None else last)):
            return None
        reasons = self._reasons((self._flags | candidate.flags) & self._veto, at)
        if not self._seen_clean or last is None or abs(at - last) > self.settings.gap_s:
            reasons.append("no decision about this time")
        window = -1
        if reasons:
            return self._hold(window, candidate.about, reasons)
        seq = self._limits.fired(at)
        return Trigger(
            seq=seq,
            window=window,
            action=candidate.action,
            level=round(min(1.0, max(0.0, candidate.level)), DIGITS),
            about=candidate.about,
            fire_at=candidate.fire_at,
            expires=candidate.expires,
            reason=candidate.reason,
            flags=self._flags | candidate.flags,
            source=candidate.source,
        )

    def _decide(
        self, prediction: Prediction, at: float, shown: float | None, vetoing: Flag, *, clean: bool
    ) -> Trigger | Veto | None:
        if self._limits.refractory(at):
            self._above_since = self._clean_since = None
            return None
        self._hysteresis(at, shown, clean=clean)
        dwell = self.settings.dwell_s - SLACK_S
        if self._above_since is None or at - self._above_since < dwell:
            return None
        if not vetoing and (self._clean_since is None or at - self._clean_since < dwell):
            return None
        reasons = self._reasons(vetoing, at)
        if reasons or shown is None:
            return self._hold(prediction.seq, prediction.about, reasons or ["nothing to show"])
        return self._fire(prediction, at, shown)

    def _pass_time(self, at: float) -> None:
        if self._last is None:
            return
        if at < self._last:
            # clocks were set
            self._limits.back(at)
            self._last_veto = min(self._last_veto, at - VETO_EVERY_S)
        if not 0 <= at - self._last <= self.settings.gap_s:
            self._score = self._above_since = self._clean_since = None

    def _smooth(self, probability: float, at: float) -> None:
        if self._score is None or self._last is None or self.settings.smoothing_s == 0:
            self._score = probability
            return
        share = 1.0 - math.exp(-(at - self._last) / self.settings.smoothing_s)
        self._score += share * (probability - self._score)

    def _show(self, prediction: Prediction, shown: float | None, flags: Flag, *, clean: bool) -> Score:
        s = self.settings
        level = shown if clean and self.thresholds.ready else None
        if s.mode == "intermittent":
            level = self._block(level, float(prediction.about))
        if self._stopped:
            level = None
        neutral = level is None
        return Score(
            window=prediction.seq,
            level=s.neutral if level is None else round(level, DIGITS),
            # own axes beside another's level would tell who is who
            axes={} if neutral or self._sham is not None else self._axes(prediction, s.neutral),
            threshold=round(self.thresholds.on, DIGITS),
            neutral=neutral,
            actual=math.nan if self._score is None else round(self._score, DIGITS),
            about=prediction.about,
            expires=SessionTime(prediction.about + s.expires_s + prediction.hold_eeg),
            flags=flags,
        )

    def _hysteresis(self, at: float, score: float | None, *, clean: bool) -> None:
        if score is None:
            return
        if self._above_since is None:
            if self.thresholds.ready and score >= self.thresholds.on:
                self._above_since = at
        elif score < self.thresholds.off:
            self._above_since = None
        if self._above_since is None or not clean:
            self._clean_since = None
        elif self._clean_since is None:
            self._clean_since = at

    def _reasons(self, vetoing: Flag, at: float) -> list[str]:
        reasons = [str(flag.name) for flag in Flag if flag & vetoing]
        if self._stopped:
            reasons.append("stopped by the operator")
        return reasons + self._limits.reasons(at)

    def _hold(self, window: int, about: SessionTime, reasons: list[str]) -> Veto | None:
        if about - self._last_veto < VETO_EVERY_S - SLACK_S:
            return None
        self._last_veto = about
        return Veto(window=window, reason=", ".join(reasons), about=about)

    def _fire(self, prediction: Prediction, at: float, score: float) -> Trigger:
        s = self.settings
        seq = self._limits.fired(at)
        self._above_since = self._clean_since = None
        return Trigger(
            seq=seq,
            window=prediction.seq,
            action=s.action,
            level=round(score, DIGITS),
            about=prediction.about,
            # as soon as it is known; the deadline counts from the evidence, so that a late loop stays silent
            fire_at=prediction.about,
            expires=SessionTime(at + s.expires_s + prediction.hold_eeg),
            reason=_reason(s, score, self.thresholds.on, self._flags),
            flags=self._flags,
        )


class _Block:
    """The mean level of a block, shown for a while after it."""

    def __init__(self, block_s: float, show_s: float) -> None:
        self._block_s = block_s
        self._cycle_s = block_s + show_s
        self._begin: float | None = None
        self._sum = 0.0
        self._n = 0

    def __call__(self, level: float | None, at: float) -> float | None:
        if self._begin is None or not 0 <= at - self._begin < self._cycle_s - SLACK_S:
            self._begin, self._sum, self._n = at, 0.0, 0
        if at - self._begin < self._block_s - SLACK_S:
            if level is not None:
                self._sum, self._n = self._sum + level, self._n + 1
            return None
        # what is shown speaks of the block: a veto of this moment does not hide it
        return self._sum / self._n if self._n else None


def _reason(settings: DecisionSettings, score: float, threshold: float, flags: Flag) -> str:
    what = f"p({settings.target})" if not settings.source.feature else settings.source.label
    text = f"{what} = {score:.3f}, above {round(threshold, 4):g} for {settings.dwell_s:g} s"
    names = [str(flag.name) for flag in Flag if flag & flags]
    return f"{text}; flags {', '.join(names)}" if names else text
