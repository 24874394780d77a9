from __future__ import annotations

import numpy as np
import pytest

from streamer.align.clock_fit import ClockFit

SFREQ = 1000.0


def delays(n: int, seed: int, scale: float = 0.003) -> np.ndarray:
    """Delays of chunks of 20 samples about their mean."""
    return np.repeat(np.random.default_rng(seed).exponential(scale, n // 20), 20) - scale


def fitted(stamps: np.ndarray, **settings: float) -> tuple[np.ndarray, np.ndarray, ClockFit]:
    fit = ClockFit(SFREQ, 90.0, **settings)
    fit.restart(0, float(stamps[0]))
    times, settled = fit.spread(0, stamps)
    return times, settled, fit


def test_times_are_continuous_and_rise() -> None:
    n = 60_000
    times, _, _ = fitted(np.arange(n) / SFREQ + delays(n, 0))
    assert np.diff(times).min() >= 0.5 / SFREQ
    assert np.diff(times).max() <= 1.5 / SFREQ


def test_the_fit_settles_after_a_second_on_steady_stamps_and_soon_after_on_jittered_ones() -> None:
    _, settled, _ = fitted(np.arange(3000) / SFREQ)
    assert np.flatnonzero(settled)[0] == 1000
    assert settled[1000:].all()
    first = []
    for seed in range(20):
        _, settled, _ = fitted(np.arange(8000) / SFREQ + delays(8000, seed))
        first.append(int(np.flatnonzero(settled)[0]))
    assert max(first) < 2000


def test_it_counts_as_settled_from_a_whole_block_on() -> None:
    _, settled, _ = fitted(np.arange(3000) / SFREQ, block=64)
    assert np.flatnonzero(settled)[0] == 1024


def test_the_expected_error_is_about_the_true_one() -> None:
    errors, expected = [], []
    for seed in range(30):
        times, _, fit = fitted(np.arange(20_000) / SFREQ + delays(20_000, seed))
        errors.append(times[-1] - 19.999)
        expected.append(fit.residual_s)
    assert np.std(errors) == pytest.approx(np.mean(expected), rel=0.5)


def test_single_stamps_far_off_do_not_bend_the_line() -> None:
    n = 30_000
    stamps = np.arange(n) / SFREQ + delays(n, 3, 0.0005)
    plain, _, _ = fitted(stamps)
    # a sender that stalls for 300 ms hands everything on late, and catches up
    stamps[20_000:20_300] = stamps[20_300]
    late, _, _ = fitted(stamps)
    assert np.abs(late - plain)[20_000:].max() < 0.002


@pytest.mark.parametrize("step", [0.006, -0.006])
def test_a_shift_too_small_for_a_gap_is_followed_in_seconds(step: float) -> None:
    n = 40_000
    for seed in range(5):
        stamps = np.arange(n) / SFREQ + delays(n, seed, 0.002)
        stamps[20_000:] += step
        times, _, _ = fitted(stamps)
        error = times - np.arange(n) / SFREQ
        assert abs(error[19_999]) < 0.0006
        assert abs(error[23_000] - step) < 0.0012
        assert abs(error[-1] - step) < 0.0006


def test_an_unsettled_fit_says_so_again() -> None:
    n = 20_000
    stamps = np.arange(n) / SFREQ
    # from steady to jitter of 40 ms: the line is no longer known to a millisecond once it had to be loosened
    stamps[10_000:] += np.repeat(np.random.default_rng(0).normal(0.05, 0.04, 500), 20)
    _, settled, _ = fitted(stamps)
    assert settled[5000]
    assert not settled[10_000:12_000].all()


def test_parts_give_the_same_as_the_whole() -> None:
    stamps = np.arange(9000) / SFREQ + delays(9000, 5)
    whole, whole_settled, _ = fitted(stamps)
    fit = ClockFit(SFREQ, 90.0)
    fit.restart(0, float(stamps[0]))
    parts = [fit.spread(a, stamps[a : a + 37]) for a in range(0, 9000, 37)]
    np.testing.assert_array_equal(np.concatenate([times for times, _ in parts]), whole)
    np.testing.assert_array_equal(np.concatenate([settled for _, settled in parts]), whole_settled)
