"""The rig in one process, the loop in another, nothing between them but LSL, files and a broker."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyxdf

from streamer.acquire.recordings import open_recording
from streamer.child import child
from streamer.clock import pause
from streamer.emit.results import read_predictions, read_triggers
from streamer.messages import Prediction, Trigger
from streamer.replay import config_for, replay_to
from tests.foreign_client import TEXT_TOPICS
from tests.system.conftest import LIVE_S, config_of, write_config

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def live(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One live session, recorded, with what the rig sent and what a foreign MQTT client saw."""
    out = tmp_path_factory.mktemp("live")
    stream = f"amplifier-{uuid.uuid4().hex[:8]}"
    (out / "export").mkdir()
    toml = write_config(config_of(simulated, out, stream, name="live"), out / "SESSION.toml")
    task = simulated / "recording" / "task" / "recording.toml"
    subscriber = shutil.which("mosquitto_sub")
    assert subscriber, "mosquitto_sub is missing: sudo apt-get install -y mosquitto-clients"
    with (
        child("run", str(toml), "--json") as run,
        child(
            "rig", str(task), "--export", str(out / "export"), "--stream-name", stream, "--stop", str(LIVE_S), "--json"
        ) as rig,
    ):
        running = run.wait_for(lambda m: m.get("event") == "running", 60)
        port = running["broker"].rsplit(":", 1)[-1]
        # a file, not a pipe: a pipe that nobody reads would stop the client
        with (
            (out / "heard").open("wb") as heard,
            subprocess.Popen([subscriber, "-p", port, *TEXT_TOPICS, "-v"], stdout=heard) as foreign,
        ):
            done = rig.wait_for(lambda m: m.get("state") == "done", LIVE_S + 60)
            pause(1.5)
            run.process.send_signal(signal.SIGTERM)
            summary = run.wait_for(lambda m: m.get("event") == "summary", 30)
            code = run.process.wait(60)
            foreign.terminate()
    heard_lines = (out / "heard").read_text().splitlines()
    return {"out": out, "sent": done, "summary": summary, "code": code, "heard": heard_lines, "task": task}


def test_nothing_is_lost(live: dict[str, Any]):
    counts = live["summary"]["counts"]
    assert counts["samples"] == live["sent"]["samples"]
    assert counts["markers"] == live["sent"]["markers"]
    assert counts["volumes"] == live["sent"]["volumes"] == counts["bold_frames"]
    assert not any(live["summary"]["losses"].values())
    assert live["code"] == 0


def test_decisions_come_ten_times_a_second_and_use_both_modalities(live: dict[str, Any]):
    predictions = lines(live["out"] / "live" / "decisions.jsonl")
    assert len(predictions) == live["summary"]["counts"]["decisions"]
    assert len(predictions) >= 10 * (LIVE_S - 1)
    assert [p["seq"] for p in predictions] == list(range(len(predictions)))
    whole = [p for p in predictions if not {"NO_EEG", "NO_BOLD"} & set(p["flags"])]
    assert len(whole) >= 10, "no window held both modalities"


def test_the_recording_holds_every_sample_as_it_was_sent(live: dict[str, Any]):
    streams, _ = pyxdf.load_xdf(
        live["out"] / "live" / "recording.xdf", synchronize_clocks=False, dejitter_timestamps=False
    )
    eeg = next(s for s in streams if s["info"]["type"][0] == "EEG")
    n = live["sent"]["samples"]
    assert eeg["time_series"].shape[0] == n
    truth = open_recording(live["task"]).eeg
    assert truth is not None
    unit = eeg["info"]["desc"][0]["channels"][0]["channel"][0]["unit"][0]
    scale = {"microvolts": 1e-6, "volts": 1.0, "V": 1.0}[unit]
    np.testing.assert_allclose(eeg["time_series"] * scale, truth.read(0, n), atol=1e-10)
    np.testing.assert_allclose(np.diff(eeg["time_stamps"]), 1 / truth.sfreq, atol=1e-6)
    markers = next(s for s in streams if s["info"]["type"][0] == "Markers")
    assert len(markers["time_series"]) == live["sent"]["markers"]


def test_a_session_that_a_crash_left_without_xdf_is_converted_later(live: dict[str, Any], tmp_path: Path):
    folder = shutil.copytree(live["out"] / "live", tmp_path / "crashed")
    whole = (folder / "recording.xdf").read_bytes()
    (folder / "recording.xdf").unlink()
    command = [sys.executable, "-m", "streamer", "convert", str(folder), "--to", "xdf"]
    subprocess.run(command, check=True, capture_output=True)
    assert (folder / "recording.xdf").read_bytes() == whole


def test_a_live_run_replays_to_the_same_predictions_and_triggers(live: dict[str, Any], tmp_path: Path):
    folder = live["out"] / "live"
    _, outputs = replay_to(folder, config_for(folder, None), tmp_path / "again")
    assert [o for o in outputs if isinstance(o, Prediction)] == read_predictions(folder)
    assert [o for o in outputs if isinstance(o, Trigger)] == read_triggers(folder)
    for name in ("decisions.jsonl", "triggers.jsonl", "bold_regions.tsv", "confounds.tsv"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_a_foreign_client_reads_versioned_json(live: dict[str, Any]):
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for line in live["heard"]:
        topic, _, payload = line.partition(" ")
        by_topic.setdefault(topic, []).append(json.loads(payload))
    for name in ("status", "about", "prediction", "bold", "preview/eeg", "health"):
        assert by_topic.get(f"eegfmri/live/{name}"), f"nothing on {name}: {sorted(by_topic)}"
    assert all(m["schema"] == 1 and m["kind"] for messages in by_topic.values() for m in messages)
    assert by_topic["eegfmri/live/status"][-1]["online"] is False
