from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.covariance import ShrunkCovariance
from sklearn.cross_decomposition import CCA, PLSSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from models.dataset import WindowSet
from models.evaluation.splits import HRF_S, MIN_GAP_S, people, runs
from models.rivals.affine import Affine
from models.rivals.calibration import fit_calibration, fit_temperature, log_loss
from models.rivals.fit import Part, SharedPart, _inner, fit_part
from models.rivals.learners import discriminant, logistic, standardised, support_vectors
from models.rivals.shared_directions import along, canonical_correlation, partial_least_squares
from tests.unit.rival_windows import three_states
from tests.unit.synthetic_windows import some_subjects, subject_windows


def drawn(n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.choice(n_classes, 400, p=np.arange(2, n_classes + 2) / np.arange(2, n_classes + 2).sum())
    means = rng.standard_normal((n_classes, 5))
    x = means[label] + rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5))
    return (x * [1, 10, 0.1, 1, 1] + [0, 50, 0, -3, 0]).astype(np.float64), label


def differences(scores: np.ndarray) -> np.ndarray:
    """What counts of scores: with two classes scikit-learn gives one column."""
    return scores - scores.mean(axis=1, keepdims=True) if scores.ndim == 2 else np.outer(scores, [-0.5, 0.5])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_discriminant_is_that_of_scikit_learn(n_classes: int) -> None:
    x, label = drawn(n_classes)
    within = x - np.stack([x[label == k].mean(axis=0) for k in range(n_classes)])[label]
    z = x / within.std(axis=0)
    for share, found in zip(
        (0.01, 0.3), discriminant([x[:, :2], x[:, 2:]], label, n_classes, (0.01, 0.3)), strict=True
    ):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=ShrunkCovariance(shrinkage=share))
        expected = differences(theirs.fit(z, label).decision_function(z))
        assert np.allclose(differences(found(x)), expected, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    ("learn", "make"),
    [
        (logistic, lambda: LogisticRegression(C=0.1, max_iter=2000, tol=1e-6)),
        (support_vectors, lambda: LinearSVC(C=0.1, dual=False)),
    ],
)
def test_linear_models_of_scikit_learn_become_maps_of_the_bare_features(n_classes: int, learn, make) -> None:
    x, label = drawn(n_classes)
    found = learn([x], label, n_classes, (0.1,))[0]
    theirs = make_pipeline(StandardScaler(), make()).fit(x, label)
    assert np.allclose(differences(found(x)), differences(theirs.decision_function(x)), atol=0.01)
    assert np.array_equal(found(x).argmax(axis=1), theirs.predict(x))


def test_more_features_than_windows_are_no_trouble() -> None:
    rng = np.random.default_rng(1)
    label = np.arange(60) % 3
    x = rng.standard_normal((60, 200)) + rng.standard_normal((3, 200))[label]
    within = x - np.stack([x[label == k].mean(axis=0) for k in range(3)])[label]
    z = x / within.std(axis=0)
    for share, found in zip((0.05, 0.5), discriminant([x], label, 3, (0.05, 0.5)), strict=True):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=ShrunkCovariance(shrinkage=share))
        assert np.allclose(differences(found(x)), differences(theirs.fit(z, label).decision_function(z)), atol=1e-8)


def two_sides(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, 600)
    common = label + 0.3 * rng.standard_normal(600)
    eeg, bold = rng.standard_normal((600, 7)), rng.standard_normal((600, 4))
    eeg[:, 2] += 2 * common
    bold[:, 1] += 2 * common
    return eeg, bold, label


def test_partial_least_squares_is_that_of_scikit_learn_and_one_side_serves_alone() -> None:
    eeg, bold, label = two_sides()
    theirs = PLSSVD(n_components=2).fit(eeg, bold)
    first, second = theirs.transform(eeg, bold)
    served = {"both": np.hstack([eeg, bold]), "eeg": eeg, "bold": bold}
    for side, scores in {"both": np.hstack([first, second]), "eeg": first, "bold": second}.items():
        found = along(partial_least_squares, side)([eeg, bold], label, 2, (2.0, 4.0))
        expected = discriminant([scores], label, 2, (0.01,))[0](scores)
        assert np.allclose(differences(found[0](served[side])), differences(expected), atol=1e-8)
        # more pairs than there are features on one side
        assert np.isfinite(found[1](served[side])).all()


def test_canonical_pairs_correlate_as_those_of_scikit_learn_do_and_less_once_shrunk() -> None:
    eeg, bold, _ = two_sides()
    x, y = standardised(eeg)[0], standardised(bold)[0]

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef((x @ a)[:, 0], (y @ b)[:, 0])[0, 1])

    slight, strong = (correlation(a, b) for a, b in canonical_correlation(x, y, (1e-9, 0.9)))
    first, second = CCA(n_components=1).fit(x, y).transform(x, y)
    assert slight == pytest.approx(np.corrcoef(first[:, 0], second[:, 0])[0, 1], abs=1e-6)
    assert 0.5 < strong < slight


def test_features_that_never_change_do_no_harm() -> None:
    x, label = drawn(3)
    x[:, 1] = 4.0
    for learn, setting in ((discriminant, 0.1), (logistic, 0.1), (support_vectors, 0.1)):
        assert np.isfinite(learn([x], label, 3, (setting,))[0](x)).all()
    for find in (partial_least_squares, canonical_correlation):
        assert np.isfinite(
            along(find, "both")([x[:, :3], x[:, 3:]], label, 3, (0.5 if find is canonical_correlation else 2,))[0](x)
        ).all()
    still = np.ones((len(x), 2))
    assert np.ptp(discriminant([still], label, 3, (0.1,))[0](still), axis=0) == pytest.approx(0)


