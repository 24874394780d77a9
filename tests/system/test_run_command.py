"""What a user meets: no stream, a second session, Ctrl-C, wrong settings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from streamer.child import child
from streamer.clock import stopwatch
from tests.system.conftest import config_of, write_config

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]


def streamer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamer", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def session_file(simulated: Path, tmp_path: Path) -> Path:
    config = config_of(simulated, tmp_path, f"nobody-{uuid.uuid4().hex[:8]}", name="alone")
    return write_config(config, tmp_path / "SESSION.toml")


def test_no_stream_and_no_wait_ends_with_3_and_says_what_is_there(simulated: Path, tmp_path: Path):
    done = streamer("run", str(session_file(simulated, tmp_path)), "--no-wait")
    assert done.returncode == 3
    assert "nobody-" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_stream_is_waited_for_and_ctrl_c_ends_within_two_seconds(simulated: Path, tmp_path: Path):
    with child("run", str(session_file(simulated, tmp_path)), "--json") as run:
        said = run.wait_for(lambda m: m.get("event") == "said" and "nobody-" in str(m["text"]), 30)
        assert "wait" in said["text"]
        started = stopwatch()
        run.process.send_signal(signal.SIGINT)
        summary = run.wait_for(lambda m: m.get("event") == "summary", 10)
        run.process.wait(10)
        assert stopwatch() - started < 2.0
        assert run.process.returncode == 0
    assert "stopped before" in summary["notes"][0]
    assert not (tmp_path / "alone").exists(), "nothing was recorded: the name must stay free"


def test_a_second_session_on_this_machine_is_refused(simulated: Path, tmp_path: Path):
    first = session_file(simulated, tmp_path)
    with child("run", str(first), "--json") as run:
        run.wait_for(lambda m: m.get("event") == "said", 30)
        other = tmp_path / "other"
        other.mkdir()
        done = streamer("run", str(session_file(simulated, other)), "--no-wait")
        assert done.returncode == 1
        assert "another session" in done.stderr
        run.process.send_signal(signal.SIGINT)
        run.process.wait(10)


def test_wrong_settings_are_all_listed_and_end_with_2(tmp_path: Path):
    path = tmp_path / "SESSION.toml"
    path.write_text('colour = "blue"\n[eeg.stream]\nunit = "furlong"\n')
    done = streamer("run", str(path))
    assert done.returncode == 2
    assert "colour" in done.stderr
    assert "furlong" in done.stderr


def test_a_folder_without_a_run_log_cannot_be_converted(tmp_path: Path):
    done = streamer("convert", str(tmp_path))
    assert done.returncode == 2
    assert "no run log" in done.stderr


@pytest.mark.parametrize("arguments", [("fly",), ("run",), ("run", "SESSION.toml", "--colour"), ("replay",)])
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...]):
    done = streamer(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_versions_as_json():
    done = streamer("--version", "--json")
    assert done.returncode == 0
    assert {"streamer", "python", "numpy", "onnxruntime"} <= set(json.loads(done.stdout))
