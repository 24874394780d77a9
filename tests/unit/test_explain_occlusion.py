"""The check of the live map: asked as the loop asks, held against what is planted, told by the card only when green."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.dataset import Inputs, WindowSet
from models.evaluation.card_model import CardModel
from models.explain.linear import LinearMap, shapes_of
from models.explain.network import asker, randomised
from models.explain.occlusion import LIVE_WAY, LiveCheck, LiveRound, check_live, check_score, drops, planted_parts
from models.explain.stamp import stamp
from models.explain.truth import Truth
from streamer.decode.card_file import load_card
from streamer.decode.load_model import load_model
from streamer.decode.relevance import Relevance, parts_of
from streamer.decode.score_card import make_score_card
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.messages import SessionTime, Window
from tests.unit.served_files import BANDS, BOLD, CHANNELS, EEG, REGIONS, linear, network, put_card
from tests.unit.served_windows import served_windows

PARTS = parts_of(CHANNELS, tuple(BANDS), REGIONS)
FITS = {"eeg": (("eeg_steps",), 48, 0), "bold": (("bold_steps",), 15, 1)}
SD = {"left": 0.5, "right": 1.0, "control": 2.0}


def whole_windows(count: int = 60) -> WindowSet:
    windows = served_windows("a", 5)
    return windows.rows(np.flatnonzero(windows.valid.min(axis=1) > 0)[:count])


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_the_check_asks_what_the_loop_asks(tmp_path: Path, kind: str) -> None:
    log_prior = (-0.7, -0.7)
    loaded = linear(tmp_path, FITS, add=True, log_prior=log_prior) if kind == "linear" else network(tmp_path)
    windows = whole_windows(6)
    found = drops(CardModel(loaded).predict_proba, windows, PARTS)
    model = load_model(loaded, "cpu")
    model.warm_up()
    for k in range(len(windows)):
        live = Relevance(model, CHANNELS, tuple(BANDS), REGIONS)
        window = Window(
            seq=k,
            start=SessionTime(0.0),
            end=SessionTime(float(windows.time[k])),
            eeg=windows.eeg[k],
            bold=windows.bold[k],
            age_eeg=float(windows.age[k, 0]),
            age_bold=float(windows.age[k, 1]),
            eeg_valid=True,
            bold_valid=True,
            hold_eeg=float(windows.age[k, 0]),
        )
        said = model(window)
        rounds = [live(window, said) for _ in range(1 + len(PARTS))]
        feature = rounds[-1]
        assert feature is not None
        assert feature.labels[1:] == tuple(part.label for part in PARTS)
        assert feature.values[1:] == pytest.approx(found[k], abs=2e-5)


def test_where_a_part_is_planted() -> None:
    eeg = np.zeros((4, 2))
    # alpha: both occipital channels; beta: one of two, the parietal one in doubt
    eeg[[0, 1], 0] = 1
    eeg[0, 1] = 1
    eeg[2, 1] = np.nan
    bold = np.zeros((5, 3))
    bold[3, 0], bold[:2, 1] = 1, np.nan
    found = planted_parts(Truth({"eeg": eeg.reshape(-1), "bold": bold}, "t"), PARTS)
    told = {part.label: value for part, value in zip(PARTS, found, strict=True)}
    assert told["eeg.occipital.alpha"] == told["eeg.occipital.beta"] == told["bold.left"] == 1
    assert told["eeg.parietal.alpha"] == told["eeg.central.beta"] == told["bold.control"] == 0
    assert all(np.isnan(told[name]) for name in ("eeg", "bold", "eeg.parietal.beta", "bold.right"))


def test_a_group_with_a_few_planted_channels_is_neither() -> None:
    channels = ("Fz", "F3", "F4", "O1")
    parts = parts_of(channels, ("alpha",), ())
    found = planted_parts(Truth({"eeg": np.array([1.0, 0.0, 0.0, 1.0])}, "t"), parts)
    assert np.isnan(found[1])
    assert found[2] == 1


@pytest.fixture(scope="module")
def planted() -> tuple[WindowSet, Truth]:
    """Alpha of the occipital channels and the left region hold the state."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 400)
    level = label - 0.5
    mask, region = np.zeros((4, 2)), np.zeros((5, 3))
    mask[:2, 0] = region[:, 0] = 1
    # all vary as much from window to window: else drawn weights would find it, too
    slow, slow_bold = rng.standard_normal((400, 4, 2)), rng.standard_normal((400, 3))
    slow = np.where(mask, 0.66 * slow - 1.5 * level[:, None, None], slow)
    slow_bold = np.where(region[0], 0.66 * slow_bold + 1.5 * level[:, None], slow_bold)
    eeg = rng.standard_normal((400, 6, 4, 2)) + slow[:, None]
    bold = rng.standard_normal((400, 5, 3)) + slow_bold[:, None]
    windows = WindowSet(
        eeg=eeg.reshape(400, 6, 8).astype(np.float32),
        bold=bold.astype(np.float32),
        age=np.full((400, 2), 0.1, np.float32),
        valid=np.ones((400, 2), np.float32),
        label=label.astype(np.int64),
        settled=np.ones(400, np.bool_),
        subject=np.array(["a"] * 400),
        time=np.arange(400.0),
        classes=("rest", "task"),
        blocks=(),
        inputs=Inputs(CHANNELS, REGIONS, 250.0),
    )
    return windows, Truth({"eeg": mask.reshape(-1), "bold": region}, "planted")


