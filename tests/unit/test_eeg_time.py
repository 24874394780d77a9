from __future__ import annotations

import numpy as np
import pytest

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.messages import EegChunk, Flag, SessionTime

SFREQ = 5000.0
ORIGIN = 1234.5
OFFSET = 7.25
HEARD = 500.0


def feed(
    timeline: EegTimeline,
    raw: np.ndarray,
    offset: np.ndarray | float = OFFSET,
    size: int = 100,
    first: int = 0,
    number: np.ndarray | None = None,
) -> list[EegChunk]:
    """Feed samples whose one channel is their own number."""
    number = np.arange(len(raw)) if number is None else number
    times = raw + offset
    out: list[EegChunk] = []
    for a in range(0, len(raw), size):
        part = slice(a, min(a + size, len(raw)))
        data = number[part].astype(np.float32)[:, None]
        received = SessionTime(HEARD + (first + part.stop) / SFREQ)
        out += timeline(EegChunk("eeg", data, raw[part], times[part], first + a, received))
    return out


def steady(n: int) -> np.ndarray:
    return ORIGIN + np.arange(n) / SFREQ


def line() -> EegTimeline:
    return EegTimeline(EegTimelineSettings(), SFREQ)


def grid(chunks: list[EegChunk]) -> np.ndarray:
    return np.concatenate([c.first_sample + np.arange(len(c.data)) for c in chunks])


def marked(chunks: list[EegChunk]) -> list[tuple[int, Flag]]:
    """First samples and flags of what is flagged for more than a fit that settles."""
    return [(c.first_sample, c.flags & ~Flag.WARMING) for c in chunks if c.flags & ~Flag.WARMING]


def times(chunks: list[EegChunk]) -> np.ndarray:
    return np.concatenate([c.times for c in chunks])


def test_steady_stamps_pass_unchanged() -> None:
    timeline = line()
    raw = steady(20_000)
    out = feed(timeline, raw)
    np.testing.assert_array_equal(grid(out), np.arange(20_000))
    np.testing.assert_allclose(times(out), raw + OFFSET, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(np.concatenate([c.times_raw for c in out]), raw)
    assert marked(out) == []
    assert (timeline.lost_samples, timeline.gaps, timeline.warming) == (0, 0, False)
    assert timeline.residual_s < 1e-6


@pytest.mark.parametrize("lost", [1, 20, 100, 5000])
def test_a_gap_in_steady_stamps_is_counted_to_the_sample(lost: int) -> None:
    timeline = line()
    n, at = 30_000, 15_037
    keep = np.ones(n + lost, dtype=bool)
    keep[at : at + lost] = False
    out = feed(timeline, steady(n + lost)[keep])
    assert timeline.lost_samples == lost
    np.testing.assert_array_equal(grid(out), np.flatnonzero(keep))
    assert marked(out) == [(at + lost, Flag.GAP)]
    np.testing.assert_allclose(times(out), steady(n + lost)[keep] + OFFSET, atol=2e-6, rtol=0)


def test_two_gaps_close_together_are_both_counted() -> None:
    timeline = line()
    keep = np.ones(30_000, dtype=bool)
    keep[15_000:15_100] = False
    keep[15_150:15_190] = False
    out = feed(timeline, steady(30_000)[keep])
    np.testing.assert_array_equal(grid(out), np.flatnonzero(keep))
    assert timeline.lost_samples == 140


def jittered(n: int, seed: int, scale: float = 0.003) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.exponential(scale, n // 100), 100)


def test_jitter_of_the_sender_is_no_gap_and_is_smoothed_away() -> None:
    timeline = line()
    n = 60 * 5000
    raw = steady(n) + jittered(n, 1)
    out = feed(timeline, raw)
    assert timeline.lost_samples == 0
    np.testing.assert_array_equal(grid(out), np.arange(len(grid(out))))
    error = times(out) - (steady(n) + OFFSET + 0.003)[: len(grid(out))]
    assert np.std(error[5 * 5000 :]) < 0.0003
    assert np.abs(error[30 * 5000 :]).max() < 0.0004
    assert np.all(np.diff(times(out)) > 0)
    assert not timeline.warming
    assert timeline.jitter_s == pytest.approx(0.003, rel=0.6)


def test_a_real_gap_within_jitter_is_found_and_does_not_bend_the_times() -> None:
    timeline = line()
    n = 40 * 5000
    keep = np.ones(n, dtype=bool)
    keep[100_000:100_500] = False
    raw = (steady(n) + jittered(n, 2, 0.002))[keep]
    out = feed(timeline, raw)
    assert timeline.gaps == 1
    assert timeline.lost_samples == pytest.approx(500, abs=40)
    error = times(out) - (steady(n)[keep] + OFFSET + 0.002)[: len(grid(out))]
    assert np.abs(error[99_500 + 25_000 :]).max() < 0.001


def test_a_drifting_clock_is_followed() -> None:
    timeline = line()
    raw = ORIGIN + np.arange(30 * 5000) / SFREQ * (1 + 20e-6)
    out = feed(timeline, raw)
    assert timeline.lost_samples == 0
    np.testing.assert_allclose(times(out)[10 * 5000 :], (raw + OFFSET)[10 * 5000 :], atol=2e-5, rtol=0)


def test_a_chunk_that_comes_twice_is_dropped() -> None:
    timeline = line()
    sent = np.concatenate([np.arange(10_000), np.arange(9_900, 20_000)])
    out = feed(timeline, steady(20_000)[sent], number=sent)
    np.testing.assert_array_equal(grid(out), np.arange(20_000))
    assert (timeline.duplicates, timeline.lost_samples) == (100, 0)
    assert marked(out) == []


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 11.0])
def test_a_new_clock_is_no_enormous_gap(jump: float) -> None:
    timeline = line()
    raw = steady(20_000)
    raw[10_000:] += jump
    out = feed(timeline, raw)
    np.testing.assert_array_equal(grid(out), np.arange(20_000))
    assert (timeline.lost_samples, timeline.clock_steps) == (0, 1)
    assert marked(out) == [(10_000, Flag.GAP | Flag.CLOCK_STEP)]
    np.testing.assert_allclose(times(out), raw + OFFSET, atol=1e-6, rtol=0)


