from __future__ import annotations

import csv
import json
import math
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.emit.quality import QualityTally
from streamer.emit.results import (
    DECISIONS,
    FEATURES,
    ResultsSink,
    read_features,
    read_predictions,
    read_triggers,
    read_vetoes,
)
from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import BoldFrame, CleanEeg, Feature, Flag, Prediction, SessionTime, Trigger, Veto, Window


def prediction(seq: int, **changes: object) -> Prediction:
    values: dict[str, object] = {
        "seq": seq,
        "model": "fusion@0123456789ab",
        "classes": ("rest", "task"),
        "probabilities": (0.33333, 0.66667),
        "uncertainty": 0.1 + 0.2,
        "attention": {"eeg": 0.7, "bold": 0.3},
        "about": SessionTime(1e5 + 1 / 3),
        "age_eeg": 0.0123,
        "age_bold": 2.5,
        "flags": Flag.GAP | Flag.UNCALIBRATED,
    }
    return Prediction(**(values | changes))  # type: ignore[arg-type]


def trigger(seq: int) -> Trigger:
    times = (SessionTime(1.1), SessionTime(1.2), SessionTime(1.7))
    return Trigger(seq, 7, "reward", 1 / 3, *times, "p(task) 0.81 > 0.7", Flag.MOTION)


def frame(index: int, acquired: float | None, fd: float = 0.1) -> BoldFrame:
    return BoldFrame(
        index=index,
        series="s",
        regions=np.array([1 / 3, np.nan], np.float32),
        means=np.ones(2, np.float32),
        motion=np.array([0.1, -0.2, 0.3, 0.01, -0.02, 0.03]),
        fd=fd,
        tr=2.0,
        acquired=None if acquired is None else SessionTime(acquired),
        received=SessionTime(5.0),
    )


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


async def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    predictions = [prediction(0), prediction(1, age_bold=math.inf, flags=Flag.NONE, ready=SessionTime(3.0))]
    vetoes = [Veto(4, 'gate: "expired"', SessionTime(1 / 7))]
    sink = ResultsSink(tmp_path / "out", ["left"])
    for item in (*predictions, trigger(0), *vetoes):
        sink.put(item)
    sink.put(CleanEeg(np.zeros((1, 1), np.float32), np.zeros(1), 0, 1))
    await sink.close()
    await sink.close()
    assert read_predictions(tmp_path / "out") == predictions
    assert read_triggers(tmp_path / "out") == [trigger(0)]
    assert read_vetoes(tmp_path / "out") == vetoes
    assert dict(sink.losses()) == {}


def test_when_a_prediction_was_ready_does_not_change_the_file(tmp_path: Path) -> None:
    for name, ready in (("live", 3.0), ("replay", None)):
        sink = ResultsSink(tmp_path / name, [])
        sink.put(prediction(0, ready=ready))
        sink.finish()
    assert (tmp_path / "live" / DECISIONS).read_bytes() == (tmp_path / "replay" / DECISIONS).read_bytes()


def test_tables_have_the_fields_names(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path, ["left", "right\tS1"])
    known = {"dvars": 1.5, "tissue": np.array([900.0, math.nan, 800.0], np.float32)}
    sink.put(replace(frame(3, 123456.7890125), **known))
    sink.put(frame(5, None, fd=math.nan))
    sink.finish()
    regions = rows(tmp_path / "bold_regions.tsv")
    assert [r["index"] for r in regions] == ["3", "5"]
    assert float(regions[0]["acquired"]) == pytest.approx(123456.7890125, abs=1e-6)
    assert regions[1]["acquired"] == "n/a"
    assert np.float32(regions[0]["left"]) == np.float32(1 / 3)
    assert regions[0]["right S1"] == "n/a"
    confounds = rows(tmp_path / "confounds.tsv")
    wanted = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "framewise_displacement")
    tissue = ("white_matter", "csf", "global_signal")
    assert tuple(confounds[0])[1:] == (*wanted, "dvars", *tissue)
    assert [confounds[0][name] for name in ("dvars", *tissue)] == ["12", "900", "n/a", "800"]
    assert {confounds[1][name] for name in ("dvars", *tissue)} == {"n/a"}
    assert [float(confounds[0][name]) for name in wanted] == [0.1, -0.2, 0.3, 0.01, -0.02, 0.03, 0.1]
    assert confounds[1]["framewise_displacement"] == "n/a"


