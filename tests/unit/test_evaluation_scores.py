from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from models.evaluation.metrics import METRICS, balanced_only, confusion, reliability, scores
from models.evaluation.resample import Rows, bootstrap, draw, estimate, permutation_p


def drawn(n: int, seed: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(skill * (2 * label - 1) + rng.standard_normal(n))))
    return np.round(p, 2), label


def blocks(n_blocks: int, per_block: int, seed: int, skill: float = 0.0) -> tuple[Rows, np.ndarray]:
    """Blocks whose windows all share one error, as overlapping windows do."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_blocks) % 2
    score = skill * (2 * label - 1) + rng.standard_normal(n_blocks)
    block = np.repeat(np.arange(n_blocks), per_block)
    return Rows(label[block], block, np.array(["run"] * len(block)), block, "block"), 1 / (1 + np.exp(-score[block]))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    p, label = drawn(400, seed)
    weight = np.random.default_rng(seed).integers(0, 4, 400).astype(float)
    each = np.arange(400)
    found = scores(p, label, each, weight[None])
    decided = (p > 0.5).astype(int)
    w = {"sample_weight": weight}
    expected = {
        "accuracy": reference.accuracy_score(label, decided, **w),
        "balanced_accuracy": reference.balanced_accuracy_score(label, decided, **w),
        "precision": reference.precision_score(label, decided, **w),
        "recall": reference.recall_score(label, decided, **w),
        "f1": reference.f1_score(label, decided, **w),
        "mcc": reference.matthews_corrcoef(label, decided, **w),
        "pr_auc": reference.average_precision_score(label, p, **w),
        "brier": reference.brier_score_loss(label, p, **w),
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9), name
    assert set(found) == set(METRICS)
    assert balanced_only(p, label, each, weight[None])["balanced_accuracy"][0] == pytest.approx(
        found["balanced_accuracy"][0]
    )
    assert np.array_equal(confusion(p, label), reference.confusion_matrix(label, decided))


def test_calibration_error_is_zero_where_probabilities_are_honest() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=40_000)
    honest = (rng.uniform(size=40_000) < p).astype(int)
    unit, once = np.zeros(40_000, int), np.ones((1, 1))
    assert scores(p, honest, unit, once)["ece"][0] < 0.02
    # all said surer than it is: half as sure is honest
    sure = np.where(p > 0.5, 0.95, 0.05)
    right = (rng.uniform(size=40_000) < 0.75).astype(int)
    label = np.where(sure > 0.5, right, 1 - right)
    assert scores(sure, label, unit, once)["ece"][0] == pytest.approx(0.2, abs=0.02)
    assert [round(found, 1) for _, found, _ in reliability(sure, label)] == [0.2, 0.8] or len(
        reliability(sure, label)
    ) == 2


def test_scores_without_anything_to_go_by_have_no_value() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(np.array([0.2, 0.3]), np.array([0, 0]), np.array([0, 0]), np.ones((1, 1)))
    assert np.isnan(found["recall"][0])
    assert np.isnan(found["precision"][0])
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
    worse[rows.block < 4] = 1 - worse[rows.block < 4]
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
    p = np.where(run == "b", 0.9, 0.1)
    assert permutation_p(Rows(label, number, run, number, "block"), p, permutations=99) == 1.0
