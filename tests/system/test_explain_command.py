"""``streamer explain`` as a user meets it: a card and a simulated session to a report, or to a refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.dataset import WindowSet
from models.fusion import FusionNetwork
from models.graphs.publish import write_model
from models.network.ensemble import Ensemble
from models.network.settings import FusionSettings
from models.subjects import read_subject
from streamer.config import Config
from streamer.decode.model_card import BoldInput, EegInput, GraphFile, ModelCard, TrainingData
from streamer.simulate.session import SimulationSettings, simulate_session

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(400)]

SMALL = SimulationSettings(
    seed=12,
    n_channels=12,
    sfreq=1000.0,
    grid=(24, 24, 8),
    calibration_s=32.0,
    n_blocks=12,
    block_s=10.0,
    gradient_v=1e-3,
)


def explain(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamer", "explain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=folder)


def untrained(windows: WindowSet, folder: Path) -> Path:
    """Write a card of a network that knows nothing."""
    config = Config()
    bands = config.features.bands
    graph = GraphFile(file="a.onnx", sha256="0" * 64)
    draft = ModelCard(
        kind="network",
        name="untrained",
        description="Knows nothing.",
        licence="BSD-3-Clause",
        classes=windows.classes,
        preprocessing=config.model_digest(),
        graphs={"eeg": graph, "bold": graph, "head": graph},
        eeg=EegInput(channels=windows.inputs.channels, bands=bands, step_s=0.2, n_steps=20, sfreq_hz=250.0),
        bold=BoldInput(regions=windows.inputs.regions, grid_s=1.0, n_steps=16),
        training=TrainingData(data="none", train=("a",), validation=("b",), n_windows=1),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        sizes = FusionSettings(n_channels=11, n_bands=len(bands), n_regions=6)
        write_model(Ensemble([FusionNetwork(sizes)]), draft, folder)
    return folder / "default.toml"


def test_a_network_that_knows_nothing_gets_no_picture(tmp_path: Path) -> None:
    simulate_session(tmp_path / "session", SMALL, workers=1)
    windows = read_subject(tmp_path / "session", Config(), "one")
    card = untrained(windows, tmp_path / "model")

    before = card.read_bytes()
    done = explain(tmp_path, card, "one=session", "--json", "--windows", "64", "--write")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert facts["model_checked"]
    (live,) = facts["live"]["rounds"]
    assert {"eeg", "bold", "eeg.occipital.alpha", "bold.control"} <= set(live["parts"])
    assert not facts["live"]["validated"]
    assert card.read_bytes() == before
    rounds = [check["name"] for check in facts["views"]["pattern"]["checks"]]
    assert rounds == ["method", "this model"]
    for view in facts["views"].values():
        assert not view["validated"]
        assert view["map"] is None
        assert any(problem.startswith("this model: ") for problem in view["problems"])
    assert sorted(path.name for path in (tmp_path / "explanation").iterdir()) == ["report.html", "report.json"]
    assert "not validated" in (tmp_path / "explanation" / "report.html").read_text()

    again = explain(tmp_path, card, "one=session")
    assert again.returncode == 2
    assert "--overwrite replaces it" in again.stderr

    refused = explain(tmp_path, card, "one=session", "--method", "lrp", "--out", "other")
    assert refused.returncode == 1
    assert "failed validation in neuroimaging" in refused.stderr
    assert "LRP is not defined" in refused.stderr
    assert "Traceback" not in refused.stderr
