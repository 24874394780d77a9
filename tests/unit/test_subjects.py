from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.dataset import Block, WindowSet
from models.evaluation.splits import runs
from models.labels import Labels, blocks_of, classes_among
from models.replayed import Reading
from models.sources import find_runs
from models.subjects import read_subject
from streamer.config import Config, parse_config
from streamer.errors import ModelError
from tests.unit.labelled_recordings import (
    NAMES,
    REGIONS,
    TR_S,
    Event,
    noise,
    write_eeg,
    write_states,
    write_table,
    write_volumes,
)

EVENTS: list[Event] = [(12.0, 6.0, "rest"), (18.0, 6.0, "task"), (24.0, 6.0, "rest"), (30.0, 6.0, "task")]
WINDOW_S = 2.0


def settings(**more: object) -> Config:
    """Outside a scanner: no gradients, no pulse artefact; 2 s of EEG and the newest volume."""
    values = {
        "schema": 1,
        "clean": {"eeg": {"gradient": {"enabled": False}, "pulse": {"mode": "off"}, "reference": "none"}},
        "windows": {"pairing": "display", "eeg_steps": 10, "bold_steps": 1},
        **more,
    }
    return parse_config(values, "test", Path())


def within(windows: WindowSet) -> NDArray[np.bool_]:
    """Say which windows lie in one block as a whole."""
    spans = [(b.onset_s + WINDOW_S + 0.2, b.onset_s + b.duration_s) for b in windows.blocks]
    return np.array([any(a <= t < b for a, b in spans) for t in windows.time])


def own(events: list[Event]) -> list[Block]:
    return [Block(*event, "") for event in events]


def blocks(events: list[Event], labels: Labels, markers: tuple[tuple[float, str], ...] = ()) -> list[Event]:
    found = blocks_of("run", "a", own(events), markers, 100.0, labels)
    return [(b.onset_s, b.duration_s, b.label) for b in found]


def test_events_without_a_duration_and_markers_last_until_the_next() -> None:
    assert blocks([(0, 5, "a"), (10, 0, "b"), (30, 0, "a")], Labels()) == [(0, 5, "a"), (10, 20, "b"), (30, 70, "a")]
    markers = ((5.0, "a"), (9.0, "b"), (60.0, "c"))
    assert blocks([], Labels(), markers) == [(5, 4, "a"), (9, 51, "b"), (60, 40, "c")]
    assert blocks([], Labels(("a", "b"), block_s=6.0), markers) == [(5, 4, "a"), (9, 6, "b")]
    # a recording's events come before its markers
    assert blocks([(0, 5, "a")], Labels(), markers) == [(0, 5, "a")]


def test_rest_is_what_lies_between_blocks_only_when_asked_for() -> None:
    events: list[Event] = [(10, 20, "task"), (30.5, 9.5, "task"), (60, 40, "x")]
    assert {label for *_, label in blocks(events, Labels())} == {"task", "x"}
    between = blocks(events, Labels(("rest", "task")))
    assert between == [(0, 10, "rest"), (10, 20, "task"), (30.5, 9.5, "task"), (40, 20, "rest")]
    named = blocks([*events, (45, 5, "rest")], Labels(("rest", "task")))
    assert (45, 5, "rest") in named
    assert len(named) == 3


def test_a_table_takes_the_place_of_a_recordings_own_events(tmp_path: Path) -> None:
    table = write_table(tmp_path / "e.tsv", [(1, 2, "x"), (3, 2, "y")])
    assert blocks([(0, 5, "a")], Labels(events=table), ((1.0, "m"),)) == [(1, 2, "x"), (3, 2, "y")]


def test_missing_labels_are_named() -> None:
    with pytest.raises(ModelError, match="nothing is labelled: no events in the recording, and no markers"):
        blocks([], Labels())
    with pytest.raises(ModelError, match="no block of face; there are a, b"):
        blocks([(0, 5, "b"), (5, 5, "a")], Labels(("face",)))
    with pytest.raises(ModelError, match=r"one class, task: expected two or more; 'rest' among"):
        classes_among(own([(0, 5, "task")]), Labels())
    with pytest.raises(ModelError, match="no block of left; there are rest, task"):
        classes_among(own(EVENTS), Labels(("left", "task")))
    assert classes_among(own([*EVENTS, (0, 1, "a")]), Labels()) == ("rest", "a", "task")


