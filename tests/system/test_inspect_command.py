"""``streamer inspect`` as a user types it: one JSON object, tables for people, exit codes, never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import replay_data
from tests.unit.recording_files import RECOVERED, REFUSED, pair, write_session

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(180)]

SHIPPED = Path(replay_data.__file__).parent / "short"


def inspect(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "inspect", str(path), *options],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_the_shipped_recording_as_json():
    done = inspect(SHIPPED / "task", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["path"] == str(SHIPPED / "task")
    assert [(part["kind"], part["problems"]) for part in told["parts"]] == [
        ("eeg", []), ("markers", []), ("bold", []), ("markers", []),
    ]  # fmt: skip
    assert done.stderr == ""


def test_a_table_for_each_part_with_its_problems(tmp_path: Path):
    pair(tmp_path, triggers=(1.0, 2.0))
    done = inspect(tmp_path)
    assert done.returncode == 0
    for said in ("eeg, BrainVision", "R128 × 2", "bold, NIfTI", "8, 8, 4", "problem", "1 trigger is missing: R128"):
        assert said in done.stdout


def test_a_session(tmp_path: Path):
    done = inspect(write_session(tmp_path / "s1"), "--json")
    assert [part["format"] for part in json.loads(done.stdout)["parts"]] == ["run log"] * 3


def test_a_folder_of_real_parts(shared_data: Path):
    done = inspect(shared_data / "fmri" / "vendor-layouts", "--json")
    assert done.returncode == 0
    assert [(part["n_volumes"], part["tr"]) for part in json.loads(done.stdout)["parts"]] == [
        (3, 1.0),
        (4, 1.0),
        (3, 1.0),
    ]


@pytest.mark.parametrize("name", RECOVERED)
def test_bad_input_that_is_read_all_the_same_is_flagged(tmp_path: Path, name: str):
    make, said = RECOVERED[name]
    done = inspect(make(tmp_path), "--json")
    assert done.returncode == 0
    problems = [problem for part in json.loads(done.stdout)["parts"] for problem in part["problems"]]
    assert any(re.search(said, problem) for problem in problems), problems


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_that_is_no_recording(tmp_path: Path, name: str):
    make, _, said, exit_code = REFUSED[name]
    done = inspect(make(tmp_path), "--json")
    assert done.returncode == exit_code
    if exit_code == 0:
        assert re.search(said, done.stdout)
    else:
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert str(tmp_path) in done.stderr
