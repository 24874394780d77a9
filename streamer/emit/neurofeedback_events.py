"""The neurofeedback triggers and vetoes of a session as rows of a BIDS ``events.tsv``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from streamer.emit.results import read_predictions, read_triggers, read_vetoes
from streamer.errors import RecordingError
from streamer.formats.bids import EventRow
from streamer.messages import Prediction, SessionHeader
from streamer.wire import flag_names

T = TypeVar("T")


def neurofeedback_rows(session: Path, header: SessionHeader, zero: float) -> tuple[list[EventRow], list[str]]:
    """Read a session's triggers and vetoes.

    Parameters
    ----------
    session : Path
        The session's folder.
    header : SessionHeader
    zero : float
        Session time at which the recording's axis begins, s.

    Returns
    -------
    list of EventRow
        A trigger at the time at which it was to fire, a veto at the time that it speaks of.
    list of str
        Results that could not be read.
    """
    problems: list[str] = []

    def read(reader: Callable[[Path], list[T]]) -> list[T]:
        try:
            return reader(session)
        except RecordingError as error:
            problems.append(str(error))
            return []

    triggers, vetoes = read(read_triggers), read(read_vetoes)
    decisions = {p.seq: p for p in read(read_predictions)} if triggers or vetoes else {}
    decision = header.config.get("decision", {})
    # a calibration that was in force has the last word
    threshold = header.calibration.get("threshold_on") or decision.get("threshold_on")

    def row(kind: str, window: int, at: float, value: str) -> EventRow:
        made_from = decisions.get(window)
        if made_from is None:
            return EventRow(at - zero, 0.0, kind, value)
        return EventRow(
            onset=at - zero,
            duration=0.0,
            trial_type=kind,
            value=value,
            score=_score(made_from, str(decision.get("target", ""))),
            threshold=None if threshold is None else float(threshold),
            age_eeg=made_from.age_eeg,
            age_fmri=made_from.age_bold,
            quality="+".join(flag_names(made_from.flags)) or "none",
        )

    rows = [row("nf_trigger", t.window, t.fire_at, t.action) for t in triggers]
    return rows + [row("nf_veto", v.window, v.about, v.reason) for v in vetoes], problems


def _score(prediction: Prediction, target: str) -> float | None:
    return prediction.probabilities[prediction.classes.index(target)] if target in prediction.classes else None
