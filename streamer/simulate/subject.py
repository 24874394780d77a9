"""The participant: what is drawn once and stays the same over the runs of a session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64
from streamer.simulate.montage import positions, topography
from streamer.simulate.settings import SimulationSettings

N_BACKGROUND = 24
REGIONS = ("occipital_L", "occipital_R", "motor_L", "motor_R", "thalamus", "control")
# response to the state and to spontaneous alpha, relative to occipital cortex (Goldman 2002: thalamus against cortex)
_RESPONSE = np.array([1.0, 1.0, 0.8, 0.8, 0.5, 0.0])
_COUPLING = np.array([-1.0, -1.0, 0.0, 0.0, 0.7, 0.0])


@dataclass(frozen=True)
class Rhythm:
    """An oscillation of the brain as it is seen from outside."""

    centre_hz: float
    bandwidth_hz: float
    rms_v: float
    """At rest, at the channel where it is strongest."""
    topography: F64
    """Shape (n_eeg,), greatest absolute value 1."""
    loss: float
    """Part of its power that is lost in task."""


@dataclass(frozen=True)
class Subject:
    """One participant in one cap."""

    electrodes: F64
    """Shape (n_eeg, 3), unit sphere."""
    background: F64
    """Mixing of the background's sources, V, shape (N_BACKGROUND, n_eeg)."""
    rhythms: tuple[Rhythm, ...]
    blink: F64
    """Topography of a blink, V, shape (n_eeg,)."""
    line: F64
    """Line noise per channel with the ECG, V, shape (n_eeg + 1,)."""
    heart_rate: float
    """Beats per minute."""
    pulse_delay_s: float
    """From the R peak to the pulse artefact."""
    pulse: F64
    """Topographies of the pulse artefact's two parts, V, shape (2, n_eeg)."""
    gradient: F64
    """Gradient artefact per axis (R, A, S) and channel with the ECG, relative, shape (3, n_eeg + 1)."""
    response: F64
    """Response of each region to a long task block, %, shape (n_regions,)."""
    coupling: F64
    """Effect of one sd of spontaneous alpha power on each region, %, shape (n_regions,)."""
    hrf_peak_s: F64
    """Lag of the response's peak per region, s, shape (n_regions,)."""
    recon_s: float
    """What the scanner takes to reconstruct a volume, s."""


def draw_subject(settings: SimulationSettings, rng: np.random.Generator) -> Subject:
    """Draw a participant."""
    electrodes = positions(settings.n_channels)
    n_eeg = len(electrodes)
    spread = settings.subject_sd

    def varied(value: float) -> float:
        return value * float(np.exp(spread * rng.standard_normal()))

    loss = 0.0 if settings.null else min(0.9, varied(settings.erd))
    if settings.effect_in == "bold":
        loss = 0.0
    response = varied(settings.bold_percent) * _RESPONSE * np.exp(0.5 * spread * rng.standard_normal(len(REGIONS)))
    # the coupling of some participants has the other sign (Goncalves 2005)
    sign = 1.0 if rng.random() < 0.8 else -1.0
    coupling = sign * varied(settings.coupling_percent) * _COUPLING
    if settings.null or settings.effect_in != "both":
        # what ties one modality to the other would tell a fusion of a state that only one of them knows
        coupling = coupling * 0.0
    if settings.null or settings.effect_in == "eeg":
        response = response * 0.0
    left = 0.5 * (1.0 - electrodes[:, 0])
    frontal = topography(electrodes, np.array([0.0, 0.72, -0.05]), np.array([0.0, 1.0, 0.15]))
    return Subject(
        electrodes=electrodes,
        background=_background(electrodes, settings.background_v, rng),
        rhythms=_rhythms(settings, electrodes, loss, rng),
        blink=150e-6 * np.clip(frontal, 0.0, None) * np.exp(0.1 * rng.standard_normal(n_eeg)),
        line=settings.line_v * np.exp(0.5 * rng.standard_normal(n_eeg + 1)),
        heart_rate=float(rng.uniform(54.0, 80.0)),
        pulse_delay_s=float(rng.uniform(0.16, 0.21)),
        pulse=_pulse(electrodes, left, settings.pulse_v, rng),
        gradient=_gradient(electrodes, rng),
        response=response,
        coupling=coupling,
        hrf_peak_s=np.clip(5.0 + 0.5 * rng.standard_normal() + 0.4 * rng.standard_normal(len(REGIONS)), 4.0, 6.5),
        recon_s=float(rng.uniform(0.2, 0.6)),
    )


