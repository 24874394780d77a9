"""What is left when a recording process is killed, or its disk is full."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import pyxdf

from streamer.acquire.recordings import open_recording
from streamer.messages import EegChunk, Marker, Volume
from streamer.runlog_read import read_session

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]

RECORDING = """
import sys
from pathlib import Path
import numpy as np
from streamer.messages import ChannelInfo, ClockOffset, EegChunk, Marker, SessionHeader, SessionTime, Volume
from streamer.runlog import RunLogWriter

channels = tuple(ChannelInfo(f"C{k}", "eeg") for k in range(64))
header = SessionHeader("s", {}, "", "", {}, "", 5000.0, channels, ())
writer = RunLogWriter(Path(sys.argv[1]), header)
rng = np.random.default_rng(0)
number = 0
for block in range(10**9):
    first = 100 * block
    data = rng.normal(scale=1e-4, size=(100, 64)).astype(np.float32)
    raw = 50.0 + (first + np.arange(100)) / 5000
    now = SessionTime(float(raw[-1]) + 7.0)
    events = [EegChunk("Amp", data, raw, raw + 7.0, first, now)]
    if block % 50 == 0:
        events.append(ClockOffset("Amp", 7.0, now))
        events.append(Marker("R128", SessionTime(float(raw[3]) + 7.0), float(raw[3]), None, now))
        pixels = rng.integers(0, 900, (32, 32, 20)).astype(np.uint16)
        events.append(Volume(pixels, np.eye(4), "a", block // 50, None, 1.0, (), now))
    for event in events:
        writer.append(number, event)
        number += 1
        # what was appended before this line must be there, whatever comes
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


def streamer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamer", *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def killed_after(n_events: int, folder: Path) -> int:
    """Record in a process of its own and kill it; give how many events it had appended for sure."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDING, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    told = 0
    with process.stdout:
        while told < n_events:
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest else told


@pytest.mark.parametrize("n_events", [3, 700, 1234])
def test_a_killed_recording_loses_nothing_that_was_appended(tmp_path: Path, n_events: int):
    appended = killed_after(n_events, tmp_path / "s")
    found = [event for _, event in read_session(tmp_path / "s").events]
    assert appended <= len(found) <= appended + 1
    rng = np.random.default_rng(0)
    chunks: list[EegChunk] = []
    for event in found:
        # the same draws in the same order
        match event:
            case EegChunk():
                chunks.append(event)
                np.testing.assert_array_equal(event.data, rng.normal(scale=1e-4, size=(100, 64)).astype(np.float32))
            case Volume():
                np.testing.assert_array_equal(event.data, rng.integers(0, 900, (32, 32, 20)).astype(np.uint16))
            case _:
                pass
    data = np.concatenate([c.data for c in chunks])
    done = streamer("convert", str(tmp_path / "s"), "--to", "xdf")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    streams, _ = pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)
    by_name = {s["info"]["name"][0]: s for s in streams}
    np.testing.assert_array_equal(by_name["Amp"]["time_series"], data)
    np.testing.assert_array_equal(by_name["Amp"]["time_stamps"], np.concatenate([c.times_raw for c in chunks]))
    markers = [e for e in found if isinstance(e, Marker)]
    assert by_name["Markers"]["time_stamps"].tolist() == [m.at_raw for m in markers]
    volumes = [str(e.index) for e in found if isinstance(e, Volume)]
    assert [text for (text,) in by_name["Volumes"]["time_series"]] == volumes if volumes else "Volumes" not in by_name
    # MNE has no reader of its own for XDF: it takes what pyxdf reads, and the files that the streamer makes of it
    names = [c["label"][0] for c in by_name["Amp"]["info"]["desc"][0]["channels"][0]["channel"]]
    raw = mne.io.RawArray(by_name["Amp"]["time_series"].T, mne.create_info(names, 5000.0, "eeg"), verbose="error")
    np.testing.assert_array_equal(raw.get_data().T, data)
    again = open_recording(path).eeg
    assert again is not None
    np.testing.assert_array_equal(again.read(0, again.n_samples), data)
    done = streamer("to-bids", str(path), str(tmp_path / "bids"))
    assert done.returncode == 0, done.stderr
    (vhdr,) = (tmp_path / "bids").rglob("*_eeg.vhdr")
    raw = mne.io.read_raw_brainvision(vhdr, verbose="error")
    np.testing.assert_allclose(raw.get_data().T, data, rtol=2e-7, atol=0)


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from streamer.compose import make_header
from streamer.config import Config, ModelSection
from streamer.emit.recorder import Recorder
from streamer.messages import Flag
from streamer.replay import open_origin, prepare

folder, limit = Path(sys.argv[2]), int(sys.argv[3])
origin = open_origin(Path(sys.argv[1]))
run = prepare(origin, Config(model=ModelSection(card="none")))
recorder = Recorder(folder, make_header(run.parts, "full", origin.sfreq, origin.channels))
run.loop.journal = recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
windows = sum(type(o).__name__ == "Window" for _, outputs in run.steps() for o in outputs)
recorder.close(xdf=False)
run.loop.recording_failed = recorder.failed is not None
health = run.loop.health({})
print(json.dumps({
    "windows": windows, "failed": recorder.failed, "losses": recorder.losses(),
    "flagged": bool(health.flags & Flag.RECORDING_LOST), "health": dict(health.losses),
}))
"""


def test_a_full_disk_costs_the_recording_and_not_the_loop(tmp_path: Path):
    shipped = ROOT / "replay_data" / "short" / "task" / "recording.toml"
    told = []
    for limit in (10**12, 300_000):
        command = [sys.executable, "-c", FULL_DISK, str(shipped), str(tmp_path / str(limit)), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
        told.append(json.loads(done.stdout))
    whole, full = told
    assert whole["failed"] is None
    assert not whole["flagged"]
    assert full["windows"] == whole["windows"] > 200
    assert full["flagged"]
    assert full["failed"].startswith("the disk refuses")
    assert full["losses"]["eeg"] > 100
    assert full["health"]["recording_eeg"] == full["losses"]["eeg"]
    log = read_session(tmp_path / "300000")
    kept = list(log.events)
    every = list(read_session(tmp_path / str(10**12)).events)
    assert len(kept) + sum(full["losses"].values()) == len(every)
    chunks = [n for n, e in kept if isinstance(e, EegChunk)]
    before = [n for n in chunks if n < 20]
    assert len(before) > 5
    assert before == [n for n, e in every if isinstance(e, EegChunk) and n < 20]
    assert log.problems
