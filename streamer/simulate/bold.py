"""The BOLD signal of the regions: the response to the state, its tie to alpha, and what disturbs it."""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np
from scipy.signal import fftconvolve

from streamer.messages import F64
from streamer.simulate.ledger import RunFaults
from streamer.simulate.noise import ornstein_uhlenbeck
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS, Subject

_NOISE_TAU_S = 1.7
_LENGTH_S = 32.0


def haemodynamic_response(rate_hz: float, peak_s: float) -> F64:
    """Sample a double gamma response whose sum is 1, shape (32 s · rate_hz,).

    Two gamma densities, the response proper and an undershoot of a sixth of its size three times as late, stretched in
    time so that the response peaks at ``peak_s`` (Friston 1998, doi:10.1006/nimg.1997.0306).
    """
    t = np.arange(1, round(_LENGTH_S * rate_hz) + 1) / rate_hz * (5.0 / peak_s)

    def density(shape: float) -> F64:
        return np.exp((shape - 1.0) * np.log(t) - t - lgamma(shape))

    response = density(6.0) - density(16.0) / 6.0
    return response / response.sum()


@dataclass(frozen=True)
class BoldSignals:
    """At the model's rate, % of each region's mean; the whole brain's is the last column of ``total``."""

    neural: F64
    """What comes from the state and from alpha, shape (n_times, n_regions)."""
    drift: F64
    """Shape (n_times, n_regions + 1)."""
    pulsation: F64
    """With heart and breath, shape (n_times, n_regions + 1)."""
    total: F64
    """All of it and the slow noise, shape (n_times, n_regions + 1)."""


def bold_signals(
    settings: SimulationSettings,
    subject: Subject,
    state: F64,
    spontaneous: F64,
    pulsation: F64,
    rate_hz: float,
    rng: np.random.Generator,
) -> BoldSignals:
    """Make the regions' signals.

    Parameters
    ----------
    settings : SimulationSettings
    subject : Subject
    state : array, shape (n_times,)
        1 in task.
    spontaneous : array, shape (n_times,)
        Slow ups and downs of alpha, sd 1.
    pulsation : array, shape (n_times, n_regions + 1)
        From :func:`pulsation_signals`.
    rate_hz : float
    rng : Generator
    """
    n_times, n_regions = len(state), len(REGIONS)
    neural = np.empty((n_times, n_regions))
    for r in range(n_regions):
        response = haemodynamic_response(rate_hz, subject.hrf_peak_s[r])
        cause = subject.response[r] * state + subject.coupling[r] * spontaneous
        # before the recording there was the same as at its start
        padded = np.concatenate([np.full(len(response), cause[0]), cause])
        neural[:, r] = fftconvolve(padded, response)[len(response) : len(response) + n_times]
    total = np.zeros((n_times, n_regions + 1))
    total[:, :n_regions] = neural
    # half of the variance is breath and heart, which all regions share; half is the region's own
    noise = ornstein_uhlenbeck(rng, n_times, n_regions + 1, rate_hz, _NOISE_TAU_S)
    shared = noise[:, -1:]
    total[:, :n_regions] += settings.physiology_percent * np.sqrt(0.5) * (noise[:, :n_regions] + shared)
    total[:, n_regions] += settings.physiology_percent * np.sqrt(0.5) * shared[:, 0]
    drift = _drift(settings, n_times, n_regions + 1, rng)
    return BoldSignals(neural, drift, pulsation, total + drift + pulsation)


def pulsation_signals(
    settings: SimulationSettings, r_times: F64, respiration: F64, rate_hz: float, rng: np.random.Generator
) -> F64:
    """Make what heart and breath do to the signal at once, %, shape (n_times, n_regions + 1).

    Followed at its own rate: a volume samples it at its slices' times, and aliases it (Glover 2000,
    doi:10.1002/1522-2594(200007)44:1<162::AID-MRM23>3.0.CO;2-E).
    """
    n_times, n_series = len(respiration), len(REGIONS) + 1
    sizes = rng.lognormal(0.0, 0.3, (2, n_series))
    lags = rng.uniform(0.0, 2 * np.pi, n_series)
    beats = np.interp(np.arange(n_times) / rate_hz, r_times, np.arange(len(r_times)))
    wave = np.cos(2 * np.pi * beats[:, None] + lags) if settings.cardiac_percent else np.zeros((n_times, n_series))
    cardiac = settings.cardiac_percent * np.sqrt(2.0) * sizes[0] * wave
    return cardiac + settings.breathing_percent * np.sqrt(2.0) * sizes[1] * respiration[:, None]


def volume_spikes(faults: RunFaults, onsets: F64, n_slices: int, tr_s: float) -> F64:
    """Draw volumes in which some slices are brighter or darker, %, shape (n_volumes, n_slices)."""
    rng = faults.rng("bold_spike_size")
    first, extent = rng.integers(0, n_slices, len(onsets)), rng.uniform(0.1, 0.5, len(onsets))
    size = rng.choice([-1.0, 1.0], len(onsets)) * rng.uniform(2.0, 6.0, len(onsets))
    spikes = np.zeros((len(onsets), n_slices))
    for k in faults.chosen("bold_spike", faults.settings.bold_spike, len(onsets)):
        stop = min(n_slices, int(first[k]) + max(1, round(extent[k] * n_slices)))
        spikes[k, first[k] : stop] = size[k]
        slices = [int(first[k]), stop]
        faults.enter("bold_spike", onsets[k], onsets[k] + tr_s, volume=k, slices=slices, percent=round(size[k], 3))
    return spikes


def _drift(settings: SimulationSettings, n_times: int, n_series: int, rng: np.random.Generator) -> F64:
    x = np.linspace(0.0, 1.0, n_times)[:, None]
    common, own = rng.standard_normal(2), rng.standard_normal((2, n_series))
    slope = 0.4 * common[0] + 0.15 * own[0]
    swing = 0.2 * common[1] + 0.1 * own[1]
    return settings.drift_percent * (slope * (x - 0.5) + swing * np.cos(2.0 * np.pi * x * 1.3 + 0.7))
