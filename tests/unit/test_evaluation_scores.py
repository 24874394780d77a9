from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from models.evaluation.metrics import METRICS, balanced_only, confusion, reliability, scores
from models.evaluation.resample import Rows, bootstrap, draw, estimate, permutation_p, ratio


def two(p: np.ndarray) -> np.ndarray:
    """Give both classes' probabilities from the target's."""
    return np.column_stack([1 - p, p])


def drawn(n: int, n_classes: int, seed: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, n_classes, n)
    score = rng.standard_normal((n, n_classes)) + skill * (label[:, None] == np.arange(n_classes))
    # in coarse steps, so that some are equal
    odds = np.exp(np.round(score, 1))
    return odds / odds.sum(axis=1, keepdims=True), label


def blocks(n_blocks: int, per_block: int, seed: int, skill: float = 0.0) -> tuple[Rows, np.ndarray]:
    """Blocks whose windows all share one error, as overlapping windows do."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_blocks) % 2
    score = skill * (2 * label - 1) + rng.standard_normal(n_blocks)
    block = np.repeat(np.arange(n_blocks), per_block)
    rows = Rows(label[block], block, np.array(["run"] * len(block)), block, "block")
    return rows, two(1 / (1 + np.exp(-score[block])))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_classes", [2, 3, 8])
def test_scores_are_those_of_scikit_learn(seed: int, n_classes: int) -> None:
    p, label = drawn(400, n_classes, seed)
    weight = np.random.default_rng(100 + seed).integers(0, 4, 400).astype(float)
    each = np.arange(400)
    found = scores(p, label, each, weight[None])
    decided = p.argmax(axis=1)
    w = {"sample_weight": weight}
    averaged = w | {"average": "binary" if n_classes == 2 else "macro"}
    chosen = range(n_classes) if n_classes > 2 else (1,)
    expected = {
        "accuracy": reference.accuracy_score(label, decided, **w),
        "balanced_accuracy": reference.balanced_accuracy_score(label, decided, **w),
        "precision": reference.precision_score(label, decided, **averaged),
        "recall": reference.recall_score(label, decided, **averaged),
        "f1": reference.f1_score(label, decided, **averaged),
        "mcc": reference.matthews_corrcoef(label, decided, **w),
        "roc_auc": np.mean([reference.roc_auc_score(label == k, p[:, k], **w) for k in chosen]),
        "pr_auc": np.mean([reference.average_precision_score(label == k, p[:, k], **w) for k in chosen]),
        "brier": reference.brier_score_loss(label, p, **w),
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9), name
    assert set(found) == set(METRICS)
    assert balanced_only(p, label, each, weight[None])["balanced_accuracy"][0] == pytest.approx(
        found["balanced_accuracy"][0]
    )
    assert np.array_equal(confusion(p, label), reference.confusion_matrix(label, decided))


def test_a_row_that_is_drawn_twice_weighs_twice() -> None:
    p, label = drawn(60, 3, 5)
    unit = np.arange(60) // 6
    counts = np.array([[0, 1, 2, 3, 1, 0, 1, 1, 1, 2]], float)
    found = scores(p, label, unit, counts)
    rows = np.repeat(np.arange(60), counts[0, unit].astype(int))
    plainly = scores(p[rows], label[rows], np.zeros(len(rows), int), np.ones((1, 1)))
    for name in METRICS:
        if name != "ece":  # its bins are those of the sample as it is
            assert found[name][0] == pytest.approx(plainly[name][0], abs=1e-12), name


def test_calibration_error_is_zero_where_probabilities_are_honest() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=40_000)
    honest = (rng.uniform(size=40_000) < p).astype(int)
    unit, once = np.zeros(40_000, int), np.ones((1, 1))
    assert scores(two(p), honest, unit, once)["ece"][0] < 0.02
    # all said surer than it is: half as sure is honest
    sure = np.where(p > 0.5, 0.95, 0.05)
    right = (rng.uniform(size=40_000) < 0.75).astype(int)
    label = np.where(sure > 0.5, right, 1 - right)
    assert scores(two(sure), label, unit, once)["ece"][0] == pytest.approx(0.2, abs=0.02)
    found = [round(found, 2) for _, found, _ in reliability(two(sure), label)]
    assert found == pytest.approx([0.25, 0.75], abs=0.01)


def test_of_many_classes_calibration_is_judged_by_the_most_probable_one() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(4), size=40_000)
    label = (p.cumsum(axis=1) < rng.uniform(size=40_000)[:, None]).sum(axis=1)
    unit, once = np.zeros(40_000, int), np.ones((1, 1))
    assert scores(p, label, unit, once)["ece"][0] < 0.015
    # half of the labels thrown anew: what is said is too much by half of what lies above chance
    blurred = np.where(rng.uniform(size=40_000) < 0.5, rng.integers(0, 4, 40_000), label)
    expected = (p.max(axis=1).mean() - 0.25) / 2
    assert scores(p, blurred, unit, once)["ece"][0] == pytest.approx(expected, abs=0.02)
    assert sum(n for _, _, n in reliability(p, label)) == 40_000
    assert len(reliability(p, label)) == 15


def test_scores_without_anything_to_go_by_have_no_value() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(two(np.array([0.2, 0.3])), np.array([0, 0]), np.array([0, 0]), np.ones((1, 1)))
    for name in ("recall", "precision", "roc_auc", "pr_auc", "balanced_accuracy"):
        assert np.isnan(found[name][0]), name
    assert found["mcc"][0] == 0
    assert found["accuracy"][0] == 1


def test_intervals_come_from_blocks_and_hold_what_they_promise() -> None:
    held, width_blocks, width_windows = 0, 0.0, 0.0
    true = 0.8413  # probability that a normal variable is above -1
    n = 60
    for seed in range(n):
        rows, p = blocks(60, 30, seed, skill=1.0)
        found = estimate(bootstrap(rows, [p], seed, balanced_only, draws=300)[0]["balanced_accuracy"])
        held += found.low <= true <= found.high
        width_blocks += found.high - found.low
    singly = Rows(rows.label, rows.block, rows.within, np.arange(len(p)), "block")
    found = estimate(bootstrap(singly, [p], 0, balanced_only, draws=300)[0]["balanced_accuracy"])
    width_windows = found.high - found.low
    assert held / n >= 0.85
    # windows drawn one by one would feign five times the certainty: the root of 30
    assert width_blocks / n > 4 * width_windows


def test_blocks_are_drawn_within_their_class_and_the_first_is_the_sample() -> None:
    rows, _ = blocks(21, 3, 0)
    counts = draw(rows, 50, 1)
    assert (counts[0] == 1).all()
    assert (counts[:, 0::2].sum(axis=1) == 11).all()
    assert (counts[:, 1::2].sum(axis=1) == 10).all()
    assert len({tuple(row) for row in counts.tolist()}) > 45
    assert np.array_equal(counts, draw(rows, 50, 1))


def test_two_models_are_compared_on_the_same_draws() -> None:
    rows, p = blocks(40, 10, 1, skill=1.0)
    one, two = bootstrap(rows, [p, p], draws=100)
    assert (one["accuracy"] == two["accuracy"]).all()
    worse = p.copy()
    worse[rows.block < 4] = worse[rows.block < 4, ::-1]
    one, two = bootstrap(rows, [p, worse], draws=400)
    gain = estimate(one["accuracy"] - two["accuracy"])
    single = estimate(one["accuracy"])
    assert gain.low <= gain.value <= gain.high
    assert gain.high - gain.low < 1.3 * (single.high - single.low)


def test_permuted_labels_of_blocks_give_chance_its_due() -> None:
    p_values = [permutation_p(*blocks(20, 30, seed), permutations=99) for seed in range(80)]
    # uniform without an effect: windows shuffled one by one would put nearly all below 0.05
    assert np.mean(np.array(p_values) <= 0.05) < 0.15
    assert 0.3 < np.mean(p_values) < 0.75
    assert permutation_p(*blocks(40, 10, 0, skill=2.0), permutations=199) == 1 / 200


def test_labels_are_permuted_within_runs_only() -> None:
    # the model knows the run, not the state: within a run that tells nothing
    label = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    run = np.array(["a"] * 4 + ["b"] * 4)
    number = np.arange(8)
    p = two(np.where(run == "b", 0.9, 0.1))
    assert permutation_p(Rows(label, number, run, number, "block"), p, permutations=99) == 1.0


def test_permuted_labels_of_many_classes_give_chance_its_due() -> None:
    rng = np.random.default_rng(3)
    label = np.arange(32) % 4
    block = np.repeat(np.arange(32), 5)
    rows = Rows(label[block], block, np.array(["run"] * 160), block, "block")
    p_values = [permutation_p(rows, rng.dirichlet(np.ones(4), size=32)[block], permutations=99) for _ in range(80)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.15
    assert 0.3 < np.mean(p_values) < 0.75
    assert permutation_p(rows, np.eye(4)[label][block], permutations=199) == 1 / 200


def test_a_share_is_given_with_its_interval_over_units() -> None:
    rows, _ = blocks(40, 10, 0)
    part = rows.block < 10
    found = ratio(rows, part, np.ones(400))
    assert found.value == 0.25
    assert 0.1 < found.low < 0.25 < found.high < 0.45
    assert np.isnan(ratio(rows, np.zeros(400), np.zeros(400)).value)