def test_two_classes_are_calibrated_by_platts_scaling() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 500)
    score = 3 * label + 4 * rng.standard_normal(500) + 1
    slope, bias = fit_calibration(np.column_stack([np.zeros(500), score]), label)
    theirs = LogisticRegression(C=1e6).fit(score[:, None], label)
    p = softmax(slope * np.column_stack([np.zeros(500), score]) + bias, axis=1)
    assert np.allclose(p, theirs.predict_proba(score[:, None]), atol=1e-3)


def test_a_temperature_and_shifts_of_several_classes_are_found_again() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal([0.5, 0, -0.5], 1.0, (20000, 3))
    label = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
    slope, bias = fit_calibration(5.0 * logits + [1.0, -2.0, 0.3], label)
    assert slope == pytest.approx(0.2, abs=0.01)
    assert bias - bias.mean() == pytest.approx(-0.2 * (np.array([1.0, -2.0, 0.3]) + 0.7 / 3), abs=0.06)
    assert log_loss(slope * (5 * logits + [1.0, -2.0, 0.3]) + bias, label) <= log_loss(logits, label)


def test_a_temperature_alone_is_found_again() -> None:
    rng = np.random.default_rng(5)
    logits = 2 * rng.standard_normal((20000, 3))
    label = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
    for factor in (0.4, 1.0, 3.0):
        assert fit_temperature(factor * logits, label) == pytest.approx(factor, rel=0.03)


def test_scores_that_speak_for_the_wrong_class_are_not_believed() -> None:
    label = np.array([0] * 30 + [1] * 10)
    slope, bias = fit_calibration(np.outer(1 - label, [0.0, 1.0]) + 0.01 * np.arange(40)[:, None] * [0, 1], label)
    assert slope == 0
    assert softmax(bias) == pytest.approx([0.75, 0.25])


def test_inner_folds_hold_out_people_else_runs_else_stretches_behind_a_gap() -> None:
    several = some_subjects("abcdef", 1)
    folds = _inner(several)
    assert len(folds) == 4
    for train, test in folds:
        assert not set(people(several)[train]) & set(people(several)[test])
    first = subject_windows("a", 1)
    second = subject_windows("a", 2).later(400.0)
    one = WindowSet(
        **{
            name: np.concatenate([getattr(first, name), getattr(second, name)])
            for name in ("eeg", "bold", "tangent", "age", "valid", "label", "settled", "subject", "time")
        },
        classes=first.classes,
        blocks=first.blocks + second.blocks,
        inputs=first.inputs,
    )
    folds = _inner(one)
    assert len(folds) == 2
    for train, test in folds:
        assert not set(runs(one)[train]) & set(runs(one)[test])
    folds = _inner(first)
    assert len(folds) > 1
    for train, test in folds:
        distance = np.abs(first.time[train][:, None] - first.time[test]).min()
        assert distance >= HRF_S + MIN_GAP_S - 1e-9


def test_the_setting_that_holds_on_unseen_people_is_taken() -> None:
    windows = three_states("abcd", 3, effect=0.3)
    chosen = windows.trainable()
    shares = (1e-4, 0.03, 0.999)
    found = fit_part(Part(("eeg_steps",), discriminant, shares, "eeg"), windows, "a rival")
    x = chosen.eeg.reshape(len(chosen), -1)
    held = np.zeros((3, len(chosen), 3))
    for train, test in _inner(chosen):
        for k, learned in enumerate(discriminant([x[train]], chosen.label[train], 3, shares)):
            held[k, test] = learned(x[test])
    losses = []
    for scores in held:
        slope, bias = fit_calibration(scores, chosen.label)
        losses.append(log_loss(slope * scores + bias, chosen.label))
    assert found.setting == shares[int(np.argmin(losses))]
    slope, bias = fit_calibration(held[int(np.argmin(losses))], chosen.label)
    expected = discriminant([x], chosen.label, 3, (found.setting,))[0].calibrated(slope, bias)
    assert np.allclose(softmax(found.logits(x), axis=1), softmax(expected(x), axis=1), atol=1e-5)


def test_too_little_to_hold_any_out_takes_the_middle_setting_as_it_is() -> None:
    windows = subject_windows("a", 1, n_blocks=4)
    found = fit_part(Part(("eeg_mean",), discriminant, (0.01, 0.1, 0.5), "eeg"), windows, "a rival")
    assert found.setting == 0.1
    chosen = windows.trainable()
    x = chosen.eeg.mean(axis=1, dtype=np.float64).astype(np.float32)
    plain = discriminant([x], chosen.label, 2, (0.1,))[0]
    assert np.allclose(found.logits.weights, plain.weights)


def test_a_shared_part_is_fitted_once_to_the_same_windows() -> None:
    calls: list[int] = []

    def learn(blocks, label, n_classes, settings):
        calls.append(len(label))
        return [Affine(np.zeros((blocks[0].shape[1], n_classes)), np.zeros(n_classes)) for _ in settings]

    part = SharedPart(Part(("eeg_mean",), learn, (1.0,), "eeg"))
    windows = some_subjects("ab", 1)
    first = part.fit(windows, "one")
    n = len(calls)
    assert part.fit(windows, "another") is first
    assert len(calls) == n
    assert part.fit(replace(windows), "another") is not first
    assert len(calls) == 2 * n
