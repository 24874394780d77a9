"""Sessions in which things go wrong: what is in the files, what is in the ledger, and what stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.acquire.recordings import open_recording
from streamer.errors import UsageError
from streamer.formats.brainvision import BrainVisionFile, read_brainvision
from streamer.formats.dicom import read_dicom
from streamer.simulate.ledger import KINDS
from streamer.simulate.session import SimulationSettings, parse_faults, simulate_session

SMALL = {
    "seed": 4, "sfreq": 1000.0, "grid": (24, 24, 8), "n_channels": 12, "calibration_s": 16.0, "block_s": 8.0,
    "n_blocks": 5, "lead_s": 4.0, "tr_s": 0.5,
}  # fmt: skip
EVERY = (
    "all,missing_trigger=0.2,double_trigger=0.2,extra_trigger_per_min=12,missing_volume=0.1,double_volume=0.1,"
    "out_of_order_volume=0.1,late_export=0.05,bold_spike=0.1,pop_per_min=12,noisy_channels=2,clipping_per_min=8,"
    "ecg_dropout_per_min=4,ectopic=0.1,movement_per_min=6"
)
Truth = dict[str, np.ndarray]
Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The task run of a session with these faults; each is made once."""
    done: dict[str, Path] = {}

    def make(spec: str) -> Path:
        if spec not in done:
            done[spec] = tmp_path_factory.mktemp("faults") / "session"
            faults = parse_faults(spec) if spec else parse_faults("clock_ppm=0")
            simulate_session(done[spec], SimulationSettings(**SMALL, faults=faults), workers=1)
        return done[spec] / "task"

    return make


def truth_of(run: Path) -> Truth:
    with np.load(run / "truth.npz") as stored:
        return dict(stored)


def ledger_of(run: Path, kind: str = "") -> list[dict[str, Any]]:
    found = json.loads((run / "ledger.json").read_text())["faults"]
    return [entry for entry in found if kind in {"", entry["kind"]}]


def dicoms(run: Path) -> dict[str, Any]:
    return {p.name: read_dicom(p.read_bytes(), p.name) for p in sorted((run / "dicom").iterdir())}


def stored(file: BrainVisionFile) -> np.ndarray:
    return file.stored(0, file.n_samples)


def r128(run: Path) -> list[int]:
    return [m.sample for m in read_brainvision(run / "eeg.vhdr").markers if m.label == "R128"]


