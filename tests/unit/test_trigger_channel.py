"""Markers and sample numbers out of channels of the EEG stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.trigger_channel import EXACT_FLOAT32, SampleCounter, TriggerChannel
from streamer.errors import StreamRefused
from streamer.messages import SessionTime

SFREQ = 5000.0
ORIGIN = 900.0
OFFSET = 40.0


def stamps(n, origin=ORIGIN):
    return origin + np.arange(n) / SFREQ


def marks(values, cuts=(), first=0, code=None, rise=0.5, debounce_s=0.005, skip=()):
    """Samples of the markers; the pieces whose place is in ``skip`` never come."""
    channel = TriggerChannel("R128", SFREQ, code, rise, debounce_s)
    values = np.asarray(values, dtype=float)
    raw = stamps(len(values))
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(values)}), len(values)]
    out = []
    for k, (a, b) in enumerate(pairwise(edges)):
        if k not in skip:
            out += channel(values[a:b], first + a, raw[a:b], raw[a:b] + OFFSET, SessionTime(1.0))
    return out


def pulses(n, at, width=25, high=5.0):
    values = np.zeros(n)
    for start in at:
        values[start : start + width] = high
    return values


def test_a_rising_edge_is_a_marker_at_its_exact_sample_with_both_times():
    (marker,) = marks(pulses(300, [120]), first=1000)
    assert (marker.label, marker.sample) == ("R128", 1120)
    assert marker.at_raw == stamps(300)[120]
    assert marker.at == stamps(300)[120] + OFFSET


def test_a_line_that_is_high_from_the_start_makes_no_marker():
    assert marks(pulses(300, [0])) == []
    assert marks(np.full(300, 7.0), code=7) == []


def test_contact_bounce_is_one_trigger_and_is_counted():
    values = pulses(200, [50, 54, 60], width=2)
    assert [m.sample for m in marks(values)] == [50]
    assert [m.sample for m in marks(values, debounce_s=0)] == [50, 54, 60]


def test_a_code_is_a_marker_when_it_comes_on_whatever_was_before():
    values = np.repeat([65280, 65281, 65408, 65281, 65280, 65281.0], 40)
    assert [m.sample for m in marks(values, code=65281)] == [40, 120, 200]
    assert [m.sample for m in marks(values)] == [40, 80, 200]


def test_what_is_no_number_makes_no_edge():
    values = pulses(300, [100, 200])
    values[[50, 110, 111, 199, 230]] = np.nan
    assert [m.sample for m in marks(values)] == [100, 200]


def test_an_edge_within_a_gap_makes_no_marker_for_its_sample_is_unknown():
    values = pulses(400, [100, 220, 300])
    assert [m.sample for m in marks(values, cuts=[210, 230], skip=[1])] == [100, 300]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.0, 5.0, np.nan]), min_size=1, max_size=200),
    st.lists(st.integers(1, 199), max_size=20),
    st.sampled_from([None, 1, 2]),
)
def test_markers_do_not_depend_on_chunking(values, cuts, code):
    assert marks(values, cuts, code=code) == marks(values, code=code)


def numbers(values, at, cuts=(), bits=None, limit=np.inf):
    counter = SampleCounter("CNT", SFREQ, bits, limit)
    values = np.asarray(values, dtype=float)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(values)}), len(values)]
    return np.concatenate([counter(values[a:b], at[a:b]) for a, b in pairwise(edges)])


def counted(n, lost, bits, start=0):
    """A counter of so many bits and stamps, with stretches (first, stop) that never came; and the truth."""
    keep = np.ones(n, bool)
    for first, stop in lost:
        keep[first:stop] = False
    true = np.flatnonzero(keep)
    return (true + start) % 2**bits, stamps(n)[keep], true - true[0]


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("given_bits", [True, False])
def test_lost_samples_are_counted_over_turns_of_the_counter(bits, given_bits):
    start = max(0, 2**bits - 700)
    lost = [(300, 301), (650, 780), (1000, 1500), (2000, 2003)]
    values, at, true = counted(4000, lost, bits, start)
    np.testing.assert_array_equal(numbers(values, at, bits=bits if given_bits else None), true)


def test_a_loss_of_many_turns_is_found_by_the_stamps():
    values, at, true = counted(30_000, [(1000, 1000 + 17 * 256 + 3)], 8)
    np.testing.assert_array_equal(numbers(values, at), true)


def test_stamps_that_jitter_do_not_change_the_count():
    values, at, true = counted(20_000, [(700, 760), (5000, 5001), (9000, 9555)], 16, start=60_000)
    # a stamp for a chunk of 40 is off, by up to 30 ms
    jitter = np.repeat(np.random.default_rng(0).exponential(0.006, len(at) // 40 + 1), 40)[: len(at)].clip(max=0.03)
    np.testing.assert_array_equal(numbers(values, at + jitter), true)


@pytest.mark.parametrize("restart", [0, 1, 37_000])
def test_a_counter_that_is_set_anew_loses_nothing(restart):
    values = np.concatenate([np.arange(40_000, 46_000), np.arange(restart, restart + 6000)])
    np.testing.assert_array_equal(numbers(values, stamps(12_000), bits=16), np.arange(12_000))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("n", [1, 40, 200])
def test_samples_that_come_twice_are_numbered_on_and_nothing_is_lost(bits, n):
    values, at, _ = counted(6000, [], bits, start=100)
    twice = np.concatenate([np.arange(3000), np.arange(3000 - n, 6000)])
    np.testing.assert_array_equal(numbers(values[twice], at[twice]), np.arange(6000 + n))


def test_a_clock_that_is_set_does_not_change_the_count():
    values, at, true = counted(9000, [(3000, 3010), (6000, 6011)], 24)
    at[2990:] += 7200.0
    at[5990:] -= 10_000.0
    np.testing.assert_array_equal(numbers(values, at), true)


def test_a_float32_counts_until_it_no_longer_holds_every_number():
    start = int(EXACT_FLOAT32) - 500
    values, at, true = counted(2000, [(100, 130), (800, 900)], 32, start)
    got = numbers(values.astype(np.float32), at, limit=EXACT_FLOAT32)
    np.testing.assert_array_equal(got[:400], true[:400])
    # from there on received samples are counted, and the stamps must tell
    np.testing.assert_array_equal(np.diff(got[480:]), 1)


@pytest.mark.parametrize("values", [np.zeros(6000), np.arange(6000) * 2, np.random.default_rng(0).normal(size=6000)])
def test_a_channel_that_does_not_count_is_refused(values):
    with pytest.raises(StreamRefused, match=r"'CNT' does not count samples: .* in eeg\.stream\.counter_channel"):
        numbers(values, stamps(6000), cuts=range(100, 6000, 100))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=200),
    st.lists(st.integers(1, 199), max_size=20),
    st.sampled_from([None, 8, 16]),
    st.booleans(),
)
def test_numbers_do_not_depend_on_chunking(values, cuts, bits, broken):
    values = np.array(values, dtype=float)
    if broken:
        values[::7] = np.nan
    at = stamps(len(values)) + (values > 250) * 0.04
    np.testing.assert_array_equal(
        numbers(values, at, cuts, bits, limit=299.0), numbers(values, at, (), bits, limit=299.0)
    )
