"""The rig in a process of its own, listened to by plain pylsl and watched by plain directory listings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.child import child
from streamer.clock import pause, stopwatch
from streamer.formats.dicom import read_dicom
from streamer.formats.nifti import write_nifti
from streamer.simulate.session import SimulationSettings, simulate_session

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SPEED = 4


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task run of about 14 s at 1 kHz."""
    out = tmp_path_factory.mktemp("rig") / "session"
    settings = SimulationSettings(
        seed=5, sfreq=1000, grid=(24, 24, 8), n_channels=12, n_blocks=2, block_s=4, calibration_s=4, lead_s=2
    )
    simulate_session(out, settings, workers=1)
    return out / "task"


def inlets(name: str) -> tuple[pylsl.StreamInlet, pylsl.StreamInlet]:
    found: list[pylsl.StreamInlet] = []
    for wanted in (name, f"{name}-markers"):
        infos = pylsl.resolve_byprop("name", wanted, 1, 20.0)
        assert len(infos) == 1, f"{len(infos)} streams called {wanted}"
        found.append(pylsl.StreamInlet(infos[0], max_buflen=600, recover=False))
    return found[0], found[1]


def listen(name: str, n_samples: int, n_markers: int) -> dict[str, Any]:
    """Take in both streams until all is there, and half a second more for what should not come."""
    eeg, markers = inlets(name)
    out: dict[str, Any] = {"data": [], "stamps": [], "labels": [], "marker_stamps": [], "info": eeg.info()}
    eeg.open_stream()
    markers.open_stream()
    count, end = 0, stopwatch() + 60
    while stopwatch() < end:
        data, stamps = eeg.pull_chunk(timeout=0.02, max_samples=4096)
        labels, marker_stamps = markers.pull_chunk(timeout=0.0)
        if len(stamps):
            out["data"].append(np.asarray(data))
            out["stamps"].append(np.asarray(stamps))
            count += len(stamps)
        out["labels"] += [row[0] for row in labels]
        out["marker_stamps"] += list(marker_stamps)
        if count >= n_samples and len(out["labels"]) >= n_markers:
            end = min(end, stopwatch() + 0.5)
    eeg.close_stream()
    markers.close_stream()
    return out


def play_and_listen(path: Path, export: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    name = f"rig-{uuid.uuid4().hex[:8]}"
    eeg = open_recording(path).eeg
    assert eeg is not None
    with child("rig", str(path), "--export", str(export), "--stream-name", name, "--json", *arguments) as rig:
        rig.wait_for(lambda m: m["state"] == "ready", 30)
        heard = listen(name, eeg.n_samples, len(eeg.markers))
        done = rig.wait_for(lambda m: m["state"] == "done", 30)
        assert rig.process.wait(20) == 0, rig.text()
    return heard, done


def assert_heard_all(heard: dict[str, Any], recording: Recording) -> None:
    assert recording.eeg is not None
    data, stamps = np.concatenate(heard["data"]), np.concatenate(heard["stamps"])
    expected = recording.eeg.read(0, recording.eeg.n_samples)
    assert data.shape == expected.shape
    np.testing.assert_array_equal(data, expected * np.float32(1e6))
    n = np.arange(len(stamps))
    np.testing.assert_allclose(stamps, stamps[0] + n / recording.eeg.sfreq, rtol=0, atol=1e-9)
    assert sorted(heard["labels"]) == sorted(m.label for m in recording.eeg.markers)
    # a marker's stamp is the stamp of its sample, to the last bit, in whatever order the two came
    sample_of = {stamp: sample for sample, stamp in enumerate(stamps.tolist())}
    got = sorted(
        (sample_of[stamp], label) for stamp, label in zip(heard["marker_stamps"], heard["labels"], strict=True)
    )
    assert got == sorted((m.sample, m.label) for m in recording.eeg.markers)


def test_every_sample_marker_and_file_comes_out_as_recorded(run_folder: Path, tmp_path: Path):
    export = tmp_path / "export"
    heard, done = play_and_listen(run_folder / "recording.toml", export, "--speed", str(SPEED))
    recording = open_recording(run_folder)
    assert_heard_all(heard, recording)
    assert recording.eeg is not None
    assert recording.bold is not None
    assert done["samples"] == recording.eeg.n_samples
    assert done["markers"] == len(recording.eeg.markers)
    assert done["volumes"] == recording.bold.n_volumes == 10
    files = sorted(export.iterdir())
    assert [f.name for f in files] == sorted(p.name for p in (run_folder / "dicom").iterdir())
    assert all(f.read_bytes() == (run_folder / "dicom" / f.name).read_bytes() for f in files)
    description = heard["info"].desc().child("channels").child("channel")
    assert description.child_value("label") == "Fp1"
    assert description.child_value("unit") == "microvolts"
    assert description.child_value("type") == "EEG"
    assert heard["info"].nominal_srate() == recording.eeg.sfreq
    assert heard["info"].source_id()


def test_files_drop_at_their_times_and_some_are_half_written_for_a_moment(run_folder: Path, tmp_path: Path):
    export = tmp_path / "export"
    name = f"rig-{uuid.uuid4().hex[:8]}"
    known = [open_recording(run_folder).bold.known_at_s(k) for k in range(10)]
    complete = (run_folder / "dicom" / "001_000003_000001.dcm").stat().st_size
    seen: dict[str, float] = {}
    halves: set[str] = set()
    arguments = ("--export", str(export), "--stream-name", name, "--no-wait-consumers", "--json")
    with child("rig", str(run_folder), *arguments) as rig:
        rig.wait_for(lambda m: m["state"] == "playing", 30)
        began = stopwatch()
        while stopwatch() - began < max(known) + 1 and len(seen) < 10:
            for path in export.glob("*.dcm"):
                size = path.stat().st_size
                if size == complete:
                    seen.setdefault(path.name, stopwatch() - began)
                elif size:
                    halves.add(path.name)
            pause(0.004)
    assert len(seen) == 10
    times = [seen[n] for n in sorted(seen)]
    np.testing.assert_allclose(times, known, atol=0.25)
    assert halves
    assert len(halves) < 10


def test_a_nifti_is_exported_as_mosaics_that_read_back_equal(tmp_path: Path):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 3000, (10, 12, 6, 3)).astype(np.int16)
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [-13.5, -16.5, -10.0]
    write_nifti(tmp_path / "run.nii.gz", data, affine, 1.0)
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "rig", str(tmp_path / "run.nii.gz"), "--export", str(tmp_path / "out"),
         "--speed", "20", "--json"],
        capture_output=True, timeout=60, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["volumes"] == 3
    for k, path in enumerate(sorted((tmp_path / "out").iterdir())):
        volume = read_dicom(path.read_bytes(), path.name)
        assert volume.index == k
        # the first axis is turned round, and the affine with it
        np.testing.assert_array_equal(volume.data[::-1], data[..., k])
        np.testing.assert_allclose((volume.affine @ [9, 0, 0, 1])[:3], (affine @ [0, 0, 0, 1])[:3], atol=1e-6)


