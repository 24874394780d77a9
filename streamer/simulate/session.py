"""A session with planted truth: one participant, a calibration run and a task run, as the scanner room leaves them.

The forward model is a sum, `x(t) = brain + blinks + pulse + motion + line and pump + noise + gradient`, and every part
of it is written down beside the recording.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.errors import UsageError
from streamer.messages import F64
from streamer.simulate.anatomy import draw_anatomy, write_regions
from streamer.simulate.event_tables import TriggerTable, read_r_peaks, read_triggers
from streamer.simulate.faults import FaultSettings, parse_faults, problems_of
from streamer.simulate.plan import RunPlan, plan_runs
from streamer.simulate.run import RunMaker
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.sidecars import write_session_toml
from streamer.simulate.subject import draw_subject
from streamer.simulate.volumes import volume_writer

__all__ = ["FaultSettings", "SimulationSettings", "parse_faults", "problems_of", "simulate_session"]

# without an R peak for so long before its end, a run has no pulse artefact where it should
_LONGEST_BEAT_S = 3.0
# a volume takes about as long to make as so many seconds of EEG
_VOLUME_COST_S = 0.5


def simulate_session(
    out: Path,
    settings: SimulationSettings,
    progress: Callable[[float], None] | None = None,
    *,
    workers: int | None = None,
) -> None:
    """Write a session.

    Parameters
    ----------
    out : Path
        New or empty folder.
    settings : SimulationSettings
    progress : callable or None
        Takes the part that is done, 0 to 1.
    workers : int or None
        Processes that make volumes while this one makes the EEG; by default one per processor, two at most. The files
        do not depend on it.

    Raises
    ------
    UsageError
        ``out`` is not empty, or the settings do not fit together.
    FormatError
        A table of triggers or R peaks cannot be read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and not empty: nothing is overwritten, expected a new folder")
    for_subject, for_plan, for_head, for_scanner, *for_runs = np.random.default_rng(settings.seed).spawn(6)
    subject = draw_subject(settings, for_subject)
    table = read_triggers(settings.triggers, settings.trigger_label) if settings.triggers is not None else None
    r_peaks = read_r_peaks(settings.r_peaks) if settings.r_peaks is not None else None
    plans = plan_runs(settings, for_plan, None if table is None else float(table.times[0]))
    for plan in plans:
        _check_tables(settings, plan, table, r_peaks)
    _check_moments(settings, plans[-1])
    try:
        anatomy = draw_anatomy(settings, for_head)
    except ValueError as error:
        raise UsageError(str(error)) from error
    artefact_seed = int(for_scanner.integers(2**63))
    out.mkdir(parents=True, exist_ok=True)
    write_regions(anatomy, out)
    write_session_toml(out / "session.toml", settings, subject, [plan.name for plan in plans])
    n_volumes = sum(plan.n_volumes for plan in plans)
    tally = _Tally(n_volumes * _VOLUME_COST_S + sum(plan.duration_s for plan in plans), progress)
    processes = min(2, os.cpu_count() or 1) if workers is None else workers
    with volume_writer(n_volumes, processes, lambda count: tally.add(count * _VOLUME_COST_S)) as submit:
        make = RunMaker(settings, subject, anatomy, artefact_seed, table, r_peaks, submit, tally.add)
        for number, (plan, rng) in enumerate(zip(plans, for_runs, strict=True)):
            make(out / plan.name, plan, rng, number)


def _check_tables(settings: SimulationSettings, plan: RunPlan, table: TriggerTable | None, r_peaks: F64 | None) -> None:
    advice = f"the {plan.name} run of {plan.duration_s:.6g} s needs more: ask for fewer or shorter blocks"
    if table is not None:
        table.of_slices(settings.shots, settings.tr_s)
        if table.times[-1] + table.period_s < plan.start_s + plan.n_volumes * settings.tr_s - settings.tr_s:
            raise UsageError(f"{table.name}: triggers until {table.times[-1]:.6g} s; {advice}")
    if r_peaks is not None and r_peaks[-1] + _LONGEST_BEAT_S < plan.duration_s:
        raise UsageError(f"R peaks until {r_peaks[-1]:.6g} s; {advice}")


def _check_moments(settings: SimulationSettings, plan: RunPlan) -> None:
    end = plan.start_s + plan.n_volumes * settings.tr_s
    for ms, at in plan.faults.gap_ms:
        if at <= 0 or at + ms * 1e-3 >= plan.duration_s - 1.0:
            raise UsageError(f"gap_ms {ms:g}@{at:g}: expected within the task run of {plan.duration_s:.6g} s")
    lost = 0.0
    for pause, at in sorted(plan.faults.restart_s, key=lambda restart: restart[1]):
        lost += pause
        if at <= plan.start_s or at + lost + 3.0 * settings.tr_s >= end:
            raise UsageError(
                f"restart_s {pause:g}@{at:g}: expected after {plan.start_s:g} s and with some volumes behind it, the "
                f"scanner stops at {end:.6g} s"
            )


class _Tally:
    def __init__(self, total: float, progress: Callable[[float], None] | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0.0

    def add(self, amount: float) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress(min(1.0, self._done / self._total))
