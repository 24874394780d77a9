"""Triggers and vetoes as events, blind where the condition is sealed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.emit.blinding import Blinding, read_blinding
from streamer.emit.neurofeedback_events import Feedback, neurofeedback_rows, read_feedback
from streamer.emit.results import ResultsSink
from streamer.formats.bids import EventRow, events_table
from streamer.messages import Flag, Prediction, Score, SessionHeader, SessionTime, Trigger, Veto

AT = SessionTime(12.0)
HEADER = SessionHeader("s", {"decision": {"target": "task", "threshold_on": 0.7}}, "", "", {}, "", 0.0, (), ())
DECISION = Prediction(5, "m@0", ("rest", "task"), (0.1, 0.9), 0.4, {}, AT, 0.01, 2.0, Flag.MOTION)
SHOWN = Score(5, 0.81, {}, 0.66, False, 0.33, AT, SessionTime(13.0), Flag.MOTION)
TRIGGER = Trigger(0, 5, "reward", 0.81, AT, SessionTime(12.2), SessionTime(13.0), "r", Flag.MOTION)
VETO = Veto(5, "MOTION", AT)
FOUND = Feedback([TRIGGER], [VETO], [SHOWN], [DECISION])


def rows(found: Feedback = FOUND, **told: bool | str) -> tuple[EventRow, EventRow]:
    trigger, veto = neurofeedback_rows(found, HEADER, 2.0, **told)  # type: ignore[arg-type]
    return trigger, veto


def test_rows_tell_score_threshold_ages_quality_and_source():
    trigger, veto = rows()
    assert (trigger.onset, trigger.trial_type, trigger.value, trigger.source) == (10.2, "nf_trigger", "reward", "score")
    assert (trigger.score, trigger.threshold, trigger.age_eeg, trigger.age_fmri) == (0.81, 0.66, 0.01, 2.0)
    assert (trigger.quality, trigger.sham, trigger.condition) == ("MOTION", None, None)
    assert (veto.onset, veto.value, veto.score, veto.quality) == (10.0, "MOTION", 0.33, "MOTION")


def test_a_sealed_session_tells_nothing_of_the_own_score():
    trigger, veto = rows(sealed=True)
    assert (trigger.sham, trigger.condition, trigger.score) == ("sealed", None, 0.81)
    assert veto.score is None
    table, sidecar = events_table([trigger, veto], 0.0, for_eeg=True)
    assert "0.33" not in table
    assert {"source", "sham", "condition"} <= set(json.loads(sidecar))


def test_an_opened_one_tells_both():
    trigger, veto = rows(sealed=True, condition="yoked")
    assert (trigger.sham, trigger.condition, veto.condition, veto.score) == ("sealed", "yoked", "yoked", 0.33)


def test_a_trigger_of_another_source_has_no_threshold():
    spindle = replace(TRIGGER, window=-1, source="spindle", flags=Flag.NONE)
    trigger, _ = rows(replace(FOUND, triggers=[spindle]))
    assert (trigger.source, trigger.threshold, trigger.age_eeg, trigger.quality) == ("spindle", None, None, "none")


def test_without_scores_the_probability_and_the_settings_speak():
    _, veto = rows(replace(FOUND, scores=[]))
    assert (veto.score, veto.threshold) == (0.9, 0.7)
    _, veto = rows(replace(FOUND, scores=[], decisions=[]))
    assert (veto.score, veto.quality) == (None, None)


def test_results_are_read_as_far_as_they_can_be(tmp_path: Path):
    sink = ResultsSink(tmp_path, [])
    for item in (DECISION, SHOWN, TRIGGER, VETO):
        sink.put(item)
    sink.finish()
    assert read_feedback(tmp_path) == FOUND
    (tmp_path / "vetoes.jsonl").write_text('{"window": 5, "rea')
    (tmp_path / "triggers.jsonl").unlink()
    found = read_feedback(tmp_path)
    assert (found.triggers, found.vetoes, found.scores) == ([], [], [SHOWN])
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    ("opened", "wanted"),
    [
        (None, Blinding(sealed=True)),
        ('{"condition": "real"}', Blinding(sealed=True, condition="real")),
        ('{"condition": 3}', Blinding(sealed=True)),
        ("{", Blinding(sealed=True)),
    ],
)
def test_a_seal_is_open_only_when_its_file_says_so(tmp_path: Path, opened: str | None, wanted: Blinding):
    assert read_blinding(tmp_path, {}) == Blinding()
    assert read_blinding(tmp_path, {"sham": {"list": "x.json"}}).hidden
    (tmp_path / "sham").mkdir()
    if opened is not None:
        (tmp_path / "sham" / "opened.json").write_text(opened)
    found = read_blinding(tmp_path, None)
    assert found == wanted
    assert found.hidden == (wanted.condition is None)