def test_an_xdf_is_played_with_the_spacing_of_its_own_stamps(shared_data: Path):
    path, stop = shared_data / "eeg" / "bci-essentials" / "switch_example.xdf", 12.0
    eeg = open_recording(path).eeg
    assert eeg is not None
    at = eeg.times(0, eeg.n_samples)[1]
    n = int(np.searchsorted(at, stop))
    markers = [m for m in eeg.markers if m.at_s < stop]
    name = f"rig-{uuid.uuid4().hex[:8]}"
    with child("rig", str(path), "--stream-name", name, "--stop", str(stop), "--speed", "4", "--json") as rig:
        rig.wait_for(lambda m: m["state"] == "ready", 30)
        heard = listen(name, n, len(markers))
        done = rig.wait_for(lambda m: m["state"] == "done", 30)
        assert rig.process.wait(20) == 0, rig.text()
    assert (done["samples"], done["markers"]) == (n, len(markers))
    data, stamps = np.concatenate(heard["data"]), np.concatenate(heard["stamps"])
    np.testing.assert_array_equal(data, eeg.read(0, n) * np.float32(1e6))
    np.testing.assert_allclose(stamps - stamps[0], at[:n] - at[0], rtol=0, atol=1e-9)
    sent = sorted((m.at_s, m.label) for m in markers)
    got = sorted(zip(heard["marker_stamps"], heard["labels"], strict=True))
    assert [label for _, label in got] == [label for _, label in sent]
    np.testing.assert_allclose([t - stamps[0] for t, _ in got], [t - at[0] for t, _ in sent], rtol=0, atol=1e-9)


def test_sigterm_ends_it_at_once_with_130(run_folder: Path, tmp_path: Path):
    arguments = ("--export", str(tmp_path / "out"), "--stream-name", uuid.uuid4().hex, "--no-wait-consumers", "--json")
    with child("rig", str(run_folder), *arguments) as rig:
        rig.wait_for(lambda m: m["state"] == "playing", 30)
        rig.process.send_signal(signal.SIGTERM)
        began = stopwatch()
        assert rig.wait_for(lambda m: m["state"] == "stopped", 5)["samples"] < 14_000
        assert rig.process.wait(5) == 130
        assert stopwatch() - began < 2


def test_nobody_listening_and_a_taken_directory_are_said(run_folder: Path, tmp_path: Path):
    command = [sys.executable, "-m", "streamer", "rig", str(run_folder), "--stream-name", uuid.uuid4().hex]
    alone = subprocess.run([*command, "--wait", "0.3"], capture_output=True, timeout=60, text=True, check=False)
    assert alone.returncode == 3
    assert "nobody listened" in alone.stderr
    taken = subprocess.run(
        [*command, "--export", str(run_folder / "dicom")], capture_output=True, timeout=60, text=True, check=False
    )
    assert taken.returncode == 2
    assert "nothing is overwritten" in taken.stderr
