"""The pulse artefact's correction, on planted truth and on bad input."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import signal

from streamer.bench.eeg_steps import STEPS_V, kept, plant_steps
from streamer.bench.eeg_truth import plant
from streamer.clean.eeg.decimate import Decimator
from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.pulse import Pulse, PulseSettings
from streamer.errors import ConfigError
from streamer.filters import SosFilter, highpass
from streamer.simulate.settings import SimulationSettings

SFREQ = 250.0


class Truth(NamedTuple):
    eeg: np.ndarray
    pulse: np.ndarray
    beats: tuple[Beat, ...]
    alpha: np.ndarray


@cache
def planted(seed: int, jitter_s: float = 0.010, blocks: int = 8, alpha_v: float = 13e-6) -> Truth:
    truth = plant(SimulationSettings(seed=seed, n_blocks=blocks, pulse_jitter_s=jitter_s, alpha_v=alpha_v))
    n = len(truth.eeg) // 20 * 20

    def slow(data):
        filtered = SosFilter(highpass(0.5, truth.sfreq))(data[:n]).astype(np.float32)
        return Decimator(truth.sfreq, 20, data.shape[1])(filtered)[:, :-1]

    delay = Decimator(truth.sfreq, 20, 1).delay_s(5.0)
    samples = [(float(r) + delay) * SFREQ for r in truth.body.heart.r_times]
    beats = tuple(Beat(s, int(np.ceil(s)) + 25, 1.0, "ecg") for s in samples)
    return Truth(slow(truth.eeg), slow(truth.pulse), beats, truth.subject.rhythms[1].topography)


def run(pulse, data, beats, sizes=None, first=0, dirty=None, references=None):
    """Everything that comes out, the held rest included."""
    n = len(data)
    dirty = np.zeros(n, bool) if dirty is None else dirty
    references = np.zeros((n, 0)) if references is None else references
    beats = sorted((b for b in beats if first <= b.known < first + n), key=lambda b: b.known)
    outs, at, given_ = [], 0, 0
    sizes = iter(sizes) if sizes is not None else iter([])
    while at < n:
        stop = min(n, at + next(sizes, 250))
        upto = sum(b.known < first + stop for b in beats)
        outs.append(pulse(first + at, data[at:stop], references[at:stop], beats[given_:upto], dirty[at:stop]))
        at, given_ = stop, upto
    outs.append(pulse.flush())
    return outs


def joined(outs):
    assert all(b.first == a.first + len(a.data) for a, b in pairwise(outs))
    return np.concatenate([o.data for o in outs]), np.concatenate([o.estimate for o in outs])


def change_db(data, truth, low, high):
    """Power in a band over the true EEG's, dB, all channels together, from 60 s on."""
    f, power = signal.welch(data[15000:], SFREQ, nperseg=1000, axis=0)
    _, true = signal.welch(truth[15000:], SFREQ, nperseg=1000, axis=0)
    inside = (f >= low) & (f <= high)
    return 10 * np.log10(power[inside].sum() / true[inside].sum())


@pytest.mark.parametrize(("mode", "bar"), [("fast", 1.5), ("balanced", 1.2), ("best", 1.0)])
@pytest.mark.parametrize(("seed", "jitter_s"), [(1, 0.010), (2, 0.015)])
def test_theta_and_alpha_come_back(mode, bar, seed, jitter_s):
    eeg, artefact, beats, _ = planted(seed, jitter_s)
    data, estimate = joined(run(Pulse(PulseSettings(mode=mode), SFREQ, eeg.shape[1]), eeg + artefact, beats))
    assert data.shape == eeg.shape
    assert np.allclose(data + estimate, eeg + artefact)
    assert change_db(eeg + artefact, eeg, 4, 8) > 5
    assert abs(change_db(data, eeg, 4, 8)) < bar
    assert abs(change_db(data, eeg, 8, 12)) < 0.5
    error = np.sqrt(np.mean((estimate - artefact)[15000:] ** 2))
    assert error < 0.45 * np.sqrt(np.mean(artefact[15000:] ** 2))


def test_eeg_without_pulse_is_left_alone():
    eeg, _, beats, _ = planted(2)
    data, _ = joined(run(Pulse(PulseSettings(), SFREQ, eeg.shape[1]), eeg, beats))
    for low in range(1, 40):
        assert abs(change_db(data, eeg, low, low + 1)) < 0.2


