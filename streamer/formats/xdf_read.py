"""Reading of XDF 1.0: what streams a file holds, and their raw stamps and values, as much as is asked for.

The chunks are found here (:mod:`streamer.formats.xdf_chunks`), so that a file that was cut is read as far as it goes
and a long one costs no memory; what lies in them is decoded by pyxdf, without its clock correction and dejitter.
"""

from __future__ import annotations

import io
import logging
import math
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from streamer.errors import FormatError
from streamer.formats.xdf import XdfChannel
from streamer.formats.xdf_chunks import (
    CLOCK_OFFSET,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Chunk,
    Pieces,
    open_bytes,
    read_length,
    walk_chunks,
)
from streamer.messages import F64, Array

_BYTES = {"float32": 4, "double64": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8}
_MAX_CHANNELS = 4096
_PIECE = 4096
"""Samples that are decoded at once, at least."""
_MARKERS = re.compile(r"marker|event|trigger|stim", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class XdfStream:
    """One stream of a file."""

    number: int
    """The file's own."""
    name: str
    type: str
    """Content type, ``EEG``."""
    n_channels: int
    sfreq: float
    """Hz, nominal; 0 for an irregular stream."""
    channel_format: str
    """``string`` or what a number is stored as."""
    channels: tuple[XdfChannel, ...]
    """As many as are described."""
    host: str
    """On which machine's clock the stamps are: to compare, never to show."""
    count: int
    """Samples in whole chunks."""
    offsets: F64
    """Clock measurements: s on the sender's clock, s to add, samples stored before it; shape (n, 3)."""
    header: tuple[int, int]
    """First byte of the header's chunk and the byte after it."""
    places: Array
    """Of each chunk of samples: first sample, how many, first byte, byte after it; shape (n, 4)."""
    problems: tuple[str, ...] = ()

    @property
    def is_markers(self) -> bool:
        """Whether each sample is an event: text, or numbers at no regular rate that are called so."""
        return self.channel_format == "string" or (self.sfreq == 0 and _MARKERS.search(self.type) is not None)

    @property
    def n_samples(self) -> int:
        """How many samples of a signal there are."""
        return 0 if self.is_markers else self.count

    @property
    def n_markers(self) -> int:
        """How many events there are."""
        return self.count if self.is_markers else 0


@dataclass(frozen=True)
class XdfFile:
    """A file of which the streams are known."""

    path: Path
    streams: tuple[XdfStream, ...]
    problems: tuple[str, ...]
    """What is wrong with the file as a whole."""


def scan_xdf(path: Path) -> XdfFile:
    """Find the streams of a file; samples are counted, but not decoded.

    Raises
    ------
    FormatError
        It cannot be read or is no XDF file, or no header of a stream can be read.
    """
    problems: list[str] = []
    found: dict[int, _Found] = {}
    lost = 0
    try:
        with open_bytes(path) as file:
            for chunk in walk_chunks(file, problems):
                if chunk.tag in {STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER}:
                    lost += not _take(file, chunk, found)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error
    if lost:
        problems.append(f"{lost} chunks belong to no stream or contradict their stream's header, and are left out")
    if not found:
        raise FormatError(f"{path.name}: no stream ({'; '.join(problems) or 'only the header of the file'})")
    return XdfFile(path, tuple(stream.done() for stream in found.values()), tuple(problems))


def read_stamps(path: Path, stream: XdfStream) -> F64:
    """Read the raw stamps of a numeric stream, s on the sender's clock, shape (count,).

    Raises
    ------
    FormatError
        A chunk is damaged inside.
    """

    def without_values(values: Array, stamps: F64, info: Any, _number: int) -> tuple[Array, F64, Any]:
        # a view would keep all values alive
        return values[:0].copy(), stamps, info

    return _decode(path, stream, stream.places, without_values)[0]


def read_texts(path: Path, stream: XdfStream) -> tuple[F64, list[str]]:
    """Read a stream of markers: raw stamps, s, and a text for each; several channels are joined by blanks.

    Raises
    ------
    FormatError
        A chunk is damaged inside.
    """
    stamps, values = _decode(path, stream, stream.places)
    return stamps, [" ".join(_text(value) for value in row) for row in values]


class XdfSamples:
    """The values of a numeric stream, read piece by piece.

    Parameters
    ----------
    path : Path
    stream : XdfStream
    """

    def __init__(self, path: Path, stream: XdfStream) -> None:
        self._path, self._stream = path, stream
        self._ends: list[int] = []
        """Chunk after the last one of each piece."""
        firsts: list[int] = []
        for k, first in enumerate(stream.places[:, 0].tolist()):
            if not firsts or first - firsts[-1] >= _PIECE:
                firsts.append(first)
                self._ends.append(k)
            self._ends[-1] = k + 1
        self._firsts = np.array(firsts, np.int64)
        self._held: tuple[int, Array] = (-1, np.zeros((0, stream.n_channels)))

    def read(self, start: int, stop: int) -> Array:
        """Read samples ``start`` to ``stop`` (excluded) as they are stored, shape (stop - start, n_channels).

        Raises
        ------
        FormatError
            A chunk is damaged inside.
        ValueError
            The range is not within the stream.
        """
        if not 0 <= start <= stop <= self._stream.count:
            raise ValueError(f"samples {start} to {stop} of a stream of {self._stream.count}")
        parts: list[Array] = []
        piece = int(np.searchsorted(self._firsts, start, "right")) - 1
        while start < stop:
            first = int(self._firsts[piece])
            values = self._piece(piece)
            parts.append(values[start - first : stop - first])
            start, piece = first + len(values), piece + 1
        return np.concatenate(parts) if parts else np.zeros((0, self._stream.n_channels))

    def _piece(self, piece: int) -> Array:
        if self._held[0] != piece:
            begin = self._ends[piece - 1] if piece else 0
            _, values = _decode(self._path, self._stream, self._stream.places[begin : self._ends[piece]])
            self._held = piece, values
        return self._held[1]


@dataclass
class _Found:
    """A stream while the chunks are walked."""

    number: int
    header: tuple[int, int]
    info: ET.Element
    n_channels: int
    sfreq: float
    count: int = 0
    places: list[tuple[int, int, int, int]] = field(default_factory=list[tuple[int, int, int, int]])
    offsets: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    footer_count: int | None = None
    finished: bool = False

    @property
    def channel_format(self) -> str:
        return self.info.findtext("channel_format", "")

    def done(self) -> XdfStream:
        problems: list[str] = []
        if not self.finished:
            problems.append("no footer: its recording was not finished")
        # recorders are known to count one too few
        elif self.footer_count is not None and self.footer_count > self.count:
            problems.append(f"{self.count} samples, but its footer says {self.footer_count}")
        listed = self.info.findall("desc/channels/channel")[: self.n_channels]
        return XdfStream(
            self.number,
            (self.info.findtext("name") or "").strip(),
            (self.info.findtext("type") or "").strip(),
            self.n_channels,
            self.sfreq,
            self.channel_format,
            tuple(
                XdfChannel(*((entry.findtext(tag) or "").strip() for tag in ("label", "unit", "type")))
                for entry in listed
            ),
            (self.info.findtext("hostname") or "").strip(),
            self.count,
            np.array(self.offsets, np.float64).reshape(-1, 3),
            self.header,
            np.array(self.places, np.int64).reshape(-1, 4),
            tuple(problems),
        )


def _take(file: BinaryIO, chunk: Chunk, found: dict[int, _Found]) -> bool:
    """Add what a chunk says; False when it says nothing that can be used."""
    file.seek(chunk.content)
    head = file.read(min(chunk.stop - chunk.content, 20))
    if len(head) < 4:
        return False
    (number,) = struct.unpack_from("<I", head)
    if chunk.tag == STREAM_HEADER:
        file.seek(chunk.content + 4)
        stream = _read_header(number, chunk, file.read(chunk.stop - chunk.content - 4))
        if stream is None or number in found:
            return False
        found[number] = stream
        return True
    stream = found.get(number)
    if stream is None:
        return False
    if chunk.tag == CLOCK_OFFSET:
        if len(head) < 20:
            return False
        collected, offset = struct.unpack_from("<dd", head, 4)
        if not (math.isfinite(collected) and math.isfinite(offset)):
            return False
        stream.offsets.append((collected, offset, stream.count))
        return True
    if chunk.tag == STREAM_FOOTER:
        stream.finished = True
        file.seek(chunk.content + 4)
        footer = _xml(file.read(chunk.stop - chunk.content - 4))
        text = footer.findtext("sample_count") or "" if footer is not None else ""
        stream.footer_count = int(text) if re.fullmatch(r"\d{1,15}", text) else None
        return footer is not None
    count, width = read_length(head[4:])
    size = chunk.stop - chunk.content - 4 - width
    value = _BYTES.get(stream.channel_format, 1) * stream.n_channels
    if count is None or count * (1 + value) > size:
        return False
    if stream.channel_format != "string" and size > count * (9 + value):
        return False
    if count:
        stream.places.append((stream.count, count, chunk.start, chunk.stop))
    stream.count += count
    return True


def _read_header(number: int, chunk: Chunk, text: bytes) -> _Found | None:
    info = _xml(text)
    if info is None:
        return None
    try:
        n_channels = int(info.findtext("channel_count") or "")
        sfreq = float(info.findtext("nominal_srate") or "")
    except ValueError:
        return None
    known = info.findtext("channel_format") in {*_BYTES, "string"}
    if not (known and 0 < n_channels <= _MAX_CHANNELS and math.isfinite(sfreq) and sfreq >= 0):
        return None
    return _Found(number, (chunk.start, chunk.stop), info, n_channels, sfreq)


def _xml(text: bytes) -> ET.Element | None:
    try:
        # expat refuses what grows beyond measure
        return ET.fromstring(text.decode("utf-8", "replace").strip("\0 \r\n\t"))  # noqa: S314
    except ET.ParseError:
        return None


def _decode(
    path: Path, stream: XdfStream, places: Array, on_chunk: Callable[..., Any] | None = None
) -> tuple[F64, Any]:
    from pyxdf import load_xdf

    count = int(places[:, 1].sum())
    if not count:
        return np.zeros(0), []
    # what it complains of is found before or told as an error
    logging.getLogger("pyxdf.pyxdf").setLevel(logging.CRITICAL + 1)
    ranges: Sequence[tuple[int, int]] = [(0, len(MAGIC)), stream.header, *map(tuple, places[:, 2:].tolist())]
    try:
        with io.BufferedReader(Pieces(path, ranges), 1 << 20) as file:
            streams, _ = load_xdf(
                file,
                on_chunk=on_chunk,
                synchronize_clocks=False,
                handle_clock_resets=False,
                dejitter_timestamps=False,
            )
        stamps = np.asarray(streams[0]["time_stamps"], np.float64)
    except Exception as error:
        raise FormatError(f"{path.name}: stream {stream.name!r} cannot be decoded ({type(error).__name__})") from error
    if len(stamps) != count or not np.isfinite(stamps).all():
        raise FormatError(f"{path.name}: stream {stream.name!r} is damaged inside its chunks")
    return stamps, streams[0]["time_series"]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(float(value))
