"""Baselines of a run that has no calibration: from its own first part, or from all its rest.

The first part is what a live loop could use as well. All of the rest is known only afterwards: it says what a model
reaches with a good calibration, not what it reaches live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.calibration import Calibration
from streamer.config import Config
from streamer.decode.baseline import PowerBaseline, RunningBaseline, log_power
from streamer.decode.features import PowerStep
from streamer.errors import ModelError
from streamer.messages import F32, F64, Array, BoldFrame, EegChunk, Event, Flag, Marker, Volume
from streamer.replay import Origin, prepare

LAG_S = 6.0
"""The BOLD of a stretch of rest begins this much later, s: before, it shows what came before."""
LEAST_STEPS = 10
"""Steps of a window that a baseline of the EEG needs at least."""
_LATE_S = 30.0


@dataclass(frozen=True)
class Measured:
    """What a run without a baseline gave."""

    name: str
    steps: tuple[PowerStep, ...]
    frames: tuple[BoldFrame, ...]
    has_eeg: bool
    markers: tuple[Marker, ...]
    zero_s: float
    """Session time of the recording's beginning, s."""
    config: Config
    """What it was made with, the recording's own triggers among it."""
    bare: Calibration
    """All that a calibration holds but the baselines."""


def beginning(origin: Origin, event: Event) -> float | None:
    """Give the session time of a recording's beginning, s, from its first event; None until that has come."""
    if origin.log is None:
        return 0.0
    if isinstance(event, EegChunk):
        return float(event.times[0])
    return float(event.received) if origin.sfreq is None else None


def measure(
    origin: Origin, config: Config, until_s: float | None, progress: Callable[[float], None] | None = None
) -> Measured:
    """Take a run through the loop without a baseline.

    Parameters
    ----------
    origin : Origin
    config : Config
        Without a model and a calibration.
    until_s : float or None
        What is acquired later is not needed, s; None reads all.
    progress : callable, optional
        Takes the fraction done.

    Raises
    ------
    ModelError
        The settings ask for an eye correction, which only a calibration run can be asked for.
    """
    if config.clean.eeg.ocular.method != "none":
        raise ModelError(
            f"{origin.name}: clean.eeg.ocular.method is {config.clean.eeg.ocular.method!r} and there is no calibration "
            "run to fit it on: expected one, or method = 'none'"
        )
    run = prepare(origin, config)
    core = run.loop.core
    steps: list[PowerStep] = []
    core.steps = steps
    frames: list[BoldFrame] = []
    markers: list[Marker] = []
    reference: tuple[Array, F64] | None = None
    zero: float | None = None
    for event, outputs in run.steps():
        zero = beginning(origin, event) if zero is None else zero
        if until_s is not None and zero is not None and event.received - zero > until_s + _LATE_S:
            break
        if reference is None and isinstance(event, Volume):
            reference = (event.data, event.affine)
        if isinstance(event, Marker):
            markers.append(event)
        frames.extend(o for o in outputs if isinstance(o, BoldFrame))
        if progress is not None:
            progress(origin.fraction(event.received))
    bare = Calibration(
        source=origin.name,
        preprocessing=config.preprocessing_digest(),
        channels=tuple(c.name for c in core.lane.channels),
        regions=run.parts.regions,
        reference=reference,
        extra=config.extra_digest(),
        learned=core.learned(),
    )
    return Measured(
        origin.name,
        tuple(steps),
        tuple(frames),
        origin.sfreq is not None,
        tuple(markers),
        zero or 0.0,
        run.parts.config,
        bare,
    )


def over(measured: Measured, spans: Sequence[tuple[float, float]]) -> Calibration:
    """Take the baselines over some stretches.

    Parameters
    ----------
    measured : Measured
    spans : sequence of (float, float)
        Beginning and end of each, session time in s.

    Raises
    ------
    ModelError
        They hold too little clean EEG, or no volume.
    """
    where = f"{measured.name}: {len(spans)} stretch(es) of {sum(b - a for a, b in spans):.1f} s for a baseline"
    power = None
    if measured.has_eeg:
        power, n = _power(measured.steps, spans, measured.config)
        if power is None:
            step_s = measured.config.windows.eeg_step_s
            raise ModelError(
                f"{where} hold {n * step_s:.1f} s of clean EEG, expected {LEAST_STEPS * step_s:.1f} or more"
            )
    means = None
    if measured.frames:
        # the first stretch of a run has nothing before it
        later = [(a if a <= measured.zero_s else min(a + LAG_S, b), b) for a, b in spans]
        chosen = [
            f.means
            for f in measured.frames
            if f.acquired is not None and not f.flags & Flag.LATE and _inside(float(f.acquired), later)
        ]
        still = [f for f in chosen if np.isfinite(f).any()]
        if not still:
            raise ModelError(f"{where} hold no volume: expected one or more")
        means = _mean_of(still)
    return replace(measured.bare, baseline=power, region_means=means)


def _power(
    steps: Sequence[PowerStep], spans: Sequence[tuple[float, float]], config: Config
) -> tuple[PowerBaseline | None, int]:
    # the same averaging as in a window: the sd of a longer step is smaller
    per = round(config.windows.eeg_step_s / config.features.step_s)
    groups: dict[int, list[F32]] = {}
    for step in steps:
        if step.clean and _inside(float(step.end_time), spans):
            groups.setdefault(step.index // per, []).append(step.power.reshape(-1))
    whole = [np.stack(group).mean(axis=0, dtype=np.float64) for group in groups.values() if len(group) == per]
    if len(whole) < LEAST_STEPS:
        return None, len(whole)
    running = RunningBaseline(whole[0].size)
    for power in whole:
        running.add(log_power(power.astype(np.float32)))
    return running.freeze(), len(whole)


def _inside(at: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(a <= at < b for a, b in spans)


def _mean_of(rows: Sequence[F32]) -> F32:
    stacked = np.stack(rows).astype(np.float64)
    there = np.isfinite(stacked)
    count = there.sum(axis=0)
    total = np.where(there, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
