"""The report: a picture where a view was validated, a reason where it was not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.explain.maps import VIEWS, Axes, Relevance, View
from models.explain.occlusion import LiveCheck, LiveRound
from models.explain.planted import Check, Found
from models.explain.report import write
from models.explain.run import METHOD_ROUND, MODEL_ROUND, Explanation, Method
from streamer.decode.model_card import BoldInput, EegInput, GraphFile, ModelCard, TrainingData
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS

PNG = b"\x89PNG\r\n"
GOOD = {"eeg": Found(0.97, 0.6, 0.2), "bold": Found(0.93, 0.5, 0.2)}
POOR = {"eeg": Found(0.58, 0.3, 0.2), "bold": Found(0.93, 0.5, 0.2)}
CHANCE = {"eeg": 0.51, "bold": 0.47}


def card() -> ModelCard:
    graph = GraphFile(file="a.onnx", sha256="0" * 64)
    return ModelCard(
        kind="network",
        name="test-fusion",
        description="A test.",
        licence="BSD-3-Clause",
        classes=("rest", "task"),
        preprocessing="0" * 64,
        graphs={"eeg": graph, "bold": graph, "head": graph},
        checkpoint="a.pt",
        eeg=EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=20, sfreq_hz=250.0),
        bold=BoldInput(regions=REGIONS, grid_s=1.0, n_steps=16),
        training=TrainingData(data="none", train=("a",), validation=("b",), n_windows=1),
    )


def explanation(method: Method = "smoothgrad", last: float = 0.2) -> Explanation:
    rng = np.random.default_rng(0)
    maps: dict[View, Relevance] = {}
    for kind in VIEWS:
        maps[kind] = {"eeg": rng.random((20, 18)), "bold": rng.random((16, 3))}
    checks: dict[View, tuple[Check, ...]] = {
        "pattern": (
            Check(METHOD_ROUND, "noise", GOOD, CHANCE, CHANCE),
            Check(MODEL_ROUND, "simulated run s/task", GOOD, CHANCE, {}),
        ),
        "dependence": (
            Check(METHOD_ROUND, "noise", GOOD, CHANCE, CHANCE),
            Check(MODEL_ROUND, "simulated run s/task", POOR, CHANCE, {}),
        ),
    }
    alike = {0.5: 0.8, 1.0: last}
    return Explanation(
        card(),
        "ab" * 32,
        method,
        "task",
        240,
        ("<b>one</b>",),
        Axes(CHANNELS, tuple(BANDS), REGIONS, 0.2, 1.0),
        maps,
        checks,
        {"pattern": alike, "dependence": alike},
        {"eeg": 0.7, "bold": 0.3},
        {"completeness": 0.9993},
    )


def test_only_validated_views_are_shown(tmp_path: Path) -> None:
    (tmp_path / "dependence.png").write_bytes(b"of an earlier run")
    facts = json.loads(write(explanation(), tmp_path, show_anyway=False))
    assert facts == json.loads((tmp_path / "report.json").read_text())
    assert facts["views"]["pattern"]["validated"] is True
    assert np.array(facts["views"]["pattern"]["map"]["eeg"]["group_band"]).shape == (4, 3)
    refused = facts["views"]["dependence"]
    assert refused["validated"] is False
    assert refused["map"] is None
    assert refused["problems"] == ["this model: eeg AUROC 0.58 in the planted place, expected 0.85 or more"]
    assert (tmp_path / "pattern.png").read_bytes().startswith(PNG)
    assert not (tmp_path / "dependence.png").exists()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 1
    assert "not validated: this model: eeg AUROC 0.58" in page
    assert "weights, not an explanation" in page
    assert "add up to 99.93 %" in page
    assert "<b>one" not in page


def test_a_map_that_was_not_validated_is_shown_with_its_badge(tmp_path: Path) -> None:
    facts = json.loads(write(explanation(), tmp_path, show_anyway=True))
    assert facts["views"]["dependence"]["validated"] is False
    assert facts["views"]["dependence"]["map"] is not None
    assert (tmp_path / "dependence.png").read_bytes().startswith(PNG)
    assert "not validated" in (tmp_path / "report.html").read_text()


def test_a_map_that_does_not_need_the_weights_is_not_validated() -> None:
    stubborn = explanation(last=0.9)
    assert stubborn.validated == ()
    assert "stays alike" in stubborn.problems("pattern")[0]


def test_the_live_map_is_told_with_what_speaks_against_it(tmp_path: Path) -> None:
    good = LiveRound(
        "run s/task", 0.97, {"eeg": 1.0}, 0.48, 0.4, {"eeg.a": -0.1, "b": 0.0}, {"eeg.a": 1.0, "b": np.nan}
    )
    for each, said in ((good, "AUROC 0.97 in the planted parts"), (replace(good, auroc=0.7), "expected 0.85 or more")):
        facts = json.loads(write(replace(explanation(), live=LiveCheck((each,))), tmp_path, show_anyway=False))
        assert facts["live"]["validated"] is (each is good)
        assert facts["live"]["rounds"][0]["against"] == ["eeg.a"]
        assert facts["live"]["rounds"][0]["parts"]["b"] == {"drop": 0.0, "planted": None}
        page = (tmp_path / "report.html").read_text()
        assert said in page
        assert "eeg.a" in page
    assert json.loads(write(explanation(), tmp_path, show_anyway=False))["live"]["validated"] is False
    assert "no session with a known truth was given" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("method", ["gradcam", "lrp"])
def test_a_disputed_method_says_so(tmp_path: Path, method: Method) -> None:
    facts = json.loads(write(explanation(method), tmp_path, show_anyway=False))
    assert "failed validation in neuroimaging" in facts["warning"]
    assert "failed validation in neuroimaging" in (tmp_path / "report.html").read_text()
