"""Planted and scored heart beats for the tests of the R peak detection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from streamer.bench.eeg_truth import plant
from streamer.clean.eeg.decimate import Decimator
from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.rpeaks import RPeaks, RPeakSettings
from streamer.messages import F64, Array
from streamer.simulate.faults import FaultSettings
from streamer.simulate.settings import SimulationSettings


@dataclass(frozen=True)
class Signals:
    """On the decimated grid; nobody may write to them."""

    sfreq: float
    eeg: F64
    ecg: F64
    gradient: F64
    """Of the ECG channel."""
    r: F64
    """True R peaks, samples."""


@lru_cache(maxsize=16)
def signals(seed: int, flow: float = 0.25, *, ectopic: float = 0.0, n_blocks: int = 4, factor: int = 20) -> Signals:
    settings = SimulationSettings(
        seed=seed, flow_of_r=flow, n_channels=16, n_blocks=n_blocks, faults=FaultSettings(ectopic=ectopic)
    )
    planted = plant(settings)
    decimate = Decimator(5000.0, factor, 16)
    n = len(planted.eeg) // factor * factor
    data = decimate((planted.eeg + planted.pulse)[:n])
    delay = decimate.delay_s(15.0)
    decimate.reset()
    gradient = decimate(planted.gradient[:n])[:, -1:]
    sfreq = 5000.0 / factor
    # an output sample stands at the newest of its block, and what it holds is older by the filter's delay
    r = (planted.body.heart.r_times + delay) * sfreq - (factor - 1) / factor
    out = Signals(sfreq, np.ascontiguousarray(data[:, :-1]), np.ascontiguousarray(data[:, -1:]), gradient, r)
    for array in (out.eeg, out.ecg, out.gradient, out.r):
        array.flags.writeable = False
    return out


def beats_of(
    peaks: RPeaks, ecg: F64, eeg: F64, dirty: Array | None = None, *, size: int = 5, first: int = 0
) -> list[Beat]:
    """Feed everything in chunks."""
    dirty = np.zeros(len(ecg), dtype=bool) if dirty is None else dirty
    out: list[Beat] = []
    for a in range(0, len(ecg), size):
        out += peaks(first + a, ecg[a : a + size], eeg[a : a + size], dirty[a : a + size])
    return out


def found_in(signal: Signals, ecg: F64, settings: RPeakSettings | None = None) -> tuple[list[Beat], RPeaks]:
    peaks = RPeaks(settings or RPeakSettings(), signal.sfreq, signal.eeg.shape[1], ecg.shape[1])
    return beats_of(peaks, ecg, signal.eeg), peaks


@dataclass(frozen=True)
class Score:
    f1: float
    errors_ms: F64
    delays_ms: F64


def score(beats: list[Beat], r: F64, sfreq: float, *, start_s: float, stop_s: float, near_s: float = 0.025) -> Score:
    """Pair each true beat with the nearest one that was found and is not taken yet."""
    start, stop = start_s * sfreq, stop_s * sfreq
    true = r[(r >= start) & (r < stop)]
    at = np.array([b.sample for b in beats])
    taken: set[int] = set()
    errors: list[float] = []
    delays: list[float] = []
    for beat in true.tolist():
        near = int(np.argmin(np.abs(at - beat)))
        if abs(at[near] - beat) <= near_s * sfreq and near not in taken:
            taken.add(near)
            errors.append(1e3 * (at[near] - beat) / sfreq)
            delays.append(1e3 * (beats[near].known - beat) / sfreq)
    extra = sum(1 for i, b in enumerate(at.tolist()) if i not in taken and start <= b < stop)
    f1 = 2 * len(taken) / (2 * len(taken) + extra + len(true) - len(taken))
    return Score(f1, np.array(errors), np.array(delays))


def off_by_ms(beats: list[Beat], r: F64, sfreq: float) -> F64:
    """Each beat less the nearest true one, ms."""
    return np.array([1e3 * (b.sample - r[np.argmin(np.abs(r - b.sample))]) / sfreq for b in beats])
