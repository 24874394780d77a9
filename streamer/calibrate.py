"""A calibration run → baselines, reference volume and thresholds for the runs after it.

The run is replayed through the very loop that will use the result: first without a baseline, to measure one; then with
it, to see what the model says of this participant and set the thresholds from the distribution of its scores. Where eye
artefacts are to be taken out, a pass before these gives the EEG that their correction is fitted on.

The model is taken as it is here; ``session_card/`` fits one to the participant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.calibration import Calibration
from streamer.clean.eeg.ocular import OcularFit
from streamer.config import Config
from streamer.decode.baseline import PowerBaseline, RunningBaseline, log_power
from streamer.decode.bold_estimate import PowerBins, fit_estimate
from streamer.decode.features import PowerStep
from streamer.decode.score_model import LEAST_SD
from streamer.engine import ESTIMATE
from streamer.errors import RecordingError
from streamer.messages import F32, F64, BoldFrame, Flag, Prediction, Volume
from streamer.replay import Origin, open_origin, prepare

MIN_STEPS = 100
"""Feature steps (10 s) that a baseline needs at least."""
ON_PERCENTILE = 70
OFF_PERCENTILE = 50
"""Thresholds: percentiles of the target's probability over the calibration run, which holds both states."""
ON_RANGE = (0.55, 0.9)
OFF_RANGE = (0.4, 0.75)
GAP_ON_OFF = 0.05
"""The lower threshold stays at least this far below the upper."""
MIN_VOLUMES = 10
"""Volumes that a standard deviation of the regions needs at least."""
UNSURE = Flag.WARMING | Flag.NO_EEG | Flag.NO_BOLD | Flag.STALE
"""Thresholds are taken from windows without these."""


def calibrate_recording(path: Path, config: Config, progress: Callable[[float], None] | None = None) -> Calibration:
    """Calibrate on a recording.

    Parameters
    ----------
    path : Path
        A recording or a session's log.
    config : Config
        Its ``model.calibration`` is not used.
    progress : callable, optional
        Takes the fraction done.

    Raises
    ------
    RecordingError
        The run holds too little clean data for a baseline.
    """
    config = config.model_copy(update={"model": config.model.model_copy(update={"calibration": None})})
    passes = 1 + (config.clean.eeg.ocular.method != "none") + (config.model.card != "none")
    share = 1.0 / passes
    eyes: OcularFit | None = None
    if config.clean.eeg.ocular.method != "none":
        eyes = _fit_eyes(open_origin(path), config, part_of(progress, 0.0, share))
    start = share if eyes is not None else 0.0
    first = _measure(open_origin(path), config, eyes, part_of(progress, start, share))
    if config.model.card == "none":
        return first
    name, scores = _probabilities(open_origin(path), config, first, part_of(progress, 1.0 - share, share))
    return with_thresholds(first, name, scores)


def part_of(progress: Callable[[float], None] | None, start: float, share: float) -> Callable[[float], None]:
    """Tell progress of a part that begins at ``start`` and is ``share`` of the whole."""

    def tell(fraction: float) -> None:
        if progress is not None:
            progress(start + share * min(1.0, fraction))

    return tell


def without_model(config: Config) -> Config:
    """Give the settings for a replay that only makes windows."""
    return config.model_copy(update={"model": config.model.model_copy(update={"card": "none"})})


def _fit_eyes(origin: Origin, config: Config, progress: Callable[[float], None]) -> OcularFit:
    """Fit the ocular correction on the run's EEG without it."""
    from streamer.ocular_fit import fit_ocular

    wanted = config.clean.eeg.ocular
    eeg = config.clean.eeg.model_copy(update={"ocular": wanted.model_copy(update={"method": "none"})})
    plain = without_model(config).model_copy(update={"clean": config.clean.model_copy(update={"eeg": eeg})})
    run = prepare(origin, plain)
    lane = run.loop.core.lane
    clean: list[F64] = []
    lane.unmixed = clean
    for event, _ in run.steps():
        progress(origin.fraction(event.received))
    head, n_eeg = lane.head, len(lane.channels)
    data = np.concatenate([np.empty((0, len(head))), *clean])
    return fit_ocular(data[:, :n_eeg], data[:, n_eeg:], head, lane.sfreq_out, wanted, bad=lane.bad_channels)


