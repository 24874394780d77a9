"""Spectra of signals whose spectra are known."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.channel_groups import channel_groups
from dashboard.figures.spectra import BANDS, Spectra, alpha_peak, decibels, mean_of_known
from dashboard.stores import RowRing

SFREQ = 200.0


def ring(data: np.ndarray, capacity: int = 100_000) -> RowRing:
    rows = RowRing(capacity, data.shape[1], np.float32)
    rows.put(0, data)
    return rows


def newest(spectra: Spectra, rows: RowRing) -> int:
    column = spectra.column_before(rows.end)
    assert spectra.update(rows, column, 1000)
    return column


def test_a_sine_has_its_power_at_its_frequency() -> None:
    t = np.arange(2000) / SFREQ
    rows = ring(np.stack([10 * np.sin(2 * np.pi * 12 * t), 20 * np.sin(2 * np.pi * 30 * t)], axis=1))
    spectra = Spectra(SFREQ, 2, 10.0)
    density = spectra.columns(newest(spectra, rows), 1)[0]
    step = spectra.frequencies[1] - spectra.frequencies[0]
    assert spectra.frequencies[density.argmax(axis=0)] == pytest.approx([12.0, 30.0])
    # half the square of the amplitude
    assert density.sum(axis=0) * step == pytest.approx([50.0, 200.0], rel=1e-3)


def test_white_noise_is_flat_at_its_variance() -> None:
    rows = ring(np.random.default_rng(0).normal(size=(20_000, 8)) * 3)
    spectra = Spectra(SFREQ, 8, 90.0)
    density = spectra.columns(newest(spectra, rows), 300).mean(axis=(0, 2))
    assert density == pytest.approx(np.full(len(density), 9 / (SFREQ / 2)), rel=0.2)
    assert decibels(density.mean()) == pytest.approx(10 * np.log10(0.09), abs=0.1)


def test_an_offset_adds_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=(800, 1))
    found = []
    for offset in (0.0, 1e4):
        rows = ring(noise + offset)
        spectra = Spectra(SFREQ, 1, 4.0)
        found.append(spectra.columns(newest(spectra, rows), 1)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=0.05)


def test_a_column_with_a_gap_is_nan_until_the_late_samples_come() -> None:
    data = np.random.default_rng(2).normal(size=(2000, 2))
    rows = RowRing(4000, 2, np.float32)
    rows.put(0, data[:900])
    rows.put(1000, data[1000:])
    spectra = Spectra(SFREQ, 2, 10.0)
    column = newest(spectra, rows)
    before = spectra.columns(column, 36)
    lost = np.isnan(before).any(axis=(1, 2))
    # columns begin 400 samples before their end, and end every 50
    ends = np.array([spectra.end_of(column - 35 + i) for i in range(36)])
    np.testing.assert_array_equal(lost, ((ends > 900) & (ends < 1400)) | (ends < 400))
    rows.put(900, data[900:1000])
    assert spectra.update(rows, column, 1000)
    whole = Spectra(SFREQ, 2, 10.0)
    whole.update(ring(data), column, 1000)
    np.testing.assert_array_equal(spectra.columns(column, 30), whole.columns(column, 30))


def test_columns_are_computed_once_and_newest_first() -> None:
    rows = ring(np.random.default_rng(3).normal(size=(4000, 1)))
    spectra = Spectra(SFREQ, 1, 5.0)
    column = spectra.column_before(4000)
    assert spectra.update(rows, column, 3)
    known = np.isfinite(spectra.columns(column, 10)).all(axis=(1, 2))
    np.testing.assert_array_equal(known, [False] * 7 + [True] * 3)
    while spectra.update(rows, column, 3):
        pass
    assert np.isfinite(spectra.columns(column, 10)).all()
    assert not spectra.update(rows, column, 3)


def test_a_mean_follows_its_channels() -> None:
    rows = ring(np.random.default_rng(4).normal(size=(3000, 4)) * [1, 2, 3, np.nan])
    spectra = Spectra(SFREQ, 4, 5.0)
    column = newest(spectra, rows)
    each = spectra.columns(column, 8)
    for channels in ([0, 1], [2], [0, 3]):
        expected = np.nanmean(each[:, :, channels], axis=2)
        np.testing.assert_allclose(spectra.mean(column, 8, channels), expected, rtol=1e-5)
    assert np.isnan(spectra.mean(column, 8, [3])).all()


def test_bands_are_means_of_their_frequencies() -> None:
    rows = ring(np.random.default_rng(5).normal(size=(2000, 3)))
    whole, parts = Spectra(SFREQ, 3, 5.0), Spectra(SFREQ, 3, 5.0, list(BANDS.values()))
    column = newest(whole, rows)
    newest(parts, rows)
    alpha = (whole.frequencies >= 8) & (whole.frequencies < 13)
    expected = whole.columns(column, 1)[0][alpha].mean(axis=0)
    np.testing.assert_allclose(parts.columns(column, 1)[0][2], expected, rtol=1e-5)


def test_a_slow_preview_reaches_to_half_its_rate_and_no_further() -> None:
    spectra = Spectra(50.0, 1, 5.0, list(BANDS.values()))
    assert spectra.frequencies[-1] == 25.0
    rows = ring(np.random.default_rng(6).normal(size=(500, 1)))
    assert np.isfinite(spectra.columns(newest(spectra, rows), 1)).all()


@pytest.mark.parametrize("frequency", [8.5, 10.0, 10.25, 12.6])
def test_the_alpha_peak_is_found_on_a_falling_background(frequency: float) -> None:
    f = np.arange(1, 45.5, 0.5)
    spectrum = 20 - 15 * np.log10(f) + 8 * np.exp(-((f - frequency) ** 2) / 2)
    peak = alpha_peak(f, spectrum)
    assert peak is not None
    assert peak.frequency == pytest.approx(frequency, abs=0.2)
    assert peak.height_db == pytest.approx(8.0, abs=1.0)


def test_no_alpha_peak_where_there_is_none() -> None:
    f = np.arange(1, 45.5, 0.5)
    falling = 20 - 15 * np.log10(f)
    assert alpha_peak(f, falling) is None
    assert alpha_peak(f, falling + 10 * np.exp(-((f - 6.0) ** 2) / 4)) is None
    assert alpha_peak(f, np.full(len(f), np.nan)) is None


def test_a_mean_of_nothing_known_is_nan() -> None:
    np.testing.assert_array_equal(mean_of_known(np.array([[1, np.nan, 3], [np.nan] * 3]), axis=1), [2, np.nan])


def test_channels_are_grouped_by_their_names() -> None:
    names = ["Fp1", "AFz", "f4", "FC3", "Cz", "CP6", "FT9", "T8", "TP10", "P3", "PO4", "O1", "Iz", "EOG", "X1"]
    groups = {group: [names[i] for i in members] for group, members in channel_groups(names).items()}
    assert groups == {
        "all": names,
        "frontal": ["Fp1", "AFz", "f4"],
        "central": ["FC3", "Cz", "CP6"],
        "temporal": ["FT9", "T8", "TP10"],
        "parietal": ["P3"],
        "occipital": ["PO4", "O1", "Iz"],
        "left": ["Fp1", "FC3", "FT9", "P3", "O1"],
        "right": ["f4", "CP6", "T8", "TP10", "PO4"],
        "others": ["EOG", "X1"],
    }
    assert channel_groups(["1", "2"]) == {"all": [0, 1], "others": [0, 1]}
    assert channel_groups([]) == {"all": []}
