"""The log of a session on disk: every event in feed order, with its raw data beside it.

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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamer.errors import FormatError, RecordingError, UsageError
from streamer.messages import (
    F32,
    F64,
    Array,
    BoldFrame,
    ClockOffset,
    Command,
    EegChunk,
    Event,
    Flag,
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

_KINDS: dict[type[Any], str] = {
    EegChunk: "eeg",
    Marker: "marker",
    Volume: "volume",
    BoldFrame: "frame",
    ClockOffset: "offset",
    SourceState: "source",
    Tick: "tick",
    Command: "command",
}
_TYPES = {kind: record for record, kind in _KINDS.items()}
_FIELDS = {record: tuple(f.name for f in fields(record)) for record in _KINDS}
_IN_RAW = {"data", "times_raw", "times"}
_STAMP_BYTES = 16
_TAIL_BYTES = 65536


def kind_of(event: Event) -> str:
    """Name the kind of an event, as the log does."""
    return _KINDS[type(event)]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


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


def _from_plain(kind: Any, value: Any) -> Any:
    # for what msgspec does not know of itself
    if kind is Flag:
        return Flag(value)
    dtype = np.float32 if kind == F32 else np.float64
    return value if isinstance(value, np.ndarray) else np.array([float(v) for v in value], dtype)


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
    line: dict[str, Any] = {"n": number, "kind": _KINDS[record]}
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
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with (directory / HEADER).open("x", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, "kind": "session log", **asdict(header)}, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            raise UsageError(f"{directory} holds a session already: expected a new directory") from None
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


@dataclass(frozen=True, slots=True)
class SessionLog:
    """A session as read back."""

    directory: Path
    header: SessionHeader
    events: Iterator[tuple[int, Event]]
    """Number and event in feed order; read from disk while it is iterated, once."""
    problems: list[str] = field(default_factory=list[str])
    """What could not be read; complete when ``events`` is exhausted."""


def is_session(path: Path) -> bool:
    """Tell whether ``path`` is a folder with a session's log."""
    return (path / LOG).exists()


def read_header(directory: Path) -> SessionHeader:
    """Read the header of a session's directory.

    Raises
    ------
    RecordingError
        There is no header.
    FormatError
        It cannot be read, or its schema is not ours.
    """
    path = directory / HEADER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema", None)
        content.pop("kind", None)
        if schema not in {SCHEMA - 1, SCHEMA}:
            raise FormatError(f"{path} has schema {schema!r}: expected {SCHEMA - 1} or {SCHEMA}")
        return msgspec.convert(content, SessionHeader)
    except OSError as error:
        raise RecordingError(f"{directory} holds no session log: {error}") from error
    except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise FormatError(f"{path} is not the header of a session: {error}") from error


def read_span(directory: Path) -> tuple[float, float]:
    """Tell when a log's first and last event were received, s; reads its two ends only, and (0, 0) of an empty log."""
    with (directory / LOG).open("rb") as stream:
        first = stream.readline()
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
        tail = stream.read().split(b"\n")
    # a crash may have cut the last line short
    known = [at for line in (first, *tail[-3:]) if (at := _received(line)) is not None]
    return (known[0], known[-1]) if known else (0.0, 0.0)


def _received(line: bytes) -> float | None:
    try:
        return float(json.loads(line)["received"])
    except (ValueError, TypeError, KeyError):
        return None


def read_session(directory: Path) -> SessionLog:
    """Open a session's log; the events are those that were recorded, bit for bit.

    A log that was cut (a crash, a full disk) is read as far as it goes, and ``problems`` says what is missing.

    Raises
    ------
    RecordingError
        The directory holds no session log.
    FormatError
        Its header cannot be read.
    """
    header = read_header(directory)
    if not (directory / LOG).is_file():
        raise RecordingError(f"{directory} holds no session log: {LOG} is absent")
    problems: list[str] = []
    return SessionLog(directory, header, _events(directory, len(header.channels), problems), problems)


class _Rows(FileIO):
    """Whole rows of a file, read when they are asked for: a mapped file would count as memory."""

    def __init__(self, path: Path, dtype: str, width: int) -> None:
        super().__init__(path if path.is_file() else os.devnull)
        self._dtype, self._width = np.dtype(dtype), width
        size = self._dtype.itemsize * width
        self.n = os.fstat(self.fileno()).st_size // size if size else 0
        """How many there are; the last one may be cut."""

    def between(self, start: int, stop: int) -> Array:
        """Give rows ``start`` to ``stop``, as far as there are any; the caller's own."""
        n = max(0, min(stop, self.n) - start)
        if start < 0 or not n:
            return np.empty((0, self._width), self._dtype)
        self.seek(start * self._width * self._dtype.itemsize)
        return np.fromfile(self, self._dtype, n * self._width).reshape(-1, self._width)


def _events(directory: Path, width: int, problems: list[str]) -> Iterator[tuple[int, Event]]:
    expected = 0
    without_raw: list[int] = []
    with (
        _Rows(directory / EEG, "<f4", width) as eeg,
        _Rows(directory / STAMPS, "<f8", 2) as stamps,
        _Rows(directory / VOLUMES, "u1", 1) as pixels,
        (directory / LOG).open("rb") as log,
    ):
        for position, text in enumerate(log, start=1):
            if not text.endswith(b"\n"):
                problems.append(f"{LOG} ends in the middle of line {position}: that event is dropped")
                break
            try:
                line = _decoder.decode(text)
                number = int(line["n"])
                has_raw = _add_raw(line, eeg, stamps, pixels)
                event = msgspec.convert(line, _TYPES[line["kind"]], strict=False, dec_hook=_from_plain)
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
                problems.append(f"{LOG} line {position} cannot be read and is left out: {error!r}")
                continue
            if number != expected:
                problems.append(f"{LOG} line {position} is event {number}, expected {expected}: events were lost")
            expected = number + 1
            if has_raw:
                yield number, event
            else:
                without_raw.append(number)
    if without_raw:
        problems.append(
            f"{len(without_raw)} events, the first of them {without_raw[0]}, lack their raw data and are left out"
        )


def _add_raw(line: dict[str, Any], eeg: _Rows, stamps: _Rows, pixels: _Rows) -> bool:
    # False when the files end before the event's data does
    if line["kind"] == "eeg":
        row, stop = line["row"], line["row"] + line["n_times"]
        times = np.asarray(stamps.between(row, stop), np.float64)
        line["data"] = np.asarray(eeg.between(row, stop), np.float32)
        line["times_raw"], line["times"] = times[:, 0].copy(), times[:, 1].copy()
        return stop <= min(eeg.n, stamps.n)
    if line["kind"] == "volume":
        dtype, shape, start = np.dtype(line["dtype"]), line["shape"], line["start"]
        stop = start + math.prod(shape) * dtype.itemsize
        whole = stop <= pixels.n
        found = pixels.between(start, stop if whole else start).reshape(-1)
        line["data"] = found.view(dtype).reshape(shape if whole else -1)
        line["affine"] = _from_plain(F64, line["affine"]).reshape(4, 4)
        return whole
    return True
