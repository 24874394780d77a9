"""``streamer evaluate`` as a user meets it: from a session on disk to a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.config import Config
from streamer.decode.card_file import dump_card
from streamer.session_score import session_score
from streamer.simulate.session import SimulationSettings, simulate_session

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SMALL = SimulationSettings(
    seed=11,
    n_channels=12,
    sfreq=1000.0,
    grid=(24, 24, 8),
    calibration_s=32.0,
    n_blocks=12,
    block_s=10.0,
    gradient_v=1e-3,
)


def evaluate(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamer", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, cwd=folder)


def test_a_session_becomes_a_report(tmp_path: Path) -> None:
    simulate_session(tmp_path / "session", SMALL, workers=1)
    own = ("--card", "none", "--split", "blocked", "--gap", "20")
    done = evaluate(tmp_path, "sub-01/ses-1=session", *own, "--work", "windows", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert facts["people"] == ["sub-01"]
    assert facts["n_blocks"] == 12
    names = {model["name"] for model in facts["models"]}
    assert {"band power + LDA", "regions + LDA", "late fusion of log-odds"} <= names
    assert facts["modalities"] == "both"
    assert {part["name"] for part in facts["models"][0]["parts"]} == {f"stretch {k}" for k in range(1, 6)}
    assert (tmp_path / "evaluation" / "report.html").read_text().startswith("<!doctype html>")

    # windows that were kept give the same figures, without another replay
    kept = "windows/sub-01_ses-1.npz"
    again = evaluate(tmp_path, kept, *own, "--out", "again", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == facts

    # a card for another montage
    card = session_score(Config(), ("A1", "A2"), ("left",), 250.0)
    (tmp_path / "other.toml").write_text(dump_card(card))
    refused = evaluate(tmp_path, kept, "--card", "other.toml", "--out", "third")
    assert refused.returncode == 1
    assert "does not fit the windows" in refused.stderr
    assert "EEG channels that the model expects are missing: A1, A2" in refused.stderr
    assert "Traceback" not in refused.stderr

    shuffled = evaluate(tmp_path, kept, "--card", "none", "--split", "shuffled", "--out", "third")
    assert shuffled.returncode == 2
    assert "refused" in shuffled.stderr
    assert not (tmp_path / "third").exists()
