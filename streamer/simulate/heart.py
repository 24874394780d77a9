"""The heart: R peaks, the ECG as it looks in the field, the pulse artefact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64
from streamer.simulate.noise import ornstein_uhlenbeck
from streamer.simulate.subject import Subject

RESPIRATION_HZ = 0.25
# centre (s after R), width (s), height (mV): P, Q, R, S, T; the last is the flow's voltage in the field, around the T
_WAVES = (
    (-0.16, 0.020, 0.12),
    (-0.026, 0.008, -0.12),
    (0.0, 0.010, 1.0),
    (0.028, 0.010, -0.22),
    (0.26, 0.045, 0.30),
    (0.19, 0.060, 0.25),
)
_PULSE_LENGTH_S = 0.8


@dataclass(frozen=True)
class HeartSignals:
    """At the model's rate."""

    r_times: F64
    """R peaks, s."""
    ecg: F64
    """V, shape (n_times,)."""
    pulse: F64
    """Courses of the pulse artefact's two parts, shape (n_times, 2)."""


def heart_signals(subject: Subject, n_times: int, rate_hz: float, rng: np.random.Generator) -> HeartSignals:
    """Make the ECG and the pulse artefact."""
    r_times = _r_times(subject.heart_rate, n_times / rate_hz, rng)
    t_of = np.arange(n_times) / rate_hz
    ecg = np.zeros(n_times)
    pulse = np.zeros((n_times, 2))
    gains = 1.0 + 0.15 * np.sin(2 * np.pi * RESPIRATION_HZ * r_times) + 0.1 * rng.standard_normal(len(r_times))
    delays = subject.pulse_delay_s + 0.010 * rng.standard_normal(len(r_times))
    shapes = 1.0 + 0.2 * rng.standard_normal((len(r_times), 2))
    for r, gain, delay, shape in zip(r_times, gains, delays, shapes, strict=True):
        beat = slice(max(0, int((r - 0.3) * rate_hz)), max(0, int((r + 0.6) * rate_hz)))
        ecg[beat] += _beat(t_of[beat] - r)
        wave = slice(max(0, int((r + delay - 0.15) * rate_hz)), max(0, int((r + delay + _PULSE_LENGTH_S) * rate_hz)))
        pulse[wave] += gain * shape * _pulse(t_of[wave] - r - delay)
    breath = (
        0.05 * np.sin(2 * np.pi * RESPIRATION_HZ * t_of)
        + 0.03 * ornstein_uhlenbeck(rng, n_times, 1, rate_hz, 2.0)[:, 0]
    )
    inside = (r_times >= 0) & (r_times < n_times / rate_hz)
    return HeartSignals(r_times[inside], (ecg + breath) * 1e-3, pulse)


def _r_times(rate_per_min: float, duration_s: float, rng: np.random.Generator) -> F64:
    mean = 60.0 / rate_per_min
    times: list[float] = [-float(rng.uniform(0.0, mean)) - mean]
    slow = 0.0
    while times[-1] < duration_s + 1.0:
        slow = 0.9 * slow + float(rng.normal(0.0, 0.012))
        respiratory = 0.04 * np.sin(2 * np.pi * RESPIRATION_HZ * times[-1])
        times.append(times[-1] + mean * max(0.6, 1.0 + respiratory + slow + float(rng.normal(0.0, 0.01))))
    return np.array(times)


def _beat(t: F64) -> F64:
    out = np.zeros_like(t)
    for centre, width, height in _WAVES:
        out += height * np.exp(-0.5 * ((t - centre) / width) ** 2)
    return out


def _pulse(t: F64) -> F64:
    # damped swings at 4 and 7 Hz behind a soft start; both scaled to about 1 from peak to peak
    rise = 1.0 / (1.0 + np.exp(-(t + 0.03) / 0.02))
    first = rise * np.exp(-np.clip(t, 0.0, None) / 0.16) * np.sin(2 * np.pi * 4.0 * t + 0.6)
    second = rise * np.exp(-np.clip(t, 0.0, None) / 0.12) * np.sin(2 * np.pi * 7.0 * t)
    fade = np.clip((_PULSE_LENGTH_S - t) / 0.2, 0.0, 1.0)
    return np.stack([first * fade / 1.3, second * fade / 1.1], axis=1)
