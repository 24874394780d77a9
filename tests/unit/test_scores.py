from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.scores import score_blocks, score_predictions, summarise, wilson_interval
from streamer.messages import Flag, Prediction, SessionTime


@dataclass(frozen=True)
class Stretch:
    onset_s: float
    duration_s: float
    label: str


BLOCKS = [Stretch(0, 20, "rest"), Stretch(20, 20, "task"), Stretch(40, 20, "rest"), Stretch(60, 20, "task")]


@pytest.mark.parametrize(
    ("n_correct", "n", "low", "high"),
    # Newcombe 1998, table I, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_published_values(n_correct: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(n_correct, n) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_is_symmetric(case: tuple[int, int]) -> None:
    k, n = case
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 correct of 4"):
        wilson_interval(5, 4)


def test_a_block_is_decided_by_its_mean_after_the_settling_time() -> None:
    at = np.arange(0, 80, 0.5)
    p = np.where((at // 20) % 2 == 1, 0.9, 0.1)
    # wrong while it settles, and for one whole block
    p[(at % 20) < 4] = 1 - p[(at % 20) < 4]
    p[(at >= 44) & (at < 60)] = 0.7
    result = score_blocks(at, p, BLOCKS)
    assert (result.n_blocks, result.n_correct, result.accuracy) == (4, 3, 0.75)
    assert result.chance == 0.5
    assert [b.correct for b in result.blocks] == [True, True, False, True]
    assert [b.n_windows for b in result.blocks] == [32] * 4
    assert result.blocks[2].mean_probability == pytest.approx(0.7)
    assert result.ci95 == wilson_interval(3, 4)


def test_blocks_without_a_window_are_listed_and_not_counted() -> None:
    at = np.array([25.0, 30.0, 65.0])
    result = score_blocks(at, [0.9, 0.8, np.nan], BLOCKS)
    assert result.n_blocks == 1
    assert [b.onset_s for b in result.excluded] == [0, 40, 60]
    assert all(b.decision is None and not b.correct for b in result.excluded)
    nothing = score_blocks([], [], BLOCKS)
    assert nothing.n_blocks == 0
    assert math.isnan(nothing.accuracy)
    assert nothing.ci95 == (0.0, 1.0)


def test_chance_is_the_share_of_the_commonest_label() -> None:
    at = np.arange(0, 60, 1.0)
    result = score_blocks(at, np.full(60, 0.2), BLOCKS[:3])
    assert result.chance == pytest.approx(2 / 3)
    assert result.accuracy == pytest.approx(2 / 3)


def test_blocks_of_several_runs_are_counted_together() -> None:
    at = np.arange(0, 80, 1.0)
    first = score_blocks(at, np.full(80, 0.9), BLOCKS)
    second = score_blocks(at, np.full(80, 0.1), BLOCKS[:1])
    both = summarise([*first.blocks, *second.blocks])
    assert (both.n_correct, both.n_blocks) == (3, 5)


def test_predictions_without_any_modality_do_not_count() -> None:
    def said(at: float, p: float, flags: Flag = Flag.NONE) -> Prediction:
        return Prediction(0, "m", ("rest", "task"), (1 - p, p), 0.5, {}, SessionTime(1000 + at), 0.0, 1.0, flags=flags)

    nothing = Flag.NO_EEG | Flag.NO_BOLD
    heard = [said(25, 0.9), said(26, 0.0, nothing), said(27, 0.0, nothing), said(45, 0.3, Flag.NO_BOLD)]
    result = score_predictions(heard, BLOCKS, 1000.0)
    assert [(b.onset_s, b.n_windows) for b in result.blocks] == [(20, 1), (40, 1)]
    assert result.accuracy == 1.0


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="two equal vectors"):
        score_blocks([1.0, 2.0], [0.5], BLOCKS)