def test_runs_are_found_by_subject_and_session(tmp_path: Path) -> None:
    for name in ("sub-01/ses-02/eeg/sub-01_ses-02_task-x_eeg.vhdr", "sub-01/ses-01/eeg/sub-01_ses-01_task-x_eeg.vhdr",
                 "sub-01/ses-01/func/sub-01_ses-01_task-x_bold.nii.gz", "sub-02/func/sub-02_task-x_run-1_bold.nii.gz",
                 "sub-02/func/sub-02_task-x_run-2_bold.nii.gz"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_runs(tmp_path)
    assert [r.subject for r in found] == ["sub-01/ses-01", "sub-01/ses-02", "sub-02"]
    # the EEG's file opens its volumes too
    assert [[p.name for p in r.recordings] for r in found] == [
        ["sub-01_ses-01_task-x_eeg.vhdr"],
        ["sub-01_ses-02_task-x_eeg.vhdr"],
        ["sub-02_task-x_run-1_bold.nii.gz", "sub-02_task-x_run-2_bold.nii.gz"],
    ]


def test_folders_of_recordings_and_of_files_are_found(tmp_path: Path) -> None:
    for run in ("run-2", "run-1", "calibration"):
        (tmp_path / "a" / run).mkdir(parents=True)
        (tmp_path / "a" / run / "recording.toml").touch()
    (found,) = find_runs(tmp_path / "a")
    assert [p.parent.name for p in found.recordings] == ["run-1", "run-2"]
    assert found.calibration == tmp_path / "a" / "calibration" / "recording.toml"
    for name in ("b/2.csv", "b/1.csv", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (found,) = find_runs(tmp_path / "b")
    assert (found.subject, [p.name for p in found.recordings], found.calibration) == ("b", ["1.csv", "2.csv"], None)
    (single,) = find_runs(tmp_path / "b" / "1.csv")
    assert (single.subject, single.recordings) == ("1", (tmp_path / "b" / "1.csv",))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "session.toml").write_text('runs = ["calibration"]')
    with pytest.raises(ModelError, match="has the runs calibration: expected one besides"):
        find_runs(tmp_path / "c")
    with pytest.raises(ModelError, match="no such file or folder"):
        find_runs(tmp_path / "d")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eeg")
    for k in range(2):
        write_states(folder / f"run-{k}.vhdr", EVENTS, seed=10 * k)
    write_table(folder / "events.tsv", EVENTS)
    return folder


def test_eeg_without_a_calibration_is_measured_against_its_own_beginning(two_runs: Path) -> None:
    told: list[float] = []
    reading = Reading(Labels(events=two_runs / "events.tsv"), baseline_s=12.0)
    windows = read_subject(two_runs, settings(), "s1", reading, told.append)
    assert windows.classes == ("rest", "task")
    assert windows.inputs.channels == NAMES
    assert windows.inputs.regions == ()
    assert windows.bold.shape[2] == 0
    assert windows.eeg.shape[1:] == (10, 4 * 3)
    assert set(runs(windows)) == {"s1 run 1", "s1 run 2"}
    assert len(windows.blocks) == 8
    first = windows.time < 100
    # windows of the first 12 s made the baseline
    assert windows.time[first].min() >= 12.0
    assert windows.time[first].max() == pytest.approx(38.0, abs=0.3)
    usable = windows.trainable()
    late = within(usable)
    alpha = usable.eeg[late].mean(axis=1).reshape(-1, 4, 3)[:, :2, 1].mean(axis=1)
    assert abs(alpha[usable.label[late] == 0].mean()) < 0.7
    assert alpha[usable.label[late] == 1].mean() < -2
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0, abs=0.02)


def test_all_rest_may_be_the_baseline(two_runs: Path) -> None:
    labels = Labels(events=two_runs / "events.tsv")
    windows = read_subject(two_runs / "run-0.vhdr", settings(), "s1", Reading(labels, "within"))
    # nothing is left out but what the filters and the window need
    assert windows.time.min() < 5.0
    rest = windows.rows(windows.label == 0)
    assert abs(rest.eeg[within(rest)].mean()) < 0.2


