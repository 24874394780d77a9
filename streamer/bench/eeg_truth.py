"""EEG in the scanner whose every part is known, in memory: what the cleaning is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamer.messages import F32, F64, Array, ChannelInfo
from streamer.simulate.amplifier import finer_blocks
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.ledger import RunFaults
from streamer.simulate.montage import channel_infos
from streamer.simulate.physiology import Physiology, make_physiology
from streamer.simulate.plan import plan_runs
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject, draw_subject
from streamer.simulate.timing import run_timing, volume_schedule


@dataclass(frozen=True)
class Planted:
    """One run at the amplifier's rate, its parts apart: what is recorded is their sum.

    Arrays are float32, V, shape (n_times, n_channels); the last channel is the ECG.
    """

    settings: SimulationSettings
    subject: Subject
    body: Physiology
    """At about 250 Hz; ``body.brain.eeg`` is the brain alone, ``body.heart.r_times`` the R peaks, s."""
    channels: tuple[ChannelInfo, ...]
    eeg: F32
    """Brain, blinks, motion, line, pump and noise; in the ECG channel the heart."""
    pulse: F32
    """Pulse artefact; 0 in the ECG channel."""
    gradient: F32
    """Gradient artefact."""
    starts: F64
    """Where each volume's artefact begins, samples with fractions, shape (n_volumes + 1,)."""
    triggers: Array
    """Sample of each volume's trigger, shape (n_volumes,)."""
    artefact: GradientArtefact

    @property
    def sfreq(self) -> float:
        """Hz."""
        return self.settings.sfreq

    def moved(self, shifts: F64) -> Planted:
        """Let each volume's artefact begin so many s after its trigger, shape (n_volumes,)."""
        n = len(shifts)
        starts = self.starts.copy()
        starts[:n] = self.triggers + shifts * self.sfreq
        artefact = _artefact(self.settings, self.subject, self.body, starts, starts[1:])
        gradient = np.zeros_like(self.gradient)
        artefact.add_to(gradient, 0)
        return replace(self, gradient=gradient, starts=starts, artefact=artefact)

    def scaled(self, gains: F64) -> Planted:
        """Multiply each volume's artefact, shape (n_volumes,)."""
        gradient = self.gradient.copy()
        edges = np.ceil(self.starts).astype(np.int64)
        for k, gain in enumerate(gains.tolist()):
            gradient[edges[k] : edges[k + 1]] *= np.float32(gain)
        return replace(self, gradient=gradient)

    def with_references(self, count: int = 4, noise: float = 0.1) -> Planted:
        """Add channels of kind ``ref`` behind the ECG: the pulse artefact, and noise of ``noise`` of its size."""
        rng = np.random.default_rng(self.settings.seed)
        courses = self.body.heart.pulse @ rng.standard_normal((2, count)) * self.settings.pulse_v
        seen = courses + noise * courses.std(axis=0) * rng.standard_normal(courses.shape)
        fine = _fine(seen, self.settings, len(self.eeg))
        nothing = np.zeros_like(fine)
        return replace(
            self,
            channels=(*self.channels, *(ChannelInfo(f"CWL{i + 1}", "ref") for i in range(count))),
            eeg=np.hstack([self.eeg, nothing]),
            pulse=np.hstack([self.pulse, fine]),
            gradient=np.hstack([self.gradient, nothing]),
        )


def plant(settings: SimulationSettings) -> Planted:
    """Draw the task run of a session.

    The length is that of ``n_blocks`` blocks of ``block_s``, ``lead_s``, ``start_s`` and ``stop_s``.
    """
    for_subject, for_plan, _, _, _, for_run = np.random.default_rng(settings.seed).spawn(6)
    subject = draw_subject(settings, for_subject)
    plan = plan_runs(settings, for_plan)[-1]
    for_body, for_timing, for_export = for_run.spawn(3)
    faults = RunFaults(plan.faults, settings.seed, 1)
    body = make_physiology(settings, subject, plan, for_body, faults)
    schedule = volume_schedule(settings, plan, None)
    timing = run_timing(settings, subject, plan, schedule, faults, for_timing, for_export)
    artefact = _artefact(settings, subject, body, timing.artefact, timing.artefact_stops)
    n = round(plan.duration_s * settings.sfreq)
    pulse = np.zeros((len(body.state), settings.n_channels))
    pulse[:, :-1] = body.heart.pulse @ subject.pulse
    gradient = np.zeros((n, settings.n_channels), np.float32)
    artefact.add_to(gradient, 0)
    return Planted(
        settings=settings,
        subject=subject,
        body=body,
        channels=channel_infos(settings.n_channels),
        eeg=_fine(body.recorded(subject) - pulse, settings, n),
        pulse=_fine(pulse, settings, n),
        gradient=gradient,
        starts=artefact.starts,
        triggers=timing.triggers,
        artefact=artefact,
    )


def _artefact(
    settings: SimulationSettings, subject: Subject, body: Physiology, starts: F64, stops: F64
) -> GradientArtefact:
    middles = starts[:-1] / settings.sfreq + settings.tr_s / 2
    # a generator of its own: the same template wherever the volumes begin
    rng = np.random.default_rng(settings.seed).spawn(6)[3]
    return GradientArtefact(settings, subject, starts, stops, body.motion[body.at(middles)], rng)


def _fine(courses: F64, settings: SimulationSettings, n: int) -> F32:
    out = np.empty((n, courses.shape[1]), np.float32)
    for first, block in finer_blocks(courses, settings.factor, settings.sfreq, n):
        out[first : first + len(block)] = block
    return out
