"""``streamer sham`` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(180)]


def sham(*arguments: object, key: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "EEGFMRI_SHAM_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "sham", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
        env=environment | ({} if key is None else {"EEGFMRI_SHAM_KEY": key}),
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_a_study_from_its_list_to_its_opening(tmp_path: Path):
    study, key = tmp_path / "study.json", tmp_path / "key"
    made = sham("make", study, "--participants", 12, "--ratio", "real=2,yoked=1", "--seed", 7, "--key", key)
    assert (made.returncode, made.stderr) == (0, "")
    assert "12 codes, P01 to P12" in made.stdout
    assert key.stat().st_mode & 0o777 == 0o600

    checked = sham("check", study)
    assert checked.returncode == 0
    assert "12 codes, real 2, yoked 1" in checked.stdout
    assert "that needs --key" in checked.stdout
    assert "never opened" in checked.stdout
    told = json.loads(sham("check", study, "--key", key, "--json").stdout)
    assert told == {"participants": 12, "ratio": {"real": 2, "yoked": 1}, "whole": True, "opened": []}

    opened = sham("open", study, "--key", key)
    conditions = dict(line.split("\t") for line in opened.stdout.splitlines())
    assert Counter(conditions.values()) == {"real": 8, "yoked": 4}
    one = sham("open", study, "--code", "P03", "--json", key=key.read_text().strip())
    assert json.loads(one.stdout) == {"P03": conditions["P03"]}
    assert len(json.loads(sham("check", study, "--json").stdout)["opened"]) == 2


def test_what_cannot_be_done_is_said_and_nothing_is_told(tmp_path: Path):
    study, key, other = tmp_path / "study.json", tmp_path / "key", tmp_path / "other"
    assert sham("make", study, "--participants", 3, "--seed", 7, "--key", key).returncode == 2
    assert not study.exists()
    assert sham("make", study, "--participants", 4, "--seed", 7, "--key", key).returncode == 0
    again = sham("make", study, "--participants", 4, "--seed", 7, "--key", key)
    assert again.returncode == 2
    assert "nothing is overwritten" in again.stderr
    assert sham("make", tmp_path / "b.json", "--participants", 4, "--seed", 8, "--key", other).returncode == 0

    for arguments, code, said in (
        (("open", study), 2, "EEGFMRI_SHAM_KEY holds 0 bytes"),
        (("open", study, "--key", other), 1, "the key is not the list's"),
        (("open", study, "--key", key, "--code", "P99"), 2, "not in the list"),
        (("open", tmp_path, "--key", key), 2, "not a blinded session"),
        (("check", study, "--key", other), 1, "the key is not the list's"),
        (("check", key), 1, "is not a sealed list"),
    ):
        done = sham(*arguments)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "study.json.opened.jsonl").exists()
