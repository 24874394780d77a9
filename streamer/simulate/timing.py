"""When the scanner pulsed, when its volumes were acquired and when their files were there, with what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array
from streamer.simulate.event_tables import TriggerTable
from streamer.simulate.ledger import RunFaults
from streamer.simulate.plan import RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.subject import Subject

TRIGGER = "R128"
"""Label of the pulse that begins a volume."""
SLICE_TRIGGER = "slice"
"""Label of the pulses that begin the other slices, where there are any."""
# from one file of a batch to the next
_FILE_S = 1e-3


@dataclass(frozen=True)
class Schedule:
    """Which volumes were acquired; one entry per volume, without any fault but pauses."""

    onsets: F64
    """s after the first EEG sample on the amplifier's clock."""
    series: Array
    """0, and one more after each pause."""
    scanner_s: F64
    """s after the first volume, on the scanner's clock."""
    recorded: Array
    """Whether the volume's trigger is one that was recorded."""
    slices: tuple[tuple[float, bool], ...] = ()
    """Pulses of the other slices, s, and whether they were recorded."""


@dataclass(frozen=True)
class RunTiming:
    """When the volumes of a run were; s after the first EEG sample on the amplifier's clock, lost samples counted."""

    onsets: F64
    """s, shape (n_volumes,)."""
    series: Array
    """Number of each volume's series from 0, shape (n_volumes,)."""
    index: Array
    """Acquisition number within the series as its file has it, -1 where there is no file; shape (n_volumes,)."""
    copies: Array
    """Whether the file was exported twice, shape (n_volumes,)."""
    scanner_s: F64
    """Onset on the scanner's clock, s after the first volume, shape (n_volumes,)."""
    triggers: Array
    """Sample at which the pulse of each volume came, shape (n_volumes,)."""
    recorded: Array
    """Whether the recording has that pulse, shape (n_volumes,)."""
    pulses: tuple[tuple[int, str], ...]
    """Sample and label of all pulses that the recording has, missing ones left out, doubled and extra ones in."""
    artefact: F64
    """Where the gradient artefact of each volume begins, samples, shape (n_volumes + 1,)."""
    artefact_stops: F64
    """Where it ends, samples, shape (n_volumes,)."""
    known: F64
    """Last byte on disk, s, shape (n_volumes,)."""

    @property
    def first_volume(self) -> int:
        """Acquisition number that belongs to a series' first trigger; below 0 where dummy volumes have triggers."""
        first, numbered = int(np.argmax(self.recorded)), int(np.argmax(self.index >= 0))
        return int(self.index[numbered]) - numbered + first


def volume_schedule(settings: SimulationSettings, plan: RunPlan, table: TriggerTable | None) -> Schedule:
    """Lay out the volumes of a run: at even distances, or where a table of real triggers has them."""
    if table is not None:
        return _by_table(settings, plan, table)
    # from the scanner's seconds to the amplifier's
    rate = 1.0 + settings.faults.clock_ppm * 1e-6
    start, end = plan.start_s, plan.start_s + plan.n_volumes * settings.tr_s
    pauses = sorted((when, length) for length, when in plan.faults.restart_s)
    volumes: list[tuple[float, float, int]] = []
    offset, number, k = 0.0, 0, 0
    while True:
        while volumes and pauses and start + offset + k * settings.tr_s >= pauses[0][0]:
            offset, number = offset + pauses.pop(0)[1], number + 1
        onset = start + offset + k * settings.tr_s
        if onset > end - settings.tr_s + 1e-9:
            break
        volumes.append((onset, offset + k * settings.tr_s, number))
        k += 1
    onsets, scanner, series = (np.array(column) for column in zip(*volumes, strict=True))
    return Schedule(onsets * rate, series, scanner, np.ones(len(volumes), np.bool_))


