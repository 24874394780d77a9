"""A small simulated session: its files, its reproducibility, and that what was planted is in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.errors import UsageError
from streamer.simulate.session import FaultSettings, SimulationSettings, simulate_session
from streamer.simulate.subject import REGIONS

SMALL = {
    "seed": 4, "sfreq": 1000.0, "grid": (24, 24, 8), "n_channels": 12, "calibration_s": 16.0, "block_s": 8.0,
    "n_blocks": 4, "lead_s": 4.0,
}  # fmt: skip


def simulated(out: Path, **changes: object) -> Path:
    simulate_session(out, SimulationSettings(**{**SMALL, **changes}), workers=1)
    return out


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("simulate") / "session")


@pytest.fixture(scope="module")
def task(session: Path) -> Recording:
    return open_recording(session / "task")


@pytest.fixture(scope="module")
def truth(session: Path) -> dict[str, np.ndarray]:
    with np.load(session / "task" / "truth.npz") as stored:
        return dict(stored)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout(session: Path, task: Recording):
    about = tomllib.loads((session / "session.toml").read_text())
    assert (about["schema"], about["kind"], about["runs"]) == (1, "session", ["calibration", "task"])
    for run in about["runs"]:
        names = {p.name for p in (session / run).iterdir()}
        assert names == {
            "recording.toml", "eeg.vhdr", "eeg.vmrk", "eeg.eeg", "dicom", "export.tsv", "events.tsv", "truth.npz",
            "ledger.json",
        }  # fmt: skip
    assert task.eeg is not None
    assert task.bold is not None
    assert task.regions is not None
    assert task.regions.names == REGIONS
    assert task.eeg.sfreq == 1000.0
    assert [c.kind for c in task.eeg.channels] == ["eeg"] * 11 + ["ecg"]
    assert task.bold.n_volumes == 4 + 4 * 8
    assert task.eeg.n_samples == (2 + 36 + 3) * 1000
    assert sorted(b.label for b in task.events) == ["rest", "rest", "task", "task"]
    assert task.bold.file(0) == session / "task" / "dicom" / "001_000003_000001.dcm"


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(session: Path, tmp_path: Path):
    assert files(simulated(tmp_path / "again")) == files(session)
    other = files(simulated(tmp_path / "other", seed=5))
    assert other["task/eeg.eeg"] != files(session)["task/eeg.eeg"]


def test_processes_do_not_change_the_volumes(tmp_path: Path):
    # enough volumes that processes are started
    settings = SimulationSettings(**{**SMALL, "tr_s": 0.3})
    simulate_session(tmp_path / "one", settings, workers=1)
    simulate_session(tmp_path / "two", settings, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_triggers_are_on_the_exact_sample(task: Recording, truth: dict[str, np.ndarray]):
    assert task.eeg is not None
    samples = [m.sample for m in task.eeg.markers if m.label == "R128"]
    assert samples == [2000 + 1000 * k for k in range(36)] == truth["trigger_samples"].tolist()
    syncs = [m.sample for m in task.eeg.markers if m.label == "Sync On"]
    assert set(np.diff(syncs)) == {2000}


def test_the_gradient_artefact_is_millivolts_and_only_while_the_scanner_runs(task: Recording):
    assert task.eeg is not None
    quiet = np.ptp(task.eeg.read(0, 1990)[:, :11], axis=0)
    running = np.ptp(task.eeg.read(5000, 15000)[:, :11], axis=0)
    after = np.ptp(task.eeg.read(38_010, 41_000)[:, :11], axis=0)
    assert np.all(quiet < 0.6e-3)
    assert np.all(after < 0.6e-3)
    assert np.all((running > 1e-3) & (running < 20e-3))
    assert 2e-3 < np.median(running) < 8e-3


def test_the_gradient_artefact_lies_on_multiples_of_the_slice_frequency(truth: dict[str, np.ndarray]):
    template = truth["gradient_template"]
    size = np.abs(np.fft.rfft(template[:, 0]))
    order = np.arange(len(size))
    on_slice = (order % 8 == 0) & (order > 0) & (order < 200)
    others = (order % 8 != 0) & (order < 200)
    assert size[others].max() < 0.2 * size[on_slice].max()
    assert size[others].max() > 0.001 * size[on_slice].max()


def test_subtracting_the_stored_components_leaves_the_brain(task: Recording, truth: dict[str, np.ndarray]):
    assert task.eeg is not None
    n, rate, factor = task.eeg.n_samples, float(truth["rate_hz"]), 4
    recorded = task.eeg.read(0, n)[:, :11].astype(float)
    for k, start in enumerate(truth["gradient_starts"][:-1].astype(int)):
        recorded[start : start + 1000] -= (truth["gradient_template"] * truth["gradient_gain"][k])[:, :11]
    other = truth["blink"][:, None] * truth["blink_map"] + truth["pulse"] @ truth["pulse_map"] + truth["motion_eeg"]
    other += truth["power"][:, :11] + truth["sensor"][:, :11]
    error = recorded[::factor] - other - truth["eeg"]
    assert rate == 250.0
    # the rest is the rounding to half a microvolt
    assert error.std() < 0.2e-6
    assert np.abs(error).max() < 0.6e-6


def alpha_power(truth: dict[str, np.ndarray], label: int) -> float:
    """Power at O1 and O2 between 8 and 13 Hz, mean over the stretches with this state."""
    state = np.concatenate([[-1], truth["state"], [-1]])
    starts = np.flatnonzero((state[1:-1] == label) & (state[:-2] != label))
    stops = np.flatnonzero((state[1:-1] == label) & (state[2:] != label)) + 1
    powers = []
    for start, stop in zip(starts, stops, strict=True):
        if stop - start >= 1000:
            f, p = welch(truth["eeg"][start + 250 : stop, 8:10].astype(float), 250.0, nperseg=500, axis=0)
            powers.append(p[(f > 8) & (f < 13)].mean())
    return float(np.mean(powers))


def test_alpha_is_weaker_in_task_and_the_regions_stronger_after_a_lag(tmp_path: Path):
    changes = {"n_blocks": 12, "block_s": 16.0, "subject_sd": 0.0, "calibration_s": 16.0}
    simulate_session(tmp_path / "s", SimulationSettings(**{**SMALL, **changes}), workers=1)
    with np.load(tmp_path / "s" / "task" / "truth.npz") as stored:
        truth = dict(stored)
    envelope = (truth["alpha_envelope"][:, 0] ** 2).astype(float)
    in_task = truth["state"] == 1
    ratio = envelope[in_task].mean() / envelope[~in_task].mean()
    assert 0.25 < ratio < 0.85
    assert alpha_power(truth, 1) < 0.9 * alpha_power(truth, 0)
    recording = open_recording(tmp_path / "s" / "task")
    assert recording.bold is not None
    assert recording.regions is not None
    inside = recording.regions.data == 1
    means = np.array([recording.bold.volume(k).data[inside].mean() for k in range(recording.bold.n_volumes)])
    percent = 100 * (means / means.mean() - 1)
    middle = truth["volume_onsets"] + 0.5

    def contrast(lag_s: float) -> float:
        then = truth["state"][np.clip(((middle - lag_s) * 250).astype(int), 0, None)] == 1
        return float(percent[then].mean() - percent[~then].mean())

    assert contrast(5.0) > 0.3
    assert contrast(5.0) > contrast(0.0)
    assert np.corrcoef(percent, truth["region_total"][:, 0])[0, 1] > 0.5
    response = truth["region_neural"].std(axis=0)
    assert response[REGIONS.index("control")] == 0.0
    assert response[REGIONS.index("occipital_L")] > response[REGIONS.index("thalamus")] > 0.1


def test_a_null_session_has_no_effect_but_keeps_its_blocks(tmp_path: Path):
    out = simulated(tmp_path / "null", null=True)
    with np.load(out / "task" / "truth.npz") as truth:
        assert set(truth["state"]) == {0, 1}
        assert not truth["region_neural"].any()
        assert truth["region_total"].std() > 0.1
    about = tomllib.loads((out / "session.toml").read_text())
    assert about["subject"]["alpha_power_lost_in_task"] == 0.0
    assert not any(about["subject"]["response_percent"].values())
    assert not any(about["subject"]["alpha_coupling_percent"].values())
    # the same draws with an effect: in task, and only through the effect, they differ
    with_effect = simulated(tmp_path / "effect", null=False)
    with np.load(out / "task" / "truth.npz") as null, np.load(with_effect / "task" / "truth.npz") as effect:
        np.testing.assert_array_equal(null["state"], effect["state"])
        rest = null["state"] == 0
        assert not np.allclose(null["alpha_envelope"][~rest], effect["alpha_envelope"][~rest])


def test_a_volume_is_known_after_it_ended_and_in_order(task: Recording, truth: dict[str, np.ndarray]):
    assert task.bold is not None
    known = np.array([task.bold.known_at_s(k) for k in range(task.bold.n_volumes)])
    ends = np.array([task.bold.onset_s(k) + 1.0 for k in range(task.bold.n_volumes)])
    assert np.all(known > ends + 0.2)
    assert np.all(np.diff(known) > 0)
    np.testing.assert_allclose(known, truth["known_at"], atol=1e-6)


def test_motion_is_in_the_volumes(tmp_path: Path):
    out = simulated(tmp_path / "moved", motion_mm=1.0, nods_per_min=0.0, tsnr=1000.0)
    recording = open_recording(out / "task")
    assert recording.bold is not None
    with np.load(out / "task" / "truth.npz") as truth:
        path = truth["volume_motion"]
    far, near = int(np.argmax(np.abs(path[:, 2]))), 0
    first = recording.bold.volume(near).data.astype(float)
    weights = np.arange(first.shape[2]) * 4.0
    centres = [
        float((recording.bold.volume(k).data.sum(axis=(0, 1)) * weights).sum() / recording.bold.volume(k).data.sum())
        for k in (near, far)
    ]
    moved = centres[1] - centres[0]
    assert np.sign(moved) == np.sign(path[far, 2] - path[near, 2])
    assert not np.allclose(first, recording.bold.volume(far).data, atol=5)


def test_a_drifting_clock_moves_the_triggers_and_is_in_the_ledger(tmp_path: Path):
    out = simulated(tmp_path / "drift", faults=FaultSettings(clock_ppm=100.0, jitter_us=20.0))
    with np.load(out / "task" / "truth.npz") as truth:
        assert truth["trigger_samples"][-1] == 37_000 + 4
        assert np.any(truth["gradient_starts"] % 1)
    assert "clock_drift" in (out / "task" / "ledger.json").read_text()
    recording = open_recording(out / "task")
    assert recording.eeg is not None
    # no clock sync is told: the clocks do not agree
    assert {m.label for m in recording.eeg.markers} == {"R128", "rest", "task"}


def test_nothing_is_overwritten(session: Path):
    before = files(session)
    with pytest.raises(UsageError, match="nothing is overwritten"):
        simulate_session(session, SimulationSettings(**SMALL))
    assert files(session) == before


def test_progress_ends_with_the_whole(tmp_path: Path):
    told: list[float] = []
    simulate_session(tmp_path / "s", SimulationSettings(**SMALL), told.append, workers=1)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"n_channels": 5}, "n_channels"),
        ({"grid": (4, 24, 8)}, "grid"),
        ({"multiband": 3}, "bands"),
        ({"calibration_s": 4.0}, "calibration"),
        ({"tr": 2.0}, "tr"),
    ],
)
def test_settings_that_make_no_session_are_refused(changes: dict[str, object], word: str):
    with pytest.raises(ValueError, match=word):
        SimulationSettings(**{**SMALL, **changes})
