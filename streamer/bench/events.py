"""``streamer bench events``: phase error of phase-targeted triggers, and planted spindles and spikes found again.

On simulated EEG of 250 Hz: 1/f noise through a band-pass of 1 to 40 Hz, with what looks like the events and is none,
bursts of alpha and muscle, blinks, what is left of a pulse artefact. And on a simulated session with none of them that
went through the whole lane.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy import signal

from streamer.bench.eeg_run import chunks
from streamer.bench.eeg_truth import plant
from streamer.bench.figures import Figure
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.clock import stopwatch
from streamer.decode.candidate import Candidate
from streamer.decode.event_sources import EventSources, EventSourcesSettings
from streamer.decode.phase_target import Lane, PhaseTargetSettings
from streamer.decode.spikes import SpikeSettings
from streamer.decode.spindles import SpindleSettings
from streamer.messages import F64, Array, CleanEeg, Feature
from streamer.simulate.settings import SimulationSettings

SFREQ = 250.0
N_CHANNELS = 16
BACKGROUND_V = 1e-5
LANE = Lane(delay_s=0.0145, hold_s=0.0)
"""The lane as it comes: no hold."""
PHASE_SD_DEG, PHASE_BIAS_DEG, PHASE_SNR_DB = 45.0, 10.0, 5
SPINDLE_F1, SPINDLE_SNR_DB = 0.8, 12
SPIKE_F1, SPIKE_SNR_DB = 0.8, 18
FALSE_PER_MINUTE = 1.0

_CHUNK = 5
_FIRST_S = 15.0


@dataclass(frozen=True)
class PlantedEvents:
    """EEG with events at known times."""

    eeg: F64
    """V, shape (n_times, n_channels)."""
    events: Array
    """First and last sample of each, shape (n_events, 2)."""


@dataclass(frozen=True)
class Found:
    """How well planted events were found."""

    f1: float
    false_per_minute: float
    delay_s: float
    """Median from the begin of an event to the moment at which it was told, s; NaN when none was found."""


def bench_events(progress: Callable[[float], None], *, quick: bool = False) -> list[Figure]:
    """Measure what asks for triggers beside the score.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    quick : bool
        Shorter recordings, and every third dB.
    """
    minutes, step = (3.0, 3) if quick else (10.0, 1)
    phase_snrs, spindle_snrs, spike_snrs = range(5, 14, 4), range(6, 16, step), range(12, 22, step)
    n = len(phase_snrs) + len(spindle_snrs) + len(spike_snrs)
    figures: list[Figure] = []
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress(done / n)

    for snr_db in phase_snrs:
        figures += _phase_figures(snr_db, minutes)
        tell()
    one = EventSourcesSettings(spindle=SpindleSettings(enabled=True, signals={"one": {"0": 1.0}}))
    spike = EventSourcesSettings(spike=SpikeSettings(enabled=True))
    for snr_db in spindle_snrs:
        bar = SPINDLE_F1 if snr_db >= SPINDLE_SNR_DB else None
        figures += _event_figures("spindles", plant_spindles(snr_db, minutes, 1), one, snr_db, bar)
        tell()
    for snr_db in spike_snrs:
        bar = SPIKE_F1 if snr_db >= SPIKE_SNR_DB else None
        figures += _event_figures("spikes", plant_spikes(snr_db, minutes, 1), spike, snr_db, bar)
        tell()
    return [*figures, *_lane_figures(8 if quick else 16), *_cost_figures()]


def run_sources(settings: EventSourcesSettings, eeg: F64) -> tuple[EventSources, list[Candidate | Feature]]:
    """Feed EEG whose sample 0 is at 0 s, shape (n_times, n_channels), in chunks of 20 ms."""
    sources = EventSources(settings, SFREQ, [str(c) for c in range(eeg.shape[1])], LANE)
    bad = np.zeros(eeg.shape[1], dtype=bool)
    found: list[Candidate | Feature] = []
    for at in range(0, len(eeg), _CHUNK):
        data = eeg[at : at + _CHUNK].astype(np.float32)
        times = np.arange(at, at + len(data)) / SFREQ
        found += sources(CleanEeg(data, times, at, at + len(data)), bad)
    return sources, found


def plant_alpha(snr_db: float, minutes: float, seed: int, centre_hz: float = 10.1) -> tuple[F64, Array]:
    """Make alpha of 0.8 Hz bandwidth in 1/f noise, and give its analytic signal too.

    ``snr_db`` is its power to that of the noise within 8 to 13 Hz.
    """
    rng = np.random.default_rng(seed)
    n = round(60 * minutes * SFREQ)
    pole = np.exp((2j * np.pi * centre_hz - np.pi * 0.8) / SFREQ)
    drive = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    alpha: Array = cast("Any", signal.lfilter)([1.0], [1.0, -pole], drive)
    alpha *= BACKGROUND_V / np.real(alpha).std()
    noise = _pink(rng, n, 1)[:, 0]
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(n, 1 / SFREQ)
    spectrum[(hz < 8) | (hz > 13)] = 0
    noise *= BACKGROUND_V / np.fft.irfft(spectrum, n).std() * 10 ** (-snr_db / 20)
    return (noise + np.real(alpha))[:, None], alpha


def phase_errors(found: Sequence[Candidate | Feature], alpha: Array, centre_hz: float = 10.1) -> Array:
    """Give the true phase at which each trigger was asked for, rad, shape (n_triggers,)."""
    at = np.array([c.fire_at for c in found if isinstance(c, Candidate)]) * SFREQ
    nearest = np.round(at).astype(int)
    within = nearest < len(alpha)
    turned = 2 * np.pi * centre_hz * (at - nearest) / SFREQ
    return np.angle(alpha[nearest[within]] * np.exp(1j * turned[within]))


def plant_spindles(snr_db: float, minutes: float, seed: int) -> PlantedEvents:
    """Make spindles of 0.7 to 1.5 s and 12 to 15 Hz among bursts of alpha and muscle.

    ``snr_db`` is the power of a spindle where it is strongest to that of the noise within 11 to 16 Hz.
    """
    rng = np.random.default_rng(seed)
    n = round(60 * minutes * SFREQ)
    eeg = _band(_pink(rng, n, 1)[:, 0], 1, 40)
    eeg *= BACKGROUND_V / eeg.std()
    size = _band(eeg, 11, 16).std() * math.sqrt(2) * 10 ** (snr_db / 20)
    events = _places(rng, n, 10.0, (0.7, 1.5))
    for start, stop in events:
        t = np.arange(stop - start) / SFREQ
        turns = rng.uniform(12, 15) * t - 0.5 * np.square(t) + rng.uniform()
        eeg[start:stop] += size * _hump(stop - start) * np.cos(2 * np.pi * turns)
    for start, stop in _places(rng, n, 15.0, (1.0, 3.0)):
        eeg[start:stop] += _alpha_burst(rng, stop - start, 2 * BACKGROUND_V)
    muscle = np.zeros(n)
    for start, stop in _places(rng, n, 22.0, (0.4, 2.0)):
        strength = rng.uniform(1, 4) * BACKGROUND_V
        muscle[start:stop] = strength * np.sqrt(_hump(stop - start)) * rng.standard_normal(stop - start)
    return PlantedEvents((eeg + _band(muscle, 10, 40))[:, None], events)


def plant_spikes(snr_db: float, minutes: float, seed: int) -> PlantedEvents:
    """Make spikes and sharp waves of 25 to 160 ms among blinks, pulse residue and bursts of alpha and muscle.

    ``snr_db`` is the peak of a spike, where it is strongest, to the root mean square of the noise of a channel.
    """
    rng = np.random.default_rng(seed)
    n, c = round(60 * minutes * SFREQ), N_CHANNELS
    apart = np.abs(np.subtract.outer(np.arange(c), np.arange(c)))
    mix = 0.6 * rng.standard_normal((c, c)) * np.exp(-apart / 2) + 0.5 * np.eye(c)
    eeg = _band(_pink(rng, n, c) @ mix, 1, 40)
    eeg *= BACKGROUND_V / eeg.std()
    events = _places(rng, n, 8.0, (0.6, 0.6))
    for start, stop in events:
        narrow = rng.random() < 0.6
        shape = _spike(rng.uniform(0.025, 0.07) if narrow else rng.uniform(0.07, 0.16), stop - start)
        eeg[start:stop] += BACKGROUND_V * 10 ** (snr_db / 20) * shape[:, None] * _patch(rng, 0.2)
    for start, stop in _places(rng, n, 15.0, (1.0, 3.0)):
        eeg[start:stop] += _alpha_burst(rng, stop - start, 1.5 * BACKGROUND_V)[:, None] * np.linspace(0, 1, c)
    for start, stop in _places(rng, n, 22.0, (0.4, 2.0)):
        noise = rng.standard_normal((stop - start, c)) * np.sqrt(_hump(stop - start))[:, None]
        eeg[start:stop] += _band(noise * _patch(rng, 0.25) * rng.uniform(1, 5) * BACKGROUND_V, 15, 45)
    for start, stop in _places(rng, n, 10.0, (0.25, 0.4)):
        eeg[start:stop] += 12 * BACKGROUND_V * _hump(stop - start)[:, None] * np.exp(-np.arange(c) / 2)
    t = np.arange(round(0.4 * SFREQ)) / SFREQ
    pulse = 0.6 * BACKGROUND_V * (np.sin(2 * np.pi * 5 * t) * np.exp(-t / 0.12))[:, None] * rng.standard_normal(c)
    for beat in np.arange(1.0, n / SFREQ - 1.0, 0.9):
        start = round((beat + 0.03 * rng.standard_normal()) * SFREQ)
        eeg[start : start + len(t)] += pulse * (1 + 0.3 * rng.standard_normal())
    return PlantedEvents(eeg, events)


def compare(planted: PlantedEvents, found: Sequence[Candidate | Feature], after_s: float = 0.0) -> Found:
    """Match what was found with what was planted; one more within the same event counts as false."""
    events = planted.events / SFREQ
    told = [(float(f.about), f.sample / SFREQ) for f in found if isinstance(f, Feature)]
    hits: dict[int, float] = {}
    false = 0
    for about, known in told:
        over = np.flatnonzero((about >= events[:, 0]) & (about <= events[:, 1] + after_s))
        if len(over) and int(over[0]) not in hits:
            hits[int(over[0])] = known - float(events[over[0], 0])
        else:
            false += 1
    minutes = len(planted.eeg) / SFREQ / 60
    f1 = 2 * len(hits) / (len(hits) + false + len(events))
    return Found(f1, false / minutes, float(np.median(list(hits.values()))) if hits else math.nan)


def circular(error: Array) -> tuple[float, float]:
    """Circular sd and mean, degrees; NaN for none."""
    if not len(error):
        return math.nan, math.nan
    mean = complex(np.exp(1j * error).mean())
    return math.degrees(math.sqrt(-2 * math.log(abs(mean)))), math.degrees(float(np.angle(mean)))


def _phase_figures(snr_db: int, minutes: float) -> list[Figure]:
    eeg, alpha = plant_alpha(snr_db, minutes, 1)
    settings = EventSourcesSettings(phase=PhaseTargetSettings(enabled=True, channels={"0": 1.0}))
    sources, found = run_sources(settings, eeg)
    sd, bias = circular(phase_errors(found, alpha))
    claimed = [f.values[0] for f in found if isinstance(f, Feature) and f.valid]
    held = snr_db >= PHASE_SNR_DB
    ahead = f"{settings.phase.output_delay_s * 1e3:g} ms to the output, top {settings.phase.top_share:.0%}"
    at = f"phase at {snr_db} dB"
    note = "; ".join(sources.notes)
    asked = sum(isinstance(f, Candidate) for f in found)
    return [
        Figure(f"{at}: circular sd", sd, "°", PHASE_SD_DEG if held else None, note=note or ahead),
        Figure(f"{at}: bias", bias, "°", PHASE_BIAS_DEG if held else None, "near"),
        Figure(
            f"{at}: sd that it measures itself", math.degrees(float(np.median(claimed))) if claimed else math.nan, "°"
        ),
        Figure(f"{at}: asked for", asked / minutes, "per min"),
    ]


def _event_figures(
    what: str, planted: PlantedEvents, settings: EventSourcesSettings, snr_db: int, bar: float | None
) -> list[Figure]:
    found = compare(planted, run_sources(settings, planted.eeg)[1], 0.1)
    limit = None if bar is None else FALSE_PER_MINUTE
    at = f"{what} at {snr_db} dB"
    return [
        Figure(f"{at}: F1", found.f1, "", bar, "more", note=f"{len(planted.events)} planted"),
        Figure(f"{at}: false alarms", found.false_per_minute, "per min", limit),
        Figure(f"{at}: delay", 1e3 * found.delay_s, "ms", note="median, from the event's begin to being told"),
    ]


def _lane_figures(n_blocks: int) -> list[Figure]:
    """Clean a session without spindles and spikes, with gradient, pulse, blinks and motion; what is told is false."""
    planted = plant(SimulationSettings(seed=3, n_channels=32, n_blocks=n_blocks, sfreq=1000.0, tr_s=2.0))
    lane = EegLane(EegLaneSettings(), planted.sfreq, planted.channels)
    names = [c.name for c in lane.channels]
    occipital = {name: 1.0 for name in names if name in {"O1", "O2", "Oz"}}
    central = {name: 1.0 for name in names if name in {"C3", "C4"}}
    settings = EventSourcesSettings(
        phase=PhaseTargetSettings(enabled=True, channels=occipital),
        spindle=SpindleSettings(enabled=True, signals={"central": central}),
        spike=SpikeSettings(enabled=True),
    )
    path = Lane(lane.delay_s, lane.hold_s, phase=lane.phase_rad)
    sources = EventSources(settings, lane.sfreq_out, names, path)
    triggers = deque(planted.triggers.tolist())
    found: list[Candidate | Feature] = []
    for chunk in chunks([planted.eeg, planted.pulse, planted.gradient], 20, planted.sfreq):
        while triggers and triggers[0] < chunk.first_sample + len(chunk.data):
            lane.trigger(triggers.popleft())
        for clean in lane.chunk(chunk):
            bad = np.zeros(len(names), dtype=bool)
            bad[list(clean.bad)] = True
            found += sources(clean, bad)
    minutes = len(planted.eeg) / planted.sfreq / 60
    counts = Counter(each.source for each in found if isinstance(each, Candidate))
    own = [f.values[0] for f in found if isinstance(f, Feature) and f.name.startswith("phase_error") and f.valid]
    note = "32 channels with gradient, pulse, blinks and motion, none planted"
    return [
        Figure("through the lane, phase: sd that it measures itself", math.degrees(own[-1]) if own else math.nan, "°"),
        Figure("through the lane, phase: asked for", counts["phase"] / minutes, "per min"),
        Figure("through the lane, spindles: false alarms", counts["spindle"] / minutes, "per min", note=note),
        Figure("through the lane, spikes: false alarms", counts["spike"] / minutes, "per min", note=note),
    ]


def _cost_figures() -> list[Figure]:
    seconds = 60
    eeg = np.tile(plant_spikes(15, seconds / 60, 2).eeg, (1, 4))
    weights = {"0": 1.0}
    one = {
        "phase": EventSourcesSettings(phase=PhaseTargetSettings(enabled=True, channels=weights)),
        "spindles": EventSourcesSettings(spindle=SpindleSettings(enabled=True, signals={"one": weights})),
        "spikes": EventSourcesSettings(spike=SpikeSettings(enabled=True)),
    }
    figures: list[Figure] = []
    for name, settings in one.items():
        began = stopwatch()
        run_sources(settings, eeg)
        taken = 1e3 * (stopwatch() - began) / seconds
        figures.append(Figure(f"{name}: cost", taken, "ms per s", note=f"{eeg.shape[1]} channels, one core"))
    return figures


def _places(rng: np.random.Generator, n: int, every_s: float, lengths_s: tuple[float, float]) -> Array:
    """Draw where something happens, without overlap, after the detectors have learned their background."""
    out: list[tuple[int, int]] = []
    at = _FIRST_S
    while True:
        at += 2.0 + rng.exponential(every_s - 2.0)
        start = round(at * SFREQ)
        stop = start + round(rng.uniform(*lengths_s) * SFREQ)
        if stop > n - SFREQ:
            return np.array(out).reshape(-1, 2)
        out.append((start, stop))
        at = stop / SFREQ


def _pink(rng: np.random.Generator, n: int, n_channels: int) -> F64:
    hz = np.maximum(np.fft.rfftfreq(n, 1 / SFREQ), 0.1)[:, None]
    shape = (len(hz), n_channels)
    return np.fft.irfft((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(hz), n, axis=0)


def _band(data: F64, low: float, high: float) -> F64:
    sos = signal.butter(2, (low, high), "bandpass", fs=SFREQ, output="sos")
    return cast("Any", signal.sosfilt)(sos, data, axis=0)


def _hump(n: int) -> F64:
    return np.square(np.sin(np.pi * (np.arange(n) + 0.5) / n))


def _alpha_burst(rng: np.random.Generator, n: int, size: float) -> F64:
    return size * np.sqrt(_hump(n)) * np.cos(2 * np.pi * rng.uniform(9, 10.5) * np.arange(n) / SFREQ)


def _patch(rng: np.random.Generator, width: float) -> F64:
    """Draw the share that each channel of a row has of a source somewhere below it."""
    return np.exp(-0.5 * np.square((np.linspace(0, 1, N_CHANNELS) - rng.uniform()) / width))


def _spike(width_s: float, n: int) -> F64:
    """A sharp rise and fall, a small overshoot, and a slow wave."""
    t = np.arange(n) / SFREQ - 0.05
    peak = np.interp(t, np.array([0.0, 0.4, 1.0, 1.6]) * width_s, [0.0, -1.0, 0.25, 0.0])
    slow = np.where((t > width_s) & (t < width_s + 0.3), np.square(np.sin(np.pi * (t - width_s) / 0.3)), 0.0)
    return peak + 0.4 * slow