def test_a_model_that_found_the_effect_is_green_and_one_that_did_not_is_red(
    tmp_path: Path, planted: tuple[WindowSet, Truth]
) -> None:
    windows, truth = planted
    card = linear(tmp_path, FITS, add=True, log_prior=(-0.7, -0.7)).card
    knows = LinearMap(shapes_of(windows), 2)
    with torch.no_grad():
        for layer, values, sign in ((knows.layers["eeg"], truth.where["eeg"], -1.0), (knows.layers["bold"], None, 1.0)):
            where = np.tile(values, 6) if values is not None else truth.where["bold"].ravel()
            weight, bias = layer.parameters()
            weight.copy_(torch.from_numpy(np.stack([0 * where, 0.2 * sign * where])))
            bias.zero_()
    done: list[float] = []
    found = check_live(card, asker(knows), knows, {"a": planted}, 100, 0, done.append)
    (first,) = found.rounds
    assert first.auroc == 1
    assert first.apart == {"eeg": 1, "bold": 1}
    assert first.drawn <= 0.6
    # three trainings and eleven parts are few: what they find by chance is not held to the bar here
    assert first.permuted < 0.9
    assert first.against == ()
    assert replace(first, permuted=0.5).problems == ()
    assert done == [0.0]
    # one that looks everywhere but there
    other = LinearMap(shapes_of(windows), 2)
    with torch.no_grad():
        for mine, its in zip(other.parameters(), knows.parameters(), strict=True):
            mine.zero_()
            mine[1] = torch.where(its[1] == 0, 0.05, 0.0)
    red = check_live(card, asker(other), other, {"a": planted}, 100, 0, done.append)
    assert red.rounds[0].auroc < 0.2
    assert red.sentence == ""
    assert "expected 0.85 or more" in red.problems[0]


def test_each_way_to_fail_is_told() -> None:
    good = LiveRound("t", 0.9, {}, 0.5, 0.4, {"a": -0.1, "b": 0.2}, {"a": 1.0, "b": 0.0})
    assert LiveCheck((good,)).problems == ()
    assert good.against == ("a",)
    assert LiveCheck((good, replace(good, auroc=1.0))).sentence == (
        "AUROC 0.95 in the planted parts of 2 simulated subjects (least 0.90), 0.50 with drawn weights, "
        "0.40 with permuted labels"
    )
    for change, said in (
        ({"auroc": 0.84}, "AUROC 0.84 in the planted parts"),
        ({"auroc": float("nan")}, "AUROC nan in the planted parts"),
        ({"drawn": 0.61}, "0.61 with drawn weights"),
        ({"permuted": 0.7}, "0.70 with permuted labels"),
    ):
        check = LiveCheck((good, replace(good, **change)))
        assert said in check.problems[0]
        assert check.sentence == ""
    assert LiveCheck().problems == ("no session with a known truth was given",)
    assert LiveCheck(score_share=0.9).problems == (
        "the drops are what the terms add in 90 % of the windows, expected 95 % or more",
    )


def test_a_score_is_what_its_terms_add(tmp_path: Path) -> None:
    spec = ScoreSpec(
        eeg=(EegTerm(band="alpha", channels=("O1", "O2"), weight=-0.6),),
        bold=(BoldTerm(regions=("left", "right"), weight=0.5),),
    )
    windows = whole_windows()
    loaded = put_card(tmp_path, make_score_card(spec, EEG, BOLD, "task", "0" * 64, region_sd=SD))
    found = check_score(loaded.card, CardModel(loaded).predict_proba, windows)
    assert found.problems == ()
    assert "each part's drop is what they add, in 100 % of the windows" in found.sentence
    # where the terms are held at a limit, a part's drop is not its own share
    held = spec.model_copy(update={"limit_sd": 0.3, "eeg": (EegTerm(band="alpha", channels=("O1", "C3")),)})
    other = put_card(tmp_path, make_score_card(held, EEG, BOLD, "task", "0" * 64, region_sd=SD))
    assert check_score(other.card, CardModel(other).predict_proba, windows).sentence == ""


def test_a_card_tells_it_and_takes_it_back(tmp_path: Path) -> None:
    network(tmp_path)
    path = tmp_path / "test-network.toml"
    before = path.read_bytes()
    graphs = {file.name: file.read_bytes() for file in tmp_path.glob("*.onnx")}
    said = 'AUROC 0.97 in the "planted" parts'
    loaded = stamp(path, LIVE_WAY, said)
    assert loaded.card.explained == {"occlusion": said}
    assert loaded.card.model_copy(update={"explained": {}}) == load_card(path).card.model_copy(update={"explained": {}})
    assert path.read_bytes() != before
    assert stamp(path, "exact", "yes").card.explained == {"occlusion": said, "exact": "yes"}
    stamp(path, "exact", "")
    stamp(path, LIVE_WAY, "")
    assert path.read_bytes() == before
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.onnx")} == graphs
    assert {file.name for file in tmp_path.iterdir()} == {path.name, *graphs}


def test_drawn_maps_differ() -> None:
    model = LinearMap({"eeg": (6, 8)}, 2)
    one, two = (randomised(model, seed) for seed in (1, 2))
    assert isinstance(one, LinearMap)
    assert isinstance(two, LinearMap)
    assert (one.weights("eeg", 1) != two.weights("eeg", 1)).all()
