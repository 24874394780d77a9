from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from models.baselines import Rival, rivals
from models.dataset import WindowSet
from models.evaluation.predict import masked
from models.rivals.affine import Affine
from models.rivals.fit import FittedPart
from models.rivals.write import TOLERANCE, graph_difference, linear_graph, write_rival
from streamer.decode.linear_model import LinearModel
from streamer.decode.model_card import Doubt
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.rival_windows import draft_for, of_eeg_alone, three_states, with_tangents


@pytest.fixture(scope="module")
def two() -> WindowSet:
    return with_tangents("ab", 10)


@pytest.fixture(scope="module")
def three() -> WindowSet:
    return three_states("ab", 10)


def fitted(name: str, windows: WindowSet) -> Rival:
    rival = next(rival for rival in rivals(windows) if rival.name == name)
    rival.fit(windows)
    return rival


def one(windows: WindowSet, row: int) -> Window:
    """A window of a set as the loop has it."""
    eeg, bold = windows.valid[row] > 0
    tangent = windows.tangent[row]
    return Window(
        seq=row,
        start=SessionTime(0.0),
        end=SessionTime(float(windows.time[row])),
        eeg=windows.eeg[row],
        bold=windows.bold[row],
        age_eeg=float(windows.age[row, 0]),
        age_bold=float(windows.age[row, 1]),
        eeg_valid=bool(eeg),
        bold_valid=bool(bold),
        tangent=tangent if np.isfinite(tangent).all() else np.empty(0, np.float32),
    )


@pytest.mark.parametrize("name", [rival.name for rival in rivals(with_tangents("a", 1))])
def test_a_written_rival_serves_every_window_as_it_was_judged(name: str, two: WindowSet, tmp_path: Path) -> None:
    rival, unseen = fitted(name, two), with_tangents("g", 30).rows(np.arange(0, 450, 30))
    tangent = unseen.tangent.copy()
    tangent[::4] = np.nan
    unseen = replace(unseen, tangent=tangent)
    model = LinearModel(write_rival(rival, draft_for(two), tmp_path))
    model.warm_up()
    for windows in (unseen, masked(unseen, "eeg"), masked(unseen, "bold"), masked(masked(unseen, "eeg"), "bold")):
        expected = rival.predict_proba(windows)
        for row in range(len(windows)):
            prediction = model(one(windows, row))
            assert np.allclose(prediction.probabilities, expected[row], atol=1e-4)
            silent = (expected[row] == 0.5).all()
            assert bool(prediction.flags & Flag.ABSTAINED) == silent
    assert np.ptp(rival.predict_proba(unseen)[:, 0]) > 0.2


@pytest.mark.parametrize("name", ["concatenated + logistic regression", "CCA + LDA", "late fusion of log-odds"])
def test_three_classes_are_served_too(name: str, three: WindowSet, tmp_path: Path) -> None:
    rival, unseen = fitted(name, three), three_states("g", 30).rows(np.arange(0, 450, 30))
    loaded = write_rival(rival, draft_for(three), tmp_path)
    model = LinearModel(loaded)
    assert loaded.card.classes == ("rest", "left", "right")
    for windows in (unseen, masked(unseen, "eeg"), masked(unseen, "bold")):
        expected = rival.predict_proba(windows)
        for row in range(len(windows)):
            assert np.allclose(model(one(windows, row)).probabilities, expected[row], atol=1e-4)


def test_graphs_take_any_batch_are_equal_for_equal_fits_and_tell_nothing_of_the_machine(
    two: WindowSet, tmp_path: Path
) -> None:
    for folder in ("first", "second"):
        write_rival(fitted("concatenated + logistic regression", two), draft_for(two), tmp_path / folder, "joint")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["joint.bold.onnx", "joint.both.onnx", "joint.eeg.onnx", "joint.toml"]
    for name in names:
        written = (tmp_path / "first" / name).read_bytes()
        assert written == (tmp_path / "second" / name).read_bytes()
        assert str(tmp_path).encode() not in written
        assert str(Path.cwd()).encode() not in written
    path = tmp_path / "first" / "joint.eeg.onnx"
    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    assert not proto.metadata_props
    assert not any(part.doc_string for part in (proto, proto.graph, *proto.graph.node))
    assert {entry.domain: entry.version for entry in proto.opset_import}[""] == 17
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    for n in (1, 7):
        features = np.zeros((n, 18), np.float32)
        assert session.run(["logits"], {"features": features})[0].shape == (n, 2)


def test_the_card_keeps_what_the_draft_says_but_for_graphs_and_inputs_without_use(
    two: WindowSet, tmp_path: Path
) -> None:
    draft = draft_for(two, "shipped").model_copy(
        update={"verdict": "It did not earn its place.", "doubt": Doubt(alpha=0.2, quantile={"eeg": 0.7}, n_blocks=9)}
    )
    card = write_rival(fitted("regions + LDA", two), draft, tmp_path).card
    assert (card.kind, card.name, card.verdict) == ("linear", "shipped", draft.verdict)
    assert card.score is None
    assert card.doubt == draft.doubt
    # a rival of regions alone asks for no channel
    assert card.eeg is None
    assert card.tangent is None
    assert card.bold == draft.bold
    assert card.linear is not None
    assert set(card.linear.parts) == {"bold"}
    assert card.linear.parts["bold"].features == ("bold_steps",)
    fused = write_rival(fitted("late fusion of log-odds", two), draft, tmp_path, "fused").card
    assert fused.linear is not None
    assert fused.linear.add
    assert fused.temperature.both != 1
    assert (fused.temperature.eeg, fused.temperature.bold) == (1, 1)
    assert np.exp(fused.linear.log_prior).sum() == pytest.approx(1)


def test_a_draft_for_other_windows_is_refused(two: WindowSet, three: WindowSet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not fitted yet"):
        write_rival(rivals(two)[0], draft_for(two), tmp_path)
    rival = fitted("concatenated + logistic regression", two)
    with pytest.raises(ModelError, match="classes rest, task: its card names rest, left, right"):
        write_rival(rival, draft_for(three), tmp_path)
    with pytest.raises(ModelError, match=r"66 numbers \(eeg_mean, bold_steps\) for both: .* make 18"):
        write_rival(rival, draft_for(of_eeg_alone(two)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_single_precision_spoils_is_refused(
    two: WindowSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    examples = (1e4 + rng.standard_normal((20, 3))).astype(np.float32)
    weights = np.array([[1.0, -1.0]] * 3)
    spoilt = FittedPart(
        ("eeg_mean",), Affine(weights, -examples.mean(axis=0) @ weights), 0.1, examples, np.full((20, 2), np.nan)
    )
    assert graph_difference(linear_graph(spoilt.logits), spoilt) > TOLERANCE
    rival = fitted("regions + LDA", two)
    part = rival.fitted["bold"]
    huge = np.full_like(part.examples, 1e4) + part.examples
    moved = replace(part.logits, offset=part.logits.offset - 1e4 * part.logits.weights.sum(axis=0))
    monkeypatch.setitem(rival._fitted, "bold", replace(part, examples=huge, logits=moved))
    with pytest.raises(ModelError, match="ONNX Runtime's probabilities of bold differ from the fit by"):
        write_rival(rival, draft_for(two), tmp_path)
    assert list(tmp_path.iterdir()) == []
