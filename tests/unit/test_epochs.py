from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from models.dataset import WindowSet
from models.epochs import EpochSettings, read_epochs
from models.evaluation.splits import runs, split
from models.labels import Labels
from streamer.config import Config, parse_config
from streamer.errors import ModelError
from streamer.messages import CleanEeg
from streamer.replay import open_origin, prepare
from tests.unit.labelled_recordings import NAMES, SFREQ, write_eeg, write_table, write_volumes

LABELS = Labels(("standard", "target"))
PEAK_S = 0.3
PEAK_V = 20e-6
EVENTS = tuple((2.0 + 0.7 * k, ("standard", "target")[k % 3 == 0]) for k in range(24))
SECONDS = 19.0


def settings() -> Config:
    values = {
        "schema": 1,
        "clean": {
            "eeg": {
                "gradient": {"enabled": False, "highpass_hz": 0.1},
                "pulse": {"mode": "off"},
                "line": {"mode": "off"},
                "reference": "none",
                "band_hz": [0.1, 30],
            }
        },
    }
    return parse_config(values, "test", Path())


def with_responses(seed: int) -> np.ndarray:
    """Noise of 2 µV, and after every target a wave of 20 µV on the third channel, at its height 0.3 s later."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(SECONDS * SFREQ)) / SFREQ
    eeg = 2e-6 * rng.standard_normal((len(t), len(NAMES)))
    for at, label in EVENTS:
        if label == "target":
            eeg[:, 2] += PEAK_V * np.exp(-((t - at - PEAK_S) ** 2) / (2 * 0.05**2))
    return eeg


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("epochs")
    for run in range(2):
        eeg = with_responses(run)
        # a jolt after the fifth event of the first run
        if run == 0:
            at = round((EVENTS[4][0] + 0.2) * SFREQ)
            eeg[at : at + 25, 0] += 500e-6
        write_eeg(folder / f"run-{run}.vhdr", eeg, [(0.3, "standard"), *EVENTS, (SECONDS - 0.2, "target")])
    return folder


@pytest.fixture(scope="module")
def windows(recorded: Path) -> WindowSet:
    return read_epochs(recorded, settings(), "s1", LABELS, EpochSettings(bin_s=0.05))


def test_the_response_lies_where_and_as_high_as_it_was_planted(windows: WindowSet) -> None:
    assert windows.eeg.shape[1:] == (18, 4)
    assert windows.bold.shape[2] == 0
    assert windows.inputs.channels == NAMES
    there = windows.valid[:, 0] > 0
    mean = [windows.eeg[there & (windows.label == k)].mean(axis=0) for k in (0, 1)]
    response = mean[1][:, 2] - mean[0][:, 2]
    middles = -0.1 + 0.05 * (np.arange(18) + 0.5)
    # bins of 50 ms: the height lies between two of them, whose delay has been taken off
    top = np.argsort(response)[-2:]
    np.testing.assert_allclose(np.sort(middles[top]), [0.275, 0.325], atol=1e-9)
    assert abs(response[top[0]] - response[top[1]]) < 4.0
    assert 14.0 < response.max() < 20.0
    assert np.abs(mean[1][:, [0, 1, 3]] - mean[0][:, [0, 1, 3]]).max() < 2.0


def test_events_that_cannot_be_used_are_masked_and_none_is_lost(windows: WindowSet, recorded: Path) -> None:
    assert len(windows) == 2 * (len(EVENTS) + 2)
    first = windows.rows(windows.time < SECONDS)
    masked = np.flatnonzero(first.valid[:, 0] == 0).tolist()
    # the first while filters settle, the jolt's own and the one after it that begins before its end, the last
    assert masked[0] == 0
    assert masked[-1] == len(first) - 1
    assert 5 in masked
    assert len(masked) <= 5
    assert not first.eeg[masked].any()
    assert (windows.valid[:, 1] == 0).all()
    everything = read_epochs(recorded / "run-0.vhdr", settings(), "s1", LABELS, EpochSettings(reject_v=None))
    assert np.flatnonzero(everything.valid[:, 0] == 0).tolist() == [0, len(everything) - 1]


def test_each_event_is_a_block_and_each_file_a_run(windows: WindowSet) -> None:
    assert len(windows.blocks) == len(windows)
    for window, block in enumerate(windows.blocks):
        assert windows.time[window] == block.onset_s
        assert windows.classes[windows.label[window]] == block.label
    first = windows.blocks[: len(EVENTS) + 2]
    assert all(a.onset_s + a.duration_s <= b.onset_s + 1e-9 for a, b in pairwise(first))
    assert [len(fold.test) for fold in split(windows, "run")] == [26, 26]
    assert len(set(runs(windows))) == 2


def test_windows_hold_what_the_loops_lane_gives(recorded: Path) -> None:
    path = recorded / "run-1.vhdr"
    found = read_epochs(path, settings(), "s1", LABELS, EpochSettings(bin_s=0.02, reject_v=None))
    run = prepare(open_origin(path), parse_config({**settings().plain(), "model": {"card": "none"}}, "t", Path()))
    clean = [o for _, outputs in run.steps() for o in outputs if isinstance(o, CleanEeg)]
    data, times = np.concatenate([c.data for c in clean]), np.concatenate([c.times for c in clean])
    for k in (3, 10, 20):
        start = np.flatnonzero(np.abs(times - (found.time[k] - 0.1)) < 0.5 / SFREQ + 1e-9)[0]
        np.testing.assert_allclose(
            found.eeg[k], 1e6 * data[start : start + 225].astype(float).reshape(45, 5, 4).mean(axis=1), atol=1e-4
        )


def test_baseline_and_unit_are_as_asked_for(recorded: Path) -> None:
    path = recorded / "run-1.vhdr"
    plain = read_epochs(path, settings(), "s1", LABELS, EpochSettings(bin_s=0.1))
    level = read_epochs(path, settings(), "s1", LABELS, EpochSettings(bin_s=0.1, baseline=True))
    there = level.valid[:, 0] > 0
    np.testing.assert_allclose(level.eeg[there, 0], 0, atol=1e-4)
    np.testing.assert_allclose(level.eeg, plain.eeg - plain.eeg[:, :1], atol=1e-4)
    sd = read_epochs(path, settings(), "s1", LABELS, EpochSettings(bin_s=0.1, unit="sd", scale_s=5.0))
    late = sd.valid[:, 0] > 0
    # what the unit was taken from is masked
    assert sd.time[late].min() > 5.0
    ratio = plain.eeg[late] / sd.eeg[late]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0, 0], ratio.shape), rtol=1e-3)
    assert (ratio[0, 0] > 0.5).all()


def test_events_may_come_from_a_table(recorded: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "e.tsv", [(at, 0, label) for at, label in EVENTS[:6]])
    labels = Labels(("target", "standard"), events=table)
    found = read_epochs(recorded / "run-1.vhdr", settings(), "s1", labels)
    np.testing.assert_allclose(found.time, [at for at, _ in EVENTS[:6]])
    assert found.classes == ("target", "standard")
    assert found.label.tolist() == [0, 1, 1, 0, 1, 1]


def test_what_cannot_be_cut_is_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="events target to cut around: expected two or more"):
        read_epochs(recorded, settings(), "s1", Labels(("target",)))
    with pytest.raises(ModelError, match="no event novel; there are standard, target"):
        read_epochs(recorded / "run-1.vhdr", settings(), "s1", Labels(("standard", "novel")))
    with pytest.raises(ModelError, match="no EEG to cut around events"):
        read_epochs(write_volumes(tmp_path, [(0, 4, "a")], 3), settings(), "s1", LABELS)
    with pytest.raises(ModelError, match="none of 26 events can be used"):
        read_epochs(recorded / "run-1.vhdr", settings(), "s1", LABELS, EpochSettings(reject_v=1e-9))
    with pytest.raises(ValidationError, match=r"bins of 2 s in a window of 0\.9 s"):
        EpochSettings(bin_s=2.0)
    with pytest.raises(ValidationError, match="expected a stretch before the event"):
        EpochSettings(before_s=0.0, baseline=True)