def test_a_lasting_set_back_of_the_clock_is_a_clock_step() -> None:
    timeline = line()
    raw = steady(20_000)
    raw[10_000:] -= 0.25003
    out = feed(timeline, raw)
    np.testing.assert_array_equal(grid(out), np.arange(20_000))
    assert marked(out) == [(10_000, Flag.CLOCK_STEP)]


def test_a_jump_of_the_offset_alone_is_a_clock_step_without_a_gap() -> None:
    timeline = line()
    raw = steady(20_000)
    offset = np.where(np.arange(20_000) < 10_000, 0.0, 3.0)
    out = feed(timeline, raw, offset)
    assert marked(out) == [(10_000, Flag.CLOCK_STEP)]
    np.testing.assert_allclose(times(out), raw + offset, atol=1e-6, rtol=0)


def test_what_the_source_counted_as_never_handed_over_is_lost() -> None:
    timeline = line()
    raw = steady(20_000)
    out = feed(timeline, raw[:10_000])
    out += feed(timeline, raw[10_007:], first=10_007)
    assert timeline.lost_samples == 7
    np.testing.assert_array_equal(grid(out), np.delete(np.arange(20_000), slice(10_000, 10_007)))


def test_stamps_that_are_no_numbers_are_counted_on() -> None:
    timeline = line()
    raw = steady(10_000)
    broken = raw.copy()
    broken[5_000:5_003] = np.nan
    out = feed(timeline, broken)
    np.testing.assert_array_equal(grid(out), np.arange(10_000))
    np.testing.assert_allclose(times(out), raw + OFFSET, atol=1e-6, rtol=0)


def test_stamps_and_samples_must_be_as_many() -> None:
    data = np.zeros((3, 1), np.float32)
    with pytest.raises(ValueError, match="3 samples, 2 raw stamps"):
        line()(EegChunk("eeg", data, np.zeros(2), np.zeros(3), 0, SessionTime(0.0)))
