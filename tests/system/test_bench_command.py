"""The performance table as a user asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.bench.alignment import after_a_gap, wrong_samples
from streamer.bench.replay import bench_replay

pytestmark = pytest.mark.system


def test_the_table_as_json():
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "bench", "eeg", "--json"],
        capture_output=True,
        text=True,
        timeout=55,
        check=True,
    )
    table = json.loads(done.stdout)["eeg"]
    assert all(isinstance(figure["value"], float) for figure in table)
    held = {figure["name"]: figure for figure in table}["gradient residual against sd/√N"]
    assert 0.5 < held["value"] < 3
    assert held["met"] is (held["value"] <= held["bar"])


def test_alignment_reaches_its_bars():
    figures = [*wrong_samples(), *after_a_gap(2)]
    assert [figure.name for figure in figures if figure.met is False] == []
    assert sum(figure.bar is not None for figure in figures) == 3


def test_replay_is_measured_on_a_session_of_its_own(tmp_path: Path):
    figures = {figure.name: figure for figure in bench_replay(tmp_path / "b", 0.7, lambda _: None)}
    assert figures["length of the recording"].value == pytest.approx(0.7 + 13 / 60, abs=0.1)
    assert figures["replay, the command's start included"].value > 0
    assert figures["memory in the second quarter"].value > 20
    assert (tmp_path / "b" / "out" / "summary.json").exists()
