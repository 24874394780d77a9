from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.conformal import block_coverage, block_quantile, candidates


def blocks_of_windows(rng: np.random.Generator, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the true class: what a block has in common outweighs what its windows do not."""
    sizes = rng.integers(1, 60, n_blocks)
    block = np.repeat(np.arange(n_blocks), sizes)
    logit = rng.normal(1.5, 1.5, n_blocks)[block] + rng.normal(0, 0.7, len(block))
    return 1 / (1 + np.exp(-logit)), block


def test_with_one_window_a_block_it_is_the_textbooks_quantile() -> None:
    p = np.random.default_rng(0).random(99)
    found = block_quantile(p, np.arange(99), 0.1)
    expected = np.sort(1 - p)[int(np.ceil(100 * 0.9)) - 1]
    assert 0 < found - expected <= 1e-5


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_new_blocks_are_covered_at_the_stated_rate_on_average(alpha: float) -> None:
    rng = np.random.default_rng(1)
    held: list[float] = []
    for _ in range(400):
        p, block = blocks_of_windows(rng, 40)
        held.append(block_coverage(*blocks_of_windows(rng, 40), block_quantile(p, block, alpha)))
    assert 1 - alpha - 0.01 < np.mean(held) < 1 - alpha + 0.04


def test_counting_windows_one_by_one_would_promise_too_much() -> None:
    rng = np.random.default_rng(2)
    by_block, by_window = list[float](), list[float]()
    for _ in range(300):
        p, block = blocks_of_windows(rng, 5)
        new = blocks_of_windows(rng, 50)
        by_block.append(block_coverage(*new, block_quantile(p, block, 0.2)))
        by_window.append(block_coverage(*new, block_quantile(p, np.arange(len(p)), 0.2)))
    assert np.mean(by_window) < 0.77
    assert np.mean(by_block) > 0.8


def test_too_few_blocks_rule_nothing_out() -> None:
    p = np.full(80, 0.99)
    assert block_quantile(p, np.repeat(np.arange(8), 10), 0.1) == 1.0
    assert block_quantile(p, np.repeat(np.arange(10), 8), 0.1) < 0.02
    assert candidates(np.array([[0.0, 1.0]]), 1.0).all()


def test_a_block_weighs_the_same_however_many_windows_it_has() -> None:
    p, block = np.array([0.2] + [0.9] * 9), np.arange(10)
    longer = block_quantile(np.append(p, [0.2] * 500), np.append(block, [0] * 500), 0.2)
    assert longer == block_quantile(p, block, 0.2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.05, 0.1, 0.3]))
def test_what_is_rounded_when_served_is_still_covered(p: list[float], alpha: float) -> None:
    values = np.array(p, np.float64)
    block = np.arange(len(values)) // 2
    quantile = block_quantile(values, block, alpha)
    exact = block_coverage(values, block, quantile)
    assert 0 <= quantile <= 1
    assert block_coverage(np.round(values, 5).astype(np.float64), block, quantile) == exact
    assert exact >= 1 - alpha - 1e-9


def test_what_is_no_vector_of_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="equal vectors"):
        block_quantile(np.ones(3), np.arange(2), 0.1)
    with pytest.raises(ValueError, match="at least one"):
        block_quantile(np.empty(0), np.empty(0, np.int64), 0.1)
    with pytest.raises(ValueError, match="finite"):
        block_coverage(np.array([np.nan]), np.zeros(1, np.int64), 0.5)
    with pytest.raises(ValueError, match="alpha is 0"):
        block_quantile(np.ones(3), np.arange(3), 0.0)