def _measure(origin: Origin, config: Config, eyes: OcularFit | None, progress: Callable[[float], None]) -> Calibration:
    run = prepare(origin, without_model(config), eyes=eyes)
    core = run.loop.core
    steps: list[PowerStep] = []
    core.steps = steps
    means: list[F32] = []
    changes: list[F32] = []
    volumes: list[tuple[float, F32]] = []
    reference = None
    for event, outputs in run.steps():
        if reference is None and isinstance(event, Volume):
            reference = (event.data, event.affine)
        still = [o for o in outputs if isinstance(o, BoldFrame) and not o.flags & Flag.MOTION]
        means.extend(o.means for o in still)
        changes.extend(o.regions for o in still if np.isfinite(o.regions).all())
        volumes.extend((float(o.acquired), o.regions) for o in still if o.acquired is not None)
        progress(origin.fraction(event.received))
    baseline = None
    if origin.sfreq is not None:
        baseline = _baseline(origin.name, steps, config.windows.eeg_step_s, config.features.step_s)
    return Calibration(
        source=origin.name,
        preprocessing=config.preprocessing_digest(),
        channels=tuple(c.name for c in core.lane.channels),
        regions=run.parts.regions,
        baseline=baseline,
        region_means=_mean(means) if means else None,
        region_sd=_sd(changes),
        reference=reference,
        ocular=eyes,
        extra=config.extra_digest(),
        learned={**core.learned(), **_estimate(config, steps, volumes)},
    )


def _estimate(config: Config, steps: list[PowerStep], volumes: list[tuple[float, F32]]) -> dict[str, Any]:
    """Fit what guesses the BOLD from the EEG, where that is asked for and the run holds enough of both."""
    settings = config.model.estimate
    if not (settings.enabled and steps and volumes):
        return {}
    bins = PowerBins(config.features.step_s)
    whole: dict[int, F64] = {}
    ends: dict[int, float] = {}
    for step in steps:
        found = bins(step.index, log_power(step.power.reshape(-1)) if step.clean else None)
        if found is not None and found[1] is not None:
            whole[found[0]], ends[found[0]] = found[1], float(step.end_time)
    volumes = sorted(volumes, key=lambda each: each[0])
    at, regions = np.array([time for time, _ in volumes]), np.stack([values for _, values in volumes])
    fit = fit_estimate(settings, whole, np.array([ends[k] for k in sorted(ends)]), at, regions)
    return {} if fit is None else {ESTIMATE: fit.plain()}


def _baseline(name: str, steps: list[PowerStep], window_step_s: float, step_s: float) -> PowerBaseline:
    # the same averaging as in a window: the sd of a longer step is smaller
    per = round(window_step_s / step_s)
    good = {s.index: s.power.reshape(-1) for s in steps if s.clean}
    if len(good) < MIN_STEPS:
        raise RecordingError(
            f"{name}: {len(good) * step_s:.1f} s of clean EEG in the calibration run, expected {MIN_STEPS * step_s:.0f}"
        )
    running = RunningBaseline(next(iter(good.values())).size)
    for index in sorted(good):
        group = [good[k] for k in range(index, index + per) if k in good]
        if index % per == 0 and len(group) == per:
            running.add(log_power(_mean(group)))
    return running.freeze()


def _mean(rows: list[F32]) -> F32:
    return np.stack(rows).mean(axis=0, dtype=np.float64).astype(np.float32)


def _sd(rows: list[F32]) -> F32 | None:
    if len(rows) < MIN_VOLUMES:
        return None
    sd = np.stack(rows).std(axis=0, ddof=1, dtype=np.float64)
    # a region without any variance says nothing, and must not be divided by
    return np.maximum(sd, LEAST_SD).astype(np.float32)


def _probabilities(
    origin: Origin, config: Config, calibration: Calibration, progress: Callable[[float], None]
) -> tuple[str, list[float]]:
    """Replay with the model: the name of its card, and the target's probability in every window that is sure."""
    run = prepare(origin, config, calibration)
    target = config.decision.target
    scores: list[float] = []
    for event, outputs in run.steps():
        scores.extend(
            p.probabilities[p.classes.index(target)]
            for p in outputs
            if isinstance(p, Prediction) and not p.flags & UNSURE
        )
        progress(origin.fraction(event.received))
    return "" if run.parts.card is None else run.parts.card.card.name, scores


def with_thresholds(calibration: Calibration, name: str, scores: list[float]) -> Calibration:
    """Set the thresholds from the target's probabilities; too few leave the settings' in force.

    Parameters
    ----------
    calibration : Calibration
    name : str
        Of the card that gave them.
    scores : list of float
    """
    if len(scores) < MIN_STEPS:
        return replace(calibration, threshold_of=name, n_windows=len(scores))
    on = float(np.clip(np.percentile(scores, ON_PERCENTILE), *ON_RANGE))
    off = float(np.clip(np.percentile(scores, OFF_PERCENTILE), *OFF_RANGE))
    return replace(
        calibration,
        threshold_of=name,
        threshold_on=round(on, 4),
        threshold_off=round(min(off, on - GAP_ON_OFF), 4),
        n_windows=len(scores),
    )
