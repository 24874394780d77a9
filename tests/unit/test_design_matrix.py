"""Rows of a design are made from the past alone, with scales that stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.glm.first_level.hemodynamic_models import compute_regressor
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from streamer.clean.bold.design_matrix import Condition, DesignMatrix, DesignSettings, ModelStage

BARE = {"motion": 0, "tissue": (), "drift_cutoff_s": 0.0}


def column(design, times, name):
    at = design.names.index(name)
    return np.array([design.row(t)[at] for t in times])


def test_columns_stand_in_the_order_of_their_stages():
    design = DesignMatrix(
        DesignSettings(
            run_s=300.0,
            motion=12,
            tissue=("wm", "global"),
            extra=("cardiac",),
            conditions=(Condition(name="up", onsets_s=(1.0,), durations_s=(2.0,)),),
        )
    )
    assert design.names == (
        *("constant", "trend", "cosine_1", "cosine_2", "cosine_3", "cosine_4"),
        *("x", "y", "z", "rx", "ry", "rz", "dx", "dy", "dz", "drx", "dry", "drz"),
        *("wm", "global", "cardiac", "up"),
    )
    assert list(design.stages) == sorted(design.stages)
    assert [design.stages.count(stage) for stage in ModelStage] == [1, 5, 15, 1]
    assert design.row(0.0, np.zeros(6), np.ones(3), np.ones(1)).shape == (22,)


@pytest.mark.parametrize("response", ["spm", "glover"])
def test_blocks_and_events_are_what_nilearn_makes_of_them(response):
    onsets, durations = (10.0, 47.3, 90.0), (20.0, 5.0, 0.5)
    blocks = Condition(name="a", onsets_s=onsets, durations_s=durations)
    impulses = Condition(name="b", onsets_s=onsets, durations_s=(0.0,))
    design = DesignMatrix(DesignSettings(**BARE, response=response, conditions=(blocks, impulses)))
    times = np.arange(80) * 1.97 + 0.9
    events = np.array([onsets, durations, np.ones(3)])
    theirs = compute_regressor(events, response, times, oversampling=100)[0][:, 0]
    assert_allclose(column(design, times, "a"), theirs, atol=0.02)
    # an impulse is a short block over its length
    events[1] = 0.1
    theirs = 10.0 * compute_regressor(events, response, times, oversampling=200)[0][:, 0]
    assert_allclose(column(design, times, "b"), theirs, atol=0.02)


@pytest.mark.parametrize("response", ["spm", "glover"])
def test_a_long_block_reaches_1_and_comes_back(response):
    block = Condition(name="a", onsets_s=(10.0,), durations_s=(200.0,))
    design = DesignMatrix(DesignSettings(**BARE, response=response, conditions=(block,)))
    before, during, after = column(design, (9.9, 150.0, 300.0), "a")
    assert before == 0.0
    assert during == pytest.approx(1.0, abs=1e-9)
    assert after == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 6, 12, 24]), st.none() | st.floats(100.0, 900.0))
def test_a_row_knows_nothing_of_what_comes_later(seed, motion, run_s):
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0.0, 200.0, 6))
    now = 2.0 * int(rng.integers(1, 90)) + 1.0

    def rows(onsets, moves, tissue):
        condition = Condition(name="a", onsets_s=tuple(onsets), durations_s=(4.0,))
        design = DesignMatrix(DesignSettings(motion=motion, run_s=run_s, conditions=(condition,)))
        times = 2.0 * np.arange(100) + 1.0
        return np.array([design.row(*row) for row in zip(times, moves, tissue, strict=True)])[times <= now]

    moves, tissue = rng.normal(size=(100, 6)), rng.uniform(500.0, 900.0, (100, 3))
    first = rows(onsets, moves, tissue)
    later = 2.0 * np.arange(100) + 1.0 > now
    moves[later] *= 9.0
    tissue[later] *= 2.0
    assert_array_equal(first, rows(np.append(onsets[onsets <= now], now + 0.5), moves, tissue))


def test_drift_of_a_run_of_known_length_is_the_cosine_basis():
    n, tr = 150, 2.0
    design = DesignMatrix(DesignSettings(run_s=n * tr, motion=0, tissue=()))
    rows = np.array([design.row((k + 0.5) * tr) for k in range(n)])
    k, i = np.arange(1, 5), np.arange(n)[:, None]
    assert_allclose(rows[:, 2:], np.cos(np.pi * k * (2 * i + 1) / (2 * n)), atol=1e-12)
    # nothing slower than the cut-off is left: the fastest wave lasts at least as long
    assert 2 * n * tr / 4 >= 128.0 > 2 * n * tr / 5


def test_drift_of_a_run_of_unknown_length_bends_when_its_time_comes():
    design = DesignMatrix(DesignSettings(motion=0, tissue=(), longest_s=300.0))
    assert design.names == ("constant", "trend", "bend_1", "bend_2", "bend_3", "bend_4")
    rows = np.array([design.row(t) for t in (63.0, 65.0, 129.0, 1e4)])
    assert_array_equal((rows[:, 2:] > 0).sum(axis=1), [0, 1, 2, 4])
    # a slow wave of twice the cut-off is gone, the task of 40 s is not
    times = np.arange(0.0, 300.0, 2.0)
    basis = np.linalg.qr(np.array([design.row(t) for t in times]))[0]
    for period, low, high in ((256.0, 0.0, 0.02), (40.0, 0.9, 1.0)):
        wave = np.sin(2 * np.pi * times / period + 0.3)
        left = wave - basis @ (basis.T @ wave)
        assert low <= np.var(left) / np.var(wave) <= high


def test_motion_enters_in_mm_with_changes_and_squares():
    design = DesignMatrix(DesignSettings(**{**BARE, "motion": 24}))
    first = np.array([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    second = first * 3.0
    mm = np.array([0.1, 0.2, 0.3, 0.5, 1.0, 1.5])
    assert_allclose(design.row(1.0, first)[2:], [*mm, *np.zeros(6), *mm**2, *np.zeros(6)])
    assert_allclose(design.row(3.0, second)[2:], [*3 * mm, *2 * mm, *9 * mm**2, *4 * mm**2])


def test_tissue_is_in_percent_of_its_first_value_and_the_last_known_stands_in():
    design = DesignMatrix(DesignSettings(**{**BARE, "tissue": ("wm", "csf")}))
    unknown = np.full(3, np.nan)
    assert_array_equal(design.row(1.0, (), unknown)[2:], [0.0, 0.0])
    assert_allclose(design.row(3.0, (), [200.0, np.nan, 0.0])[2:], [0.0, 0.0])
    assert_allclose(design.row(5.0, (), [210.0, 400.0, 0.0])[2:], [5.0, 0.0])
    assert_allclose(design.row(7.0, (), [np.nan, 396.0, 0.0])[2:], [5.0, -1.0])
    assert design.held == 4
    design.reset()
    assert_allclose(design.row(1.0, (), [100.0, 100.0, 0.0])[2:], 0.0)
    assert design.held == 0


def test_motion_that_is_not_known_stays_where_it_was():
    design = DesignMatrix(DesignSettings(**{**BARE, "motion": 12}))
    assert_array_equal(design.row(1.0, np.full(6, np.nan))[2:], np.zeros(12))
    design.row(3.0, np.ones(6))
    row = design.row(5.0, np.full(6, np.inf))
    assert_allclose(row[2:], [1, 1, 1, 50, 50, 50, 0, 0, 0, 0, 0, 0])
    assert design.held == 12


def test_values_that_do_not_fit_are_refused():
    design = DesignMatrix(DesignSettings())
    with pytest.raises(ValueError, match="3 translations and 3 rotations"):
        design.row(1.0)
    with pytest.raises(ValueError, match="expected those of wm, csf, global"):
        design.row(1.0, np.zeros(6), np.ones(2))
    with pytest.raises(ValueError, match="1 further values: expected none"):
        design.row(1.0, np.zeros(6), np.ones(3), [1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"conditions": ({"name": "trend", "onsets_s": (1,), "durations_s": (1,)},)}, "columns named twice: trend"),
        ({"conditions": ({"name": "a", "onsets_s": (1, 2, 3), "durations_s": (1, 2)},)}, "3 onsets with 2 durations"),
        ({"conditions": ({"name": "a", "onsets_s": (1,), "durations_s": (-1,)},)}, "durations not negative"),
        ({"conditions": ({"name": "a", "onsets_s": (float("nan"),), "durations_s": (1,)},)}, "must be finite"),
        (
            {"contrasts": {"task": {"regulation": 1}}},
            "contrast task weighs regulation: expected columns among constant",
        ),
        ({"contrasts": {"task": {"x": 0}}}, "contrast task weighs nothing"),
        ({"motion": 7}, "6"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        DesignSettings.model_validate(given)


@pytest.mark.parametrize("durations", [(), (5.0,)])
def test_a_condition_may_never_occur(durations):
    design = DesignMatrix(DesignSettings(**BARE, conditions=(Condition(name="a", onsets_s=(), durations_s=durations),)))
    assert_array_equal(column(design, (0.0, 50.0), "a"), 0.0)


def test_contrasts_have_names():
    rest, up = (Condition(name=name, onsets_s=(1.0,), durations_s=(9.0,)) for name in ("rest", "regulation"))
    chosen = DesignSettings(conditions=(rest, up), contrasts={"task": {"regulation": 1.0, "rest": -1.0}})
    assert chosen == DesignSettings.model_validate_json(chosen.model_dump_json())
