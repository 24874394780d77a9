"""Real times to drive a session by: triggers and R peaks from a table of events or a BrainVision marker file."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from streamer.errors import FormatError, UsageError
from streamer.formats.brainvision_header import read_header, read_markers
from streamer.messages import F64

MISSING = "missing_trigger"
"""Rows of this type name pulses that the recording had lost."""
_VOLUME_LABELS = ("R128", "Scan Start", "T  1", "volume", "trigger")
_R_LABELS = ("R", "R peak", "R-peak", "QRS", "N")
_SHORTEST_TR_S = 0.3
_TR_TOLERANCE = 0.01
# a pulse and the row that says it was lost are this close: tables round to their own samples
_SAME_S = 2e-3
# an interval so far off a whole number of periods is a pause, not a pulse that is missing
_APART = 0.1

Events = dict[str, list[float]]
"""Times of each label, s."""


@dataclass(frozen=True)
class TriggerTable:
    """When the scanner pulsed, as a recording has it; s after its first sample."""

    name: str
    times: F64
    """All pulses, those that were lost put in."""
    recorded: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """Which of them the recording had."""
    period_s: float
    """Median interval."""

    @property
    def pauses(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Numbers of the pulses behind a pause that is no whole number of periods."""
        return np.flatnonzero(np.diff(self.times) > 1.5 * self.period_s) + 1

    def tr_s(self, shots: int) -> float:
        """Repetition time, s; pulses closer than any TR are those of slices, ``shots`` in a volume."""
        if self.period_s >= _SHORTEST_TR_S or len(self.times) <= shots:
            return self.period_s
        return float(np.median(self.times[shots:] - self.times[:-shots]))

    def of_slices(self, shots: int, tr_s: float) -> bool:
        """Tell whether the pulses are those of slices, ``shots`` in ``tr_s``.

        Raises
        ------
        UsageError
            They are neither those of volumes nor of slices.
        """
        if abs(self.period_s / tr_s - 1.0) < _TR_TOLERANCE:
            return False
        if abs(self.period_s * shots / tr_s - 1.0) < _TR_TOLERANCE:
            return True
        raise UsageError(
            f"{self.name}: a trigger every {self.period_s:.6g} s, expected one per TR of {tr_s:g} s or per slice of "
            f"{shots}, every {tr_s / shots:.6g} s"
        )


def read_triggers(path: Path, label: str = "") -> TriggerTable:
    """Read a train of triggers.

    Pulses whose row says that they were lost, and pulses where the train has a hole of a whole number of periods, are
    put in as not recorded.

    Parameters
    ----------
    path : Path
        A table with the columns ``onset`` (s) and ``trial_type``, or a .vmrk with its .vhdr beside it.
    label : str
        Which events; by default the first of the usual names that is there.

    Raises
    ------
    FormatError
        It cannot be read.
    UsageError
        No such events, or fewer than two.
    """
    events = _read(path)
    times = np.unique(_of(events, path, (label,) if label else _VOLUME_LABELS))
    if len(times) < 2:
        raise UsageError(f"{path.name}: {len(times)} trigger, expected at least two")
    period = float(np.median(np.diff(times)))
    lost = np.array(events.get(MISSING, []))
    recorded = np.ones(len(times), np.bool_)
    if len(lost) and np.any(gone := _near(times, lost, _SAME_S)):
        # the rows are about this train: what they name beyond it belongs to it as well
        recorded = ~gone
        more = lost[~_near(lost, times, _SAME_S)]
        times, recorded = _merged(times, recorded, more)
    holes: list[float] = []
    for before, after in pairwise(times.tolist()):
        turns = (after - before) / period
        if (n := round(turns)) >= 2 and abs(turns - n) <= _APART:
            holes += (before + (after - before) * np.arange(1, n) / n).tolist()
    return TriggerTable(path.name, *_merged(times, recorded, np.array(holes)), period)


def read_r_peaks(path: Path) -> F64:
    """Read R peaks, s after the first sample, in order.

    Raises
    ------
    FormatError
        It cannot be read.
    UsageError
        No R peaks in it.
    """
    return np.unique(_of(_read(path), path, _R_LABELS))


def _near(times: F64, others: F64, tolerance: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    ordered = np.sort(others)
    place = np.searchsorted(ordered, times)
    above = np.abs(ordered[np.minimum(place, len(ordered) - 1)] - times)
    below = np.abs(ordered[np.maximum(place - 1, 0)] - times)
    return np.minimum(above, below) <= tolerance


def _merged(
    times: F64, recorded: np.ndarray[tuple[int], np.dtype[np.bool_]], lost: F64
) -> tuple[F64, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    every = np.concatenate([times, lost])
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate([recorded, np.zeros(len(lost), np.bool_)])[order]


def _of(events: Events, path: Path, labels: tuple[str, ...]) -> F64:
    for label in labels:
        # BIDS writes the type before the label, as in Response/R128
        if found := [name for name in events if name.strip().lower().rpartition("/")[2] == label.strip().lower()]:
            return np.sort(np.concatenate([events[name] for name in found]))
    there = ", ".join(f"{name} ({len(times)})" for name, times in sorted(events.items())) or "none"
    raise UsageError(f"{path.name}: no events {' or '.join(labels)}; there are {there}")


def _read(path: Path) -> Events:
    if path.suffix.lower() == ".vmrk":
        return _marker_file(path)
    if path.suffix.lower() in {".tsv", ".csv", ".txt"}:
        return _table(path)
    raise UsageError(f"{path.name}: expected a table (.tsv, .csv) or a marker file (.vmrk)")


def _table(path: Path) -> Events:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="," if path.suffix.lower() == ".csv" else "\t")
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name}: cannot be read as a table ({error})") from error
    if absent := sorted({"onset", "trial_type"} - columns):
        raise FormatError(
            f"{path.name}: no column {', '.join(absent)}; there are {', '.join(sorted(columns)) or 'none'}"
        )
    events: Events = {}
    for line, row in enumerate(rows, start=2):
        try:
            onset = float(row["onset"])
        except (TypeError, ValueError):
            onset = math.nan
        if not (math.isfinite(onset) and onset >= 0):
            raise FormatError(f"{path.name}: line {line} has onset {row['onset']!r}, expected s from 0 on")
        events.setdefault((row["trial_type"] or "").strip(), []).append(onset)
    return events


def _marker_file(path: Path) -> Events:
    sfreq = read_header(path.with_suffix(".vhdr")).sfreq
    events: Events = {}
    for marker in read_markers(path).markers:
        events.setdefault(marker.label.strip(), []).append(marker.sample / sfreq)
    return events
