"""Real times drive a session: trigger tables with lost rows, marker files, R peaks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import FormatError, UsageError
from streamer.formats.brainvision import read_brainvision
from streamer.simulate.event_tables import read_r_peaks, read_triggers
from streamer.simulate.session import FaultSettings, SimulationSettings, simulate_session

SMALL = {
    "seed": 4, "sfreq": 1000.0, "grid": (24, 24, 8), "n_channels": 12, "calibration_s": 16.0, "block_s": 8.0,
    "n_blocks": 3, "lead_s": 4.0,
}  # fmt: skip
FACETPY = "eeg/facetpy-triggers/sub-xp101_task-eegfmriNF_events.tsv"
DELIGIANNI = "eeg/eeg-rest-fmri/derivatives/sub-32/eeg/sub-32_task-rest_eeg.vmrk"


def table(path: Path, rows: list[tuple[float, str]]) -> Path:
    path.write_text("onset\tduration\ttrial_type\n" + "".join(f"{at}\t0\t{label}\n" for at, label in rows))
    return path


def truth_and_faults(run: Path) -> tuple[dict[str, np.ndarray], list[dict[str, object]]]:
    with np.load(run / "truth.npz") as stored:
        return dict(stored), json.loads((run / "ledger.json").read_text())["faults"]


def r128(run: Path) -> np.ndarray:
    return np.array([m.sample for m in read_brainvision(run / "eeg.vhdr").markers if m.label == "R128"])


def test_holes_are_filled_as_not_recorded_and_pauses_are_not(tmp_path: Path):
    times = [1.0, 2.0, 3.0, 5.0, 6.0, 12.4, 13.4, 14.4]
    found = read_triggers(table(tmp_path / "events.tsv", [(at, "Response/R128") for at in times]))
    assert found.times.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 12.4, 13.4, 14.4]
    assert found.times[~found.recorded].tolist() == [4.0]
    assert found.period_s == 1.0
    assert found.pauses.tolist() == [6]


def test_rows_that_name_lost_pulses_are_part_of_the_train(tmp_path: Path):
    rows = [(float(k), "trigger") for k in range(6)] + [(2.0, "missing_trigger"), (6.001, "missing_trigger")]
    found = read_triggers(table(tmp_path / "events.tsv", rows), "trigger")
    assert found.times.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.001]
    assert found.recorded.tolist() == [True, True, False, True, True, True, False]


def test_a_table_without_what_is_wanted_says_what_it_has(tmp_path: Path):
    path = table(tmp_path / "events.tsv", [(1.0, "R128"), (2.0, "R128"), (3.0, "cue")])
    with pytest.raises(UsageError, match=r"no events volume; there are R128 \(2\), cue \(1\)|no events volume"):
        read_triggers(path, "volume")
    with pytest.raises(UsageError, match="no events R or"):
        read_r_peaks(path)
    with pytest.raises(UsageError, match="expected at least two"):
        read_triggers(path, "cue")
    (tmp_path / "odd.tsv").write_text("onset\tlabel\n1\tR128\n")
    with pytest.raises(FormatError, match="no column trial_type"):
        read_triggers(tmp_path / "odd.tsv")
    with pytest.raises(FormatError, match="line 2 has onset 'n/a'"):
        read_triggers(table(tmp_path / "bad.tsv", [("n/a", "R128")]))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"expected a table \(.tsv, .csv\) or a marker file"):
        read_triggers(tmp_path / "x.edf")


def test_the_scanner_pulses_at_the_times_of_the_table(tmp_path: Path):
    wobble = np.round(1.5 + np.arange(40) + 0.002 * np.sin(np.arange(40)), 4)
    kept = [k for k in range(40) if k not in {7, 20, 21}]
    path = table(tmp_path / "events.tsv", [(float(wobble[k]), "R128") for k in kept])
    simulate_session(tmp_path / "s", SimulationSettings(**SMALL, triggers=path), workers=1)
    truth, faults = truth_and_faults(tmp_path / "s" / "task")
    n = len(truth["volume_onsets"])
    assert n == 28
    expected = [k for k in kept if k < n]
    np.testing.assert_array_equal(r128(tmp_path / "s" / "task"), np.rint(wobble[expected] * 1000))
    missing = [entry for entry in faults if entry["kind"] == "missing_trigger"]
    assert [entry["volume"] for entry in missing] == [7, 20, 21]
    # the gradients are where the pulses are, the lost ones too
    stored = read_brainvision(tmp_path / "s" / "task" / "eeg.vhdr")
    assert np.ptp(stored.read(100, 1490)[:, :11], axis=0).max() < 0.6e-3
    assert np.median(np.ptp(stored.read(8600, 9400)[:, :11], axis=0)) > 1e-3
    about = (tmp_path / "s" / "session.toml").read_text()
    assert 'triggers = "events.tsv"' in about
    assert str(tmp_path) not in about


def test_a_pause_in_the_table_is_a_restart(tmp_path: Path):
    times = [*(2.0 + np.arange(12)), *(20.3 + np.arange(30))]
    path = table(tmp_path / "events.tsv", [(float(at), "R128") for at in times])
    simulate_session(tmp_path / "s", SimulationSettings(**SMALL, triggers=path), workers=1)
    truth, faults = truth_and_faults(tmp_path / "s" / "task")
    assert [entry["volume"] for entry in faults if entry["kind"] == "restart"] == [12]
    assert truth["volume_index"].tolist() == [*range(12), *range(len(truth["volume_index"]) - 12)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tr_s": 1.5}, "a trigger every 1 s, expected one per TR of 1.5 s or per slice of 8"),
        ({"n_blocks": 12}, "triggers until .* the task run of .* needs more"),
    ],
)
def test_a_table_that_does_not_fit_the_session_is_refused(tmp_path: Path, changes: dict[str, float], message: str):
    path = table(tmp_path / "events.tsv", [(2.0 + k, "R128") for k in range(40)])
    with pytest.raises(UsageError, match=message):
        simulate_session(tmp_path / "s", SimulationSettings(**{**SMALL, **changes}, triggers=path), workers=1)
    assert not (tmp_path / "s").exists()


def test_a_real_table_has_its_own_clock():
    with pytest.raises(ValueError, match="no clock_ppm"):
        SimulationSettings(**SMALL, triggers=Path("x.tsv"), faults=FaultSettings(clock_ppm=5.0))


def test_a_real_table_of_slice_triggers(shared_data: Path, tmp_path: Path):
    found = read_triggers(shared_data / FACETPY, "trigger")
    assert (len(found.times), int(found.recorded.sum())) == (6799, 210)
    assert set(np.rint(np.diff(found.times) * 5000)) == {312.0, 313.0, 316.0}
    volumes = read_triggers(shared_data / FACETPY)
    assert (len(volumes.times), volumes.period_s) == (210, pytest.approx(2.0))
    assert (found.tr_s(32), found.of_slices(32, 2.0), volumes.of_slices(32, 2.0)) == (pytest.approx(2.0), True, False)
    settings = SimulationSettings(
        **{**SMALL, "sfreq": 5000.0, "grid": (24, 24, 32), "tr_s": 2.0},
        triggers=shared_data / FACETPY,
        trigger_label="trigger",
    )
    simulate_session(tmp_path / "s", settings, workers=1)
    truth, faults = truth_and_faults(tmp_path / "s" / "task")
    np.testing.assert_array_equal(truth["trigger_samples"][:4], 119_804 + 10_000 * np.arange(4))
    # the table says which of its pulses the recording had: those that are R128 there
    assert r128(tmp_path / "s" / "task").tolist() == truth["trigger_samples"][3:].tolist()
    of_slices = [entry for entry in faults if "of_slices" in entry]
    assert len(of_slices) == 1
    assert len(of_slices[0]["samples"]) == of_slices[0]["of_slices"]  # type: ignore[arg-type]


def test_a_real_marker_file_gives_volumes_and_heart_beats(shared_data: Path, tmp_path: Path):
    peaks = read_r_peaks(shared_data / DELIGIANNI)
    found = read_triggers(shared_data / DELIGIANNI)
    assert (len(peaks), len(found.times), found.period_s) == (745, 300, pytest.approx(2.16))
    settings = SimulationSettings(
        **{**SMALL, "tr_s": 2.16}, triggers=shared_data / DELIGIANNI, r_peaks=shared_data / DELIGIANNI
    )
    simulate_session(tmp_path / "s", settings, workers=1)
    truth, _ = truth_and_faults(tmp_path / "s" / "task")
    n = len(truth["r_times"])
    np.testing.assert_array_equal(truth["r_times"], peaks[:n])
    np.testing.assert_allclose(r128(tmp_path / "s" / "task") / 1000.0, found.times[: len(truth["volume_onsets"])])
    # a beat of the ECG is highest where the real one was
    ecg = truth["ecg"]
    for at in truth["r_times"][2:12]:
        around = np.arange(round((at - 0.1) * 250), round((at + 0.1) * 250))
        assert abs(around[np.argmax(ecg[around])] / 250 - at) <= 0.004
    with pytest.raises(UsageError, match="R peaks until"):
        simulate_session(tmp_path / "long", SimulationSettings(**{**SMALL, "n_blocks": 100}, r_peaks=settings.r_peaks))
