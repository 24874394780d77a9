"""A blinded session's files: read alike and kept alike whatever the condition, and enough for an equal replay."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.score_source import ScoreSourceSettings
from streamer.decode.thresholds import ThresholdSettings
from streamer.emit.blinding import read_blinding
from streamer.emit.results import ResultsSink
from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import Flag, Score, SessionTime
from streamer.sham_inputs import (
    ShamSection,
    keep_sham,
    kept_sham,
    load_sham,
    read_record,
    sham_problems,
    unblind_session,
)
from streamer.sham_list import make_key, make_list, open_list, read_list, write_list

RECORDED = {"real": 1, "yoked": 1, "reversed": 1, "scrambled": 1}
DECISION = DecisionSettings(smoothing_s=0.0)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A session of which the first 20 s were not clean."""
    folder = tmp_path / "earlier"
    results = ResultsSink(folder, (), waits=True)
    for k in range(800):
        at = SessionTime(500.0 + k / 10)
        actual = math.nan if k < 5 else round(0.5 + 0.4 * math.sin(k / 30), 5)
        flags = Flag.WARMING if k < 200 else Flag.NONE
        results.put(Score(k, 0.5, {}, 0.7, True, actual, at, SessionTime(at + 1), flags))
    results.finish()
    return folder


def study(folder: Path, ratio: dict[str, int], record: Path | None, **given: object) -> dict[str, ShamSection]:
    """Give settings for a participant of each condition."""
    key = make_key(folder / "key")
    write_list(folder / "study.json", make_list(2 * sum(ratio.values()), ratio, 7, key))
    codes = {condition: code for code, condition in open_list(read_list(folder / "study.json"), key).items()}
    return {
        condition: ShamSection(
            list=folder / "study.json", code=code, record=record, key=folder / "key", **given  # type: ignore[arg-type]
        )
        for condition, code in codes.items()
    }  # fmt: skip


def test_a_session_without_a_list_is_not_blinded(tmp_path: Path) -> None:
    assert load_sham(ShamSection(), DECISION) is None
    keep_sham(ShamSection(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert kept_sham(tmp_path) == {}


def test_what_was_recorded_is_shown_from_the_first_clean_decision_on(tmp_path: Path, record: Path) -> None:
    sections = study(tmp_path, RECORDED, record)
    expected = [round(0.5 + 0.4 * math.sin(k / 30), 5) for k in range(200, 800)]
    for condition, section in sections.items():
        feedback = load_sham(section, DECISION)
        assert feedback is not None
        assert feedback.length_s == pytest.approx(60.0)
        levels = [feedback.level(0.2, SessionTime(k / 10), clean=True) for k in range(600)]
        match condition:
            case "real":
                assert levels == [0.2] * 600
            case "yoked":
                assert levels == expected
            case "reversed":
                assert levels == expected[::-1]
            case _:
                assert levels != expected
                assert sorted(map(float, np.array(levels))) == sorted(expected)


def test_a_session_keeps_the_same_files_whatever_its_condition(tmp_path: Path, record: Path) -> None:
    kept: list[dict[str, int]] = []
    scores: set[bytes] = set()
    for condition, section in study(tmp_path, RECORDED, record).items():
        folder = tmp_path / condition
        folder.mkdir()
        keep_sham(section, folder)
        files = sorted((folder / "sham").iterdir())
        kept.append({file.name: file.stat().st_size for file in files})
        scores.add((folder / "sham" / "scores.jsonl").read_bytes())
        assert read_blinding(folder, None).hidden
    assert sorted(kept[0]) == ["list.json", "scores.jsonl"]
    assert all(each == kept[0] for each in kept)
    assert len(scores) == 1


def test_a_session_is_played_again_from_what_it_kept(tmp_path: Path, record: Path) -> None:
    for condition, section in study(tmp_path, RECORDED, record).items():
        folder = tmp_path / condition
        folder.mkdir()
        keep_sham(section, folder)
        again = ShamSection(**{**section.model_dump(), **kept_sham(folder)})
        assert again.list == folder / "sham" / "list.json"
        one, two = load_sham(section, DECISION), load_sham(again, DECISION)
        assert one is not None
        assert two is not None
        for k in range(700):
            assert one.level(0.3, SessionTime(k / 10)) == two.level(0.3, SessionTime(k / 10))


def test_without_its_key_it_is_not_played_again(tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EEGFMRI_SHAM_KEY", raising=False)
    section = study(tmp_path, RECORDED, record)["yoked"]
    with pytest.raises(UsageError, match="EEGFMRI_SHAM_KEY holds 0 bytes"):
        load_sham(section.model_copy(update={"key": None}), DECISION)
    (tmp_path / "other").mkdir()
    make_key(tmp_path / "other" / "key")
    with pytest.raises(FormatError, match="the key is not the list's"):
        load_sham(section.model_copy(update={"key": tmp_path / "other" / "key"}), DECISION)


def test_a_study_of_real_feedback_and_another_region_needs_no_record(tmp_path: Path) -> None:
    ratio = {"real": 1, "other": 1}
    other = ScoreSourceSettings(feature="bold.feedback", label="level visual")
    for section in study(tmp_path, ratio, None, other=other).values():
        feedback = load_sham(section, DECISION)
        assert feedback is not None
        assert feedback.level(0.2, SessionTime(0.0)) is None


@pytest.mark.parametrize("condition", RECORDED)
def test_a_missing_record_is_said_in_every_condition(tmp_path: Path, record: Path, condition: str) -> None:
    section = study(tmp_path, RECORDED, record)[condition]
    with pytest.raises(UsageError, match="needs a record: none was given; see"):
        load_sham(section.model_copy(update={"record": None}), DECISION)
    with pytest.raises(RecordingError, match="its clean scores span 0 s; expected 30 to 21600 s"):
        load_sham(section.model_copy(update={"record": tmp_path / "nowhere"}), DECISION)


def test_scores_with_a_veto_flag_do_not_count_as_clean(record: Path) -> None:
    assert read_record(record, Flag.MOTION, 5.0).length_s == pytest.approx(79.5)
    assert read_record(record, Flag.WARMING, 5.0).length_s == pytest.approx(60.0)


def test_what_does_not_go_together_is_said() -> None:
    blinded = ShamSection(list=Path("study.json"), code="P01")
    assert sham_problems(ShamSection(), DECISION) == []
    assert sham_problems(blinded, DECISION) == []
    assert sham_problems(ShamSection(code="P01"), DECISION) == ["sham.code is given without sham.list"]
    follows = DecisionSettings(adapt=ThresholdSettings(mode="percentile"), axes={"EEG": ScoreSourceSettings()})
    problems = sham_problems(ShamSection(list=Path("study.json")), follows)
    assert [each.split(":")[0].split(" ")[0] for each in problems] == [
        "sham.list",
        "decision.adapt.mode",
        "decision.axes",
    ]


def test_a_session_is_unblinded_once_and_says_so_in_its_folder(tmp_path: Path, record: Path) -> None:
    section = study(tmp_path, RECORDED, record)["scrambled"]
    folder = tmp_path / "s1"
    folder.mkdir()
    with pytest.raises(UsageError, match="is not a blinded session"):
        unblind_session(folder, tmp_path / "key")
    keep_sham(section, folder)
    assert unblind_session(folder, tmp_path / "key") == (section.code, "scrambled")
    told = json.loads((folder / "sham" / "opened.json").read_text())
    assert (told["condition"], told["code"]) == ("scrambled", section.code)
    assert read_blinding(folder, None).condition == "scrambled"
    with pytest.raises(UsageError, match="was opened before"):
        unblind_session(folder, tmp_path / "key")
