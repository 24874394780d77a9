"""The heart: R peaks, the ECG as it looks in the field, the pulse artefact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array
from streamer.simulate.ledger import RunFaults
from streamer.simulate.noise import ornstein_uhlenbeck
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject

RESPIRATION_HZ = 0.25
# centre (s after R), width (s), height (mV): P, Q, R, S, T
_WAVES = (
    (-0.16, 0.020, 0.12),
    (-0.026, 0.008, -0.12),
    (0.0, 0.010, 1.0),
    (0.028, 0.010, -0.22),
    (0.26, 0.045, 0.30),
)
# of a beat that begins in a ventricle: no P, a broad R, a T the other way round
_ECTOPIC_WAVES = ((0.0, 0.035, 1.2), (0.10, 0.035, -0.45), (0.30, 0.060, -0.40))
# the flow's voltage in the field, around the T: centre and width, s
_FLOW = (0.19, 0.060)
_ECTOPIC_PULSE = 0.5
_PULSE_LENGTH_S = 0.8
_BREATH_TAU_S = 8.0


@dataclass(frozen=True)
class HeartSignals:
    """At the model's rate."""

    r_times: F64
    """R peaks, s."""
    ecg: F64
    """V, shape (n_times,)."""
    pulse: F64
    """Courses of the pulse artefact's two parts, shape (n_times, 2)."""
    respiration: F64
    """The breath, -1 to 1, shape (n_times,)."""


@dataclass(frozen=True)
class Breath:
    """The breath's phase, rad, at any time."""

    rate_hz: float
    wander: F64
    """rad beyond an even breath at ``rate_hz``; empty when it is even."""

    def __call__(self, times: F64) -> F64:
        even = 2 * np.pi * RESPIRATION_HZ * times
        if not len(self.wander):
            return even
        return even + np.interp(times, np.arange(len(self.wander)) / self.rate_hz, self.wander)


def draw_breath(settings: SimulationSettings, n_times: int, rate_hz: float, rng: np.random.Generator) -> Breath:
    """Draw how the breath's frequency wanders."""
    if settings.breath_sd == 0:
        return Breath(rate_hz, np.empty(0))
    off = settings.breath_sd * ornstein_uhlenbeck(rng, n_times, 1, rate_hz, _BREATH_TAU_S)[:, 0]
    return Breath(rate_hz, 2 * np.pi * RESPIRATION_HZ * np.cumsum(off) / rate_hz)


def heart_signals(
    settings: SimulationSettings,
    subject: Subject,
    breath: Breath,
    n_times: int,
    rate_hz: float,
    rng: np.random.Generator,
    faults: RunFaults,
    r_peaks: F64 | None = None,
) -> HeartSignals:
    """Make the ECG and the pulse artefact.

    The pulse artefact follows the R peak by the time that the pulse takes to the head (Allen 1998,
    doi:10.1006/nimg.1998.0361).
    """
    duration = n_times / rate_hz
    r_times = r_peaks if r_peaks is not None else _r_times(subject.heart_rate, duration, settings.rsa, breath, rng)
    t_of = np.arange(n_times) / rate_hz
    ecg = np.zeros(n_times)
    pulse = np.zeros((n_times, 2))
    gains = 1.0 + 0.15 * np.sin(breath(r_times)) + 0.1 * rng.standard_normal(len(r_times))
    delays = subject.pulse_delay_s + settings.pulse_jitter_s * rng.standard_normal(len(r_times))
    shapes = 1.0 + 0.2 * rng.standard_normal((len(r_times), 2))
    r_times, ectopic = _with_ectopics(r_times, duration, faults)
    gains = np.where(ectopic, _ECTOPIC_PULSE * gains, gains)
    for r, gain, delay, shape, odd in zip(r_times, gains, delays, shapes, ectopic, strict=True):
        beat = slice(max(0, int((r - 0.3) * rate_hz)), max(0, int((r + 0.6) * rate_hz)))
        waves = _ECTOPIC_WAVES if odd else _WAVES
        ecg[beat] += _beat(t_of[beat] - r, (*waves, (*_FLOW, settings.flow_of_r)))
        wave = slice(max(0, int((r + delay - 0.15) * rate_hz)), max(0, int((r + delay + _PULSE_LENGTH_S) * rate_hz)))
        pulse[wave] += gain * shape * _pulse(t_of[wave] - r - delay)
    respiration = np.sin(breath(t_of))
    baseline = 0.05 * respiration + 0.03 * ornstein_uhlenbeck(rng, n_times, 1, rate_hz, 2.0)[:, 0]
    inside = (r_times >= 0) & (r_times < duration)
    return HeartSignals(r_times[inside], (ecg + baseline) * 1e-3, pulse, respiration)


def _with_ectopics(r_times: F64, duration_s: float, faults: RunFaults) -> tuple[F64, Array]:
    ectopic = np.zeros(len(r_times), np.bool_)
    early = faults.rng("ectopic_size").uniform(0.25, 0.4, len(r_times))
    moved = r_times.copy()
    for k in faults.chosen("ectopic", faults.settings.ectopic, len(r_times)):
        # the beat after it comes when it would have come: a pause
        if 0 < k < len(r_times) - 1 and not ectopic[k - 1] and 0 <= r_times[k] < duration_s:
            ectopic[k] = True
            moved[k] -= early[k] * (r_times[k] - r_times[k - 1])
            faults.enter("ectopic_beat", moved[k], r_times[k + 1], r_s=round(float(moved[k]), 6))
    return moved, ectopic


def _r_times(rate_per_min: float, duration_s: float, rsa: float, breath: Breath, rng: np.random.Generator) -> F64:
    mean = 60.0 / rate_per_min
    times: list[float] = [-float(rng.uniform(0.0, mean)) - mean]
    slow = 0.0
    while times[-1] < duration_s + 1.0:
        slow = 0.9 * slow + float(rng.normal(0.0, 0.012))
        respiratory = rsa * float(np.sin(breath(np.array(times[-1]))))
        times.append(times[-1] + mean * max(0.6, 1.0 + respiratory + slow + float(rng.normal(0.0, 0.01))))
    return np.array(times)


def _beat(t: F64, waves: tuple[tuple[float, float, float], ...]) -> F64:
    out = np.zeros_like(t)
    for centre, width, height in waves:
        out += height * np.exp(-0.5 * ((t - centre) / width) ** 2)
    return out


def _pulse(t: F64) -> F64:
    # damped swings at 4 and 7 Hz behind a soft start; both scaled to about 1 from peak to peak
    rise = 1.0 / (1.0 + np.exp(-(t + 0.03) / 0.02))
    first = rise * np.exp(-np.clip(t, 0.0, None) / 0.16) * np.sin(2 * np.pi * 4.0 * t + 0.6)
    second = rise * np.exp(-np.clip(t, 0.0, None) / 0.12) * np.sin(2 * np.pi * 7.0 * t)
    fade = np.clip((_PULSE_LENGTH_S - t) / 0.2, 0.0, 1.0)
    return np.stack([first * fade / 1.3, second * fade / 1.1], axis=1)
