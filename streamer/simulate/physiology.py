"""All courses of one run at the model's rate of about 250 Hz; each component is kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64
from streamer.simulate.bold import BoldSignals, bold_signals, pulsation_signals
from streamer.simulate.brain import BrainSignals, brain_signals
from streamer.simulate.heart import HeartSignals, draw_breath, heart_signals
from streamer.simulate.lead_faults import LeadFaults, draw_lead_faults
from streamer.simulate.ledger import RunFaults
from streamer.simulate.motion import head_motion, motion_voltage, movement_bursts
from streamer.simulate.noise import ornstein_uhlenbeck
from streamer.simulate.plan import RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject

_PUMP_HZ = 43.0
_BLINK_S = 0.35


@dataclass(frozen=True)
class Physiology:
    """One run."""

    rate_hz: float
    state: F64
    """1 in task, shape (n_times,)."""
    brain: BrainSignals
    heart: HeartSignals
    blink: F64
    """Course of the blinks, 1 at the height of one, shape (n_times,)."""
    motion: F64
    """mm and rad, shape (n_times, 6)."""
    motion_eeg: F64
    """What moving induces, V, shape (n_times, n_eeg)."""
    power: F64
    """Line and pump, V, shape (n_times, n_eeg + 1)."""
    sensor: F64
    """Noise of the amplifier, V, shape (n_times, n_eeg + 1)."""
    bold: BoldSignals
    leads: LeadFaults
    """What goes wrong between the skin and the amplifier."""

    def at(self, times: F64) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Give the samples of the model that lie at ``times``, s."""
        return np.clip(np.rint(times * self.rate_hz), 0, len(self.state) - 1).astype(np.int64)

    def recorded(self, subject: Subject) -> F64:
        """Sum up what the amplifier sees but for the gradient artefact, V, shape (n_times, n_eeg + 1)."""
        out = self.power + self.sensor
        out[:, :-1] += self.brain.eeg + self.motion_eeg
        out[:, :-1] += self.blink[:, None] * subject.blink + self.heart.pulse @ subject.pulse
        out[:, -1] += self.heart.ecg
        out[:, self.leads.channels] += self.leads.course
        return out


def make_physiology(
    settings: SimulationSettings,
    subject: Subject,
    plan: RunPlan,
    rng: np.random.Generator,
    faults: RunFaults,
    r_peaks: F64 | None = None,
) -> Physiology:
    """Draw a run. Every component has a generator of its own, so that changing one leaves the others as they are.

    Parameters
    ----------
    settings, subject, plan
    rng : Generator
    faults : RunFaults
    r_peaks : array or None
        Real ones, s; by default they are drawn.
    """
    rate = settings.model_hz
    n_times = int(np.ceil(plan.duration_s * rate))
    state = plan.state(np.arange(n_times) / rate)
    acting = np.zeros_like(state) if settings.null else state
    for_brain, for_heart, for_motion, for_blinks, for_power, for_bold, for_breath, for_pulsation = rng.spawn(8)
    brain = brain_signals(subject, acting, rate, for_brain)
    motion = head_motion(settings, n_times, rate, for_motion) + movement_bursts(n_times, rate, faults)
    breath = draw_breath(settings, n_times, rate, for_breath)
    heart = heart_signals(settings, subject, breath, n_times, rate, for_heart, faults, r_peaks)
    pulsation = pulsation_signals(settings, heart.r_times, heart.respiration, rate, for_pulsation)
    return Physiology(
        rate_hz=rate,
        state=state,
        brain=brain,
        heart=heart,
        blink=_blinks(settings.blinks_per_min, n_times, rate, for_blinks),
        motion=motion,
        motion_eeg=motion_voltage(motion, subject.electrodes, rate),
        power=_power(settings, subject, n_times, rate, for_power),
        sensor=settings.sensor_v * for_power.standard_normal((n_times, settings.n_channels)),
        bold=bold_signals(settings, subject, acting, brain.spontaneous, pulsation, rate, for_bold),
        leads=draw_lead_faults(settings, n_times, rate, faults),
    )


def _blinks(per_min: float, n_times: int, rate_hz: float, rng: np.random.Generator) -> F64:
    out = np.zeros(n_times)
    if per_min == 0:
        return out
    shape = np.sin(np.pi * np.linspace(0.0, 1.0, max(3, round(_BLINK_S * rate_hz)))) ** 2
    at = 0.0
    while True:
        # no blink within half a second of another
        at += 0.5 + float(rng.exponential(max(0.1, 60.0 / per_min - 0.5)))
        first = round(at * rate_hz)
        if first + len(shape) > n_times:
            return out
        out[first : first + len(shape)] += shape * float(rng.lognormal(0.0, 0.2))


def _power(
    settings: SimulationSettings, subject: Subject, n_times: int, rate_hz: float, rng: np.random.Generator
) -> F64:
    t = np.arange(n_times) / rate_hz
    line = np.cos(2 * np.pi * settings.line_hz * t + rng.uniform(0, 2 * np.pi))
    swell = 1.0 + 0.3 * ornstein_uhlenbeck(rng, n_times, 1, rate_hz, 3.0)[:, 0]
    pump = swell * np.cos(2 * np.pi * _PUMP_HZ * t + rng.uniform(0, 2 * np.pi))
    pump_map = settings.pump_v * np.exp(0.4 * rng.standard_normal(settings.n_channels))
    return line[:, None] * subject.line + pump[:, None] * pump_map
