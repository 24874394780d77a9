"""The neurofeedback triggers and vetoes of a session as rows of a BIDS ``events.tsv``.

In a session with a sealed condition a row tells what was shown and nothing else: the participant's own score beside it
would tell who is who.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from streamer.emit.results import read_predictions, read_scores, read_triggers, read_vetoes
from streamer.errors import RecordingError
from streamer.formats.bids import EventRow
from streamer.messages import Flag, Prediction, Score, SessionHeader, Trigger, Veto
from streamer.wire import flag_names

T = TypeVar("T")
SEALED = "sealed"
"""Code of a session that may have had sham feedback."""


@dataclass(frozen=True)
class Feedback:
    """What a session decided and showed, as far as it can be read."""

    triggers: list[Trigger] = field(default_factory=list[Trigger])
    vetoes: list[Veto] = field(default_factory=list[Veto])
    scores: list[Score] = field(default_factory=list[Score])
    decisions: list[Prediction] = field(default_factory=list[Prediction])
    problems: list[str] = field(default_factory=list[str])
    """Results that could not be read, in sentences."""


def read_feedback(session: Path) -> Feedback:
    """Read the results of a session or of a replay; what cannot be read is empty, and told."""
    problems: list[str] = []

    def read(reader: Callable[[Path], list[T]]) -> list[T]:
        try:
            return reader(session)
        except RecordingError as error:
            problems.append(str(error))
            return []

    return Feedback(read(read_triggers), read(read_vetoes), read(read_scores), read(read_predictions), problems)


def neurofeedback_rows(
    found: Feedback, header: SessionHeader, zero: float, *, sealed: bool = False, condition: str | None = None
) -> list[EventRow]:
    """Make rows of triggers and vetoes.

    Parameters
    ----------
    found : Feedback
    header : SessionHeader
    zero : float
        Session time at which the recording's axis begins, s.
    sealed : bool
        Whether the session may have had sham feedback.
    condition : str, optional
        What it had, once it was unblinded.

    Returns
    -------
    list of EventRow
        A trigger at the time at which it was to fire, a veto at the time that it speaks of.
    """
    decisions = {each.seq: each for each in found.decisions}
    scores = {each.window: each for each in found.scores}
    own = not sealed or condition is not None
    threshold = _threshold(header)
    target = str(_table(header.config, "decision").get("target", ""))

    def row(kind: str, at: float, value: str, window: int, flags: Flag | None, **told: Any) -> EventRow:
        decision, score = decisions.get(window), scores.get(window)
        due = threshold if score is None else score.threshold
        if flags is None and (made := score or decision) is not None:
            flags = made.flags
        return EventRow(
            onset=at - zero,
            duration=0.0,
            trial_type=kind,
            value=value,
            # what events in the EEG ask for was compared with no threshold
            threshold=due if window >= 0 else None,
            age_eeg=None if decision is None else decision.age_eeg,
            age_fmri=None if decision is None else decision.age_bold,
            quality=None if flags is None else "+".join(flag_names(flags)) or "none",
            sham=SEALED if sealed else None,
            condition=condition,
            **told,
        )

    rows: list[EventRow] = []
    for trigger in found.triggers:
        told = {"score": trigger.level, "source": trigger.source}
        rows.append(row("nf_trigger", trigger.fire_at, trigger.action, trigger.window, trigger.flags, **told))
    for veto in found.vetoes:
        level = _own_level(scores.get(veto.window), decisions.get(veto.window), target) if own else None
        rows.append(row("nf_veto", veto.about, veto.reason, veto.window, None, score=level))
    return rows


def _own_level(score: Score | None, decision: Prediction | None, target: str) -> float | None:
    if score is not None:
        return score.actual if math.isfinite(score.actual) else None
    # sessions of before scores were written
    if decision is None or target not in decision.classes:
        return None
    return decision.probabilities[decision.classes.index(target)]


def _threshold(header: SessionHeader) -> float | None:
    # a calibration that was in force has the last word
    found = header.calibration.get("threshold_on") or _table(header.config, "decision").get("threshold_on")
    return None if found is None else float(found)


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return config.get(name) or {}
