from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.card_model import CardModel
from models.evaluation.judge import judge
from models.evaluation.predict import Asked, Predicted, predict
from models.evaluation.report import Origin, as_html
from streamer.decode.card_file import LoadedCard
from streamer.decode.load_model import load_model
from streamer.decode.model_card import Doubt
from streamer.decode.score_card import make_score_card
from streamer.decode.score_spec import ScoreSpec
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.served_files import BOLD, DIGEST, EEG, linear, network, put_card
from tests.unit.served_windows import served_windows
from tests.unit.synthetic_windows import some_subjects

DOUBT = Doubt(alpha=0.1, quantile={"both": 0.55, "eeg": 0.6, "bold": 0.65}, n_blocks=30)
PARTS = {"both": (("eeg_mean", "bold_newest"), 11, 3), "eeg": (("eeg_mean",), 8, 4), "bold": (("bold_steps",), 15, 5)}


def a_network(folder: Path, **values: object) -> LoadedCard:
    return network(folder, doubt=DOUBT, **values)


def a_linear(folder: Path, **values: object) -> LoadedCard:
    parts = {**PARTS, "eeg": (("eeg_mean", "tangent"), 18, 4)}
    return linear(folder, parts, tangent=True, **{"doubt": DOUBT, **values})


def a_score(folder: Path) -> LoadedCard:
    return put_card(folder, make_score_card(ScoreSpec(), EEG, BOLD, "task", DIGEST))


@pytest.mark.parametrize("make", [a_network, a_linear, a_score])
def test_a_card_is_asked_as_the_loop_asks_it(make, tmp_path: Path) -> None:
    loaded = make(tmp_path)
    windows = served_windows("gh", 30).rows(np.arange(0, 900, 3))
    # what was asked before must not matter
    model = CardModel(loaded)
    model.ask(windows.rows(np.arange(5, 100)))
    asked = model.ask(windows)
    served = {name: load_model(loaded, "cpu") for name in windows.subjects}
    held = windows.valid > 0
    assert (held.any(axis=1) & ~held.all(axis=1)).any()
    assert (~held.any(axis=1)).any()
    for k in range(len(windows)):
        tangent = windows.tangent[k]
        window = Window(
            k, SessionTime(0), SessionTime(windows.time[k]), windows.eeg[k], windows.bold[k],
            float(windows.age[k, 0]), float(windows.age[k, 1]) if held[k, 1] else math.inf,
            eeg_valid=bool(held[k, 0]), bold_valid=bool(held[k, 1]),
            tangent=tangent if np.isfinite(tangent).all() else tangent[:0],
        )  # fmt: skip
        said = served[str(windows.subject[k])](window)
        assert asked.p[k] == pytest.approx(said.probabilities, abs=1e-5)
        if asked.candidates is not None and said.candidates is not None:
            assert [name for name, there in zip(said.classes, asked.candidates[k], strict=True) if there] == list(
                said.candidates
            )
        if asked.abstained is not None:
            assert asked.abstained[k] == bool(said.flags & Flag.ABSTAINED)
    assert (asked.candidates is None) == (make is a_score)
    assert asked.p.std() > 0.01


def test_a_card_refuses_windows_it_is_not_for_and_subjects_it_was_trained_on(tmp_path: Path) -> None:
    model = CardModel(a_linear(tmp_path))
    windows = served_windows("gh", 1)
    model.check(windows)
    # another session of the same person is no other person
    with pytest.raises(ModelError, match="was trained on b/ses-2: expected subjects"):
        model.check(replace(windows, subject=np.where(windows.subject == "g", "b/ses-2", "h")))
    with pytest.raises(ModelError, match="EEG channels that the model expects are missing: O1"):
        model.check(replace(windows, inputs=replace(windows.inputs, channels=("A1", "O2", "Pz", "C3"))))
    with pytest.raises(ModelError, match="classes are rest, move: expected rest, task"):
        model.check(replace(windows, classes=("rest", "move")))
    with pytest.raises(ModelError, match=r"BOLD have the shape \(4, 3\): expected \(5, 3\)"):
        model.check(replace(windows, bold=windows.bold[:, 1:]))
    with pytest.raises(ModelError, match="tangent vector: this session makes none"):
        model.check(replace(windows, tangent=windows.tangent[:, :0]))


