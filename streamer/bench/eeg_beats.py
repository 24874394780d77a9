"""How well R peaks are found online: behind the gradient's correction, as the lane finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.bench.eeg_gradient import session
from streamer.bench.eeg_rows import Rows
from streamer.bench.eeg_run import chunks, lane_settings
from streamer.bench.eeg_truth import Planted, plant
from streamer.bench.figures import Figure
from streamer.clean.eeg.back import DIRTY
from streamer.clean.eeg.front import Front
from streamer.clean.eeg.heart.rpeaks import RPeaks
from streamer.clean.eeg.hops import HopBlocks
from streamer.messages import F32, F64

NEAR_S = 0.025
_FROM_S = 20.0


@dataclass(frozen=True)
class Case:
    """What is hard about an ECG."""

    name: str
    bar: float
    """F1."""
    flow_of_r: float
    """Size of the T wave's place, of R."""
    sign: float = 1.0
    gradient: bool = False
    """With a gradient artefact that is off its trigger by 100 µs (sd): the template leaves a part of it."""
    timing: tuple[float | None, float | None] = (None, None)
    """Bars of the timing's sd and of the delay, ms."""


CASES = (
    Case("clean", 0.99, 0.25, timing=(8.0, 120.0)),
    Case("T wave 0.8 R", 0.97, 0.8),
    Case("T wave 1.2 R, inverted, gradient residue", 0.95, 1.2, sign=-1.0, gradient=True),
)


def bench_beats(progress: Callable[[float], None], seeds: int, *, blocks: int = 20) -> list[Figure]:
    """Measure detection on the last ``8 · blocks - 10`` s of each session."""
    rows = Rows()
    for number, (case, seed) in enumerate((c, 51 + i) for c in CASES for i in range(seeds)):
        how: dict[str, Any] = {"n_channels": 17, "n_blocks": blocks, "flow_of_r": case.flow_of_r}
        planted = plant(session("TR 2 s", seed, motion_mm=0.08, nods_per_min=0.3, **how))
        if case.gradient:
            rng = np.random.default_rng(seed)
            planted = planted.moved(rng.normal(0.0, 1e-4, len(planted.triggers)))
        _rows(rows, case, planted)
        progress((number + 1) / (seeds * len(CASES)))
    return rows.figures()


def _rows(rows: Rows, case: Case, planted: Planted) -> None:
    eeg = planted.eeg.copy()
    eeg[:, -1] *= np.float32(case.sign)
    gradient: list[F32] = [planted.gradient] if case.gradient else []
    found, known = online([eeg, planted.pulse, *gradient], planted, gradient=case.gradient)
    true = planted.body.heart.r_times
    score = Score.of(true, found, known, _FROM_S, len(eeg) / planted.sfreq - 1.0)
    name = f"R peaks, {case.name}"
    note = f"missed {score.missed}, false {score.extra} of {score.count}"
    rows.add(Figure(f"{name}: F1 within 25 ms", score.f1, "", case.bar, "more", "NeuXus: 0.976 within 50 ms", note))
    rows.add(Figure(f"{name}: timing, sd", 1e3 * float(np.std(score.errors)), "ms", case.timing[0]))
    median = f"median {1e3 * float(np.median(score.delays)):.0f} ms"
    rows.add(
        Figure(f"{name}: delay, p95", 1e3 * float(np.quantile(score.delays, 0.95)), "ms", case.timing[1], note=median)
    )


def online(parts: list[F32], planted: Planted, *, gradient: bool) -> tuple[F64, F64]:
    """Find beats sample by sample: when they were, and when that was known, both s of the recording."""
    settings, sfreq, channels = lane_settings(gradient=gradient), planted.sfreq, planted.channels
    factor = round(sfreq / settings.rate_hz)
    front = Front(settings, sfreq, factor, channels)
    hops = HopBlocks(factor, len(channels))
    peaks = RPeaks(settings.r_peaks, sfreq / factor, len(channels) - 1, 1)
    triggers = planted.triggers.tolist() if gradient else []
    at: list[float] = []
    known: list[int] = []
    for chunk in chunks(parts, 2000, sfreq):
        while front.gradient is not None and triggers and triggers[0] < chunk.first_sample + len(chunk.data):
            front.gradient.trigger(triggers.pop(0))
        whole = hops(chunk)
        for piece in front(whole) if whole is not None else []:
            dirty = np.asarray((piece.labels.flags & DIRTY) != 0)
            for beat in peaks(piece.first, piece.data[:, -1:], piece.data[:, :-1], dirty):
                at.append(beat.sample)
                known.append(beat.known)
    # an output sample stands at the newest of those that made it, and speaks of one that came before
    newest = (factor - 1) / sfreq
    return np.array(at) * factor / sfreq + newest - front.delay_s, np.array(known) * factor / sfreq + newest


@dataclass(frozen=True)
class Score:
    """Found beats against true ones."""

    f1: float
    count: int
    """True beats."""
    missed: int
    extra: int
    errors: F64
    """Found less true, s."""
    delays: F64
    """From the true beat until it was known, s."""

    @classmethod
    def of(cls, true: F64, found: F64, known: F64, start: float, stop: float) -> Score:
        """Pair each true beat between ``start`` and ``stop`` (s) with the nearest found one within 25 ms."""
        true = true[(true >= start) & (true < stop)]
        inside = (found >= start - NEAR_S) & (found < stop + NEAR_S)
        found, known = found[inside], known[inside]
        taken: set[int] = set()
        errors: list[float] = []
        delays: list[float] = []
        for beat in true.tolist():
            near = int(np.argmin(np.abs(found - beat))) if len(found) else -1
            if near >= 0 and near not in taken and abs(found[near] - beat) <= NEAR_S:
                taken.add(near)
                errors.append(float(found[near]) - beat)
                delays.append(float(known[near]) - beat)
        # at the edges a beat may belong to one outside
        extra = sum(1 for i, at in enumerate(found.tolist()) if i not in taken and start <= at < stop)
        missed = len(true) - len(taken)
        f1 = 2 * len(taken) / max(1, 2 * len(taken) + extra + missed)
        nothing = [float("nan")]
        return cls(f1, len(true), missed, extra, np.array(errors or nothing), np.array(delays or nothing))