def unfolded(run: Path, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Stored values with lost samples put back as 0, and which samples there are."""
    data = stored(read_brainvision(run / "eeg.vhdr"))
    lost = truth["lost_samples"]
    there = np.ones(len(data) + int(np.diff(lost).sum()), bool)
    for first, stop in lost:
        there[first:stop] = False
    whole = np.zeros((len(there), data.shape[1]))
    whole[there] = data
    return whole, there


def planted_sum(truth: Truth, n_samples: int, factor: int) -> np.ndarray:
    """What the stored components add up to at the model's rate, V, by the formula in the docstring of write_truth."""
    out = (truth["power"] + truth["sensor"]).astype(float)
    out[:, :-1] += truth["eeg"] + truth["motion_eeg"] + truth["blink"][:, None] * truth["blink_map"]
    out[:, :-1] += truth["pulse"] @ truth["pulse_map"]
    out[:, -1] += truth["ecg"]
    out[:, truth["lead_channels"]] += truth["lead"]
    template = truth["gradient_template"]
    for k, gain in enumerate(truth["gradient_gain"]):
        samples = np.arange(int(truth["gradient_starts"][k]), int(truth["gradient_stops"][k]))
        on_grid = samples[samples % factor == 0]
        out[on_grid // factor] += template[on_grid - int(truth["gradient_starts"][k])] * gain
    return out[: -(-n_samples // factor)]


def test_the_sum_of_the_components_is_the_recording_with_all_faults_on(made: Make):
    # on the amplifier's own grid, so that the stored template needs no interpolation
    run = made(f"{EVERY},clock_ppm=0,jitter_us=0")
    truth = truth_of(run)
    stored, there = unfolded(run, truth)
    factor = 4
    expected = np.clip(np.rint(planted_sum(truth, len(stored), factor) / 0.5e-6), -32768, 32767)
    assert len(truth["held"]) > 3
    assert truth["lead"].any()
    for channel, first, stop, value in truth["held"]:
        assert np.all(stored[first:stop, channel][there[first:stop]] == value)
        expected[-(-first // factor) : -(-stop // factor), channel] = value
    seen = there[::factor]
    # float32 on the way: half a unit may be rounded the other way
    assert np.abs(stored[::factor] - expected)[seen].max() <= 1
    assert np.mean(stored[::factor][seen] == expected[seen]) > 0.98


def test_every_kind_of_fault_is_in_the_ledger(made: Make):
    run = made(EVERY)
    found = {entry["kind"] for entry in ledger_of(run)}
    assert set(KINDS) - found == {"untriggered_volumes"}
    duration = truth_of(run)["state"].size / 250.0
    for entry in ledger_of(run):
        assert 0.0 <= entry["from_s"] <= entry["to_s"] <= duration + 8.0
        assert entry["reader"]
    calm = ledger_of(run.parent / "calibration")
    assert [entry["kind"] for entry in calm] == ["clock_drift", "gradient_jitter"]
    assert ledger_of(made("")) == []


def test_equal_faults_give_equal_bytes_whatever_the_number_of_processes(made: Make, tmp_path: Path):
    settings = SimulationSettings(**{**SMALL, "tr_s": 0.3}, faults=parse_faults(EVERY))
    contents = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        simulate_session(out, settings, workers=workers)
        contents.append({str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        ("missing_trigger=0.2", {"trigger_recorded"}),
        ("double_trigger=0.3", set()),
        ("extra_trigger_per_min=10", set()),
        ("untriggered_volumes=2", {"trigger_recorded"}),
        ("dummy_volumes=3", {"volume_index"}),
        ("missing_volume=0.2", {"volume_index"}),
        ("double_volume=0.2", set()),
        ("out_of_order_volume=0.2", {"known_at"}),
        ("late_export=0.1", {"known_at"}),
        ("export_batch=4", {"known_at"}),
        ("bold_spike=0.2", {"volume_spikes"}),
        ("gap_ms=100@12", {"lost_samples"}),
        ("pop_per_min=10", {"lead", "lead_channels"}),
        ("noisy_channels=2", {"lead", "lead_channels"}),
        ("flat_channels=2", {"held"}),
        ("clipping_per_min=8", {"held"}),
        ("ecg_dropout_per_min=8", {"held"}),
        ("ectopic=0.2", {"r_times", "pulse", "ecg"}),
        ("movement_per_min=8", {"motion", "motion_eeg", "volume_motion", "gradient_gain"}),
    ],
)
def test_a_fault_changes_nothing_but_itself(made: Make, spec: str, changed: set[str]):
    calm, faulty = truth_of(made("")), truth_of(made(spec))
    assert ledger_of(made(spec))
    differing = {name for name in calm if not np.array_equal(calm[name], faulty[name])}
    assert differing - {"recorded_triggers"} == changed
    untouched = {"lead", "held", "motion", "gradient_gain", "lost_samples"} & changed
    same_eeg = (made("") / "eeg.eeg").read_bytes() == (made(spec) / "eeg.eeg").read_bytes()
    assert same_eeg == (not untouched and "pulse" not in changed)
    if not changed & {"volume_spikes", "volume_motion", "volume_index"}:
        for path in (made("") / "dicom").iterdir():
            assert path.read_bytes() == (made(spec) / "dicom" / path.name).read_bytes()
    before, after = (made(each).parent / "calibration" for each in ("", spec))
    assert (before / "eeg.eeg").read_bytes() == (after / "eeg.eeg").read_bytes()


def test_missing_doubled_and_extra_triggers_are_those_of_the_ledger(made: Make):
    run = made("missing_trigger=0.2,double_trigger=0.2,extra_trigger_per_min=12")
    truth = truth_of(run)
    missing = {entry["sample"] for entry in ledger_of(run, "missing_trigger")}
    added = {entry["sample"] for kind in ("double_trigger", "extra_trigger") for entry in ledger_of(run, kind)}
    assert missing
    assert added
    assert set(r128(run)) == (set(truth["trigger_samples"].tolist()) - missing) | added
    assert sorted(r128(run)) == truth["recorded_triggers"].tolist()
    np.testing.assert_array_equal(truth["trigger_samples"][truth["trigger_recorded"]][0], truth["trigger_samples"][0])


def test_dummy_volumes_have_triggers_but_no_files(made: Make):
    run = made("dummy_volumes=3")
    truth = truth_of(run)
    volumes = dicoms(run)
    assert len(r128(run)) == len(truth["volume_onsets"]) == len(volumes) + 3
    assert sorted(v.index for v in volumes.values()) == list(range(len(volumes)))
    assert truth["volume_index"].tolist() == [-1, -1, -1, *range(len(volumes))]
    assert "first_volume = -3" in (run / "recording.toml").read_text()
    calm = dicoms(made(""))
    np.testing.assert_array_equal(volumes["001_000003_000001.dcm"].data, calm["001_000003_000004.dcm"].data)
    assert volumes["001_000003_000001.dcm"].onset == calm["001_000003_000004.dcm"].onset


def test_untriggered_volumes_have_files_but_no_triggers(made: Make):
    recording = open_recording(made("untriggered_volumes=2"))
    calm = open_recording(made(""))
    assert recording.bold is not None
    assert calm.bold is not None
    assert recording.bold.n_volumes == calm.bold.n_volumes
    assert len(r128(made("untriggered_volumes=2"))) == calm.bold.n_volumes - 2
    onsets = [[part.onset_s(k) for k in range(part.n_volumes)] for part in (recording.bold, calm.bold)]
    np.testing.assert_allclose(onsets[0], onsets[1], atol=1e-9)


def test_missing_and_doubled_files(made: Make):
    missing, doubled = made("missing_volume=0.2"), made("double_volume=0.2")
    gone = {entry["index"] for entry in ledger_of(missing, "missing_volume")}
    there = {v.index for v in dicoms(missing).values()}
    assert gone
    assert there | gone == set(range(len(truth_of(missing)["volume_onsets"])))
    assert not there & gone
    table = (missing / "export.tsv").read_text().splitlines()[1:]
    assert {int(line.split("\t")[0]) for line in table} == there
    twice = {entry["index"] for entry in ledger_of(doubled, "double_volume")}
    seen = [v.index for v in dicoms(doubled).values()]
    assert twice
    assert {index for index in seen if seen.count(index) == 2} == twice


def test_a_restarted_scan_is_a_second_series_after_a_pause(made: Make):
    run = made("restart_s=7.3@15")
    truth = truth_of(run)
    second = int(np.argmax(truth["volume_series"] == 1))
    onsets, starts, stops = truth["volume_onsets"], truth["gradient_starts"], truth["gradient_stops"]
    assert onsets[second - 1] < 15.0 <= onsets[second - 1] + 0.5
    assert onsets[second] - onsets[second - 1] == pytest.approx(7.8)
    np.testing.assert_allclose(np.diff(onsets[second:]), 0.5)
    assert truth["volume_index"].tolist() == [*range(second), *range(len(onsets) - second)]
    names = sorted(dicoms(run))
    assert (names[second - 1], names[second]) == (f"001_000003_{second:06d}.dcm", "001_000004_000001.dcm")
    volumes = dicoms(run)
    assert len({v.series for v in volumes.values()}) == 2
    pause = volumes[names[second]].onset - volumes[names[second - 1]].onset
    assert pause == pytest.approx(7.8)
    # no gradients in the pause
    assert stops[second - 1] == starts[second - 1] + 500
    quiet = read_brainvision(run / "eeg.vhdr").read(int(stops[second - 1]) + 10, int(starts[second]) - 10)
    assert np.all(np.ptp(quiet[:, :11], axis=0) < 0.6e-3)
    (entry,) = ledger_of(run, "restart")
    assert entry["volume"] == second
    assert (run / "export.tsv").read_text().splitlines()[0] == "index\tknown_at_s\tseries"


def test_a_gap_is_a_dated_segment_and_the_samples_are_gone(made: Make):
    run, calm = made("gap_ms=100@12,gap_ms=21@12.5"), made("")
    file, whole = read_brainvision(run / "eeg.vhdr"), read_brainvision(calm / "eeg.vhdr")
    assert file.n_samples == whole.n_samples - 121
    kept = np.r_[0:12_000, 12_100:12_500, 12_521 : whole.n_samples]
    np.testing.assert_array_equal(stored(file), stored(whole)[kept])
    segments = [(m.sample, m.date) for m in file.markers if m.kind == "New Segment"]
    assert segments == [
        (0, "20000101100000000000"), (12_000, "20000101100012100000"), (12_400, "20000101100012521000"),
    ]  # fmt: skip
    # the pulses within a gap are lost with it, the others lie at the same voltage as before
    assert [entry["triggers_lost"] for entry in ledger_of(run, "gap")] == [[20], [21]]
    kept_triggers = [s for k, s in enumerate(r128(calm)) if k not in {20, 21}]
    np.testing.assert_array_equal(stored(file)[r128(run)], stored(whole)[kept_triggers])
    recording = open_recording(run)
    assert recording.eeg is not None
    assert recording.eeg.times(12_000, 12_001)[0][0] == pytest.approx(12.1)


def test_export_faults_delay_as_the_ledger_says(made: Make):
    calm = truth_of(made(""))
    late = truth_of(made("late_export=0.1"))["known_at"]
    entries = ledger_of(made("late_export=0.1"), "late_export")
    assert np.all(np.diff(late) > 0)
    for entry in entries:
        assert late[entry["volume"]] >= calm["known_at"][entry["volume"]] + 2.0 - 1e-6
    batch = truth_of(made("export_batch=4"))["known_at"]
    np.testing.assert_allclose(np.diff(batch[:8]), [1e-3] * 3 + [np.diff(batch[:8])[3]] + [1e-3] * 3)
    swapped = truth_of(made("out_of_order_volume=0.2"))["known_at"]
    behind = {entry["volume"] for entry in ledger_of(made("out_of_order_volume=0.2"), "out_of_order_volume")}
    assert behind
    assert all(swapped[k] > swapped[k + 1] for k in behind if k + 1 not in behind)


def test_spikes_are_in_the_volumes_and_ectopic_beats_in_the_ecg(made: Make):
    calm, spiked = dicoms(made("")), dicoms(made("bold_spike=0.2"))
    entries = {entry["volume"]: entry for entry in ledger_of(made("bold_spike=0.2"))}
    for k in range(20):
        name = f"001_000003_{k + 1:06d}.dcm"
        changed = np.flatnonzero(np.any(calm[name].data != spiked[name].data, axis=(0, 1)))
        if k in entries:
            first, stop = entries[k]["slices"]
            assert set(changed) == set(range(first, stop))
            ratio = spiked[name].data[:, :, first:stop].sum() / calm[name].data[:, :, first:stop].sum()
            assert ratio == pytest.approx(1 + entries[k]["percent"] / 100, abs=0.005)
        else:
            assert not len(changed)
    before, after = truth_of(made(""))["r_times"], truth_of(made("ectopic=0.2"))["r_times"]
    early = [entry["r_s"] for entry in ledger_of(made("ectopic=0.2"))]
    np.testing.assert_allclose(after[before != after], early, atol=1e-6)
    assert np.all(after[before != after] < before[before != after])


@pytest.mark.parametrize("spec", ["gap_ms=100@300", "restart_s=5@300", "restart_s=60@20", "gap_ms=100@0"])
def test_faults_outside_of_the_run_are_refused_before_anything_is_written(tmp_path: Path, spec: str):
    with pytest.raises(UsageError, match="expected"):
        simulate_session(tmp_path / "out", SimulationSettings(**SMALL, faults=parse_faults(spec)))
    assert not (tmp_path / "out").exists()
