from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pytest
from scipy.stats import binom

from models.baselines import Rival, rivals
from models.dataset import WindowSet
from models.evaluation.blocks import blocks_of
from models.evaluation.contribution import Contribution, contribution
from models.evaluation.judge import Judgement, judge, rows_of
from models.evaluation.predict import Predicted, fit_predict, masked, predict_folds, shuffled
from models.evaluation.report import Origin, as_html, as_json
from models.evaluation.resample import Estimate, permutation_p
from models.evaluation.splits import split
from tests.unit.planted_modalities import Worth, planted
from tests.unit.synthetic_windows import some_subjects

FUSED = ("concatenated + logistic regression", "late fusion of log-odds")
FEW = ("band power + LDA", "regions + LDA", *FUSED)


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return judged(some_subjects("abcd", 10), some_subjects("ghi", 30))


def some(windows: WindowSet, names: tuple[str, ...] = FEW) -> list[Rival]:
    return [rival for rival in rivals(windows) if rival.name in names]


def judged(training: WindowSet, unseen: WindowSet, names: tuple[str, ...] = FEW) -> Judgement:
    return judge(unseen, fit_predict(some(training, names), training, unseen))


def two(p: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - p, p])


def test_planted_effects_pass_and_a_guess_is_worse() -> None:
    training, unseen = some_subjects("abcd", 10), some_subjects("ghi", 30)
    guess = Predicted("guess", "eeg", two(np.random.default_rng(0).uniform(size=len(unseen))))
    found = judge(unseen, [guess, *fit_predict(rivals(unseen)[:1], training, unseen)])
    first, rival = found.models
    assert rival.passed
    assert not first.passed
    assert first.p_value > 0.01
    assert rival.p_value == 0.001
    assert rival.windows["accuracy"].low > found.chance
    assert found.differences[0].accuracy.high < 0
    assert "guess is worse than the best rival, band power + LDA" in found.verdict
    assert found.unit == "block"
    assert found.n_units == found.n_blocks == 27
    assert found.n_windows == rival.confusion.sum() == (unseen.label >= 0).sum()
    assert [part.name for part in rival.parts] == ["g", "h", "i"]
    assert sum(part.n_blocks for part in rival.parts) == 27
    right = sum(part.n_correct_blocks for part in rival.parts) / 27
    assert rival.block_accuracy.value == pytest.approx(right)
    assert rival.block_accuracy.low < right


def test_where_nothing_is_planted_no_one_passes() -> None:
    found = judged(some_subjects("abcd", 10, effect=0), some_subjects("ghi", 30, effect=0))
    for model in found.models:
        assert not model.passed
        assert model.windows["balanced_accuracy"].low < 0.55
        assert model.windows["roc_auc"].low < 0.55
        assert model.p_value > 0.01, model.name


def test_many_classes_are_judged_as_their_mean() -> None:
    found = judged(planted("complementary", 4, "ab", 1), planted("complementary", 4, "cd", 2))
    assert found.averaging == "macro"
    assert found.classes == ("state 0", "state 1", "state 2", "state 3")
    assert found.chance == 0.25
    least = round(found.block_threshold * 96)
    assert binom.sf(least - 1, 96, 0.25) < 0.05 <= binom.sf(least - 2, 96, 0.25)
    for model in found.models:
        assert model.confusion.shape == (4, 4)
        recall = np.diag(model.confusion) / model.confusion.sum(axis=1)
        assert model.windows["recall"].value == pytest.approx(recall.mean())
        assert model.windows["balanced_accuracy"].value == pytest.approx(recall.mean())
        assert model.windows["balanced_accuracy"].low > 0.4
        assert model.p_value == 0.001
    html = as_html(found, Origin("Rivals", ("x",)))
    assert "means over the classes, each against all others (macro)" in html
    assert "state 3" in html


def test_data_of_one_modality_is_judged_without_contribution() -> None:
    windows = some_subjects("abc", 10)
    alone = replace(windows, bold=windows.bold[:, :, :0], valid=windows.valid * np.array([1, 0], np.float32))
    alone = replace(alone, inputs=replace(windows.inputs, regions=()))
    folds = split(alone, "subject")
    found = judge(alone, predict_folds(lambda: rivals(alone)[:1], alone, folds, lambda _: None))
    assert found.modalities == "eeg"
    assert found.models[0].modalities == "eeg"
    assert found.models[0].contribution is None
    assert set(found.models[0].gates) == {"precision", "recall", "f1"}
    assert "The data holds EEG alone" in as_html(found, Origin("Rivals", ("x",)))
    assert "PASS" in as_html(found, Origin("Rivals", ("x",)))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("worth", get_args(Worth))
def test_what_the_weaker_modality_is_worth_is_named(worth: Worth, n_classes: int) -> None:
    for seed in (1, 2):
        training, unseen = planted(worth, n_classes, "ab", seed), planted(worth, n_classes, "cde", 100 + seed)
        predicted = fit_predict(some(training, FUSED[1:]), training, unseen)[0]
        index = np.arange(len(unseen))
        c = contribution(rows_of(unseen, index, blocks_of(unseen), "block"), predicted, index)
        assert c.kind == worth, c
        assert c.chance == 1 / n_classes
        assert c.sentence.startswith("fusing adds to" if worth == "complementary" else "fusing adds nothing to EEG")
        assert c.shapley["eeg"].value + c.shapley["bold"].value == pytest.approx(c.both.value - c.chance)
        assert c.shapley["eeg"].low > 0.1
        assert c.permutation_drop["eeg"].low > 0.05
        if worth == "useless":
            assert abs(c.shapley["bold"].value) < 0.05
            assert abs(c.permutation_drop["bold"].value) < 0.03
        else:
            assert c.shapley["bold"].low > 0.03


