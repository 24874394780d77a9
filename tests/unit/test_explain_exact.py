"""Exact contributions: they add up, they are what the served model changes by, and what is no sum is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from models.dataset import WindowSet
from models.evaluation.card_model import CardModel
from models.explain.exact import ScoreParts, exact, is_additive
from models.explain.linear import COMPLETENESS, LinearMap, map_of, with_all
from models.explain.network import asker, randomised
from models.explain.perturb import log_odds
from streamer.decode.card_file import LoadedCard
from streamer.decode.model_card import ModelCard, Temperatures
from streamer.decode.score_card import make_score_card
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.decode.score_terms import ScoreTerms
from streamer.errors import ModelError, UsageError
from tests.unit import served_files
from tests.unit.served_files import BOLD, EEG, linear, model_bytes
from tests.unit.served_windows import served_windows

WITH_TANGENT = {"eeg": (("eeg_mean", "tangent"), 18, 0), "bold": (("bold_steps",), 15, 1)}
OF_BOTH = {"both": (("eeg_steps", "bold_newest"), 51, 4)}
SD = {"left": 0.5, "right": 1.0, "control": 2.0}


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    whole = served_windows("a", 3)
    return with_all(whole.rows(whole.valid.min(axis=1) > 0)).rows(np.arange(80))


def score(**values: object) -> ModelCard:
    spec = ScoreSpec(
        eeg=(EegTerm(band="alpha", channels=("O1", "O2"), weight=-1.5, centre=-0.2), EegTerm(band="beta", weight=0.4)),
        bold=(BoldTerm(regions=("left", "right"), weight=0.8),),
        intercept=0.3,
        limit_sd=0.6,
    ).model_copy(update=values)
    return make_score_card(spec, EEG, BOLD, "task", "0" * 64, region_sd=SD)


@pytest.mark.parametrize(("features", "add"), [(WITH_TANGENT, True), (OF_BOTH, False)])
def test_contributions_of_a_linear_card_add_up(
    tmp_path: Path, windows: WindowSet, features: dict[str, tuple[tuple[str, ...], int, int]], add: bool
) -> None:
    loaded = linear(
        tmp_path,
        features,
        tangent="eeg" in features,
        add=add,
        log_prior=(-0.5, -1.0) if add else (),
        temperature=Temperatures(both=1.7),
    )
    model, completeness = map_of(loaded, windows, 1)
    assert 1 - completeness <= COMPLETENESS == 1e-6
    found = exact(model, windows, 1)
    added = found.evidence["eeg"] + found.evidence["bold"]
    if "eeg" in features:
        covariance = windows.tangent @ model.weights("tangent", 1)
        assert found.facts["covariance"] == pytest.approx(np.abs(covariance).mean())
        added = added + covariance
    ask = CardModel(loaded).predict_proba
    nothing = replace(windows, **{name: getattr(windows, name) * 0 for name in ("eeg", "bold", "tangent")})
    change = log_odds(ask(windows)[:, 1]) - log_odds(ask(nothing)[:, 1])
    # probabilities are told to 1e-5: no better where they are near 1
    near = np.abs(log_odds(ask(windows)[:, 1])) < 4
    assert near.sum() > 20
    assert added[near] == pytest.approx(change[near], abs=2e-3)


def test_a_linear_map_judges_as_its_card(tmp_path: Path, windows: WindowSet) -> None:
    loaded = linear(tmp_path, OF_BOTH, classes=("a", "b", "c"))
    windows = replace(windows, classes=("a", "b", "c"))
    model, _ = map_of(loaded, windows, 2)
    assert asker(model)(windows) == pytest.approx(CardModel(loaded).predict_proba(windows), abs=2e-5)
    # with three classes the margin over the others' mean
    p = np.log(asker(model)(windows))
    base = np.log(asker(model)(replace(windows, eeg=windows.eeg * 0, bold=windows.bold * 0)))
    found = exact(model, windows, 2)
    margin = [each[:, 2] - each[:, :2].mean(axis=1) for each in (p, base)]
    assert sum(found.evidence.values()) == pytest.approx(margin[0] - margin[1], abs=1e-9)


def test_drawn_weights_forget_the_map(tmp_path: Path, windows: WindowSet) -> None:
    model, _ = map_of(linear(tmp_path, OF_BOTH), windows, 1)
    drawn = randomised(model, 3)
    assert isinstance(drawn, LinearMap)
    alike = np.corrcoef(drawn.weights("eeg", 1).ravel(), model.weights("eeg", 1).ravel())[0, 1]
    assert abs(alike) < 0.5


def test_a_graph_that_is_no_sum_is_refused(tmp_path: Path, windows: WindowSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def bent(n: int, classes: int = 2, seed: int = 3) -> bytes:
        nodes = [
            helper.make_node("Gemm", ["features", "G", "H"], ["whole"]),
            helper.make_node("Tanh", ["whole"], ["logits"]),
        ]
        rng = np.random.default_rng(seed)
        shapes = {"G": (n, classes), "H": (classes,)}
        constants = [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ]
        return model_bytes(nodes, {"features": (n,)}, {"logits": (classes,)}, constants)

    monkeypatch.setattr(served_files, "linear_graph", bent)
    with pytest.raises(ModelError, match="no affine map"):
        map_of(linear(tmp_path, OF_BOTH), windows, 1)


@pytest.mark.parametrize("limit", [0.6, 20.0])
@pytest.mark.parametrize("target", [0, 1])
def test_contributions_of_a_score_add_up(windows: WindowSet, limit: float, target: int) -> None:
    card = score(limit_sd=limit)
    terms = ScoreTerms(card)
    eeg = terms.eeg(windows.eeg)
    held = (np.abs(eeg) >= limit - 1e-9).mean()
    assert (held > 0.05) == (limit == 0.6)
    change = terms.log_odds(eeg, terms.bold(windows.bold), "both")
    change -= terms.log_odds(terms.eeg(windows.eeg * 0), terms.bold(windows.bold * 0), "both")
    found = exact(ScoreParts(card), windows, target)
    added = found.evidence["eeg"] + found.evidence["bold"]
    assert added == pytest.approx(change if target else -change, rel=1e-6, abs=1e-6)
    # the other regions and bands add nothing
    assert not found.dependence["bold"][:, 2].any()
    assert not found.dependence["bold"][:1].any()


def test_a_score_without_deviations_is_no_sum() -> None:
    card = make_score_card(ScoreSpec(), EEG, BOLD, "task", "0" * 64)
    assert not is_additive(card)
    assert is_additive(score())
    with pytest.raises(UsageError, match="standard deviations"):
        ScoreParts(card)
    assert is_additive(LoadedCard(make_score_card(ScoreSpec(bold=()), EEG, None, "task", "0" * 64), "", Path()).card)
