"""Which maps of a mean beat the heart leads, and which a rhythm left in it."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.clean.eeg.heart.pulse_maps import locked_maps, mean_maps

N_SPLINES, N_CHANNELS = 30, 20


def swing(rng, n_beats, size):
    """A rhythm of 10 Hz whose phase the heart does not know."""
    times = 0.036 * np.arange(N_SPLINES)
    phase = rng.uniform(0, 2 * np.pi, (n_beats, 1))
    return size * np.cos(2 * np.pi * 10 * times + phase)


def beats_of(rng, n_beats, *, bursts, pulse=6.0):
    """White EEG with the heart's artefact on map 0, and a rhythm on map 1 in the beats that ``bursts`` says."""
    data = rng.standard_normal((n_beats, N_SPLINES, N_CHANNELS))
    course = pulse * np.sin(np.arange(N_SPLINES) / 3.0) * np.exp(-np.arange(N_SPLINES) / 8.0)
    data[:, :, 0] += course * (1 + 0.2 * rng.standard_normal((n_beats, 1)))
    data[:, :, 1] += swing(rng, n_beats, 1.0) * bursts[:, None]
    return data


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_beats", [8, 20, 60])
def test_a_large_rhythm_is_in_the_mean_and_is_not_chosen(n_beats, seed):
    rng = np.random.default_rng(seed)
    data = beats_of(rng, n_beats, bursts=20.0 * (rng.random(n_beats) < 0.4))
    maps = mean_maps(data.mean(axis=0))
    assert np.abs(maps[1]).max() > 0.5
    chosen = maps[:, locked_maps(data @ maps)]
    assert np.linalg.norm(chosen[0]) > 0.9
    assert np.linalg.norm(chosen[1]) < 0.45


def test_a_single_burst_is_not_chosen():
    rng = np.random.default_rng(0)
    bursts = np.zeros(20)
    bursts[7] = 200.0
    data = beats_of(rng, 20, bursts=bursts)
    maps = mean_maps(data.mean(axis=0))
    assert abs(maps[1, 0]) > 0.9
    assert np.linalg.norm(maps[1, locked_maps(data @ maps)]) < 0.3


def test_every_map_that_the_heart_leads_is_chosen():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, N_SPLINES, N_CHANNELS))
    for k in range(4):
        data[:, :, k] += 4.0 * np.sin((k + 1) * np.arange(N_SPLINES) / 6.0)
    maps = mean_maps(data.mean(axis=0))
    chosen = maps[:, locked_maps(data @ maps)]
    assert np.linalg.norm(chosen[:4], axis=1).min() > 0.9


def test_there_is_always_one():
    data = np.random.default_rng(0).standard_normal((5, N_SPLINES, N_CHANNELS))
    assert locked_maps(data).tolist() == [0]
    assert locked_maps(np.zeros((5, N_SPLINES, 1))).tolist() == [0]
    assert mean_maps(data[0][:, :1]).shape == (1, 1)