def _direction(rng: np.random.Generator) -> F64:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _background(electrodes: F64, sd_v: float, rng: np.random.Generator) -> F64:
    maps = np.array(
        [topography(electrodes, _direction(rng) * rng.uniform(0.3, 0.75), _direction(rng)) for _ in range(N_BACKGROUND)]
    )
    # the same sd at every channel, up to an electrode's own gain
    return maps * (sd_v / np.sqrt((maps**2).sum(axis=0))) * np.exp(0.15 * rng.standard_normal(maps.shape[1]))


def _off_grid(centre_hz: float, spacing_hz: float) -> float:
    # what repeats with every volume is taken for gradient artefact: keep the peak between the multiples of 1/TR
    whole, part = divmod(centre_hz / spacing_hz, 1.0)
    return float((whole + np.clip(part, 0.3, 0.7)) * spacing_hz)


def _rhythms(
    settings: SimulationSettings, electrodes: F64, loss: float, rng: np.random.Generator
) -> tuple[Rhythm, ...]:
    spacing = 1.0 / settings.tr_s
    individual = _off_grid(float(np.clip(10.1 + 0.4 * rng.standard_normal(), 9.0, 11.4)), spacing)
    beta = _off_grid(float(rng.uniform(18.0, 22.0)), spacing)
    # where, strength, centre, bandwidth, share of the loss
    sources = (
        ((-0.28, -0.62, 0.20), 0.85, individual, 1.2, 1.0),
        ((0.28, -0.62, 0.20), 1.0, individual + 0.15, 1.2, 1.0),
        ((-0.45, -0.02, 0.55), 0.45, individual + 0.5, 1.5, 0.9),
        ((0.45, -0.02, 0.55), 0.45, individual + 0.5, 1.5, 0.9),
        ((-0.42, 0.05, 0.58), 0.25, beta, 5.0, 0.6),
        ((0.42, 0.05, 0.58), 0.25, beta, 5.0, 0.6),
    )
    rhythms: list[Rhythm] = []
    for where, strength, centre, bandwidth, share in sources:
        source = np.array(where) + 0.05 * rng.standard_normal(3)
        moment = source / np.linalg.norm(source) + 0.25 * rng.standard_normal(3)
        rms = settings.alpha_v * strength * float(np.exp(settings.subject_sd * rng.standard_normal()))
        rhythms.append(Rhythm(centre, bandwidth, rms, topography(electrodes, source, moment), loss * share))
    return tuple(rhythms)


def _pulse(electrodes: F64, left: F64, peak_to_peak_v: float, rng: np.random.Generator) -> F64:
    # nodding and axial rotation in the field: opposite signs left and right (Yan 2010, Human Brain Mapping 31:604)
    first = 2.0 * left - 1.0 + 0.25 * electrodes[:, 1] + 0.1 * rng.standard_normal(len(electrodes))
    second = electrodes[:, 1] + 0.3 * electrodes[:, 2] + 0.1 * rng.standard_normal(len(electrodes))
    return peak_to_peak_v * np.array([first / np.abs(first).max(), 0.5 * second / np.abs(second).max()])


def _gradient(electrodes: F64, rng: np.random.Generator) -> F64:
    # each axis' switching induces a voltage that grows with the place along it, plus the loop of the electrode's wire
    brain = electrodes.T + 0.35 * rng.standard_normal((3, len(electrodes)))
    ecg = np.array([[0.8], [-1.6], [-2.0]]) + 0.3 * rng.standard_normal((3, 1))
    return np.hstack([brain, ecg])
