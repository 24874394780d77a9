from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.rpeaks import RPeaks, RPeakSettings
from tests.unit.rpeak_signals import beats_of, found_in, off_by_ms, score, signals

RESIDUE = 0.1
"""Of the gradient artefact as it is recorded: about as large as the R peak."""
RAIL_V = 0.016


@pytest.mark.parametrize("seed", [1, 2, 4])
@pytest.mark.parametrize(
    ("flow", "sign", "residue", "bar"),
    [
        pytest.param(0.25, 1, 0.0, 0.99, id="clean"),
        pytest.param(0.8, 1, 0.0, 0.97, id="T wave 0.8 of R"),
        pytest.param(1.2, 1, 0.0, 0.95, id="T wave 1.2 of R"),
        pytest.param(0.25, -1, 0.0, 0.95, id="upside down"),
        pytest.param(0.25, 1, RESIDUE, 0.95, id="gradient residue"),
        pytest.param(1.2, -1, RESIDUE, 0.95, id="all of it"),
    ],
)
def test_beats_are_found_in_time(seed: int, flow: float, sign: int, residue: float, bar: float) -> None:
    signal = signals(seed, flow)
    beats, _ = found_in(signal, sign * signal.ecg + residue * signal.gradient)
    got = score(beats, signal.r, signal.sfreq, start_s=8.0, stop_s=75.0)
    assert got.f1 >= bar
    assert got.errors_ms.std() <= 8.0
    assert abs(got.errors_ms.mean()) <= 4.0
    assert got.delays_ms.max() <= 120.0


@pytest.mark.parametrize("factor", [10, 25])
def test_other_rates(factor: int) -> None:
    signal = signals(2, 0.8, factor=factor)
    beats, peaks = found_in(signal, signal.ecg)
    got = score(beats, signal.r, signal.sfreq, start_s=8.0, stop_s=75.0)
    assert got.f1 >= 0.97
    assert got.errors_ms.std() <= 8.0
    assert got.delays_ms.max() <= 120.0
    rate = 60 * signal.sfreq / np.median(np.diff(signal.r)[-8:])
    assert peaks.quality.heart_rate == pytest.approx(rate, rel=0.05)


def test_it_learns_within_five_seconds_and_says_how_sure_it_is() -> None:
    signal = signals(1)
    beats, peaks = found_in(signal, signal.ecg)
    assert beats[0].known <= 5.5 * signal.sfreq
    assert peaks.quality.source == "ecg"
    assert peaks.quality.confidence > 0.9
    assert peaks.quality.predicted == 0
    assert peaks.quality.implausible == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_lost_ecg_is_replaced_by_the_eeg_and_comes_back(seed: int) -> None:
    signal = signals(seed, n_blocks=8)
    off, on = round(50 * signal.sfreq), round(110 * signal.sfreq)
    ecg = signal.ecg.copy()
    ecg[off:on] = RAIL_V
    peaks = RPeaks(RPeakSettings(), signal.sfreq, signal.eeg.shape[1], 1)
    beats = beats_of(peaks, ecg[:on], signal.eeg[:on])
    meanwhile = [b for b in beats if off + 500 < b.sample < on]
    assert peaks.quality.source == "eeg"
    assert 0.4 < peaks.quality.confidence < 0.9
    assert {b.source for b in meanwhile} == {"eeg"}
    true = np.sum((signal.r > off + 500) & (signal.r < on))
    assert abs(len(meanwhile) - true) <= 2
    assert np.abs(off_by_ms(meanwhile, signal.r, signal.sfreq)).mean() <= 40.0
    # a beat that is due is announced before its artefact begins
    assert max(b.known - b.sample for b in meanwhile) <= 0.14 * signal.sfreq

    beats = beats_of(peaks, ecg[on:], signal.eeg[on:], first=on)
    got = score(beats, signal.r, signal.sfreq, start_s=113.0, stop_s=138.0)
    assert got.f1 >= 0.97
    assert peaks.quality.source == "ecg"
    assert peaks.quality.confidence > 0.9


