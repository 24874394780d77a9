"""Head motion: one path for the EEG, for the gradient artefact's size and for the volumes."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64
from streamer.simulate.ledger import RunFaults
from streamer.simulate.noise import ornstein_uhlenbeck, smooth_steps
from streamer.simulate.settings import SimulationSettings

_TAU_S = 40.0
_SMOOTH_S = 0.8
_NOD_S = 0.6
# a rotation of 1 rad/s turns a wire's loop in the field: the voltage at the channel where it is greatest, V
VOLT_PER_RAD_S = 8e-3


def head_motion(settings: SimulationSettings, n_times: int, rate_hz: float, rng: np.random.Generator) -> F64:
    """Draw a path.

    Returns
    -------
    array, shape (n_times, 6)
        Translations x, y, z in mm, rotations about x, y, z in rad; 0 at the start.
    """
    slow = ornstein_uhlenbeck(rng, n_times, 6, rate_hz, _TAU_S)
    slow = _smoothed(slow, max(1, round(_SMOOTH_S * rate_hz)))
    size = np.array([settings.motion_mm] * 3 + [np.deg2rad(1.25 * settings.motion_mm)] * 3)
    minutes = n_times / rate_hz / 60.0
    count = int(rng.poisson(settings.nods_per_min * minutes))
    at = np.sort(rng.uniform(0.0, n_times / rate_hz, count))
    # mostly a nod (about x) with the shift along y and z that goes with it, and about half of it is taken back
    extent = rng.uniform(0.3, 0.9, count) * rng.choice([-1.0, 1.0], count)
    shape = np.array([0.1, 0.5, 0.8, np.deg2rad(0.6), np.deg2rad(0.1), np.deg2rad(0.1)])
    heights = extent[:, None] * shape * rng.normal(1.0, 0.2, (count, 6))
    path = slow * size
    path += smooth_steps(at, heights, n_times, rate_hz, _NOD_S)
    path += smooth_steps(at + rng.uniform(1.0, 6.0, count), -0.5 * heights, n_times, rate_hz, _NOD_S)
    return path - path[:1]


def movement_bursts(n_times: int, rate_hz: float, faults: RunFaults) -> F64:
    """Draw bursts of movement, mm and rad, shape (n_times, 6): to and fro, about where the head lies."""
    rng = faults.rng("movement")
    path = np.zeros((n_times, 6))
    duration = n_times / rate_hz
    for at in faults.moments(rng, faults.settings.movement_per_min, 0.0, duration):
        length, size_mm = float(rng.uniform(1.0, 3.0)), float(rng.uniform(0.3, 1.5))
        shape = np.array([0.3, 0.6, 1.0, *np.deg2rad([0.8, 0.3, 0.3])]) * rng.choice([-1.0, 1.0], 6)
        first, stop = int(at * rate_hz), min(n_times, int((at + length) * rate_hz))
        t = np.arange(stop - first) / rate_hz
        swing = np.sin(np.pi * t / length) ** 2 * np.sin(2 * np.pi * float(rng.uniform(0.7, 1.5)) * t)
        path[first:stop] += size_mm * swing[:, None] * shape
        faults.enter("movement", at, min(at + length, duration), size_mm=round(size_mm, 3))
    return path


def _smoothed(values: F64, width: int) -> F64:
    # two running means: a path without corners, as a head has it
    for _ in range(2):
        padded = np.concatenate([np.repeat(values[:1], width, axis=0), values])
        sums = np.cumsum(padded, axis=0)
        values = (sums[width:] - sums[:-width]) / width
    return values


def motion_voltage(motion: F64, electrodes: F64, rate_hz: float) -> F64:
    """Voltage that turning the head in the field induces, V, shape (n_times, n_eeg)."""
    turning = np.gradient(motion[:, 3:], 1.0 / rate_hz, axis=0)
    # nodding acts on loops along the midline, turning and tilting on loops across
    maps = np.array([electrodes[:, 1] + 0.5 * electrodes[:, 2], electrodes[:, 0], electrodes[:, 0] * electrodes[:, 2]])
    return VOLT_PER_RAD_S * turning @ maps
