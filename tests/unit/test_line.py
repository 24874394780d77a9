from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from streamer.clean.eeg.line import LineFilter, LineSettings

SFREQ = 250.0
N = 6
T = np.arange(round(90 * SFREQ)) / SFREQ
LATE = slice(round(20 * SFREQ), None)
BOTH = LineSettings(mains_hz=50, pump_hz=(43.0,))


def eeg(n: int = len(T), seed: int = 0) -> np.ndarray:
    """1/f noise of 10 µV up to 100 Hz, V."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n, 1 / SFREQ)
    spectrum = np.fft.rfft(rng.standard_normal((N, n))) / np.maximum(freqs, 1.0)
    spectrum[:, (freqs < 1) | (freqs > 100)] = 0
    wave = np.fft.irfft(spectrum, n).T
    return 10e-6 * wave / wave.std(axis=0)


def line(hz: float | np.ndarray, swell: np.ndarray | float = 1.0, volt: float = 5e-6) -> np.ndarray:
    rng = np.random.default_rng(5)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, T.shape)) / SFREQ
    wave = np.cos(phase[:, None] + rng.uniform(0, 2 * np.pi, N)) * volt * rng.uniform(0.5, 2.0, N)
    return wave * np.broadcast_to(swell, T.shape)[:, None]


def run(stage: LineFilter, data: np.ndarray, piece: int = 5, first: int = 0, dirty: np.ndarray | None = None):
    at = range(0, len(data), piece)
    return np.concatenate(
        [stage(first + a, data[a : a + piece], None if dirty is None else dirty[a : a + piece]) for a in at]
    )


def db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(a)) / np.mean(np.square(b))))


def power(x: np.ndarray, low: float, high: float) -> np.ndarray:
    freqs, density = signal.welch(x, SFREQ, nperseg=1000, axis=0)
    return density[(freqs >= low) & (freqs <= high)].sum(axis=0)


def attenuation(planted: np.ndarray, chosen: LineSettings = BOTH) -> float:
    with_line = run(LineFilter(chosen, SFREQ, N), eeg() + planted)
    without = run(LineFilter(chosen, SFREQ, N), eeg())
    return db(planted[LATE], (with_line - without)[LATE])


def test_a_swelling_drifting_mains_line_is_followed() -> None:
    planted = line(50 + 0.05 * np.sin(2 * np.pi * T / 60), 1 + 0.3 * np.sin(2 * np.pi * 0.1 * T))
    assert attenuation(planted) > 35
    assert attenuation(planted, BOTH.model_copy(update={"mode": "notch"})) < 30


@pytest.mark.parametrize("hz", [43.0, 43.1])
def test_a_pump_with_random_swell_is_followed(hz: float) -> None:
    decay = np.exp(-1 / (3.0 * SFREQ))
    course = signal.lfilter([np.sqrt(1 - decay**2)], [1, -decay], np.random.default_rng(2).standard_normal(len(T)))
    assert attenuation(line(hz, 1 + 0.3 * course)) > 20


def test_the_eeg_beside_the_lines_is_left_as_it_is() -> None:
    planted = line(50.0) + line(43.0)
    out = run(LineFilter(BOTH, SFREQ, N), eeg() + planted)
    for low, high in ((1, 7), (8, 12), (13, 30), (30, 40), (46, 47), (55, 70)):
        change = 10 * np.log10(power(out[LATE], low, high) / power(eeg()[LATE], low, high))
        assert np.abs(change).max() < 0.3, (low, high)
    # at the lines nothing sticks out any more
    for hz in (43.0, 50.0):
        assert (power(out[LATE], hz - 1, hz + 1) < 1.2 * power(eeg()[LATE], hz - 1, hz + 1)).all()


def test_a_mains_frequency_that_is_off_is_found_and_an_absent_line_stays_where_it_was_set() -> None:
    stage = LineFilter(BOTH, SFREQ, N)
    run(stage, eeg() + line(50.15))
    assert stage.frequencies_hz[0] == pytest.approx(50.15, abs=0.02)
    assert stage.frequencies_hz[1] == pytest.approx(43.0, abs=0.05)
    assert stage.amplitudes.shape == (2, N)
    expected = np.abs(signal.hilbert(line(50.15), axis=0))[len(T) // 2]
    np.testing.assert_allclose(stage.amplitudes[0], expected, rtol=0.25)
    assert stage.amplitudes[1].mean() < 0.4 * expected.mean()


def test_the_frequency_is_followed_within_its_reach_only() -> None:
    stage = LineFilter(LineSettings(mains_hz=50, track_hz=0.1), SFREQ, N)
    run(stage, line(50.3))
    assert stage.frequencies_hz[0] <= 50.1
    fixed = LineFilter(LineSettings(mains_hz=50, track_hz=0), SFREQ, N)
    run(fixed, line(50.1))
    assert fixed.frequencies_hz == (50.0,)


def test_a_gap_costs_nothing() -> None:
    planted = line(49.93) + line(43.05)
    stage = LineFilter(BOTH, SFREQ, N)
    stop, start = 50 * 250 + 3, 52 * 250 + 8
    run(stage, planted[:stop])
    after = run(stage, planted[start:], first=start)
    assert db(planted[start : start + 100], after[:100]) > 25


def test_uncorrected_samples_teach_it_nothing() -> None:
    planted = line(50.0)
    bad = slice(10_000, 11_000)
    dirty = np.zeros(len(T), dtype=bool)
    dirty[bad] = True
    burst = planted.copy()
    burst[bad] += 2e-3 * np.cos(2 * np.pi * 50.4 * T[bad])[:, None]
    taught = run(LineFilter(BOTH, SFREQ, N), burst)
    untaught = run(LineFilter(BOTH, SFREQ, N), burst, dirty=dirty)
    after = slice(bad.stop, bad.stop + 250)
    assert db(planted[after], untaught[after]) > 25
    assert db(planted[after], taught[after]) < 0


@pytest.mark.parametrize("mode", ["adaptive", "notch"])
def test_the_declared_delay_is_the_delay_of_a_burst(mode: str) -> None:
    stage = LineFilter(BOTH.model_copy(update={"mode": mode}), SFREQ, 1)
    at = T[:5000]
    burst = np.exp(-0.5 * ((at - 10) / 1.0) ** 2) * np.cos(2 * np.pi * 10 * at)
    envelope = np.abs(signal.hilbert(stage(0, burst[:, None])[:, 0]))
    centre = (envelope**2 * at).sum() / (envelope**2).sum()
    assert centre - 10 == pytest.approx(stage.delay_s(10.0), abs=0.00005)
    assert 0 < stage.delay_s(10.0) < 0.001


def test_a_notch_takes_a_steady_line_away() -> None:
    planted = line(50.0)
    assert attenuation(planted, LineSettings(mode="notch", mains_hz=50)) > 60


def test_nothing_is_done_where_there_is_nothing_to_do() -> None:
    x = eeg(500)
    for chosen in (BOTH.model_copy(update={"mode": "off"}), LineSettings()):
        stage = LineFilter(chosen, SFREQ, N)
        np.testing.assert_array_equal(stage(0, x), x)
        assert stage.delay_s(10.0) == 0.0
        assert stage.frequencies_hz == ()


def test_lines_from_half_the_rate_on_are_left_out() -> None:
    stage = LineFilter(LineSettings(mains_hz=50, harmonics=4, pump_hz=(43.0,)), SFREQ, N)
    assert stage.frequencies_hz == (50.0, 100.0, 43.0)


def test_harmonics_are_removed_too() -> None:
    planted = line(50.05) + line(100.1, volt=1e-6)
    assert attenuation(planted, LineSettings(mains_hz=50, harmonics=2)) > 30


def test_lines_too_close_to_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="lines at 49 and 50 Hz: expected at least 3 Hz between two"):
        LineSettings(mains_hz=50, pump_hz=(49.0,))


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 900), max_size=12),
    mode=st.sampled_from(["adaptive", "notch"]),
    first=st.sampled_from([0, 7, 123_456]),
    gap=st.sampled_from([0, 1, 60, 1000]),
)
def test_any_split_gives_the_same_bits(cuts: Sequence[int], mode: str, first: int, gap: int) -> None:
    x = (eeg() + line(50.07) + line(43.0))[:900]
    dirty = np.zeros(900, dtype=bool)
    dirty[300:337] = True
    index = first + np.arange(900) + np.where(np.arange(900) >= 500, gap, 0)

    def cleaned(edges: Sequence[int]) -> np.ndarray:
        stage = LineFilter(BOTH.model_copy(update={"mode": mode}), SFREQ, N)
        # a chunk never spans a gap
        borders = sorted({0, 500, 900, *edges})
        pieces = pairwise(borders)
        return np.concatenate([stage(int(index[a]), x[a:b], dirty[a:b]) for a, b in pieces])

    np.testing.assert_array_equal(cleaned(cuts), cleaned(range(900)))
    np.testing.assert_array_equal(cleaned(cuts), cleaned([]))


def test_after_a_reset_it_begins_anew() -> None:
    stage = LineFilter(BOTH, SFREQ, N)
    x = eeg(2000) + (line(50.1) + line(42.9))[:2000]
    before = run(stage, x, first=35)
    stage.reset()
    np.testing.assert_array_equal(run(stage, x, first=35), before)
