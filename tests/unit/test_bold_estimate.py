from __future__ import annotations

import json

import numpy as np
import pytest

from streamer.align.lag import hrf_kernel
from streamer.decode.bold_estimate import (
    BIN_S,
    BoldEstimate,
    BoldEstimateSettings,
    EstimateFit,
    PowerBins,
    fit_estimate,
)
from streamer.messages import Flag, SessionTime

STEP_S = 0.1
N_BINS = 600
REGIONS = ("follows", "alone")
SETTINGS = BoldEstimateSettings(enabled=True)


def planted(seed: int, strength: float = 1.0) -> tuple[dict[int, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Log power of 12 features that share two slow sources, and regions of which the first follows one of them."""
    rng = np.random.default_rng(seed)
    sources = np.repeat(rng.standard_normal((N_BINS // 10, 2)), 10, axis=0)
    power = sources @ rng.standard_normal((2, 12)) + 0.5 * rng.standard_normal((N_BINS, 12)) - 30.0
    kernel = hrf_kernel(BIN_S, 20.0)
    response = np.convolve(sources[:, 0], kernel)[:N_BINS]
    volumes = np.arange(40.0, N_BINS - 2.0, 2.0)
    at = volumes.astype(int) - 1
    own = np.convolve(rng.standard_normal(N_BINS), kernel)[:N_BINS]
    regions = np.stack([strength * response[at] + 0.3 * own[at], 3 * own[at[::-1]]], axis=1)
    bins = {k: power[k] for k in range(N_BINS)}
    return bins, np.arange(1.0, N_BINS + 1), volumes, regions.astype(np.float32)


def fitted(seed: int, strength: float = 1.0) -> EstimateFit:
    found = fit_estimate(SETTINGS, *planted(seed, strength))
    assert found is not None
    return found


def test_a_region_that_follows_the_eeg_is_shown_and_another_is_not() -> None:
    found = fitted(1)
    assert found.correlation[0] > 0.6
    assert list(found.shown) == [True, False]
    assert found.residual[0] < 0.8 * float(np.std(planted(1)[3][:, 0]))


def test_without_a_relation_hardly_any_run_shows_a_region() -> None:
    assert sum(bool(fitted(seed, strength=0.0).shown.any()) for seed in range(20)) <= 3


def test_live_guesses_are_those_of_the_fit() -> None:
    bins, ends, volumes, regions = planted(2)
    found = fit_estimate(SETTINGS, bins, ends, volumes, regions)
    assert found is not None
    again = EstimateFit.of(json.loads(json.dumps(found.plain())))
    stage = BoldEstimate(SETTINGS, again, REGIONS, STEP_S)
    guesses = {}
    for index in range(10 * N_BINS):
        feature = stage(index, bins[index // 10], SessionTime((index + 1) * STEP_S), Flag.NONE)
        if feature is not None and feature.valid:
            guesses[round(feature.about)] = feature.values
    pairs = np.array([(guesses[round(t)][0], y) for t, y in zip(volumes, regions[:, 0], strict=True)])
    assert np.corrcoef(pairs.T)[0, 1] > 0.6
    assert all(np.isnan(values[1]) for values in guesses.values())


def test_a_hole_in_the_eeg_is_not_guessed_over() -> None:
    stage = BoldEstimate(SETTINGS, fitted(3), REGIONS, STEP_S)
    power = planted(3)[0][0]
    valid = []
    for index in range(600):
        hole = index == 305
        feature = stage(index, None if hole else power, SessionTime((index + 1) * STEP_S), Flag.NONE)
        if feature is not None:
            valid.append(feature.valid)
    assert valid[SETTINGS.n_bins : 30] == [True] * (30 - SETTINGS.n_bins)
    assert not any(valid[30 : 30 + SETTINGS.n_bins])
    assert valid[30 + SETTINGS.n_bins]


def test_a_jump_of_the_grid_forgets_what_lies_too_far_back() -> None:
    stage = BoldEstimate(SETTINGS, fitted(3), REGIONS, STEP_S)
    power = planted(3)[0][0]
    steps = [*range(300), *range(5000, 5200), *range(100, 300)]
    found = [(i, f) for i in steps if (f := stage(i, power, SessionTime(i * STEP_S), Flag.NONE)) is not None]
    by_step = [(i, f.valid) for i, f in found]
    assert (299, True) in by_step
    assert (5009, False) in by_step
    assert (5199, True) in by_step
    assert by_step[-20][1] is False


def test_too_little_to_fit_gives_nothing() -> None:
    bins, ends, volumes, regions = planted(4)
    assert fit_estimate(SETTINGS, bins, ends, volumes[:40], regions[:40]) is None
    assert fit_estimate(SETTINGS, {k: bins[k] for k in range(10)}, ends[:10], volumes, regions) is None


def test_a_fit_of_other_regions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fitted as \(40, 2\): expected \(40, 3\)"):
        BoldEstimate(SETTINGS, fitted(1), ("a", "b", "c"), STEP_S)


def test_bins_are_anchored_at_the_grid() -> None:
    bins = PowerBins(STEP_S)
    power = np.ones(3)
    found = [(i, b) for i in range(7, 31) if (b := bins(i, power)) is not None]
    assert [(i, number, p is None) for i, (number, p) in found] == [(9, 0, True), (19, 1, False), (29, 2, False)]


def test_kernels_do_not_reach_before_the_shortest_lag() -> None:
    kernels = SETTINGS.kernels()
    assert kernels.shape == (SETTINGS.n_bins, SETTINGS.lags)
    assert not kernels[0].any()
    assert np.allclose(kernels.sum(axis=0), 1)
    with pytest.raises(ValueError, match="2 s or more"):
        BoldEstimateSettings(first_s=5, last_s=6)
