"""Registration and resampling on volumes whose moves are known, beside other packages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from streamer.bench.bold_others import ALL, QUICK, Estimated, OtherPackages
from streamer.bench.bold_truth import CASES, COARSE, FINE, Head, PlantedVolumes, plant_volumes
from streamer.bench.figures import Figure
from streamer.clean.bold.registration import Registration
from streamer.clean.bold.resample import Resampler
from streamer.clean.bold.spline import spline_coefficients
from streamer.clock import stopwatch
from streamer.messages import F64, Array

OURS = "ours"
ALONE, TOGETHER = "moves alone", "with all of these"
# ms; mm, median and largest
_BARS = {COARSE: (15.0, 0.015, 0.05), FINE: (50.0, 0.003, None)}
_KNOWN = {
    COARSE: ("AFNI 23.5 ms, rtspm 154 ms", "AFNI 0.0265, rtspm 0.029 mm", "AFNI 0.078, rtspm 0.087 mm"),
    FINE: ("AFNI 68 ms, rtspm 559 ms", "AFNI 0.0044, rtspm 0.0053 mm", "AFNI 0.014, rtspm 0.016 mm"),
}
_WARM = 2
_REPEATS = 3
_TIMED = f"one thread, warm, shortest of {_REPEATS} a volume; others once; processor time {{:.1f}} ms"


def ours(volumes: Array, affine: F64, *, resampled: bool = False) -> Estimated:
    """Register volumes to their first with our own defaults, each from where the one before lay, and resample them.

    Parameters
    ----------
    volumes : array, shape (n, x, y, z)
    affine : array, shape (4, 4)
        Voxel index to mm about the grid's middle.
    resampled : bool
        Whether the moved volumes are kept.

    Returns
    -------
    estimated : Estimated
        The same volumes go a few times through; each counts with its shortest time, since other programs on this
        machine can only make it longer.
    """
    registration = Registration(volumes[0], affine)
    resampler = Resampler((volumes.shape[1], volumes.shape[2], volumes.shape[3]))
    poses, took = np.empty((len(volumes), 4, 4)), np.full(len(volumes), np.inf)
    kept = np.empty(volumes.shape, np.float32) if resampled else None
    start: F64 | None = None
    order = [*[0] * _WARM, *[*range(len(volumes))] * _REPEATS]
    busy = 0.0
    for turn, k in enumerate(order):
        if turn == _WARM:
            busy = _processor_s()
        began = stopwatch()
        coefficients = spline_coefficients(volumes[k])
        found = registration(coefficients, affine, start)
        moved = resampler(coefficients, registration.matrix(found.transform, affine))
        took[k] = min(took[k], 1e3 * (stopwatch() - began))
        start = poses[k] = found.transform
        if kept is not None:
            kept[k] = moved
    busy = (_processor_s() - busy) / (len(order) - _WARM)
    return Estimated(OURS, poses, took, kept, 1e3 * busy)


def _processor_s() -> float:
    spent = os.times()
    return spent.user + spent.system


def bench_registration(
    progress: Callable[[float], None], head: Head, others: OtherPackages | None, *, quick: bool = False
) -> list[Figure]:
    """Measure on two grids, with and without what volumes suffer besides moves.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    head : Head
    others : OtherPackages or None
        Run on the same volumes; the slow ones only on moves alone and on everything together.
    quick : bool
        One grid, half the volumes, no slow packages.
    """
    grids, n = ((COARSE,), 10) if quick else ((COARSE, FINE), 20)
    figures: list[Figure] = []
    done, total = 0, len(grids) * len(CASES)
    for grid in grids:
        for case, hardships in CASES.items():
            planted = plant_volumes(head, grid, hardships, n)
            found = [ours(planted.volumes, grid.affine)]
            if others is not None:
                methods = ALL if case in {ALONE, TOGETHER} and not quick else QUICK
                found += others.estimate(planted.volumes, grid.affine, methods)
            figures += _rows(case, planted, found)
            done += 1
            progress(done / total)
    return figures


def _rows(case: str, planted: PlantedVolumes, found: Sequence[Estimated]) -> list[Figure]:
    grid, mine, theirs = planted.grid, found[0], found[1:]
    errors = {each.name: planted.errors(each.poses)[1:] for each in found}
    still = planted.errors(np.broadcast_to(np.eye(4), planted.poses.shape))[1:]
    bars, known = (_BARS[grid], _KNOWN[grid]) if case == ALONE else ((None,) * 3, ("",) * 3)

    def peers(summary: Callable[[F64], float], published: str) -> str:
        measured = ", ".join(f"{each.name} {summary(errors[each.name]):.3g}" for each in theirs)
        return f"{measured} mm" if measured else published

    def least(summary: Callable[[F64], float]) -> float | None:
        return min((summary(errors[each.name]) for each in theirs), default=None)

    name = f"{grid.name}, {case}"
    figures: list[Figure] = []
    for number, (word, summary) in enumerate((("median", _median), ("largest", _largest)), start=1):
        bar = bars[number] if case == ALONE else _rounded(least(summary))
        note = f"{len(still)} volumes; without correction {summary(still):.3g} mm"
        peer = peers(summary, known[number])
        figures.append(Figure(f"{name}: error, {word}", summary(errors[OURS]), "mm", bar, peer=peer, note=note))
    if case == ALONE:
        p50, p95 = (float(value) for value in np.quantile(mine.ms[1:], (0.5, 0.95)))
        peer = ", ".join(each.cost() for each in theirs) or known[0]
        name = f"{grid.name}: registration and resampling"
        figures += [
            Figure(f"{name}, median", p50, "ms", bars[0], peer=peer, note=_TIMED.format(mine.cpu_ms)),
            Figure(f"{name}, p95", p95, "ms"),
        ]
    return figures


def _median(values: F64) -> float:
    return float(np.median(values))


def _largest(values: F64) -> float:
    return float(values.max())


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
