"""A loop that is killed and started again while the amplifier goes on, and a disk that fills up after it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
import pyxdf
from pylsl import local_clock

from streamer.config import commented_toml
from streamer.emit.clean_eeg_file import CLEAN_EEG
from streamer.emit.results import read_triggers
from streamer.messages import BoldFrame, EegChunk, Flag
from streamer.replay import config_for, replay_recording
from streamer.runlog_read import read_session
from tests.faults.live import TROUBLE, config_of, follow, heard, last_health, task, until, windows_of
from tests.faults.table import FaultTable

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

SETTLED_S = 29.0
"""By then all templates are there, s after the second session began."""


def streamer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamer", *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def room(alone: None, small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("killed")
    (out / "export").mkdir()
    stream = f"amplifier-{uuid.uuid4().hex[:8]}"
    for name in ("first", "second"):
        (out / f"{name}.toml").write_text(commented_toml(config_of(small, out, stream, name)))
    with follow("rig", task(small), "--export", str(out / "export"), "--stream-name", stream, "--json") as rig:
        with follow("run", str(out / "first.toml"), "--json") as run:
            rig.wait_for(lambda m: m.get("state") == "playing", 90)
            log = out / "first" / "runlog.jsonl"
            until(lambda: log.exists() and log.read_bytes().count(b'"frame"') >= 3, 60, "three volumes")
            killed = local_clock()
            run.child.process.send_signal(signal.SIGKILL)
            run.child.process.wait(10)
        refused = streamer("run", str(out / "first.toml"), "--no-wait")
        with follow("run", str(out / "second.toml"), "--json") as run:
            running = run.wait_for(lambda m: m.get("event") == "running", 60)
            with heard(running["broker"], out / "heard") as lines:
                time.sleep(SETTLED_S)
                pid = run.child.process.pid
                # as a disk that is full: nothing that would make a file longer succeeds
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                full = local_clock()
                until(lambda: any("RECORDING_LOST" in p for _, t, p in lines() if t == "health"), 15, "the flag")
                flagged = local_clock()
                time.sleep(3.0)
                after = sum(topic == "prediction" and at > flagged for at, topic, _ in lines())
                health = last_health(lines())
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                room_again = local_clock()
                time.sleep(3.0)
                stopped = last_health(lines())
                run.child.process.send_signal(signal.SIGTERM)
                summary = run.wait_for(lambda m: m.get("event") == "summary", 60)
                code = run.child.process.wait(60)
            told = run.child.text()
    return {
        "out": out, "killed": killed, "refused": refused, "full": full, "flagged": flagged, "after": after,
        "health": health, "room": room_again, "stopped": stopped, "summary": summary, "code": code, "told": told,
    }  # fmt: skip


def test_a_killed_session_is_whole_up_to_then_and_its_name_is_not_taken_again(
    room: dict[str, Any], table: FaultTable, tmp_path: Path
) -> None:
    folder = room["out"] / "first"
    assert room["refused"].returncode == 2
    assert "nothing is overwritten" in room["refused"].stderr
    events = [event for _, event in read_session(folder).events]
    chunks = [e for e in events if isinstance(e, EegChunk)]
    assert sum(isinstance(e, BoldFrame) for e in events) >= 3
    assert len(chunks) > 50
    kept = room["killed"] - chunks[-1].received
    assert kept < 0.5, "what was appended before the end is there"
    done = streamer("convert", str(folder), "--to", "xdf")
    assert done.returncode == 0, done.stderr
    streams, _ = pyxdf.load_xdf(str(folder / "recording.xdf"), synchronize_clocks=False, dejitter_timestamps=False)
    (stored,) = [s for s in streams if s["info"]["type"] == ["EEG"]]
    np.testing.assert_array_equal(stored["time_series"], np.concatenate([c.data for c in chunks]))
    summary = replay_recording(folder, config_for(folder, None), tmp_path / "again")
    assert summary.counts["samples"] == len(stored["time_series"])
    assert mne.io.read_raw_brainvision(tmp_path / "again" / CLEAN_EEG, verbose="error").n_times > 100
    # the second session began while the amplifier went on
    first = next(e for _, e in read_session(room["out"] / "second").events if isinstance(e, EegChunk))
    windows = windows_of(room["out"] / "second")
    eeg = next(w for w in windows if w.eeg_valid and not w.flags & TROUBLE & ~Flag.UNSYNCED)
    # which trigger belongs to which volume cannot be told by counting from the middle of a run on
    if not any(w.well for w in windows):
        assert all(w.flags & (Flag.UNSYNCED | Flag.WARMING) for w in windows)
        assert not read_triggers(room["out"] / "second")
    table.add(
        "loop killed (SIGKILL), started again",
        "a new `session.name` is asked for: nothing is overwritten; `streamer convert` and `replay` take the first",
        f"the last {kept:.2f} s, and {first.received - room['killed']:.1f} s until the second session ran",
        f"EEG {eeg.cut - room['killed']:.0f} s; volumes with the scanner's next run: UNSYNCED, no trigger until then",
    )


def test_a_full_disk_costs_the_recording_and_not_the_loop(room: dict[str, Any], table: FaultTable) -> None:
    assert room["after"] > 20, "decisions go on"
    assert "RECORDING_LOST" in room["health"]["flags"]
    assert any(note.startswith("recording: the disk refuses") for note in room["health"]["notes"])
    assert room["health"]["losses"]["recording_eeg"] > 10
    assert room["summary"]["losses"]["recording_eeg"] >= room["health"]["losses"]["recording_eeg"]
    assert "Traceback" not in room["told"]
    assert room["code"] == 4
    # with room again all that comes is written, and the log shows the hole by its numbers
    log = read_session(room["out"] / "second")
    chunks = [e.received for _, e in log.events if isinstance(e, EegChunk)]
    again = next(at for at in chunks if at > room["room"]) - room["room"]
    assert again < 1.0
    assert not [at for at in chunks if room["full"] + 0.5 < at < room["room"] - 0.1]
    lost = room["summary"]["losses"]["recording_eeg"]
    assert lost - room["health"]["losses"]["recording_eeg"] < 100
    table.add(
        "disk full",
        "health says RECORDING_LOST and “recording: the disk refuses”; the session goes on; exit code 4",
        f"what does not fit, by kind: {lost} EEG chunks in {room['room'] - room['full']:.1f} s here; decisions and "
        "triggers go on",
        f"{again:.1f} s after there is room",
    )