def test_a_lost_ecg_without_eeg_coasts_and_then_is_silent() -> None:
    signal = signals(1)
    ecg = signal.ecg.copy()
    off = round(40 * signal.sfreq)
    ecg[off:] = 0.0
    peaks = RPeaks(RPeakSettings(), signal.sfreq, 0, 1)
    beats = beats_of(peaks, ecg, np.empty((len(ecg), 0)))
    after = [b for b in beats if b.sample > off + 0.2 * signal.sfreq]
    assert after
    assert {b.source for b in after} == {"predicted"}
    assert max(b.sample for b in after) < off + 3.5 * signal.sfreq
    assert peaks.quality.source == "none"
    assert peaks.quality.confidence == 0.0
    assert peaks.quality.predicted == sum(b.source == "predicted" for b in beats)


def test_a_missed_beat_is_put_in_where_it_was_due() -> None:
    signal = signals(3)
    k = 40
    lost = float(signal.r[k])
    ecg = signal.ecg.copy()
    span = slice(round(lost - 15), round(lost + 15))
    ecg[span] = np.linspace(ecg[span.start], ecg[span.stop], span.stop - span.start)
    beats, peaks = found_in(signal, ecg)
    put_in = [b for b in beats if b.source == "predicted"]
    assert len(put_in) == 1
    assert abs(put_in[0].sample - lost) < 0.1 * signal.sfreq
    assert put_in[0].confidence < 0.5
    assert peaks.quality.predicted == 1


@pytest.mark.parametrize("seed", [1, 3])
def test_beats_are_found_without_any_ecg(seed: int) -> None:
    signal = signals(seed, n_blocks=6)
    peaks = RPeaks(RPeakSettings(), signal.sfreq, signal.eeg.shape[1], 0)
    beats = beats_of(peaks, signal.ecg[:, :0], signal.eeg)
    late = [b for b in beats if b.sample > 20 * signal.sfreq]
    true = signal.r[signal.r > 20 * signal.sfreq]
    assert abs(len(late) - len(true)) <= 0.05 * len(true)
    # which swing lies how far behind the R peak cannot be known without one: the mean is free within a tenth
    off = off_by_ms(late, signal.r, signal.sfreq)
    assert abs(off.mean()) <= 120.0
    assert off.std() <= 50.0
    assert {b.source for b in late} == {"eeg"}
    rate = 60 * signal.sfreq / np.median(np.diff(signal.r)[-8:])
    assert peaks.quality.heart_rate == pytest.approx(rate, rel=0.1)


def test_noise_alone_has_no_heart() -> None:
    rng = np.random.default_rng(5)
    peaks = RPeaks(RPeakSettings(), 250.0, 0, 1)
    noise = 20e-6 * np.cumsum(rng.standard_normal((15000, 1)), axis=0) * 0.1 + 5e-6 * rng.standard_normal((15000, 1))
    assert beats_of(peaks, noise, np.empty((15000, 0))) == []
    assert peaks.quality.source == "none"
    assert peaks.quality.heart_rate is None


def test_the_best_of_several_channels_leads() -> None:
    signal = signals(2)
    rng = np.random.default_rng(0)
    n = len(signal.ecg)
    ecg = np.hstack([np.full((n, 1), RAIL_V), 4e-4 * rng.standard_normal((n, 1)), -0.6 * signal.ecg, 0.3 * signal.ecg])
    beats, _ = found_in(signal, ecg)
    got = score(beats, signal.r, signal.sfreq, start_s=8.0, stop_s=75.0)
    assert got.f1 >= 0.99
    assert got.errors_ms.std() <= 8.0


