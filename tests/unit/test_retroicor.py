from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.clean.bold.signal.retroicor import Breathing, Heart, Retroicor, RetroicorSettings, slice_shares

SFREQ = 250.0
TURN = 2 * np.pi


def heart(beats, longest=3.0):
    made = Heart(longest)
    for at in beats:
        made.beat(at)
    return made


def breath(seconds, hz=0.25, pieces=(1000,), noise=0.0):
    made = Breathing(SFREQ, 120.0)
    t = np.arange(round(seconds * SFREQ)) / SFREQ
    trace = 3.0 - np.cos(TURN * hz * t) + noise * np.random.default_rng(0).standard_normal(len(t))
    first = 0
    for n in itertools.cycle(pieces):
        made.trace(first, trace[first : first + n])
        first += n
        if first >= len(trace):
            break
    return made


def retroicor(times, shares, trace_hz=SFREQ):
    made = Retroicor(RetroicorSettings(), len(shares), trace_hz)
    made.place(times, shares)
    return made


def apart(a, b):
    return np.abs((np.asarray(a) - b + np.pi) % TURN - np.pi)


def test_between_two_beats_the_phase_grows_evenly():
    made = heart([10.0, 11.0, 11.8, 13.0])
    times = np.array([10.0, 10.25, 11.0, 11.4, 12.4])
    np.testing.assert_allclose(made.phase(times), [0, TURN / 4, 0, TURN / 2, TURN / 2], atol=1e-9)


def test_behind_the_last_beat_the_usual_interval_is_expected():
    made = heart([10.0, 11.0, 12.0, 12.8])
    np.testing.assert_allclose(made.phase(np.array([13.05, 14.3])), [TURN / 4, TURN / 2], atol=1e-9)


def test_a_beat_that_became_known_is_used():
    made = heart([10.0, 11.0, 12.0])
    before = made.phase(np.array([12.5]))
    made.beat(12.8)
    assert before == pytest.approx(TURN / 2)
    assert made.phase(np.array([12.5])) == pytest.approx(TURN * 0.5 / 0.8)


def test_a_missed_beat_is_counted():
    made = heart([10.0, 11.0, 12.0, 14.0, 15.0])
    np.testing.assert_allclose(made.phase(np.array([12.5, 13.25])), [TURN / 2, TURN / 4], atol=1e-9)


def test_without_beats_for_long_the_phase_is_unknown():
    made = heart([10.0, 11.0, 12.0, 17.0, 18.0])
    phase = made.phase(np.array([9.9, 11.5, 12.5, 16.9, 17.5, 20.9, 21.1]))
    assert np.isnan(phase).tolist() == [True, False, True, True, False, False, True]
    assert np.isnan(heart([10.0]).phase(np.array([10.5]))).all()
    # a beat that is told twice, or late, changes nothing
    twice = heart([10.0, 11.0, 11.0, 10.5, 12.0])
    assert twice.phase(np.array([11.5])) == pytest.approx(np.pi)


def test_the_breath_runs_from_empty_to_full_and_back():
    made = breath(60.0)
    # of a sine all depths are not met equally often, and the phase follows the share of shallower ones
    times = 40.0 + np.linspace(0.0, 4.0, 41)[1:-1]
    phase = made.phase(times)
    expected = np.pi * np.arccos(np.cos(TURN * 0.25 * times)) / np.pi * np.where((times - 40.0) < 2.0, 1, -1)
    assert apart(phase, expected).max() < 0.15
    assert phase[10] > 0 > phase[30]


def test_noise_on_the_trace_does_not_turn_its_sign():
    times = 40.0 + np.r_[0.5:1.5:0.1, 2.5:3.5:0.1]
    assert (np.sign(breath(60.0, noise=0.1).phase(times)) == np.r_[np.ones(10), -np.ones(10)]).all()


def test_the_breath_is_unknown_before_its_depths_are_and_where_there_is_no_trace():
    assert np.isnan(breath(15.0).phase(np.array([14.0]))).all()
    made = breath(60.0)
    assert np.isnan(made.phase(np.array([20.0, 50.0, 60.3, 61.0]))).tolist() == [True, False, False, True]
    flat = Breathing(SFREQ, 120.0)
    flat.trace(0, np.zeros(20000))
    assert np.isnan(flat.phase(np.array([70.0]))).all()


def test_after_a_gap_the_depths_are_still_known():
    made = breath(60.0)
    t = np.arange(70 * 250, 80 * 250)
    made.trace(70 * 250 + 3, 3.0 - np.cos(TURN * 0.25 * (t + 3) / SFREQ))
    phase = made.phase(np.array([65.0, 77.0]))
    assert np.isnan(phase[0])
    assert apart(phase[1], np.pi / 2) < 0.15


