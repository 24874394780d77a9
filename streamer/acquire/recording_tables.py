"""The tables (TSV) that accompany recordings: what happened when, and when volumes were exported."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from streamer.acquire.recording import BlockEvent
from streamer.errors import FormatError


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a table with a header line; a cell that a short line lacks is empty.

    Raises
    ------
    FormatError
        It cannot be read, or lacks one of ``columns``.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", restval="")
            rows = list(reader)
            found = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name}: cannot be read as a table ({type(error).__name__})") from error
    if absent := [column for column in columns if column not in found]:
        raise FormatError(f"{path.name}: no column {', '.join(absent)}; there are {', '.join(found) or 'none'}")
    return rows


def read_events(path: Path) -> tuple[BlockEvent, ...]:
    """Read an events table as BIDS has it: columns ``onset`` and ``duration`` in s, ``trial_type``.

    Raises
    ------
    FormatError
        A column is missing, or a value is not a number.
    """
    events: list[BlockEvent] = []
    for line, row in enumerate(read_rows(path, ("onset", "duration", "trial_type")), start=2):
        label = row["trial_type"].strip()
        if label in {"", "n/a"}:
            continue
        try:
            onset = float(row["onset"])
            duration = 0.0 if row["duration"].strip() in {"", "n/a"} else float(row["duration"])
        except ValueError as error:
            raise FormatError(
                f"{path.name}: line {line} has onset {row['onset']!r}, duration {row['duration']!r}; expected numbers"
            ) from error
        if not (math.isfinite(onset) and math.isfinite(duration) and duration >= 0):
            raise FormatError(f"{path.name}: line {line} has onset {onset}, duration {duration}")
        events.append(BlockEvent(onset, duration, label))
    return tuple(sorted(events, key=lambda event: event.onset_s))


def read_known_at(path: Path, series: int | None = None) -> dict[int, float]:
    """Read when each volume was on disk: columns ``index`` and ``known_at_s``; gives s by acquisition number.

    Parameters
    ----------
    path : Path
    series : int, optional
        Take the rows of this series alone, by a column ``series`` where there is one.

    Raises
    ------
    FormatError
        A column is missing, a value is no number, or a volume stands there twice.
    """
    known: dict[int, float] = {}
    for line, row in enumerate(read_rows(path, ("index", "known_at_s")), start=2):
        try:
            index, at = int(row["index"]), float(row["known_at_s"])
            other = series is not None and "series" in row and int(row["series"]) != series
        except ValueError as error:
            raise FormatError(f"{path.name}: line {line}: expected a whole number and a number") from error
        if other:
            continue
        if index in known or not math.isfinite(at):
            raise FormatError(
                f"{path.name}: line {line}: volume {index} at {at} s, expected each once and a finite time"
            )
        known[index] = at
    return known