@pytest.mark.parametrize("seed", [1, 2])
def test_ectopics_cost_no_more_than_themselves(seed: int) -> None:
    signal = signals(seed, ectopic=0.05, n_blocks=6)
    beats, _ = found_in(signal, signal.ecg)
    assert min(b.sample - a.sample for a, b in pairwise(beats)) >= 0.33 * signal.sfreq
    got = score(beats, signal.r, signal.sfreq, start_s=8.0, stop_s=105.0)
    assert got.f1 >= 0.95


def test_uncorrected_stretches_teach_nothing() -> None:
    signal = signals(4)
    stop = round(40 * signal.sfreq)
    soiled = slice(round(30 * signal.sfreq), stop)
    ecg = signal.ecg.copy()
    ecg[soiled] += signal.gradient[soiled]
    eeg = signal.eeg.copy()
    eeg[soiled] += 0.3 * signal.gradient[soiled]
    dirty = np.zeros(len(ecg), dtype=bool)
    dirty[soiled] = True
    peaks = RPeaks(RPeakSettings(), signal.sfreq, eeg.shape[1], 1)
    beats = beats_of(peaks, ecg, eeg, dirty)
    got = score(beats, signal.r, signal.sfreq, start_s=42.0, stop_s=75.0)
    assert got.f1 >= 0.99
    assert peaks.quality.heart_rate == pytest.approx(60 * signal.sfreq / np.median(np.diff(signal.r)[-8:]), rel=0.05)


@pytest.mark.parametrize("reset", [False, True])
def test_behind_a_gap_it_goes_on_with_what_it_learnt(reset: bool) -> None:
    signal = signals(2)
    a, b = round(30 * signal.sfreq), round(34.3 * signal.sfreq)
    peaks = RPeaks(RPeakSettings(), signal.sfreq, signal.eeg.shape[1], 1)
    beats_of(peaks, signal.ecg[:a], signal.eeg[:a])
    if reset:
        peaks.reset()
    beats = beats_of(peaks, signal.ecg[b:], signal.eeg[b:], first=b)
    got = score(beats, signal.r, signal.sfreq, start_s=34.6, stop_s=75.0)
    assert got.f1 >= 0.99


def _cut(splits: list[int], n: int) -> list[tuple[int, int]]:
    edges = [0]
    k = 0
    while edges[-1] < n:
        edges.append(min(n, edges[-1] + splits[k % len(splits)]))
        k += 1
    return list(pairwise(edges))


def _whole(n_ecg: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    signal = signals(3, 0.8)
    n = round(45 * signal.sfreq)
    ecg = (signal.ecg + 0.05 * signal.gradient)[:n].copy()
    ecg[6000:8000] = RAIL_V
    dirty = np.zeros(n, dtype=bool)
    dirty[9000:9400] = True
    return ecg[:, :n_ecg], signal.eeg[:n], dirty


def _fed(n_ecg: int, splits: list[int]) -> list[Beat]:
    ecg, eeg, dirty = _whole(n_ecg)
    peaks = RPeaks(RPeakSettings(), 250.0, eeg.shape[1], n_ecg)
    out: list[Beat] = []
    for a, b in _cut(splits, len(ecg)):
        for low, high in ((a, min(b, 10013)), (max(a, 10113), b)):
            # a hole
            if low < high:
                out += peaks(low, ecg[low:high], eeg[low:high], dirty[low:high])
    return out


@settings(max_examples=8, deadline=None)
@given(
    splits=st.lists(st.one_of(st.integers(1, 12), st.integers(1, 700)), min_size=1, max_size=40),
    n_ecg=st.sampled_from([0, 1]),
)
def test_chunks_do_not_matter(splits: list[int], n_ecg: int) -> None:
    whole = _fed(n_ecg, [100_000])
    assert len(whole) > 20
    assert {b.source for b in whole} >= {"eeg"}
    assert _fed(n_ecg, splits) == whole


def test_bounds_that_no_heart_has_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected at least a factor of 2"):
        RPeakSettings(shortest_s=0.6, longest_s=1.0)