@pytest.mark.parametrize(("rest_v", "step_v"), STEPS_V)
@pytest.mark.parametrize("seed", [1, 10])
def test_alpha_that_comes_all_at_once_stays(seed, rest_v, step_v):
    eeg, artefact, beats, topography = planted(seed, blocks=5, alpha_v=rest_v)
    bursts, onsets = plant_steps(len(eeg), topography, step_v, SFREQ, np.random.default_rng(seed))
    data, estimate = joined(run(Pulse(PulseSettings(), SFREQ, 31), eeg + bursts + artefact, beats))
    channel = int(np.argmax(np.abs(topography)))
    shares = kept(data[:, channel], (eeg + bursts)[:, channel], onsets, SFREQ)
    assert len(shares) >= 10
    assert shares.min() > 0.9
    # and the artefact goes, in the bursts too
    settled = np.zeros(len(eeg), bool)
    settled[(onsets[onsets > 5000, None] + np.arange(500)).ravel()] = True
    assert np.sqrt(np.mean((estimate - artefact)[settled] ** 2)) < 0.25 * np.sqrt(np.mean(artefact[settled] ** 2))


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_few_channels(n_channels):
    eeg, artefact, beats, _ = planted(2)
    eeg, artefact = eeg[:, :n_channels], artefact[:, :n_channels]
    _, estimate = joined(run(Pulse(PulseSettings(), SFREQ, n_channels), eeg + artefact, beats))
    error = np.sqrt(np.mean((estimate - artefact)[15000:] ** 2))
    assert error < 0.7 * np.sqrt(np.mean(artefact[15000:] ** 2))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=200), mode=st.sampled_from(["fast", "balanced", "best"])
)
def test_any_chunking_gives_the_same_bits(sizes, mode):
    eeg, artefact, beats, _ = planted(2)
    data = (eeg + artefact)[:3000, :9]
    dirty = np.zeros(3000, bool)
    dirty[1000:1040] = dirty[2203] = True
    whole, _ = joined(run(Pulse(PulseSettings(mode=mode), SFREQ, 9), data, beats, [3000], dirty=dirty))
    split, _ = joined(run(Pulse(PulseSettings(mode=mode), SFREQ, 9), data, beats, sizes, dirty=dirty))
    assert np.array_equal(whole, split)
    assert not np.array_equal(whole, data)


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=100))
def test_references_any_chunking(sizes):
    eeg, artefact, _, _ = planted(2)
    rng = np.random.default_rng(0)
    loops = artefact[:1500] @ rng.standard_normal((31, 4)) + 5e-6 * rng.standard_normal((1500, 4))
    data = (eeg + artefact)[:1500]
    setup = PulseSettings(mode="reference", reference_lag_s=0.008)
    whole, _ = joined(run(Pulse(setup, SFREQ, 31, 4), data, (), [1500], references=loops))
    split, _ = joined(run(Pulse(setup, SFREQ, 31, 4), data, (), sizes, references=loops))
    assert np.array_equal(whole, split)


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_references_take_the_pulse_out(unit):
    eeg, artefact, _, _ = planted(1)
    rng = np.random.default_rng(0)
    loops = artefact @ rng.standard_normal((31, 4))
    loops = unit * (loops + 0.1 * loops.std(axis=0) * rng.standard_normal(loops.shape))
    pulse = Pulse(PulseSettings(mode="reference"), SFREQ, 31, 4)
    assert pulse.warming
    data, _ = joined(run(pulse, eeg + artefact, (), references=loops))
    assert not pulse.warming
    assert abs(change_db(data, eeg, 4, 8)) < 0.5
    assert abs(change_db(data, eeg, 8, 12)) < 0.3


def test_reference_mode_needs_references():
    with pytest.raises(ConfigError, match="0 reference channels"):
        Pulse(PulseSettings(mode="reference"), SFREQ, 31, 0)


@pytest.mark.parametrize("mode", ["off", "fast", "best"])
def test_without_beats_it_passes_through(mode):
    eeg = planted(2).eeg[:2000]
    pulse = Pulse(PulseSettings(mode=mode), SFREQ, 31)
    data, estimate = joined(run(pulse, eeg, ()))
    assert np.array_equal(data, eeg)
    assert not estimate.any()
    assert pulse.warming == (mode != "off")
    assert pulse.quality.beats == 0
    assert pulse.quality.newest_beat_age_s is None


