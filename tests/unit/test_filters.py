from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from streamer.clean.eeg.channels.reference import Reference, ReferenceSettings
from streamer.clean.eeg.decimate import Decimator, design
from streamer.filters import SosFilter, bandpass, highpass, notch, sos_delay_s


def noise(n: int, n_channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_channels))


@pytest.mark.parametrize(
    "sos", [highpass(0.5, 5000.0), bandpass(1.0, 40.0, 250.0), np.concatenate([bandpass(1, 40, 250), notch(50, 250)])]
)
def test_filtering_in_pieces_is_scipys_filter_of_the_whole(sos: np.ndarray) -> None:
    x = noise(1000) + 5.0
    stage = SosFilter(sos)
    got = np.concatenate([stage(part) for part in np.split(x, [1, 3, 100, 101, 777])])
    start = signal.sosfilt_zi(sos)[:, :, None] * x[0]
    expected = signal.sosfilt(sos, x, axis=0, zi=start)[0]
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_an_offset_makes_no_step_at_the_start_nor_after_a_reset() -> None:
    stage = SosFilter(bandpass(1.0, 40.0, 250.0))
    offset = np.full((500, 2), 0.02)
    np.testing.assert_allclose(stage(offset), 0.0, atol=1e-12)
    stage.reset()
    np.testing.assert_allclose(stage(-offset), 0.0, atol=1e-12)


@pytest.mark.parametrize("sos", [bandpass(1.0, 40.0, 250.0), highpass(0.5, 250.0)])
def test_the_declared_delay_is_the_delay_of_a_burst(sos: np.ndarray) -> None:
    t = np.arange(5000) / 250
    burst = np.exp(-0.5 * ((t - 10) / 1.0) ** 2) * np.cos(2 * np.pi * 10 * t)
    envelope = np.abs(signal.hilbert(SosFilter(sos)(burst[:, None])[:, 0]))
    centre = (envelope**2 * t).sum() / (envelope**2).sum()
    assert centre - 10 == pytest.approx(sos_delay_s(sos, 10.0, 250.0), abs=0.0005)


@pytest.mark.parametrize(("sfreq", "factor"), [(5000.0, 20), (2500.0, 10), (1000.0, 4), (2048.0, 8), (500.0, 2)])
def test_the_decimator_is_flat_to_70_hz_and_stops_what_would_fold_onto_it(sfreq: float, factor: int) -> None:
    w, h = signal.freqz(design(sfreq, factor), worN=50_000, fs=sfreq)
    db = 20 * np.log10(np.abs(h) + 1e-12)
    assert np.abs(db[w <= 70]).max() < 0.5
    assert db[w >= sfreq / factor - 70].max() < -60


@pytest.mark.parametrize(("sfreq", "factor"), [(5000.0, 20), (1000.0, 4), (250.0, 1)])
def test_decimating_in_pieces_is_filtering_the_whole(sfreq: float, factor: int) -> None:
    x = noise(60 * factor).astype(np.float32)
    stage = Decimator(sfreq, factor, 3)
    got = np.concatenate([stage(part) for part in np.split(x, [0, factor, 4 * factor, 30 * factor])])
    held = np.concatenate([np.repeat(x[:1], 1000, axis=0), x]).astype(np.float64)
    whole = signal.lfilter(stage.taps, [1.0], held, axis=0)[1000:]
    np.testing.assert_allclose(got, whole[factor - 1 :: factor], atol=1e-12)


def test_the_decimator_begins_anew_from_the_edge_after_a_reset() -> None:
    stage = Decimator(5000.0, 20, 2)
    stage(np.zeros((400, 2), np.float32))
    stage.reset()
    np.testing.assert_allclose(stage(np.full((400, 2), 3.0, np.float32)), 3.0, rtol=1e-6)


def test_the_decimators_delay_is_short_and_declared() -> None:
    stage = Decimator(5000.0, 20, 1)
    assert stage.delay_s(10.0) < 0.006
    t = np.arange(20_000) / 5000
    x = np.cos(2 * np.pi * 10 * t)[:, None].astype(np.float32)
    out = stage(x)[500:, 0]
    at = t[19::20][500:]
    phase = np.angle(np.sum(out * np.exp(-2j * np.pi * 10 * at)))
    assert -phase / (2 * np.pi * 10) == pytest.approx(stage.delay_s(10.0), abs=0.0002)


def test_the_decimator_takes_whole_blocks_only() -> None:
    with pytest.raises(ValueError, match="21 samples given, expected a multiple of 20"):
        Decimator(5000.0, 20, 1)(np.zeros((21, 1), np.float32))


def test_the_average_reference_leaves_bad_channels_out_of_the_mean() -> None:
    x = noise(50, 6)
    x[:, 4] *= 1e4
    good = np.array([0, 1, 2, 3, 5])
    stage = Reference(ReferenceSettings(), [f"E{i}" for i in range(6)])
    out = stage(x, good)
    np.testing.assert_allclose(out[:, good].mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(out, x - x[:, good].mean(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(stage(x, good[:1]), x)
