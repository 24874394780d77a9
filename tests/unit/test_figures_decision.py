"""Numbers behind the panels of decision, explanation and health: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dashboard.figures.latency import Budget, budgets, judge
from dashboard.figures.relevance import relevance_map, strongest
from dashboard.figures.stretches import broken, columns, stretches


def test_a_line_breaks_where_nothing_came() -> None:
    times, values = broken(np.array([0.0, 1.0, np.nan, 5.0]), np.array([1.0, 2.0, 9.0, 3.0]), 2.0)
    assert times.tolist() == [0.0, 1.0, 1.0, 5.0]
    np.testing.assert_array_equal(values, [1.0, 2.0, np.nan, 3.0])


def test_a_table_breaks_in_all_its_columns() -> None:
    _, values = broken(np.array([0.0, 9.0]), np.array([[1.0, 2.0], [3.0, 4.0]]), 2.0)
    assert values.shape == (3, 2)
    assert np.isnan(values[1]).all()


def test_nothing_stays_nothing() -> None:
    times, values = broken(np.empty(0), np.empty((0, 2)), 1.0)
    assert (times.shape, values.shape) == ((0,), (0, 2))
    assert stretches(np.empty(0), np.empty(0, bool), 1.0) == []


def test_stretches_end_where_the_next_begins_or_at_a_gap() -> None:
    times = np.array([0.0, 1.0, 2.0, 3.0, 10.0, 11.0])
    on = np.array([False, True, True, False, True, True])
    assert stretches(times, on, 2.0) == [(1.0, 3.0), (10.0, 11.0)]


def test_a_gap_splits_a_stretch() -> None:
    times = np.array([0.0, 1.0, 9.0, 10.0, 11.0])
    assert stretches(times, np.array([True, True, True, True, False]), 2.0) == [(0.0, 1.0), (9.0, 11.0)]


def test_a_long_line_keeps_its_extremes_and_its_gaps() -> None:
    x = np.linspace(0.0, 10.0, 1000, endpoint=False)
    y = np.sin(x)
    y[305] = 9.0
    y[550] = np.nan
    places, values = columns(x, y)
    assert len(places) == 2 * 11 + 1
    assert np.nanmax(values) == 9.0
    assert np.nanmin(values) == y[np.isfinite(y)].min()
    assert np.isnan(places).tolist() == np.isnan(values).tolist()
    assert np.flatnonzero(np.isnan(values)).tolist() == [12]
    assert (np.diff(places[~np.isnan(places)]) >= 0).all()


@pytest.mark.parametrize("y", [[1.0, 2.0, 3.0], [np.nan] * 3, []])
def test_a_short_line_stays_as_it_is(y: list[float]) -> None:
    places, values = columns(np.arange(len(y)) * 5.0, np.array(y))
    assert len(places) == len(values)
    np.testing.assert_array_equal(values[np.isfinite(values)], np.array(y)[np.isfinite(y)])


def test_relevance_is_sorted_into_its_map() -> None:
    labels = ["target_index", "eeg", "bold", "eeg.a.b.theta", "eeg.a.b.beta", "eeg.c.theta", "bold.left.V1", "new"]
    found = relevance_map(labels, [1.0, 0.5, None, 0.1, -0.2, 0.3, 0.4, 7.0])
    assert found.target == 1
    assert found.whole["eeg"] == 0.5
    assert math.isnan(found.whole["bold"])
    assert (found.groups, found.bands, found.regions) == (("a.b", "c"), ("theta", "beta"), ("left.V1",))
    np.testing.assert_array_equal(found.eeg, [[0.1, -0.2], [0.3, np.nan]])
    np.testing.assert_array_equal(found.bold, [0.4])


def test_a_relevance_without_values_is_empty() -> None:
    found = relevance_map(["target_index"], [None])
    assert found.target is None
    assert found.eeg.shape == (0, 0)
    assert found.bold.shape == (0,)


def test_the_strongest_keep_their_order() -> None:
    assert strongest(np.array([0.1, -3.0, np.nan, 2.0]), 2) == [1, 3]
    assert strongest(np.array([[0.0, -1.0], [0.5, 0.2], [np.nan, 4.0]]), 2) == [0, 2]
    assert strongest(np.empty((0, 0)), 3) == []
    assert strongest(np.array([1.0]), 0) == []


def test_what_is_declared_is_added_to_the_budget_of_decisions_alone() -> None:
    plain, held = budgets(0.0), budgets(0.3145)
    assert plain["sample_to_decision"] == Budget(5.0, 12.0)
    assert held["sample_to_decision"].p99 == pytest.approx(326.5)
    assert held["model"] == plain["model"]
    assert "volume_to_frame" not in plain
    assert budgets(0.0, 2.0)["volume_to_frame"] == Budget(1000.0, 2000.0)


@pytest.mark.parametrize(("values", "over"), [([4.0, 11.0], False), ([6.0, 11.0], True), ([4.0, 13.0], True)])
def test_either_figure_may_be_over(values: list[float], over: bool) -> None:
    judged = judge("sample_to_decision", values, budgets())
    assert judged.over is over
    assert judged.shares == (values[0] / 12.0, values[1] / 12.0)


def test_a_stage_without_a_budget_is_never_over() -> None:
    judged = judge("new_stage", [9e9, 9e9], budgets())
    assert not judged.over
    assert math.isnan(judged.shares[1])
    assert math.isnan(judge("model", [], budgets()).p99)