def test_features_come_back_but_for_when_they_were_known(tmp_path: Path) -> None:
    seen = Feature(
        "tangent", 500, SessionTime(1e5 + 1 / 3), 1.02, ("Oz", "O1~Oz"), (0.1 + 0.2, -1e-9), (), True, Flag.UNCALIBRATED
    )
    masked = replace(seen, values=(math.nan, 0.5), uncertainty=(0.1, math.nan), valid=False)
    for folder, ready in (("live", SessionTime(1e5 + 2.0)), ("replay", SessionTime(0.0))):
        sink = ResultsSink(tmp_path / folder, [])
        for item in (seen, masked):
            sink.put(replace(item, ready=ready))
        sink.finish()
    assert (tmp_path / "live" / FEATURES).read_bytes() == (tmp_path / "replay" / FEATURES).read_bytes()
    first, second = read_features(tmp_path / "live")
    assert first == seen
    np.testing.assert_array_equal(second.values, masked.values)
    np.testing.assert_array_equal(second.uncertainty, masked.uncertainty)
    assert replace(second, values=(), uncertainty=()) == replace(masked, values=(), uncertainty=())


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "vetoes.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="vetoes"):
        ResultsSink(tmp_path, [])
    assert (tmp_path / "vetoes.jsonl").read_text() == "precious\n"


def test_what_the_disk_refuses_is_counted_and_leaves_whole_lines(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = ResultsSink(tmp_path, [])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for seq in range(10):
            sink.put(prediction(seq))
        sink.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = read_predictions(tmp_path)
    assert 0 < len(kept) < 10
    assert kept == [prediction(seq) for seq in range(len(kept))]
    assert dict(sink.losses()) == {"prediction": 10 - len(kept)}


def test_what_comes_after_the_end_is_counted(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path, [])
    sink.finish()
    sink.put(trigger(0))
    assert dict(sink.losses()) == {"trigger": 1}


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        read_triggers(tmp_path)
    for line in ('{"seq": 1}', "[]", '{"flags": ["WRONG"]}'):
        (tmp_path / "triggers.jsonl").write_text(line + "\n")
        with pytest.raises(FormatError, match="line 1 is not a Trigger"):
            read_triggers(tmp_path)


def test_sessions_of_before_are_read(tmp_path: Path) -> None:
    sink = ResultsSink(tmp_path, [])
    sink.put(prediction(0))
    sink.finish()
    (tmp_path / DECISIONS).rename(tmp_path / "predictions.jsonl")
    assert read_predictions(tmp_path) == [prediction(0)]


def test_a_replay_waits_for_the_disk_instead_of_dropping(tmp_path: Path) -> None:
    for name, waits in (("live", False), ("replay", True)):
        sink = ResultsSink(tmp_path / name, [], capacity=4, waits=waits)
        for seq in range(3000):
            sink.put(prediction(seq))
        sink.finish()
        kept, lost = len(read_predictions(tmp_path / name)), sink.losses().get("prediction", 0)
        assert kept + lost == 3000
        assert not (waits and lost)


def test_quality_counts_flags_ages_and_motion() -> None:
    tally = QualityTally()
    clean = CleanEeg(np.zeros((4, 1), np.float32), np.zeros(4), 0, 4, Flag.WARMING)
    tally.take([clean, replace(clean, flags=Flag.NONE), frame(0, 1.0, fd=0.5), frame(1, 3.0, fd=0.1)], tuple)
    for age, flags in ((2.0, Flag.NONE), (math.inf, Flag.NO_BOLD | Flag.WARMING)):
        empty = np.zeros((0, 0), np.float32)
        window = Window(0, SessionTime(0.0), SessionTime(1.0), empty, empty, 0.25, age, True, age < 9, flags)
        tally.take([window], lambda: ("Oz",))
    values = tally.plain()
    json.dumps(values, allow_nan=False)
    assert values["eeg"] == {"clean_samples": 8, "flags_samples": {"WARMING": 4}, "bad_channels": {"Oz": 1.0}}
    assert values["bold"]["framewise_displacement_mm"] == {"mean": 0.3, "max": 0.5}
    assert values["bold"]["translation_mm"]["max"] == 0.3
    assert values["windows"]["flags_windows"] == {"NO_BOLD": 1, "WARMING": 1}
    assert values["windows"]["age_bold_s"] == {"mean": 2.0, "max": 2.0}
    assert (values["windows"]["eeg_valid"], values["windows"]["bold_valid"]) == (2, 1)
    assert QualityTally().plain()["windows"]["age_eeg_s"] == {"mean": None, "max": None}
