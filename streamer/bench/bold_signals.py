"""What cleaning leaves of region signals whose every part is known: by method, by regressors, early and late in a run.

The simulator's courses are sampled where and when the slices are; no volume is made, so that what registration leaves
of motion is not in it. White matter and cerebrospinal fluid follow the whole brain's course, as label 0 does in the
simulator's volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamer.bench.figures import Figure
from streamer.clean.bold.design_matrix import Condition, DesignSettings
from streamer.clean.bold.signal.nuisance import NuisanceSettings
from streamer.clean.bold.signal.region_signal import RegionSignal, RegionSignalSettings
from streamer.clean.bold.signal.retroicor import Retroicor, RetroicorSettings, slice_shares
from streamer.messages import F32, F64, Array, BoldFrame, SessionTime
from streamer.simulate.anatomy import draw_anatomy
from streamer.simulate.ledger import RunFaults
from streamer.simulate.physiology import Physiology, make_physiology
from streamer.simulate.plan import RunPlan, plan_runs
from streamer.simulate.run import slice_order
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import REGIONS, draw_subject

TRS = (2.0, 0.8)
EARLY_S = (20.0, 80.0)
LATE_S = 240.0
PULSATION_PERCENT = 0.4
_ACTIVE = np.flatnonzero(np.array(REGIONS) != "control")
_KNOWN_S = 0.6
_BEAT_S = 0.1
_TISSUE_VOXELS = 300


@dataclass(frozen=True)
class PlantedSignals:
    """One run."""

    settings: SimulationSettings
    plan: RunPlan
    onsets: F64
    """s, shape (n_volumes,)."""
    neural: F64
    """%, shape (n_volumes, n_regions)."""
    frames: tuple[BoldFrame, ...]
    columns: F64
    """RETROICOR's, shape (n_volumes, n_regions, 8)."""


def plant_signals(settings: SimulationSettings) -> PlantedSignals:
    """Draw the task run of a session: what the BOLD lane's worker would make of its volumes."""
    for_subject, for_plan, for_anatomy, _, _, for_run = np.random.default_rng(settings.seed).spawn(6)
    subject = draw_subject(settings, for_subject)
    plan = plan_runs(settings, for_plan)[-1]
    for_body, for_noise = for_run.spawn(2)
    body = make_physiology(settings, subject, plan, for_body, RunFaults(plan.faults, settings.seed, 1))
    labels = draw_anatomy(settings, for_anatomy).labels
    shares = slice_shares(labels, len(REGIONS))
    voxels = np.bincount(labels.ravel(), minlength=len(REGIONS) + 1)[1:]
    slice_times = np.array(slice_order(settings))
    onsets = np.asarray(plan.start_s + settings.tr_s * np.arange(plan.n_volumes), np.float64)
    at_slices = body.bold.total[body.at(onsets[:, None] + slice_times)]
    percent = np.einsum("nsr,rs->nr", at_slices[:, :, :-1], shares)
    percent += 100.0 / settings.tsnr / np.sqrt(voxels) * for_noise.standard_normal(percent.shape)
    tissue = at_slices[:, :, -1].mean(axis=1)[:, None] + 100.0 / settings.tsnr / np.sqrt(
        _TISSUE_VOXELS
    ) * for_noise.standard_normal((len(onsets), 3))
    middle = body.at(onsets + settings.tr_s / 2)
    means, tissues = (np.asarray(1000.0 + 10.0 * each, np.float32) for each in (percent, tissue))
    frames = tuple(_frame(k, means[k], tissues[k], body.motion[middle[k]], settings.tr_s) for k in range(len(onsets)))
    columns = np.array(list(_columns(settings, body, onsets, slice_times, shares)))
    return PlantedSignals(settings, plan, onsets, body.bold.neural[middle], frames, columns)


def _frame(index: int, means: F32, tissue: F32, motion: F64, tr: float) -> BoldFrame:
    return BoldFrame(
        index=index,
        series="planted",
        regions=np.full(len(means), np.nan, np.float32),
        means=means,
        motion=motion,
        fd=0.0,
        tr=tr,
        acquired=SessionTime((index + 0.5) * tr),
        received=SessionTime((index + 1) * tr + _KNOWN_S),
        tissue=tissue,
    )


