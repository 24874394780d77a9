from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import signal

from streamer.decode.features import BandPower, BandPowerSettings, PowerStep
from streamer.errors import ConfigError
from streamer.messages import CleanEeg, Flag

SFREQ = 250.0


def clean(data: np.ndarray, first: int, flags: Flag = Flag.NONE, sfreq: float = SFREQ) -> CleanEeg:
    times = 5.0 + np.arange(first, first + len(data)) / sfreq
    return CleanEeg(data.astype(np.float32), times, first, (first + len(data)) * 20, flags)


def feed(power: BandPower, data: np.ndarray, first: int = 0, size: int = 5) -> list[PowerStep]:
    out: list[PowerStep] = []
    for a in range(0, len(data), size):
        out += power(clean(data[a : a + size], first + a, sfreq=power.sfreq))
    return out


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 2)) * 1e-5


def test_power_is_the_mean_square_of_scipys_bands() -> None:
    x = noise(1000).astype(np.float32)
    steps = feed(BandPower(BandPowerSettings(), SFREQ, 2), x, size=7)
    assert [s.index for s in steps] == list(range(40))
    for band, edges in enumerate([(4, 8), (8, 13), (13, 30)]):
        sos = signal.butter(2, edges, "bandpass", fs=SFREQ, output="sos")
        start = signal.sosfilt_zi(sos)[:, :, None] * x[0]
        y = signal.sosfilt(sos, x, axis=0, zi=start)[0]
        expected = (y**2).reshape(40, 25, 2).mean(axis=1)
        np.testing.assert_allclose([s.power[:, band] for s in steps], expected, rtol=1e-5)


def test_a_rhythm_shows_in_its_band() -> None:
    t = np.arange(2500) / SFREQ
    x = np.column_stack([np.sin(2 * np.pi * 10.2 * t), np.sin(2 * np.pi * 5.7 * t)]) * 1e-5
    last = feed(BandPower(BandPowerSettings(), SFREQ, 2), x)[-20:]
    power = np.mean([s.power for s in last], axis=0)
    assert power[0, 1] == pytest.approx(0.5e-10, rel=0.1)
    assert power[1, 0] == pytest.approx(0.5e-10, rel=0.1)
    assert power[0, 0] < 0.1 * power[0, 1]
    assert power[1, 1] < 0.1 * power[1, 0]


def test_steps_lie_on_the_absolute_grid() -> None:
    steps = feed(BandPower(BandPowerSettings(), 256.0, 2), noise(1000), first=1)
    # 25.6 samples a step: the first begins before the data and is not whole
    assert [s.end_sample for s in steps[:4]] == [26, 52, 77, 103]
    assert not steps[0].valid
    assert np.isnan(steps[0].power).all()
    assert steps[1].end_time == pytest.approx(5.0 + 51 / 256)


def test_steps_are_valid_once_the_filters_have_settled() -> None:
    steps = feed(BandPower(BandPowerSettings(settle_s=1.0), SFREQ, 2), noise(1000))
    assert [s.index for s in steps if s.valid] == list(range(10, 40))


def test_a_gap_spoils_its_step_and_resets_the_filters() -> None:
    power = BandPower(BandPowerSettings(), SFREQ, 2)
    x = noise(2000)
    x[:1005] *= 1000
    before = feed(power, x[:1005])
    after = feed(power, x[1060:], first=1060)
    assert before[-1].valid
    # the step that the gap began in comes with what is next; the one that lies wholly in it is left out
    assert [s.index for s in after[:3]] == [40, 42, 43]
    assert [s.valid for s in after[:3]] == [False, False, False]
    assert after[0].flags & Flag.GAP
    assert np.isnan(after[0].power).all()
    assert after[0].end_time == pytest.approx(5.0 + 1024 / SFREQ)
    assert next(s.index for s in after if s.valid) == 53
    fresh = BandPower(BandPowerSettings(), SFREQ, 2)
    same = feed(fresh, x[1060:], first=1060)
    np.testing.assert_array_equal(after[-1].power, same[-1].power)


def test_a_sample_that_is_no_number_spoils_its_step_only() -> None:
    x = noise(2000)
    x[1007, 1] = np.nan
    steps = feed(BandPower(BandPowerSettings(), SFREQ, 2), x)
    assert np.isnan(steps[40].power).all()
    assert not steps[40].valid
    assert np.isfinite(steps[41].power).all()
    assert not steps[50].valid
    assert steps[51].valid


def test_samples_flagged_as_a_gap_count_as_missing() -> None:
    power = BandPower(BandPowerSettings(), SFREQ, 2)
    x = noise(600)
    steps = feed(power, x[:500])
    steps += power(clean(x[500:503], 500, Flag.GAP))
    steps += feed(power, x[503:], first=503)
    assert steps[19].valid
    assert not steps[20].valid
    assert steps[20].flags & Flag.GAP
    assert np.isnan(steps[20].power).all()


def test_flags_of_the_samples_are_those_of_the_step() -> None:
    power = BandPower(BandPowerSettings(), SFREQ, 2)
    x = noise(50)
    steps = power(clean(x[:10], 0, Flag.CLIPPED)) + power(clean(x[10:], 10, Flag.WARMING))
    assert [s.flags for s in steps] == [Flag.CLIPPED | Flag.WARMING, Flag.WARMING]


def test_delays_are_declared() -> None:
    delays = BandPower(BandPowerSettings(), SFREQ, 2).delays_s
    assert delays["alpha"] == pytest.approx(0.09, abs=0.005)
    assert delays["theta"] == pytest.approx(0.112, abs=0.005)
    assert delays["beta"] == pytest.approx(0.026, abs=0.005)


def test_bad_settings_and_input_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected rising edges above 0"):
        BandPowerSettings(bands={"alpha": (13.0, 8.0)})
    with pytest.raises(ConfigError, match=r"band high ends at 130\.0 Hz: expected less than 125 Hz"):
        BandPower(BandPowerSettings(bands={"high": (60.0, 130.0)}), SFREQ, 2)
    with pytest.raises(ConfigError, match="expected at least one sample"):
        BandPower(BandPowerSettings(step_s=0.001), SFREQ, 2)
    power = BandPower(BandPowerSettings(), SFREQ, 2)
    power(clean(noise(10), 100))
    with pytest.raises(ValueError, match="from sample 105 given, expected 110 or later"):
        power(clean(noise(10), 105))
    with pytest.raises(ValueError, match=r"shape \(10, 1\): expected \(n_times, 2\)"):
        power(clean(noise(10)[:, :1], 110))
