"""Tables of events (BIDS ``events.tsv`` and what resembles it) and of EEG (CSV with a column of time stamps)."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64


@dataclass(frozen=True, slots=True)
class TableEvent:
    """A row of a table of events."""

    onset_s: float
    duration_s: float
    label: str
    """``trial_type``; ``value`` where that is absent."""
    value: str
    sample: int | None
    """From 0."""


@dataclass(frozen=True)
class MarkersTable:
    """A table of events."""

    events: tuple[TableEvent, ...]
    """In the order of their onsets."""
    sfreq: float | None
    """Hz, from samples and onsets; None where the table has no samples."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class SignalTable:
    """A table of samples."""

    stamps: F64
    """s, shape (n_samples,)."""
    names: tuple[str, ...]
    """Of the columns of ``data``."""
    data: F64
    """As written, shape (n_samples, n_columns); NaN where there is no number."""
    markers: F64 | None
    """The column ``Marker``, shape (n_samples,)."""
    problems: tuple[str, ...] = ()


def read_markers_table(path: Path) -> MarkersTable:
    """Read a table with a column ``onset`` (s), and ``duration``, ``trial_type``, ``value``, ``sample`` as it has them.

    Raises
    ------
    FormatError
        It cannot be read, or has no column ``onset``, or no row is readable.
    """
    header, rows = _read(path)
    if "onset" not in header:
        raise FormatError(f"{path.name}: columns {', '.join(header)[:200]}; expected one called onset")
    events: list[TableEvent] = []
    unreadable = 0
    for row in rows:
        cells = {name: text.strip() for name, text in zip(header, row, strict=False)}
        onset = _number(cells.get("onset", ""))
        if math.isnan(onset) or len(row) != len(header):
            unreadable += 1
            continue
        duration, sample = _number(cells.get("duration", "")), _number(cells.get("sample", ""))
        value = _present(cells.get("value", ""))
        label = _present(cells.get("trial_type", "")) or value
        events.append(
            TableEvent(
                onset,
                0.0 if math.isnan(duration) else max(duration, 0.0),
                label,
                value,
                None if math.isnan(sample) else round(sample),
            )
        )
    if rows and not events:
        raise FormatError(
            f"{path.name}: none of {len(rows)} rows has a number under onset and as many cells as columns"
        )
    said = (f"{path.name}: {unreadable} of {len(rows)} rows cannot be read and are left out",) if unreadable else ()
    ratios = [event.sample / event.onset_s for event in events if event.sample is not None and event.onset_s > 1.0]
    rate = float(np.median(ratios)) if ratios else None
    ordered = tuple(sorted(events, key=lambda event: event.onset_s))
    return MarkersTable(ordered, None if rate is None else _tidy(rate), said)


def read_signal_table(path: Path) -> SignalTable:
    """Read a CSV with a first column ``timestamps`` (s), columns of numbers, and perhaps one called ``Marker``.

    Raises
    ------
    FormatError
        It cannot be read, or lacks the stamps or any sample.
    """
    header, rows = _read(path)
    if header[0] != "timestamps" or len(header) < 2:
        raise FormatError(f"{path.name}: columns {', '.join(header)[:200]}; expected timestamps, then channels")
    whole = [row for row in rows if len(row) == len(header)]
    try:
        values = np.array(whole, np.float64)
    except ValueError:
        values = np.array([[_number(text) for text in row] for row in whole])
    values = values.reshape(-1, len(header))
    good = np.isfinite(values[:, 0])
    problems: list[str] = []
    if (left_out := len(rows) - int(good.sum())) > 0:
        problems.append(f"{path.name}: {left_out} of {len(rows)} rows cannot be read and are left out")
    values = values[good]
    if len(values) < 2:
        raise FormatError(f"{path.name}: {len(values)} samples, expected at least 2")
    columns = [k for k, name in enumerate(header) if k and name != "Marker"]
    if not columns:
        raise FormatError(f"{path.name}: no column of a channel beside timestamps")
    data = np.ascontiguousarray(values[:, columns])
    if absent := int(np.count_nonzero(~np.isfinite(data))):
        problems.append(f"{path.name}: {absent} values are no numbers")
    markers = values[:, header.index("Marker")] if "Marker" in header else None
    return SignalTable(values[:, 0], tuple(header[k] for k in columns), data, markers, tuple(problems))


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    first = text.split("\n", 1)[0]
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",") if row
        ]
    except csv.Error as error:
        raise FormatError(f"{path.name}: cannot be read as a table") from error
    if not rows:
        raise FormatError(f"{path.name}: is empty, expected a table with a header line")
    return [name.strip() for name in rows[0]], rows[1:]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _present(text: str) -> str:
    return "" if text == "n/a" else text


def _tidy(rate: float) -> float:
    # onsets are rounded: a rate this close to a whole number is one
    return float(round(rate)) if abs(rate - round(rate)) < 1e-4 * rate else rate