def test_a_session_card_is_for_the_person_it_was_made_from(tmp_path: Path) -> None:
    model = CardModel(a_linear(tmp_path, calibration="0" * 64))
    windows = served_windows("g", 1)
    model.check(windows.called("b/ses-2"))
    with pytest.raises(ModelError, match="was trained on b"):
        model.check(windows.called("b"))


def test_a_model_of_one_modality_takes_what_it_needs_of_both(tmp_path: Path) -> None:
    model = CardModel(linear(tmp_path, {"eeg": PARTS["eeg"]}, bold=None))
    windows = served_windows("g", 1)
    model.check(windows)
    predicted = predict(model, windows)
    assert predicted.modalities == "eeg"
    assert predicted.eeg is None
    assert np.isfinite(predicted.as_is).all()
    bare = replace(windows, bold=windows.bold[:, :, :0], inputs=replace(windows.inputs, regions=()))
    model.check(bare)
    assert np.array_equal(model.predict_proba(bare), predicted.as_is)


def test_doubt_is_counted_by_windows_and_by_blocks() -> None:
    windows = some_subjects("ab", 1)
    n = len(windows)
    # right in every block of a; in b wrong in the first half of each
    block = windows.time // 20.0
    early = (windows.subject == "b") & (windows.time % 20.0 < 10.0)
    p = np.where((windows.label == 1)[:, None], [0.2, 0.8], [0.8, 0.2])
    p[early] = p[early, ::-1]
    sets = p > 0.5
    unsure = (windows.subject == "a") & (windows.time % 20.0 < 5.0)
    sets[unsure] = True
    asked = Asked(p, sets, unsure)
    found = judge(windows, [Predicted("told", "both", p, p, p, (p,), (p,), {"both": asked, "eeg": asked})])
    both, eeg = found.models[0].doubt
    assert (both.pattern, eeg.pattern) == ("both", "eeg")
    assert both.n_windows == n
    assert both.coverage_windows is not None
    assert both.coverage_windows.value == pytest.approx(1 - early.mean())
    shares = [(~early)[(windows.subject == s) & (block == k)].mean() for s in "ab" for k in np.unique(block)]
    assert both.coverage_blocks is not None
    assert both.coverage_blocks.value == pytest.approx(np.mean(shares))
    assert both.coverage_blocks.low < both.coverage_blocks.value < both.coverage_blocks.high
    assert both.n_candidates is not None
    assert both.n_candidates.value == pytest.approx(1 + unsure.mean())
    assert both.abstained.value == pytest.approx(unsure.mean())
    assert both.accuracy.value == pytest.approx(1 - early.mean())
    assert both.accuracy_answered.value == pytest.approx(1 - early.sum() / (~unsure).sum())
    html = as_html(found, Origin("told", ("a",)))
    assert "Candidates and abstention" in html
    assert f"{both.abstained.value:.3f}" in html


def test_a_card_says_how_often_it_is_unsure(tmp_path: Path) -> None:
    windows = served_windows("gh", 3)
    model = CardModel(a_linear(tmp_path))
    told: list[float] = []
    found = judge(windows, [predict(model, windows, 0, told.append)])
    assert [d.pattern for d in found.models[0].doubt] == ["both", "eeg", "bold"]
    for doubt, column in zip(found.models[0].doubt, ((0, 1), (0,), (1,)), strict=True):
        assert doubt.n_windows == (windows.valid[:, column] > 0).all(axis=1).sum()
        assert doubt.coverage_windows is not None
        assert 0 < doubt.coverage_windows.value <= 1
    assert told == pytest.approx(np.arange(1, 10) / 9)
    assert found.models[0].contribution is not None
