"""The recursive model is batch least squares over the volumes so far, whatever joins late, is missing or censored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from streamer.clean.bold import glm_kernels
from streamer.clean.bold.design_matrix import Condition, DesignMatrix, DesignSettings, ModelStage
from streamer.clean.bold.glm import GlmSettings, RecursiveGlm, fit_run
from streamer.clock import stopwatch
from streamer.errors import UsageError

WHITE = GlmSettings(rho=0.0)
N_VOXELS = 5


def solved(rows, values, contrast, whiten=None):
    """Least squares of scaled columns: coefficients, standard deviation of the residual, t of a contrast."""
    rows, values = np.asarray(rows, float), np.asarray(values, float)
    if whiten is not None:
        rows, values = whiten @ rows, whiten @ values
    size = np.abs(rows).max(axis=0)
    q, r = np.linalg.qr(rows / size)
    # the residual is taken out twice: the batch oracle must not lose digits that the recursion keeps
    betas = np.linalg.solve(r, q.T @ values)
    left = values - (rows / size) @ betas
    betas += np.linalg.solve(r, q.T @ left)
    left -= q @ (q.T @ left)
    sd = np.sqrt(np.square(left).sum(axis=0) / (len(rows) - rows.shape[1]))
    weights = np.linalg.solve(r.T, np.asarray(contrast, float) / size)
    betas /= size[:, None]
    return betas, sd, (np.asarray(contrast) @ betas) / (sd * np.sqrt(weights @ weights))


def close(found, expected):
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def a_design(rng, n, n_nuisance=3):
    task = (np.arange(n) // 5 % 2).astype(float)
    rows = np.column_stack([np.ones(n), np.arange(n) / 30.0, rng.standard_normal((n, n_nuisance)), task])
    names = ("constant", "trend", *(f"motion {k}" for k in range(n_nuisance)), "task")
    return rows, names, (0, 1, *[2] * n_nuisance, 3)


def coloured(rng, n, n_voxels, rho):
    noise = rng.standard_normal((n, n_voxels))
    for k in range(1, n):
        noise[k] = rho * noise[k - 1] + np.sqrt(1.0 - rho**2) * noise[k]
    return noise


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 30), st.floats(0.0, 1e6))
def test_equals_batch_least_squares_at_every_volume(seed, n_nuisance, n_more, level):
    rng = np.random.default_rng(seed)
    n = n_nuisance + 6 + n_more
    rows, names, stages = a_design(rng, n, n_nuisance)
    # pixels beside radians beside counts
    rows[:, 1:] *= 10.0 ** rng.uniform(-6, 6, rows.shape[1] - 1)
    values = level + rng.standard_normal((n, N_VOXELS))
    glm = RecursiveGlm(N_VOXELS, names, stages, WHITE)
    whole = 0
    for k in range(n):
        assert glm(values[k], rows[k])
        columns = [names.index(name) for name in glm.active]
        if not columns:
            assert k < 3
            assert glm.freedom == 0
            assert np.isnan(glm.betas()).all()
            continue
        assert glm.freedom == k + 1 - len(columns) > 2
        contrast = np.zeros(len(columns))
        contrast[-1] = 2.0
        betas, sd, t = solved(rows[: k + 1, columns], values[: k + 1], contrast)
        for column, found, expected in zip(columns, glm.betas()[columns], betas, strict=True):
            # a constant that stands for a large mean is as exact as that mean
            floor = level + 1.0 if column == 0 else np.abs(expected).max()
            assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * floor)
        assert_allclose(glm.residual_sd(), sd, rtol=1e-6)
        if np.abs(t).max() > 1e-3 and columns[-1]:
            close(glm.t_map({names[columns[-1]]: 2.0}), t)
        whole += len(columns) == len(names)
    assert whole >= n - len(names) - 5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.9), st.sets(st.integers(0, 44), max_size=20))
def test_whitening_is_generalised_least_squares_across_missing_volumes(seed, rho, missing):
    rng = np.random.default_rng(seed)
    rows, names, stages = a_design(rng, 45)
    values = 1000.0 + coloured(rng, 45, N_VOXELS, 0.5)
    kept = np.array(sorted(set(range(45)) - missing))
    glm = RecursiveGlm(N_VOXELS, names, stages, GlmSettings(rho=rho))
    for k in range(45):
        if k not in missing:
            glm(values[k], rows[k], k)
        elif k % 2:  # of those that are missing, some are there and censored
            assert not glm(values[k] + 500.0, rows[k], k, censored=True)
    covariance = rho ** np.abs(kept[:, None] - kept)
    whiten = np.sqrt(1.0 - rho**2) * np.linalg.inv(np.linalg.cholesky(covariance))
    columns = [names.index(name) for name in glm.active]
    assert set(columns) >= {0, 1, 2, 3, 4}
    contrast = np.eye(len(columns))[-1]
    betas, sd, t = solved(rows[kept][:, columns], values[kept], contrast, whiten)
    close(glm.betas()[columns], betas)
    assert_allclose(glm.residual_sd(), sd / np.sqrt(1.0 - rho**2), rtol=1e-6)
    close(glm.t_map({names[columns[-1]]: 1.0}), t)


def test_each_stage_joins_when_it_can_be_estimated():
    rng = np.random.default_rng(1)
    rows, names, stages = a_design(rng, 20)
    glm = RecursiveGlm(N_VOXELS, names, stages, WHITE)
    joined = []
    for k in range(20):
        glm(rng.standard_normal(N_VOXELS), rows[k])
        joined.append(len(glm.active))
        task = glm.t_map({"task": 1.0})
        assert np.isfinite(task).all() == ("task" in glm.active)
    # more than p + 2 volumes: 4 for the constant, 5 with the trend, 8 with motion, 9 with the task
    assert joined == [0, 0, 0, 1, 2, 2, 2, 5, *[6] * 12]


def test_a_condition_joins_with_its_first_block_and_a_copy_of_a_column_never():
    rng = np.random.default_rng(2)
    n = 40
    late = np.where(np.arange(n) >= 25, np.sin(np.arange(n)), 0.0)
    move = rng.standard_normal(n)
    rows = np.column_stack([np.ones(n), move, 3.0 * move - 2.0, late, np.arange(n) % 7 < 3])
    names = ("constant", "x", "copy", "late", "early")
    values = 1000.0 + rng.standard_normal((n, N_VOXELS)) + late[:, None]
    glm = RecursiveGlm(N_VOXELS, names, (0, 2, 2, 3, 3), WHITE)
    for k in range(n):
        glm(values[k], rows[k])
        if k == 24:
            assert glm.active == ("constant", "x", "early")
            betas, _, t = solved(rows[:25][:, [0, 1, 4]], values[:25], [0, 0, 1])
            close(glm.betas()[[0, 1, 4]], betas)
            close(glm.t_map({"early": 1.0}), t)
            assert np.isnan(glm.t_map({"late": 1.0, "early": -1.0})).all()
    assert glm.active == ("constant", "x", "late", "early")
    betas, sd, t = solved(rows[:, [0, 1, 3, 4]], values, [0, 0, 1, -1])
    close(glm.betas()[[0, 1, 3, 4]], betas)
    close(glm.residual_sd(), sd)
    close(glm.t_map({"late": 1.0, "early": -1.0}), t)
    assert np.isnan(glm.betas()[2]).all()


def test_slow_waves_join_when_they_are_no_longer_a_line():
    design = DesignMatrix(DesignSettings(run_s=600.0, motion=0, tissue=()))
    glm = RecursiveGlm(1, design.names, design.stages, WHITE)
    counts = []
    for k in range(300):
        glm(np.ones(1), design.row(2.0 * k + 1.0))
        counts.append(len(glm.active))
    # the whole basis has a trend and nine waves; in the first minute there are at most two of them
    assert counts[30] <= 4
    assert counts[-1] == len(design.names) == 11
    assert (np.diff(counts) >= -1).all()


def test_rho_is_estimated_once_as_if_it_had_been_known():
    rng = np.random.default_rng(3)
    rows, names, stages = a_design(rng, 100, n_nuisance=8)
    noise = coloured(rng, 100, 3000, 0.4)
    values = (800.0 + noise).astype(np.float32)
    glm = RecursiveGlm(3000, names, stages)
    for k in range(100):
        glm(values[k], rows[k])
        assert (glm.rho is None) == (k < glm.settings.rho_volumes - 1)
    assert glm.rho == pytest.approx(0.4, abs=0.03)
    assert_array_equal(glm.betas(), fit_run(values, rows, names, stages, GlmSettings(rho=glm.rho)).betas())
    # t of pure noise is Student's, and is not when the noise is taken for white
    contrast = {"task": 1.0}
    assert glm.t_map(contrast).std() == pytest.approx(1.0, abs=0.06)
    assert fit_run(values, rows, names, stages, WHITE).t_map(contrast).std() > 1.2


def test_rho_of_white_noise_is_near_0_and_of_a_short_run_is_0():
    rng = np.random.default_rng(4)
    rows, names, stages = a_design(rng, 40, n_nuisance=8)
    values = 10.0 + rng.standard_normal((40, 3000))
    # residuals of white noise are anticorrelated; the estimate knows
    assert fit_run(values, rows, names, stages).rho == pytest.approx(0.0, abs=0.03)
    assert fit_run(values[:15], rows[:15], names, stages).rho == 0.0
    still = fit_run(np.full((40, 3), 7.0), rows, names, stages)
    assert still.rho == 0.0
    assert_allclose(still.mean(), 7.0)


def test_what_is_censored_or_late_leaves_no_trace():
    rng = np.random.default_rng(5)
    rows, names, stages = a_design(rng, 30)
    values = 1000.0 + rng.standard_normal((30, N_VOXELS))
    plain, disturbed = (RecursiveGlm(N_VOXELS, names, stages, GlmSettings(rho=0.3)) for _ in range(2))
    for k in range(30):
        if k in {7, 8, 20}:
            assert not disturbed(values[k] * 2.0, rows[k], k, censored=True)
            continue
        assert plain(values[k], rows[k], k)
        assert disturbed(values[k], rows[k], k)
        assert not disturbed(values[k] * 2.0, rows[k], k - 1)
    assert (disturbed.n, disturbed.censored, disturbed.late) == (27, 3, 27)
    assert_array_equal(plain.betas(), disturbed.betas())
    assert_array_equal(plain.residual_sd(), disturbed.residual_sd())


def test_forgetting_weighs_the_past_down():
    rng = np.random.default_rng(6)
    rows, names, stages = a_design(rng, 60)
    values = 1000.0 + rng.standard_normal((60, N_VOXELS)) + (np.arange(60) > 30)[:, None]
    glm = fit_run(values, rows, names, stages, GlmSettings(rho=0.0, forgetting=0.95))
    root = np.sqrt(0.95 ** np.arange(59, -1, -1.0))[:, None]
    betas, sd, _ = solved(root * rows, root * values, np.eye(6)[5])
    close(glm.betas(), betas)
    weight = np.square(root).sum()
    assert glm.freedom == pytest.approx(weight - 6)
    close(glm.residual_sd(), sd * np.sqrt(54 / (weight - 6)))


def test_a_value_that_is_not_finite_costs_its_own_voxel():
    rng = np.random.default_rng(7)
    rows, names, stages = a_design(rng, 30)
    values = 1000.0 + rng.standard_normal((30, N_VOXELS))
    whole = fit_run(values, rows, names, stages, WHITE)
    values[4, 2] = np.nan
    glm = fit_run(values, rows, names, stages, WHITE)
    assert glm.lost == 1
    assert_array_equal(np.isnan(glm.t_map({"task": 1.0})), np.arange(N_VOXELS) == 2)
    others = np.arange(N_VOXELS) != 2
    assert_array_equal(glm.betas()[:, others], whole.betas()[:, others])


def test_maps_are_what_they_say():
    rng = np.random.default_rng(8)
    n, levels = 200, np.array([400.0, 900.0, 1600.0, 0.0])
    rows, names, stages = a_design(rng, n)
    rows[:, -1] -= rows[:, -1].mean()
    values = levels * (1.0 + 0.02 * rows[:, -1:]) + rng.standard_normal((n, 4)) * [4.0, 4.0, 4.0, 0.0]
    glm = fit_run(values, rows, names, stages, WHITE)
    assert_allclose(glm.mean()[:3], values.mean(axis=0)[:3], rtol=1e-12)
    assert_allclose(glm.percent_change({"task": 1.0})[:3], 2.0, atol=0.5)
    assert_allclose(glm.effect({"task": 1.0})[:3], 0.02 * levels[:3], atol=2.5)
    assert_allclose(glm.tsnr()[:3], values.mean(axis=0)[:3] / values.std(axis=0, ddof=1)[:3], rtol=1e-9)
    assert_allclose(glm.residual_sd()[:3], 4.0, rtol=0.2)
    assert (glm.tsnr(ModelStage.TASK) > glm.tsnr())[:3].all()
    assert np.isnan(glm.percent_change({"task": 1.0})[3])
    assert np.isnan(glm.t_map({"task": 1.0})[3])


def test_cleaning_takes_drift_and_motion_out_and_leaves_the_task():
    blocks = Condition(name="task", onsets_s=(40.0, 140.0, 240.0), durations_s=(40.0,))
    design = DesignMatrix(DesignSettings(tissue=(), conditions=(blocks,)))
    rng = np.random.default_rng(9)
    motion = np.cumsum(rng.normal(0.0, 0.02, (150, 6)), axis=0)
    rows = np.array([design.row(2.0 * k + 1.0, motion[k]) for k in range(150)])
    task = rows[:, design.names.index("task")]
    values = 1000.0 + 10.0 * task[:, None] + 20.0 * motion[:, :1] + 0.2 * np.arange(150.0)[:, None]
    glm = fit_run(values, rows, design.names, design.stages, WHITE)
    cleaned = np.array([glm.cleaned(value, row) for value, row in zip(values, rows, strict=True)])
    assert_allclose(cleaned[:, 0], 10.0 * task, atol=1e-6)
    bare = np.array([glm.cleaned(v, r, ModelStage.TASK) for v, r in zip(values, rows, strict=True)])
    assert_allclose(bare, 0.0, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the constant first"):
        RecursiveGlm(3, ("trend",), (1,))
    with pytest.raises(ValueError, match="2 names with 1 stages"):
        RecursiveGlm(3, ("constant", "trend"), (0,))
    with pytest.raises(ValueError, match="in the order of the stages"):
        RecursiveGlm(3, ("constant", "task", "x"), (0, 3, 2))
    glm = RecursiveGlm(3, ("constant", "task"), (0, 3))
    with pytest.raises(ValueError, match="expected 3 voxels and 2 finite columns"):
        glm(np.zeros(4), np.ones(2))
    with pytest.raises(ValueError, match="finite columns"):
        glm(np.zeros(3), np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="weighs tusk: expected columns among constant, task"):
        glm.t_map({"tusk": 1.0})
    with pytest.raises(ValueError, match=r"volumes of shape \(4, 3\) with 5 rows"):
        fit_run(np.zeros((4, 3)), np.ones((5, 1)), ("constant",), (0,))
    for found in (glm.betas(), glm.mean(), glm.tsnr(), glm.cleaned(np.zeros(3), np.ones(2)), glm.percent_change({})):
        assert np.isnan(found).all()


def test_a_reset_model_is_a_new_one():
    rng = np.random.default_rng(10)
    rows, names, stages = a_design(rng, 30)
    values = 1000.0 + rng.standard_normal((30, N_VOXELS))
    glm = RecursiveGlm(N_VOXELS, names, stages, GlmSettings(rho_volumes=20))
    found = []
    for _ in range(2):
        for k in range(30):
            glm(values[k], rows[k])
        found.append(glm.betas())
        glm.reset()
    assert (glm.n, glm.rho) == (0, None)
    assert_array_equal(*found)


def test_a_volume_of_37_000_voxels_is_in_within_a_millisecond_and_nothing_is_compiled_then():
    rng = np.random.default_rng(11)
    rows, names, stages = a_design(rng, 60, n_nuisance=7)
    assert rows.shape[1] == 10
    glm = RecursiveGlm(37_000, names, stages, GlmSettings(rho=0.2))
    glm.warm_up()
    kernels = (glm_kernels.rotate_triangle, glm_kernels.rotate_voxels, glm_kernels.choose_columns)
    before = [len(kernel.signatures) for kernel in kernels]
    values = (1000.0 + rng.standard_normal((60, 37_000))).astype(np.float32)
    took = []
    for k in range(60):
        began = stopwatch()
        glm(values[k], rows[k])
        took.append(stopwatch() - began)
    # the least: others use this machine as well
    assert min(took[10:]) < 1e-3
    glm.t_map({"task": 1.0})
    assert [len(kernel.signatures) for kernel in kernels] == before