def _columns(
    settings: SimulationSettings, body: Physiology, onsets: F64, slice_times: F64, shares: F64
) -> Iterator[F64]:
    stage = Retroicor(RetroicorSettings(), len(REGIONS), body.rate_hz)
    stage.place(slice_times, shares)
    beats: list[float] = body.heart.r_times.tolist()
    heard = 0
    for onset in onsets.tolist():
        # what is known when the volume is
        now = onset + settings.tr_s + _KNOWN_S
        while beats and beats[0] + _BEAT_S < now:
            stage.beat(beats.pop(0))
        stop = int(now * body.rate_hz)
        stage.trace(heard, body.heart.respiration[heard:stop])
        heard = max(heard, min(stop, len(body.heart.respiration)))
        yield stage(onset)


def _methods(planted: PlantedSignals) -> dict[str, RegionSignalSettings]:
    def glm(*, retroicor: bool = False, **design: object) -> RegionSignalSettings:
        nuisance = NuisanceSettings(design=DesignSettings.model_validate(design), retroicor=retroicor)
        return RegionSignalSettings(method="glm", nuisance=nuisance)

    blocks = [b for b in planted.plan.blocks if b.label == "task"]
    task = Condition(
        name="task",
        onsets_s=tuple(b.onset_s - planted.plan.start_s for b in blocks),
        durations_s=tuple(b.duration_s for b in blocks),
    )
    return {
        "baseline": RegionSignalSettings(),
        "drift": glm(motion=0, tissue=()),
        "+ motion": glm(tissue=()),
        "+ tissue": glm(),
        "+ RETROICOR": glm(retroicor=True),
        "+ task": glm(retroicor=True, conditions=(task,)),
    }


def clean_signals(planted: PlantedSignals, settings: RegionSignalSettings) -> F64:
    """Clean a run; give % signal change, shape (n_volumes, n_regions)."""
    stage = RegionSignal(settings, len(REGIONS))
    pairs = zip(planted.frames, planted.columns, strict=True)
    return np.array([stage(frame, columns).regions for frame, columns in pairs], np.float64)


def agreement(found: F64, planted: PlantedSignals, span_s: tuple[float, float]) -> tuple[float, float]:
    """Correlation with the planted neural signal, and what is left beside it (sd, %); means over active regions."""
    since = planted.onsets - planted.onsets[0]
    chosen: Array = (since >= span_s[0]) & (since < span_s[1]) & np.isfinite(found).all(axis=1)
    correlations: list[float] = []
    left: list[float] = []
    for region in _ACTIVE.tolist():
        y, x = found[chosen, region], planted.neural[chosen, region]
        correlations.append(float(np.corrcoef(x, y)[0, 1]))
        left.append(float(np.std(y - np.polyval(np.polyfit(x, y, 1), x))))
    return float(np.mean(correlations)), float(np.mean(left))


def bench_region_signal(*, quick: bool = False) -> list[Figure]:
    """Measure how well region signals are cleaned, with heart and breath in them.

    Parameters
    ----------
    quick : bool
        One participant in place of three.
    """
    figures: list[Figure] = []
    for tr in TRS:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for seed in (1,) if quick else (1, 2, 3):
            settings = SimulationSettings(
                seed=seed,
                tr_s=tr,
                n_channels=16,
                sfreq=1000.0,
                multiband=1 if tr > 1 else 4,
                lead_s=24.0,
                block_s=20.0,
                n_blocks=28,
                cardiac_percent=PULSATION_PERCENT,
                breathing_percent=PULSATION_PERCENT,
                breath_sd=0.15,
            )
            planted = plant_signals(settings)
            for name, method in _methods(planted).items():
                signal = clean_signals(planted, method)
                late = agreement(signal, planted, (LATE_S, np.inf))
                found.setdefault(name, []).append((*agreement(signal, planted, EARLY_S), *late))
        for name, values in found.items():
            early, early_left, late, late_left = np.array(values).mean(axis=0).tolist()
            figures.append(
                Figure(
                    f"region signal, TR {tr:g} s, {name}",
                    late,
                    "r",
                    better="more",
                    note=f"planted response, from {LATE_S:g} s on, {late_left:.2f} % left beside it;"
                    f" {EARLY_S[0]:g} to {EARLY_S[1]:g} s: r {early:.2f}, {early_left:.2f} %",
                )
            )
    return figures
