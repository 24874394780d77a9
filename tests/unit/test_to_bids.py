"""A recording becomes a BIDS dataset that other programs read sample for sample."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mne
import nibabel as nib
import numpy as np
import pytest
from nilearn.image import load_img

import replay_data
from streamer.acquire.recording import PhysioPart, RecordedMarker, Recording
from streamer.acquire.recordings import open_recording
from streamer.errors import RecordingError, UsageError
from streamer.formats.bids import Entities
from streamer.messages import ChannelInfo, Volume
from streamer.to_bids import write_bids
from tests.unit.recorded_feedback import recorded_session

SHIPPED = Path(replay_data.__file__).parent / "short" / "task" / "recording.toml"


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bids") / "dataset"
    report = write_bids(SHIPPED, out, Entities(task="nf"), 50.0)
    assert report.problems == []
    assert all((out / name).is_file() for name in report.files)
    return out


def test_eeg_keeps_its_stored_values(dataset: Path) -> None:
    recording = open_recording(SHIPPED)
    vhdr = only(dataset, "*_eeg.vhdr")
    assert vhdr.with_suffix(".eeg").read_bytes() == (SHIPPED.parent / "eeg.eeg").read_bytes()
    raw = mne.io.read_raw_brainvision(vhdr, verbose="error")
    source = mne.io.read_raw_brainvision(SHIPPED.parent / "eeg.vhdr", verbose="error")
    np.testing.assert_array_equal(raw.get_data(), source.get_data())
    assert raw.ch_names == source.ch_names
    triggers = [o for o, d in zip(raw.annotations.onset, raw.annotations.description, strict=True) if "R128" in d]
    assert recording.eeg is not None
    np.testing.assert_allclose(triggers, [m.at_s for m in recording.eeg.markers if m.label == "R128"], atol=1e-6)


def test_volumes_keep_their_values_and_their_place(dataset: Path) -> None:
    bold = open_recording(SHIPPED).bold
    assert bold is not None
    path = only(dataset, "*_bold.nii.gz")
    image: Any = nib.load(path)
    first = bold.volume(0)
    assert image.shape == (*first.data.shape, bold.n_volumes)
    assert image.get_data_dtype() == first.data.dtype
    data = np.asarray(image.dataobj)
    for k in range(bold.n_volumes):
        np.testing.assert_array_equal(data[..., k], bold.volume(k).data)
    np.testing.assert_allclose(image.affine, first.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), first.affine, atol=1e-4)
    assert float(image.header.get_zooms()[3]) == bold.tr
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert load_img(str(path)).shape == image.shape
    about = json.loads(only(dataset, "*_bold.json").read_text())
    assert about["RepetitionTime"] == bold.tr
    assert about["SliceTiming"] == pytest.approx(first.slice_times)
    assert about["StartTimeAfterEEG"] == pytest.approx(bold.onset_s(0))


def test_events_tie_the_two_together(dataset: Path) -> None:
    recording = open_recording(SHIPPED)
    assert recording.bold is not None
    assert recording.eeg is not None
    in_eeg = rows(only(dataset / "sub-01" / "eeg", "*_events.tsv"))
    in_func = rows(only(dataset / "sub-01" / "func", "*_events.tsv"))
    pulses = [row for row in in_eeg if row["trial_type"] == "volume_trigger"]
    wanted = [m.sample for m in recording.eeg.markers if m.label == "R128"]
    assert [int(row["sample"]) for row in pulses] == wanted
    assert len(pulses) == recording.bold.n_volumes
    begins = recording.bold.onset_s(0)
    for one, other in zip(in_eeg, in_func, strict=True):
        assert float(one["onset"]) - begins == pytest.approx(float(other["onset"]), abs=1e-6)
        assert one["sample"] == other["eeg_sample"]
    blocks = [(float(r["onset"]), float(r["duration"]), r["trial_type"]) for r in in_eeg]
    for block in recording.events:
        assert (block.onset_s, block.duration_s, block.label) in blocks
    scans = {row["filename"]: row["acq_time"] for row in rows(only(dataset, "*_scans.tsv"))}
    assert scans["eeg/sub-01_task-nf_eeg.vhdr"] == "1925-01-01T00:00:00.000000"
    assert scans["func/sub-01_task-nf_bold.nii.gz"] == f"1925-01-01T00:00:0{begins:.6f}"


def test_the_ecg_stands_beside_the_volumes_too(dataset: Path) -> None:
    eeg = open_recording(SHIPPED).eeg
    assert eeg is not None
    place = [c.kind for c in eeg.channels].index("ecg")
    about = json.loads(only(dataset, "*_physio.json").read_text())
    assert about["Columns"] == ["cardiac"]
    assert about["SamplingFrequency"] == eeg.sfreq
    with gzip.open(only(dataset, "*_physio.tsv.gz"), "rt") as stream:
        values = np.array([float(line) for line in stream], np.float32)
    np.testing.assert_array_equal(values, eeg.read(0, eeg.n_samples)[:, place])
    bold = json.loads(only(dataset, "*_bold.json").read_text())
    assert about["StartTime"] == -bold["StartTimeAfterEEG"]


def test_the_same_recording_gives_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    write_bids(SHIPPED, tmp_path / "again", Entities(task="nf"), 50.0)
    files = sorted(p.relative_to(dataset) for p in dataset.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((dataset / f).read_bytes() == (tmp_path / "again" / f).read_bytes() for f in files)


def test_runs_join_a_dataset_and_nothing_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for run in ("1", "2"):
        write_bids(SHIPPED, out, Entities(run=run))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=r"run-2.*nothing is overwritten"):
        write_bids(SHIPPED, out, Entities(run="2"))
    write_bids(SHIPPED, out, Entities(subject="02"))
    assert all(p.read_bytes() == content for p, content in before.items() if p.name != "participants.tsv")
    assert [row["participant_id"] for row in rows(out / "participants.tsv")] == ["sub-01", "sub-02"]
    assert len(rows(out / "sub-01" / "sub-01_scans.tsv")) == 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="neither empty nor a BIDS dataset"):
        write_bids(SHIPPED, tmp_path / "mine", Entities())


def changed(monkeypatch: pytest.MonkeyPatch, recording: Recording) -> None:
    monkeypatch.setattr("streamer.to_bids.open_recording", lambda _: recording)


def test_a_volume_that_cannot_be_read_leaves_a_hole_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_recording(SHIPPED)
    assert whole.bold is not None
    read = whole.bold.read

    def torn(k: int) -> Volume:
        if k == 3:
            raise RecordingError("the file ends too early")
        volume = read(k)
        return replace(volume, data=volume.data[:-1]) if k == 5 else volume

    changed(monkeypatch, replace(whole, bold=replace(whole.bold, read=torn)))
    report = write_bids(SHIPPED, tmp_path / "out", Entities())
    assert [p for p in report.problems if "volume 3 " in p and "ends too early" in p]
    assert [p for p in report.problems if "volume 5 " in p and "grid" in p]
    image: Any = nib.load(only(tmp_path, "*_bold.nii.gz"))
    assert image.shape[3] == whole.bold.n_volumes - 2
    about = json.loads(only(tmp_path, "*_bold.json").read_text())
    tr = whole.bold.tr
    assert about["VolumeTiming"][:5] == pytest.approx([0, tr, 2 * tr, 4 * tr, 6 * tr])
    pulses = [
        r
        for r in rows(only(tmp_path / "out" / "sub-01" / "eeg", "*_events.tsv"))
        if r["trial_type"] == "volume_trigger"
    ]
    assert len(pulses) == whole.bold.n_volumes - 2


def test_one_modality_alone_and_physiology_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_recording(SHIPPED)
    rng = np.random.default_rng(0)
    belt = rng.normal(size=(500, 1))
    part = PhysioPart(
        "made", (ChannelInfo("belt resp", "misc", "N"),), 25.0, 500, -1.5, lambda a, b: belt[a:b],
        (RecordedMarker("breath", 4.0, 4.0),),
    )  # fmt: skip
    changed(monkeypatch, replace(whole, bold=None, physio=(part,)))
    write_bids(SHIPPED, tmp_path / "eeg", Entities())
    assert not (tmp_path / "eeg" / "sub-01" / "func").exists()
    about = json.loads(only(tmp_path / "eeg", "*_recording-1_physio.json").read_text())
    assert (about["StartTime"], about["Columns"]) == (-1.5, ["respiratory"])
    with gzip.open(only(tmp_path / "eeg", "*_physio.tsv.gz"), "rt") as stream:
        np.testing.assert_allclose([float(line) for line in stream], belt[:, 0], rtol=1e-8)
    assert "breath" in [row["value"] for row in rows(only(tmp_path / "eeg", "*_events.tsv"))]
    changed(monkeypatch, replace(whole, eeg=None))
    write_bids(SHIPPED, tmp_path / "bold", Entities())
    assert not (tmp_path / "bold" / "sub-01" / "eeg").exists()
    assert "StartTimeAfterEEG" not in json.loads(only(tmp_path / "bold", "*_bold.json").read_text())


def test_a_failure_leaves_no_half_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_recording(SHIPPED)
    assert whole.bold is not None
    calls: list[int] = []

    def failing(k: int) -> Volume:
        calls.append(k)
        # the second pass writes
        if len(calls) > 30:
            raise OSError("the disk is gone")
        return whole.bold.read(k)  # type: ignore[union-attr]

    changed(monkeypatch, replace(whole, bold=replace(whole.bold, read=failing)))
    with pytest.raises(OSError, match="disk is gone"):
        write_bids(SHIPPED, tmp_path / "out", Entities())
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_session_brings_its_neurofeedback_and_its_gap(tmp_path: Path) -> None:
    data, _ = recorded_session(tmp_path / "s")
    report = write_bids(tmp_path / "s", tmp_path / "out", Entities())
    raw = mne.io.read_raw_brainvision(only(tmp_path / "out", "*_eeg.vhdr"), verbose="error")
    np.testing.assert_allclose(raw.get_data().T, data, rtol=2e-7, atol=0)
    events = rows(only(tmp_path / "out" / "sub-01" / "eeg", "*_events.tsv"))
    (trigger,) = [row for row in events if row["trial_type"] == "nf_trigger"]
    assert float(trigger["onset"]) == pytest.approx(2.125, abs=1e-6)
    assert trigger["value"] == "reward"
    assert {k: float(trigger[k]) for k in ("score", "threshold", "age_eeg", "age_fmri")} == {
        "score": 0.8,
        "threshold": 0.625,
        "age_eeg": 0.004,
        "age_fmri": 2.5,
    }
    assert (trigger["quality"], trigger["sham"]) == ("GAP+MOTION", "n/a")
    (veto,) = [row for row in events if row["trial_type"] == "nf_veto"]
    assert float(veto["onset"]) == pytest.approx(1.5, abs=1e-6)
    assert (veto["value"], veto["score"]) == ("flags: WARMING", "n/a")
    (gap,) = [row for row in events if row["trial_type"] == "gap"]
    assert int(gap["sample"]) == 1000
    assert (float(gap["onset"]), float(gap["duration"])) == pytest.approx((2.0, 1.0), abs=1e-3)
    assert json.loads(only(tmp_path / "out", "*_eeg.json").read_text())["RecordingType"] == "discontinuous"
    assert [int(row["sample"]) for row in events if row["trial_type"] == "volume_trigger"] == [504, 1504]
    assert any("gaps" in problem for problem in report.problems)
    read = open_recording(only(tmp_path / "out", "*_eeg.vhdr"))
    assert read.eeg is not None
    assert read.eeg.duration_s == pytest.approx(5.0, abs=1e-3)


def shown(folder: Path) -> tuple[dict[str, Any], list[str]]:
    with gzip.open(only(folder, "*_stim.tsv.gz"), "rt") as stream:
        return json.loads(only(folder, "*_stim.json").read_text()), stream.read().splitlines()


def test_a_session_brings_what_was_shown_beside_both_recordings(tmp_path: Path) -> None:
    recorded_session(tmp_path / "s")
    latency = {"latency_ms": {"sample_to_decision": {"p50": 17.0, "p99": 21.0}}}
    (tmp_path / "s" / "summary.json").write_text(json.dumps(latency))
    report = write_bids(tmp_path / "s", tmp_path / "out", Entities())
    assert len([name for name in report.files if "_stim." in name]) == 4
    about, lines = shown(tmp_path / "out" / "sub-01" / "eeg")
    assert lines == [f"{k / 100:g}\t{int(k == 22)}\t0.6\t0.25" for k in range(20, 26)]
    assert about["Columns"] == ["level", "neutral", "threshold", "axis_eeg"]
    assert about["SamplingFrequency"] == 10.0
    assert about["StartTime"] == pytest.approx(2.0, abs=1e-6)
    assert about["DecisionDelay"] == {"p50": 0.017, "p99": 0.021}
    beside, others = shown(tmp_path / "out" / "sub-01" / "func")
    after = json.loads(only(tmp_path / "out", "*_bold.json").read_text())["StartTimeAfterEEG"]
    assert others == lines
    assert beside["StartTime"] == pytest.approx(about["StartTime"] - after, abs=1e-6)


def test_a_sealed_session_keeps_its_condition_until_it_is_told(tmp_path: Path) -> None:
    recorded_session(tmp_path / "s")
    (tmp_path / "s" / "sham").mkdir()
    for number, told, wanted in (("1", None, "n/a"), ("2", "yoked", "yoked")):
        write_bids(tmp_path / "s", tmp_path / "out", Entities(run=number), condition=told)
        table = rows(only(tmp_path / "out" / "sub-01" / "eeg", f"*_run-{number}_events.tsv"))
        nf = [row for row in table if row["trial_type"].startswith("nf_")]
        assert [(row["sham"], row["condition"]) for row in nf] == [("sealed", wanted)] * 2
    (tmp_path / "s" / "sham" / "opened.json").write_text('{"condition": "real"}')
    write_bids(tmp_path / "s", tmp_path / "out", Entities(run="3"))
    table = rows(only(tmp_path / "out" / "sub-01" / "eeg", "*_run-3_events.tsv"))
    assert {row["condition"] for row in table if row["trial_type"] == "nf_veto"} == {"real"}
    # the own score is in no file
    for path in (tmp_path / "out").rglob("*.tsv*"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert b"0.77" not in content or path.name.endswith("physio.tsv.gz")