def test_nothing_is_taken_out_before_five_beats():
    eeg, artefact, beats, _ = planted(2)
    pulse = Pulse(PulseSettings(), SFREQ, 31)
    _, estimate = joined(run(pulse, (eeg + artefact)[:3000], beats))
    begun = int(np.flatnonzero(estimate.any(axis=1))[0])
    assert sum(b.sample < begun for b in beats) >= 6
    assert begun < 12 * SFREQ
    quality = pulse.quality
    assert (quality.mode, quality.hold_s, quality.warming) == ("fast", 0.0, False)
    assert quality.newest_beat_age_s is not None
    assert 0 < quality.newest_beat_age_s < 2.5


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_dirty_stretches_teach_nothing_and_spoil_nothing(mode):
    eeg, artefact, beats, _ = planted(2)
    x = (eeg + artefact)[:15000]
    dirty = np.zeros(len(x), bool)
    dirty[9000:9500] = True
    railed = x.copy()
    railed[9000:9500] = 5e-3
    clean, _ = joined(run(Pulse(PulseSettings(mode=mode), SFREQ, 31), x, beats, dirty=dirty))
    spoilt, estimate = joined(run(Pulse(PulseSettings(mode=mode), SFREQ, 31), railed, beats, dirty=dirty))
    assert np.array_equal(clean[:8600], spoilt[:8600])
    assert np.array_equal(clean[10000:], spoilt[10000:])
    assert np.abs(estimate).max() < 200e-6


@pytest.mark.parametrize("mode", ["fast", "best"])
def test_a_gap_in_a_beat(mode):
    eeg, artefact, beats, _ = planted(2)
    x = eeg + artefact
    pulse = Pulse(PulseSettings(mode=mode), SFREQ, 31)
    gap = int(beats[60].sample) + 60
    before, _ = joined(run(pulse, x[:gap], beats))
    after, estimate = joined(run(pulse, x[gap + 40 : 20000], beats, first=gap + 40))
    assert len(before) == gap
    assert len(after) == 20000 - gap - 40
    assert np.isfinite(after).all()
    # the beat under way goes on from what the past taught
    assert np.abs(estimate[:50]).max() > 5e-6
    error = (estimate - artefact[gap + 40 : 20000])[:1000]
    assert np.sqrt(np.mean(error**2)) < 0.6 * np.sqrt(np.mean(artefact**2))


def test_a_jump_without_flush_is_refused():
    pulse = Pulse(PulseSettings(), SFREQ, 2)
    pulse(0, np.zeros((5, 2)), np.zeros((5, 0)), (), np.zeros(5, bool))
    with pytest.raises(ValueError, match="samples from 7 given, expected 5"):
        pulse(7, np.zeros((5, 2)), np.zeros((5, 0)), (), np.zeros(5, bool))


def test_a_wrong_beat_costs_little():
    eeg, artefact, beats, _ = planted(2)
    x = (eeg + artefact)[:20000]
    wrong = Beat(beats[80].sample + 90.0, int(beats[80].sample) + 116, 0.4, "ecg")
    right, _ = joined(run(Pulse(PulseSettings(), SFREQ, 31), x, beats))
    other, _ = joined(run(Pulse(PulseSettings(), SFREQ, 31), x, (*beats, wrong)))
    assert np.array_equal(right[: wrong.known], other[: wrong.known])
    assert not np.array_equal(right, other)
    later = slice(int(beats[82].sample) + 30, None)
    assert np.sqrt(np.mean((right - other)[later] ** 2)) < 1e-6


def test_a_silent_channel_and_a_railed_one_do_no_harm():
    eeg, artefact, beats, _ = planted(2)
    x = eeg + artefact
    x[:, 3] = 0.0
    x[:, 4] = 3e-3 * np.random.default_rng(0).standard_normal(len(x))
    data, _ = joined(run(Pulse(PulseSettings(), SFREQ, 31), x, beats))
    others = np.delete(np.arange(31), [3, 4])
    assert np.isfinite(data).all()
    assert abs(change_db(data[:, others], eeg[:, others], 4, 8)) < 1.5
    assert np.abs(data[:, 3]).max() < 1e-6


def test_channels_that_come_loose_later_do_no_harm():
    eeg, artefact, beats, _ = planted(2)
    x = (eeg + artefact)[:12000]
    rng = np.random.default_rng(0)
    x[5000:, 4] += 10e-3 * rng.standard_normal(7000).cumsum() / 20.0
    x[6000:7000, 9:24] = 0.0
    x[7000:7500, :20] += 0.5 * np.sign(rng.standard_normal((500, 1)))
    data, _ = joined(run(Pulse(PulseSettings(), SFREQ, 31), x, beats))
    assert np.isfinite(data).all()
    error = (data[4000:5000] - eeg[4000:5000])[:, 25:]
    later = (data[11000:] - eeg[11000:12000])[:, 25:]
    assert np.sqrt(np.mean(later**2)) < 2 * np.sqrt(np.mean(error**2))
