"""What the brain gives to the EEG: pink background and rhythms that lose power in task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64
from streamer.simulate.noise import ornstein_uhlenbeck, oscillation, pink
from streamer.simulate.subject import N_BACKGROUND, Subject

REACTION_S = 0.4
"""From the start of a block to the middle of the change."""
_SPONTANEOUS_SD = 0.12
_SPONTANEOUS_TAU_S = 5.0


@dataclass(frozen=True)
class BrainSignals:
    """At the model's rate."""

    eeg: F64
    """V, shape (n_times, n_eeg)."""
    envelope: F64
    """Amplitude of each rhythm at its strongest channel, V, shape (n_times, n_rhythms)."""
    phase: F64
    """Of each rhythm, rad, shape (n_times, n_rhythms)."""
    spontaneous: F64
    """Slow ups and downs of the rhythms that have no cause in the task: log amplitude in sd, shape (n_times,)."""


def brain_signals(subject: Subject, state: F64, rate_hz: float, rng: np.random.Generator) -> BrainSignals:
    """Make the brain's EEG.

    Parameters
    ----------
    subject : Subject
    state : array, shape (n_times,)
        1 in task.
    rate_hz : float
    rng : Generator
    """
    n_times = len(state)
    eeg = pink(rng, n_times, N_BACKGROUND, rate_hz) @ subject.background
    spontaneous = ornstein_uhlenbeck(rng, n_times, 1, rate_hz, _SPONTANEOUS_TAU_S)[:, 0]
    engaged = _engaged(state, rate_hz)
    envelope, phase = np.empty((2, n_times, len(subject.rhythms)))
    for k, rhythm in enumerate(subject.rhythms):
        # a loss of power; the amplitude goes with its root
        amplitude = np.sqrt(1.0 - rhythm.loss * engaged) * np.exp(_SPONTANEOUS_SD * spontaneous)
        wave = oscillation(rng, n_times, rate_hz, rhythm.centre_hz, rhythm.bandwidth_hz) * (rhythm.rms_v * amplitude)
        envelope[:, k], phase[:, k] = np.abs(wave), np.angle(wave)
        eeg += wave.real[:, None] * rhythm.topography
    return BrainSignals(eeg, envelope, phase, spontaneous)


def _engaged(state: F64, rate_hz: float) -> F64:
    # a running mean with a rectangular and a delayed window: the change takes 2 · REACTION_S
    width = max(1, round(2.0 * REACTION_S * rate_hz))
    sums = np.cumsum(np.concatenate([np.full(width, state[0]), state]))
    return (sums[width:] - sums[:-width]) / width
