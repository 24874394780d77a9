"""Reading the log of a session: its events as they were recorded, as far as they are on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from streamer.errors import FormatError, RecordingError
from streamer.messages import F32, F64, Array, Event, Flag, SessionHeader
from streamer.runlog import EEG, HEADER, KINDS, LOG, SCHEMA, STAMPS, VOLUMES

T = TypeVar("T")

_TYPES = {kind: record for record, kind in KINDS.items()}
_TAIL_BYTES = 65536

_decoder = msgspec.json.Decoder(dict[str, Any])


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


def _from_plain(kind: Any, value: Any) -> Any:
    # for what msgspec does not know of itself
    if kind is Flag:
        return Flag(value)
    dtype = np.float32 if kind == F32 else np.float64
    return value if isinstance(value, np.ndarray) else np.array([float(v) for v in value], dtype)


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


def log_lines(directory: Path, problems: list[str], convert: Callable[[dict[str, Any]], T]) -> Iterator[tuple[int, T]]:
    """Give the number and what ``convert`` makes of every line of a log; what cannot be read is said in ``problems``.

    Parameters
    ----------
    directory : Path
        Of the session.
    problems : list of str
        Takes lines that are cut or damaged, and numbers that are left out.
    convert : callable
        Takes a decoded line; one that it raises KeyError, TypeError or ValueError of is left out.
    """
    expected = 0
    with (directory / LOG).open("rb") as log:
        for position, text in enumerate(log, start=1):
            if not text.endswith(b"\n"):
                problems.append(f"{LOG} ends in the middle of line {position}: that event is dropped")
                return
            try:
                line = _decoder.decode(text)
                number = int(line["n"])
                made = convert(line)
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
                problems.append(f"{LOG} line {position} cannot be read and is left out: {error!r}")
                continue
            if number != expected:
                problems.append(f"{LOG} line {position} is event {number}, expected {expected}: events were lost")
            expected = number + 1
            yield number, made


def _events(directory: Path, width: int, problems: list[str]) -> Iterator[tuple[int, Event]]:
    without_raw: list[int] = []
    with (
        _Rows(directory / EEG, "<f4", width) as eeg,
        _Rows(directory / STAMPS, "<f8", 2) as stamps,
        _Rows(directory / VOLUMES, "u1", 1) as pixels,
    ):

        def convert(line: dict[str, Any]) -> Event | None:
            has_raw = _add_raw(line, eeg, stamps, pixels)
            event: Event = msgspec.convert(line, _TYPES[line["kind"]], strict=False, dec_hook=_from_plain)
            return event if has_raw else None

        for number, event in log_lines(directory, problems, convert):
            if event is not None:
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
    if line["kind"] == "frame" and line.get("slices"):
        line["slices"] = _from_plain(F32, line["slices"]).reshape(1 + len(line["means"]), -1)
    return True
