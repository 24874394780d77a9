"""``streamer report`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import replay_data
from tests.unit.reported_session import events, session

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(120)]

SHORT = Path(replay_data.__file__).parent / "short" / "task"


def streamer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_session_gets_its_page_once(tmp_path: Path):
    folder = session(tmp_path / "s")
    done = streamer("report", folder, "--events", events(tmp_path / "e.tsv"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["report"] == str(folder / "report.html")
    assert told["triggers"] == 1
    assert told["regulation"]["contrast"]["value"] == pytest.approx(0.52)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "CRED-nf" in page
    again = streamer("report", folder)
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    assert streamer("report", folder, "--overwrite").returncode == 0


def test_the_folder_of_a_replay_serves_too(tmp_path: Path):
    done = streamer("replay", SHORT / "recording.toml", "--out", tmp_path / "r", "--json")
    assert done.returncode in {0, 4}, done.stderr
    decisions = json.loads(done.stdout)["counts"].get("decisions", 0)
    done = streamer("report", tmp_path / "r", "--out", tmp_path / "r.html", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decisions"] == decisions
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_what_is_no_session_is_wrong_use(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent"):
        done = streamer("report", path)
        assert done.returncode == 2
        assert "expected the folder of a session" in done.stderr
        assert "Traceback" not in done.stderr