def test_blocks_lie_at_the_same_places_after_a_gap():
    t = np.arange(30000)
    trace = np.sin(t / 160.0)
    one, two = Breathing(SFREQ, 120.0), Breathing(SFREQ, 120.0)
    one.trace(0, trace[:5000]), two.trace(0, trace[:5000])
    one.trace(6003, trace[6003:])
    for first in range(6003, 30000, 4):
        two.trace(first, trace[first : first + 4])
    times = np.linspace(95.0, 119.0, 30)
    assert np.isfinite(one.phase(times)).all()
    np.testing.assert_array_equal(one.phase(times), two.phase(times))


def test_values_that_are_no_numbers_begin_the_trace_anew():
    made = breath(60.0)
    made.trace(15000, np.full(250, np.nan))
    assert np.isnan(made.phase(np.array([50.0]))).all()
    t = np.arange(15250, 16250)
    made.trace(15250, 3.0 - np.cos(TURN * 0.25 * t / SFREQ))
    assert np.isfinite(made.phase(np.array([63.0]))).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_the_phase_does_not_depend_on_the_chunks(pieces):
    times = np.linspace(31.0, 58.0, 50)
    np.testing.assert_array_equal(breath(60.0, pieces=pieces).phase(times), breath(60.0, pieces=(15000,)).phase(times))


def test_columns_are_the_mean_over_the_regions_slices():
    times = np.array([0.0, 0.5, 0.0, 0.5])
    shares = np.array([[1.0, 0, 0, 0], [0.25, 0.5, 0.25, 0], [0, 0.5, 0, 0.5]])
    made = retroicor(times, shares)
    for at in np.arange(0.0, 60.0, 0.9):
        made.beat(at)
    t = np.arange(60 * 250)
    made.trace(0, -np.cos(TURN * 0.25 * t / SFREQ))
    found = made(50.1)
    assert found.shape == (3, 8)
    phase = TURN * np.array([50.1, 50.6]) / 0.9
    early, late = (np.array([np.cos(p), np.sin(p), np.cos(2 * p), np.sin(2 * p)]) for p in phase)
    np.testing.assert_allclose(found[:, :4], [early, 0.5 * (early + late), late], atol=1e-9)
    breathing = Breathing(SFREQ, 120.0)
    breathing.trace(0, -np.cos(TURN * 0.25 * t / SFREQ))
    p = breathing.phase(np.array([50.1]))[0]
    np.testing.assert_allclose(found[0, 4:], [np.cos(p), np.sin(p), np.cos(2 * p), np.sin(2 * p)], atol=1e-12)


def test_without_a_trace_the_heart_is_still_known():
    made = retroicor(np.zeros(2), np.full((1, 2), 0.5), None)
    assert np.isnan(made(1.0)).all()
    for at in range(20):
        made.beat(at)
    assert np.isnan(made(10.0)).tolist() == [[False] * 4 + [True] * 4]


def test_shares_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"shares of shape \(2, 3\) with 4 slice times: expected one for each of 2 regions"
    ):
        retroicor(np.zeros(4), np.ones((2, 3)))


def test_without_slice_times_nothing_is_known():
    made = Retroicor(RetroicorSettings(), 2)
    for at in range(20):
        made.beat(at)
    assert np.isnan(made(10.0)).all()
    assert made(10.0).shape == (2, 8)


def test_shares_count_voxels_by_slice():
    labels = np.zeros((3, 3, 4), np.int16)
    labels[:, 0, 1] = 1
    labels[0, 0, 2] = 1
    labels[1, 1, 3] = 3
    np.testing.assert_allclose(slice_shares(labels, 3), [[0, 0.75, 0.25, 0], [0.25] * 4, [0, 0, 0, 1]])


def test_aliased_pulsation_is_found_again():
    # heart and breath at a TR of 2 s, seen by interleaved slices; what the columns explain of it
    rng = np.random.default_rng(4)
    beats = np.cumsum(0.9 + 0.05 * rng.standard_normal(500))
    slices = np.r_[0:2:0.2, 0.1:2:0.2]
    shares = rng.dirichlet(np.full(20, 0.3), 2)
    made = retroicor(slices, shares)
    trace = np.sin(TURN * 0.27 * np.arange(420 * 250) / SFREQ)
    known = heard = 0
    columns, signal = [], []
    for onset in np.arange(60.0, 400.0, 2.0):
        # a volume is cleaned 0.6 s after its end
        while beats[known] < onset + 2.6:
            made.beat(beats[known])
            known += 1
        made.trace(heard, trace[heard : round((onset + 2.6) * SFREQ)])
        heard = round((onset + 2.6) * SFREQ)
        t = onset + slices
        beat = np.cos(TURN * np.interp(t, beats, np.arange(len(beats))) + 0.4)
        columns.append(made(onset))
        signal.append(shares @ (beat + 0.7 * np.sin(TURN * 0.27 * t)))
    X, y = np.array(columns)[:, 0], np.array(signal)[:, 0]
    left = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    assert left.var() < 0.05 * y.var()