def test_a_gain_too_small_to_matter_and_a_loss_are_told() -> None:
    eeg, bold = Estimate(0.9, 0.88, 0.92), Estimate(0.5, 0.45, 0.55)
    small = Contribution(9, 0.5, eeg, {"eeg": eeg, "bold": bold}, {}, {}, "eeg", Estimate(0.004, 0.001, 0.008))
    assert small.kind == "useless"
    assert small.sentence.startswith("fusing adds next to nothing to EEG alone: +0.004")
    worse = replace(small, gain=Estimate(-0.03, -0.05, -0.01))
    assert worse.harms
    assert "it even takes from it: -0.030" in worse.sentence
    assert worse.sentence.endswith("BOLD alone is not above chance")


def test_nothing_is_fitted_outside_the_fold() -> None:
    windows = some_subjects("abc", 10)
    folds = split(windows, "subject")
    before = predict_folds(lambda: some(windows), windows, folds, lambda _: None)
    # labels and data of the held-out subject are turned upside down: what is said of the others' windows would move
    # with them, what is said of its own must not know the labels
    own = windows.subject == "b"
    turned = replace(windows, label=np.where(own & (windows.label >= 0), 1 - windows.label, windows.label))
    after = predict_folds(lambda: some(turned), turned, folds, lambda _: None)
    for one, two in zip(before, after, strict=True):
        assert np.array_equal(one.as_is[own], two.as_is[own]), one.name
        assert not np.array_equal(one.as_is[~own], two.as_is[~own]), one.name


def test_modalities_are_masked_and_shuffled_one_by_one() -> None:
    windows = some_subjects("ab", 1)
    windows = replace(windows, tangent=windows.eeg[:, 0, :6])
    assert np.isnan(masked(windows, "bold").tangent).all()
    assert np.array_equal(masked(windows, "eeg").tangent, windows.tangent)
    turned = shuffled(windows, "eeg", 3)
    assert np.array_equal(turned.tangent, turned.eeg[:, 0, :6])
    eeg = masked(windows, "eeg")
    assert not eeg.bold.any()
    assert eeg.valid[:, 1].max() == eeg.age[:, 1].max() == 0
    assert np.array_equal(eeg.eeg, windows.eeg)
    mixed = shuffled(windows, "bold", 3)
    assert np.array_equal(mixed.eeg, windows.eeg)
    assert not np.array_equal(mixed.bold, windows.bold)
    for name in "ab":
        own = windows.subject == name
        assert np.array_equal(np.sort(mixed.bold[own], axis=0), np.sort(windows.bold[own], axis=0))


def test_the_report_holds_what_was_judged_and_loads_nothing(judgement: Judgement) -> None:
    origin = Origin("Rivals: each subject <in turn>", ("a & b",), "0" * 64, 1)
    facts = json.loads(as_json(judgement, origin))
    assert facts["verdict"] == judgement.verdict
    first = facts["models"][0]
    assert first["windows"]["accuracy"]["value"] == pytest.approx(
        judgement.models[0].windows["accuracy"].value, abs=1e-5
    )
    assert first["passed"] is judgement.models[0].passed
    assert first["contribution"] is None
    assert facts["models"][-1]["contribution"]["sentence"] == judgement.models[-1].contribution.sentence
    html = as_html(judgement, origin)
    assert "&lt;in turn&gt;" in html
    assert "a &amp; b" in html
    assert not re.search(r"<script|src=|href=|@import|url\(", html)
    assert html.count("<svg") == 1 + 2 * len(judgement.models)
    assert "PASS" in html
    assert "nan" not in html
    for model in judgement.models:
        assert html.count(model.name) > 5


def test_shuffled_labels_come_out_at_chance() -> None:
    p_values: list[float] = []
    for seed in range(6):
        windows = planted("complementary", 2, "abc", seed, n_blocks=16)
        rng = np.random.default_rng(seed)
        blocks, label = list(windows.blocks), windows.label.copy()
        block = blocks_of(windows)
        for name in windows.subjects:
            own = [k for k, each in enumerate(blocks) if each.subject == name]
            turned = rng.permutation([blocks[k].label for k in own])
            for k, state in zip(own, turned, strict=True):
                blocks[k] = replace(blocks[k], label=str(state))
                label[block == k] = windows.classes.index(str(state))
        shuffled_ones = replace(windows, label=label, blocks=tuple(blocks))
        models = some(windows, FUSED[1:])
        folds = split(shuffled_ones, "subject")
        told = predict_folds(partial(tuple, models), shuffled_ones, folds, lambda _: None)[0]
        rows = rows_of(shuffled_ones, np.arange(len(windows)), blocks_of(shuffled_ones), "block")
        p_values.append(permutation_p(rows, told.as_is, 199))
    assert sum(p <= 0.05 for p in p_values) <= 1
    assert 0.15 < np.mean(p_values) < 0.85