def test_tangent_vectors_come_with_the_windows_where_they_are_switched_on(two_runs: Path) -> None:
    labels = Labels(events=two_runs / "events.tsv")
    extra = {"tangent": {"enabled": True, "channels": ["O1", "O2", "C3"]}, "learn_s": 8.0}
    windows = read_subject(two_runs / "run-0.vhdr", settings(extra=extra), "s1", Reading(labels, baseline_s=12.0))
    assert windows.tangent.shape == (len(windows), 6)
    assert np.isfinite(windows.tangent).all()
    usable = windows.trainable()
    late = within(usable)
    vector = usable.tangent[late]
    task, rest = (vector[usable.label[late] == k].mean(axis=0) for k in (1, 0))
    # alpha goes: the variance of O1 and O2 against the reference falls
    assert (task[[0, 3]] < rest[[0, 3]] - 0.5).all()


def test_labels_may_come_from_markers(tmp_path: Path) -> None:
    markers = [(13.0, "task"), (18.0, "rest"), (23.0, "task")]
    path = write_eeg(tmp_path / "a.vhdr", noise(27.0, 4), markers)
    windows = read_subject(path, settings(), "s1", Reading(baseline_s=12.0))
    assert [(b.onset_s, b.label) for b in windows.blocks] == [(13.0, "task"), (18.0, "rest"), (23.0, "task")]
    assert set(windows.label[(windows.time > 18.1) & (windows.time < 22.9)]) == {0}
    assert set(windows.label[windows.time > 23.1]) == {1}


def test_a_window_for_each_volume_is_labelled_by_what_the_volume_shows(tmp_path: Path) -> None:
    events: list[Event] = [(0, 14, "rest"), (14, 12, "left"), (26, 6, "rest"), (32, 10, "right"), (42, 6, "rest")]
    windows = read_subject(
        write_volumes(tmp_path, events), settings(), "s1", Reading(baseline_s=12.0, windows="volumes")
    )
    assert windows.classes == ("rest", "left", "right")
    assert windows.inputs.regions == REGIONS
    assert windows.eeg.shape[2] == 0
    # the middles of the volumes, as near as is known without triggers; what made the baseline is left out
    np.testing.assert_allclose(windows.time, np.arange(6, 24) * TR_S + TR_S / 2, atol=0.11)
    truth = [next(label for onset, duration, label in events if onset <= t < onset + duration) for t in windows.time]
    assert [windows.classes[k] for k in windows.label] == truth
    left, right = windows.bold[:, 0].T
    assert left[windows.label == 1].min() > 3.5
    assert abs(left[windows.label != 1]).max() < 1.2
    assert abs(right).max() < 1.2
    assert windows.settled.all()
    assert (windows.valid == [0, 1]).all()


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_eeg(tmp_path_factory.mktemp("bare") / "a.vhdr", noise(16.0, 5))


@pytest.mark.parametrize(
    ("events", "baseline_s", "reason"),
    [
        (
            [(100, 4, "a"), (105, 4, "b")],
            12.0,
            r"no window lies in a labelled block: windows from 12\.\d to 1[56]\.\d s, 2 ",
        ),
        ([(1, 4, "a"), (5, 4, "b")], 12.0, r"one class, \(none\): expected two or more"),
        ([(1, 4, "a"), (5, 10, "b")], 12.0, r"one class, b: expected two or more"),
        (None, 12.0, "nothing is labelled: no events in the recording"),
        ([(1, 4, "a"), (5, 10, "b")], 60.0, r"16\.0 s gave no window that counts after 60 s for a baseline"),
        (
            [(1, 4, "a"), (5, 10, "b")],
            2.0,
            r"1 stretch\(es\) of 2\.0 s for a baseline hold .* s of clean EEG, expected 2\.0",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_the_reason(
    unlabelled: Path, tmp_path: Path, events: list[Event] | None, baseline_s: float, reason: str
) -> None:
    table = None if events is None else write_table(tmp_path / "events.tsv", events)
    with pytest.raises(ModelError, match=reason):
        read_subject(unlabelled, settings(), "s", Reading(Labels(events=table), baseline_s=baseline_s))


def test_an_eye_correction_needs_a_calibration_run(unlabelled: Path, tmp_path: Path) -> None:
    reading = Reading(Labels(events=write_table(tmp_path / "events.tsv", EVENTS)), baseline_s=12.0)
    eyes = settings(clean={"eeg": {"gradient": {"enabled": False}, "ocular": {"method": "ica"}}})
    with pytest.raises(ModelError, match="no calibration run to fit it on"):
        read_subject(unlabelled, eyes, "s", reading)
