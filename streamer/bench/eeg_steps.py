"""What the pulse correction leaves of alpha that comes all at once: no beat before it had any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamer.bench.eeg_gradient import session
from streamer.bench.eeg_run import lane_settings, through
from streamer.bench.eeg_truth import plant
from streamer.bench.figures import Figure
from streamer.messages import F32, F64, Array

STEPS_V = ((2e-6, 30e-6), (2e-6, 10e-6), (5e-6, 20e-6))
"""Alpha at rest (rms), and amplitude of a burst, V."""
STEP_S = 2.5
_BAND_HZ = (7.5, 13.0)
_FREQUENCIES_HZ = (8.5, 11.8)
_FIRST_S = 8.0
_EVERY_S = 6.0
_SPREAD_S = 2.0
# the envelope's filter blurs the edges of a burst
_EDGE_S = 0.16


def plant_steps(
    n_times: int, topography: F64, size_v: float, sfreq: float, rng: np.random.Generator
) -> tuple[F64, Array]:
    """Draw bursts of alpha that begin from one sample to the next, after a few beats and every 6 s or so.

    Returns
    -------
    bursts : ndarray, shape (n_times, n_channels)
        V.
    onsets : ndarray of int, shape (n_bursts,)
        Their first samples.
    """
    length = round(STEP_S * sfreq)
    last_s = n_times / sfreq - STEP_S - _SPREAD_S - 1.0
    at = np.arange(_FIRST_S, last_s, _EVERY_S)
    onsets: Array = np.round((at + rng.uniform(0.0, _SPREAD_S, len(at))) * sfreq).astype(np.int64)
    course = np.zeros(n_times)
    times = np.arange(length) / sfreq
    for first in onsets.tolist():
        phase = 2 * np.pi * rng.uniform(*_FREQUENCIES_HZ) * times + rng.uniform(0.0, 2 * np.pi)
        course[first : first + length] = size_v * np.cos(phase)
    return np.outer(course, topography), onsets


def kept(data: Array, truth: Array, onsets: Array, sfreq: float) -> F64:
    """Compare the envelope of alpha in each burst with the true one: the median over the burst, shape (n_bursts,).

    Parameters
    ----------
    data, truth : ndarray, shape (n_times,)
        One channel.
    onsets : ndarray of int
        First sample of each burst of `STEP_S`.
    sfreq : float
        Hz.
    """
    share = _envelope(data, sfreq) / _envelope(truth, sfreq)
    inside = range(round(_EDGE_S * sfreq), round((STEP_S - _EDGE_S) * sfreq))
    return np.median(share[onsets[:, None] + np.array(inside)], axis=1)


def _envelope(data: Array, sfreq: float) -> F64:
    """Envelope in the band of alpha, without delay."""
    spectrum = np.fft.fft(data.astype(np.float64))
    freqs = np.fft.fftfreq(len(data), 1.0 / sfreq)
    low, high = _BAND_HZ
    # sides of 1 Hz: a burst's own edges must not ring through it
    gain = np.clip(np.minimum(freqs - low + 0.5, high + 0.5 - freqs), 0.0, 1.0)
    return np.abs(np.fft.ifft(2.0 * gain * spectrum))


def bench_steps(
    progress: Callable[[float], None], seeds: int, *, blocks: int = 12, n_channels: int = 65
) -> list[Figure]:
    """Measure what is left of steps of alpha in EEG with pulse artefact and no gradient, mode ``fast``.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    seeds : int
    blocks : int
        Of 8 s.
    n_channels : int
        With the ECG.
    """
    figures: list[Figure] = []
    for number, (rest_v, step_v) in enumerate(STEPS_V):
        shares: list[float] = []
        for i in range(seeds):
            shares += _shares(rest_v, step_v, 41 + i, blocks, n_channels)
            progress((number + (i + 1) / seeds) / len(STEPS_V))
        name = f"pulse, fast: envelope kept of a step of alpha, {1e6 * rest_v:g} → {1e6 * step_v:g} µV"
        note = f"least of {len(shares)} steps, median {np.median(shares):.2f}"
        figures.append(Figure(name, min(shares), "", 0.9, "more", note=note))
    return figures


def _shares(rest_v: float, step_v: float, seed: int, blocks: int, n_channels: int) -> list[float]:
    planted = plant(session("TR 2 s", seed, alpha_v=rest_v, n_blocks=blocks, n_channels=n_channels))
    topography = planted.subject.rhythms[1].topography
    rng = np.random.default_rng(seed)
    bursts, onsets = plant_steps(len(planted.eeg), topography, step_v, planted.sfreq, rng)
    eeg: F32 = planted.eeg.copy()
    eeg[:, :-1] += bursts
    truth = through([eeg], [], lane_settings(gradient=False), planted.channels, planted.sfreq)
    settings = lane_settings(gradient=False, pulse="fast")
    out = through([eeg, planted.pulse], [], settings, planted.channels, planted.sfreq)
    channel = int(np.argmax(np.abs(topography)))
    there = np.isfinite(truth.data[:, channel]) & np.isfinite(out.data[:, channel])
    data, true = (np.where(there, one.data[:, channel], 0.0) for one in (out, truth))
    return kept(data, true, onsets // truth.factor, truth.sfreq).tolist()