def _by_table(settings: SimulationSettings, plan: RunPlan, table: TriggerTable) -> Schedule:
    every = settings.shots if table.of_slices(settings.shots, settings.tr_s) else 1
    of_volume = np.zeros(len(table.times), np.bool_)
    # a pause begins a new count: whole volumes between two
    series = np.searchsorted(table.pauses, np.arange(len(table.times)), side="right")
    for number in np.unique(series):
        mine = np.flatnonzero(series == number)
        of_volume[mine[: len(mine) // every * every : every]] = True
    end = plan.start_s + plan.n_volumes * settings.tr_s
    inside = table.times <= end - settings.tr_s * 0.5
    chosen = of_volume & inside
    onsets = table.times[chosen]
    others = ~of_volume & (table.times < onsets[-1] + settings.tr_s)
    slices = zip(table.times[others].tolist(), table.recorded[others].tolist(), strict=True)
    return Schedule(onsets, series[chosen], onsets - onsets[0], table.recorded[chosen], tuple(slices))


def run_timing(
    settings: SimulationSettings,
    subject: Subject,
    plan: RunPlan,
    schedule: Schedule,
    faults: RunFaults,
    for_timing: np.random.Generator,
    for_export: np.random.Generator,
) -> RunTiming:
    """Draw when everything came."""
    n = len(schedule.onsets)
    most = max(n, plan.n_volumes)
    onsets, period = schedule.onsets, settings.tr_s * (1.0 + settings.faults.clock_ppm * 1e-6)
    triggers = np.rint(onsets * settings.sfreq).astype(np.int64)
    starts = np.append(onsets, onsets[-1] + period) * settings.sfreq
    if settings.clocks_agree:
        # one clock: the pulse and the gradients come with the same sample every time
        starts = np.rint(starts)
    starts[:n] += settings.faults.jitter_us * 1e-6 * settings.sfreq * for_timing.standard_normal(most)[:n]
    # across a pause the artefact ends with its volume
    paused = np.diff(starts) > 1.05 * period * settings.sfreq
    stops = np.where(paused, starts[:-1] + period * settings.sfreq, starts[1:])
    index, copies = _files(settings, schedule, faults)
    recorded, pulses = _pulses(settings, schedule, triggers, faults)
    delay = subject.recon_s + for_export.lognormal(np.log(0.15), 0.6, most)[:n]
    known = _exported(subject, onsets + period, delay, index >= 0, faults)
    return RunTiming(
        onsets, schedule.series, index, copies, schedule.scanner_s, triggers, recorded, pulses, starts, stops, known
    )


def _starts(schedule: Schedule) -> list[int]:
    return [int(k) for k in np.searchsorted(schedule.series, np.unique(schedule.series))]


def _files(settings: SimulationSettings, schedule: Schedule, faults: RunFaults) -> tuple[Array, Array]:
    wanted, n, tr = faults.settings, len(schedule.onsets), settings.tr_s
    index = np.concatenate([np.arange(np.count_nonzero(schedule.series == s)) for s in np.unique(schedule.series)])
    dummies = min(wanted.dummy_volumes, n - 1)
    # a sequence prepares each time that it starts
    starts = np.searchsorted(schedule.series, np.unique(schedule.series)).tolist()
    index -= dummies
    for k in _starts(schedule)[1:]:
        faults.enter("restart", float(schedule.onsets[k - 1]) + tr, float(schedule.onsets[k]), volume=k)
    for k in starts if dummies else []:
        last = min(k + dummies, n) - 1
        faults.enter("dummy_volumes", float(schedule.onsets[k]), float(schedule.onsets[last]) + tr, count=last + 1 - k)
    for k in faults.chosen("missing_volume", wanted.missing_volume, n):
        if index[k] >= 0:
            faults.enter("missing_volume", schedule.onsets[k], schedule.onsets[k] + tr, volume=k, index=int(index[k]))
            index[k] = -1
    copies = np.zeros(n, np.bool_)
    for k in faults.chosen("double_volume", wanted.double_volume, n):
        if index[k] >= 0:
            copies[k] = True
            faults.enter("double_volume", schedule.onsets[k], schedule.onsets[k] + tr, volume=k, index=int(index[k]))
    return np.maximum(index, -1), copies


def _pulses(
    settings: SimulationSettings, schedule: Schedule, triggers: Array, faults: RunFaults
) -> tuple[Array, tuple[tuple[int, str], ...]]:
    wanted, n, onsets = faults.settings, len(triggers), schedule.onsets
    recorded = schedule.recorded.astype(np.bool_)
    lost = [(float(onsets[k]), k) for k in np.flatnonzero(~recorded).tolist()]
    untriggered = min(wanted.untriggered_volumes, n - 1)
    for k in _starts(schedule) if untriggered else ():
        last = min(k + untriggered, n) - 1
        recorded[k : last + 1] = False
        faults.enter("untriggered_volumes", float(onsets[k]), float(onsets[last]) + settings.tr_s, count=last + 1 - k)
    first = int(np.argmax(recorded))
    for k in faults.chosen("missing_trigger", wanted.missing_trigger, n):
        if k > first and recorded[k]:
            recorded[k] = False
            lost.append((float(onsets[k]), k))
    for at, k in lost:
        faults.enter("missing_trigger", at, at, volume=k, sample=int(triggers[k]))
    pulses = [(int(triggers[k]), TRIGGER) for k in np.flatnonzero(recorded)]
    if unheard := [round(at * settings.sfreq) for at, heard in schedule.slices if not heard]:
        ends = unheard[0] / settings.sfreq, unheard[-1] / settings.sfreq
        faults.enter("missing_trigger", *ends, of_slices=len(unheard), samples=unheard)
    pulses += [(round(at * settings.sfreq), SLICE_TRIGGER) for at, heard in schedule.slices if heard]
    later = faults.rng("double_trigger_size").uniform(0.002, 0.040, n)
    for k in faults.chosen("double_trigger", wanted.double_trigger, n):
        if recorded[k]:
            sample = int(triggers[k]) + max(1, round(float(later[k]) * settings.sfreq))
            pulses.append((sample, TRIGGER))
            faults.enter("double_trigger", onsets[k], sample / settings.sfreq, volume=k, sample=sample)
    rng = faults.rng("extra_trigger")
    for at in faults.moments(rng, wanted.extra_trigger_per_min, float(onsets[0]), float(onsets[-1])):
        # between two volumes, so far from both that it is neither
        k = int(np.searchsorted(onsets, at)) - 1
        sample = int(triggers[max(0, k)]) + round(float(rng.uniform(0.2, 0.8)) * settings.tr_s * settings.sfreq)
        pulses.append((sample, TRIGGER))
        faults.enter("extra_trigger", sample / settings.sfreq, sample / settings.sfreq, sample=sample)
    return recorded, tuple(sorted(pulses))


def _exported(subject: Subject, ends: F64, delay: F64, there: Array, faults: RunFaults) -> F64:
    wanted, n = faults.settings, len(ends)
    longer = faults.rng("late_export_size").uniform(2.0, 6.0, n)
    for k in faults.chosen("late_export", wanted.late_export, n):
        if there[k]:
            delay[k] += longer[k]
            faults.enter("late_export", ends[k], ends[k] + delay[k], volume=k, later_s=round(float(longer[k]), 6))
    # one export after the other: a late file holds up those behind it
    behind = _FILE_S * np.arange(n)
    known = np.maximum.accumulate(ends + delay - behind) + behind
    known = np.maximum(known, ends + subject.recon_s)
    if wanted.export_batch > 1:
        files = np.flatnonzero(there)
        for first in range(0, len(files), wanted.export_batch):
            group = files[first : first + wanted.export_batch]
            known[group] = known[group[-1]] + _FILE_S * np.arange(len(group))
        faults.enter("export_batch", ends[0], known[-1], volumes=wanted.export_batch)
    behind_next = faults.rng("out_of_order_size").uniform(0.02, 0.2, n)
    for k in faults.chosen("out_of_order_volume", wanted.out_of_order_volume, n - 1):
        if there[k] and there[k + 1]:
            known[k] = known[k + 1] + behind_next[k]
            faults.enter("out_of_order_volume", ends[k], known[k], volume=k)
    return known
