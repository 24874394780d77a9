"""The log of a session on disk: every event in feed order, with its raw data beside it; ``runlog_read.py`` reads it.

A session's directory holds::

    header.json         the SessionHeader, as JSON (Python's: ``NaN`` and ``Infinity`` may occur in settings)
    runlog.jsonl        one object per event, in feed order
    eeg.f32             V, little-endian float32, rows of ``len(header.channels)`` values
    eeg.stamps.f64      little-endian float64, rows of (times_raw, times), one per row of eeg.f32
    volumes.bin         the pixels of every volume, one after the other, C order

All files only grow, and raw data is written before the line that points at it: whatever moment a process dies at, what
is on disk reads back up to its last whole line. A line has ``kind`` (``eeg``, ``marker``, ``volume``, ``frame``,
``offset``, ``source``, ``tick`` or ``command``), ``n`` (the event's number in the feed) and the fields of its record
under their own names. For ``eeg``, ``row`` says where its samples start in eeg.f32; for ``volume``, ``start`` says at
which byte of volumes.bin its pixels start. Numbers keep every bit; those that JSON has no word for are the strings
``nan``, ``inf`` and ``-inf``.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, fields
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamer.errors import FormatError, UsageError
from streamer.messages import (
    BoldFrame,
    ClockOffset,
    Command,
    EegChunk,
    Event,
    Marker,
    SessionHeader,
    SourceState,
    Tick,
    Volume,
)

SCHEMA = 1
HEADER = "header.json"
LOG = "runlog.jsonl"
EEG = "eeg.f32"
STAMPS = "eeg.stamps.f64"
VOLUMES = "volumes.bin"

KINDS: dict[type[Any], str] = {
    EegChunk: "eeg",
    Marker: "marker",
    Volume: "volume",
    BoldFrame: "frame",
    ClockOffset: "offset",
    SourceState: "source",
    Tick: "tick",
    Command: "command",
}
"""What the log calls each record."""
_FIELDS = {record: tuple(f.name for f in fields(record)) for record in KINDS}
_IN_RAW = {"data", "times_raw", "times"}
_STAMP_BYTES = 16


def kind_of(event: Event) -> str:
    """Name the kind of an event, as the log does."""
    return KINDS[type(event)]


_encoder = msgspec.json.Encoder()


def _plain(value: Any) -> Any:
    # what JSON can say, without losing a bit
    match value:
        case np.ndarray() | tuple():
            return [_plain(float(v)) for v in np.ravel(value)]
        case float() | np.floating():
            return float(value) if math.isfinite(value) else repr(float(value))
        case np.integer():
            return int(value)
        case _:
            return value


def encode_event(number: int, event: Event, row: int) -> bytes:
    """Encode the log line of an event, with its newline.

    Parameters
    ----------
    number : int
        The event's number in the feed.
    event : Event
    row : int
        Where its raw data starts: row of eeg.f32 for an EegChunk, byte of volumes.bin for a Volume; otherwise unused.
    """
    record = type(event)
    line: dict[str, Any] = {"n": number, "kind": KINDS[record]}
    for name in _FIELDS[record]:
        if name not in _IN_RAW:
            line[name] = _plain(getattr(event, name))
    match event:
        case EegChunk():
            line.update(n_times=len(event.data), row=row)
        case Volume():
            line.update(shape=event.data.shape, dtype=event.data.dtype.str, start=row)
        case _:
            pass
    return _encoder.encode(line) + b"\n"


class _Growing:
    """A file that is only appended to, and cut back to its last whole record when a write fails."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb")
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        self.size += len(data)

    def cut(self, size: int) -> None:
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def write_header(directory: Path, header: SessionHeader) -> None:
    """Write down what a session, or its replay, is run with; errors as ``RunLogWriter``'s."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with (directory / HEADER).open("x", encoding="utf-8") as file:
            json.dump({"schema": SCHEMA, "kind": "session log", **asdict(header)}, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise UsageError(f"{directory} holds a session already: expected a new directory") from None


class RunLogWriter:
    """Appends events to a session's directory. Not for the loop's thread: it writes to disk.

    Each ``append`` is whole or not at all: when the disk fails, OSError is raised and the files are cut back to the
    event before, so that writing may go on once there is room again.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    header : SessionHeader

    Raises
    ------
    UsageError
        The directory holds a session already.
    """

    def __init__(self, directory: Path, header: SessionHeader) -> None:
        write_header(directory, header)
        self.directory = directory
        self._width = len(header.channels)
        self._torn = False
        self._eeg = _Growing(directory / EEG)
        self._stamps = _Growing(directory / STAMPS)
        self._volumes = _Growing(directory / VOLUMES)
        self._log = _Growing(directory / LOG)
        self._files = (self._eeg, self._stamps, self._volumes, self._log)
        self._sizes = [0] * len(self._files)
        if os.name == "posix":
            # a file is only safe against a loss of power once its name is; Windows has no such call
            handle = os.open(directory, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

    def append(self, number: int, event: Event) -> None:
        """Append one event.

        Raises
        ------
        FormatError
            An EEG chunk whose width is not that of the header.
        OSError
            The disk is full or gone; nothing of the event is kept.
        """
        if self._torn:
            self._mend()
        try:
            self._log.append(encode_event(number, event, self._store_raw(event)))
        except Exception:
            self._torn = True
            raise
        self._sizes = [file.size for file in self._files]

    def _mend(self) -> None:
        for file, size in zip(self._files, self._sizes, strict=True):
            file.cut(size)
        self._torn = False

    def _store_raw(self, event: Event) -> int:
        match event:
            case EegChunk():
                if event.data.ndim != 2 or event.data.shape[1] != self._width:
                    raise FormatError(
                        f"EEG chunk of {event.stream!r} has shape {event.data.shape}: expected {self._width} channels"
                    )
                row = self._stamps.size // _STAMP_BYTES
                self._eeg.append(np.ascontiguousarray(event.data, "<f4").tobytes())
                self._stamps.append(np.column_stack((event.times_raw, event.times)).astype("<f8").tobytes())
                return row
            case Volume():
                start = self._volumes.size
                self._volumes.append(event.data.tobytes())
                return start
            case _:
                return 0

    def sync(self) -> None:
        """Make all that was appended safe against a loss of power."""
        for file in self._files:
            file.sync()

    def close(self) -> None:
        """Close the files. May be called twice."""
        if self._torn:
            with suppress(OSError):
                self._mend()
            self._torn = False
        for file in self._files:
            file.close()
