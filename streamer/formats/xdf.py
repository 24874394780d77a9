"""Writing of XDF 1.0, the Extensible Data Format of Lab Streaming Layer recordings.

A file is the magic ``XDF:`` and a row of chunks, each ``length, tag, content`` (little-endian): FileHeader, and for
every stream a StreamHeader, Samples, ClockOffset and a StreamFooter; a Boundary now and then lets a reader find its
feet again in a damaged file. Time stamps are stored as the sender gave them; the clock offsets say how to bring them to
the recording host's clock.

Reference: https://github.com/sccn/xdf/wiki/Specifications
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from streamer.messages import F64, Array

_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _BOUNDARY, _STREAM_FOOTER = range(1, 7)
_BOUNDARY_MARK = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
_BOUNDARY_EVERY = 10_000_000
"""Bytes between two boundaries."""

_DTYPES = {"float32": np.dtype("<f4"), "double64": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class XdfChannel:
    """A channel as the stream's header names it."""

    label: str
    unit: str = ""
    kind: str = ""


@dataclass(slots=True)
class _Stream:
    format: str
    n_channels: int
    count: int = 0
    first: float = float("nan")
    last: float = float("nan")
    offsets: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])


class XdfWriter:
    """Writes one XDF file, stream by stream and chunk by chunk.

    Parameters
    ----------
    path : Path
        Must not exist.
    created : str
        Date and time for the file's header, ISO 8601; empty leaves it out.

    Raises
    ------
    FileExistsError
    """

    def __init__(self, path: Path, created: str = "") -> None:
        self._file = path.open("xb", buffering=1 << 20)
        self._streams: dict[int, _Stream] = {}
        self._since_boundary = 0
        self._file.write(b"XDF:")
        info = ET.Element("info")
        ET.SubElement(info, "version").text = "1.0"
        if created:
            ET.SubElement(info, "datetime").text = created
        self._chunk(_FILE_HEADER, _xml(info))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_stream(
        self,
        name: str,
        kind: str,
        channels: Sequence[XdfChannel],
        sfreq: float,
        channel_format: Literal["float32", "double64", "string"],
        source_id: str = "",
    ) -> int:
        """Write a stream's header.

        Parameters
        ----------
        name, kind : str
            LSL name and content type (``EEG``, ``Markers``).
        channels : sequence of XdfChannel
        sfreq : float
            Nominal rate, Hz; 0 for an irregular stream.
        channel_format : {"float32", "double64", "string"}
        source_id : str

        Returns
        -------
        int
            The stream's number, for the other methods.
        """
        info = ET.Element("info")
        for tag, value in (
            ("name", name),
            ("type", kind),
            ("channel_count", str(len(channels))),
            ("nominal_srate", repr(float(sfreq))),
            ("channel_format", channel_format),
            ("source_id", source_id),
        ):
            ET.SubElement(info, tag).text = _clean(value)
        listed = ET.SubElement(ET.SubElement(info, "desc"), "channels")
        for channel in channels:
            entry = ET.SubElement(listed, "channel")
            for tag, value in (("label", channel.label), ("unit", channel.unit), ("type", channel.kind)):
                ET.SubElement(entry, tag).text = _clean(value)
        stream = len(self._streams) + 1
        self._streams[stream] = _Stream(channel_format, len(channels))
        self._chunk(_STREAM_HEADER, struct.pack("<I", stream), _xml(info))
        return stream

    def samples(self, stream: int, times: F64, data: ArrayLike) -> None:
        """Write samples of a numeric stream.

        Parameters
        ----------
        stream : int
        times : ndarray, shape (n_times,)
            s, the sender's clock.
        data : array_like, shape (n_times, n_channels)

        Raises
        ------
        ValueError
            The shapes do not fit the stream.
        """
        about = self._streams[stream]
        values: Array = np.asarray(data)
        if values.shape != (len(times), about.n_channels) or about.format not in _DTYPES:
            raise ValueError(
                f"samples of shape {values.shape} with {len(times)} stamps for a {about.format} stream of "
                f"{about.n_channels} channels"
            )
        if not len(times):
            return
        row = np.dtype([("size", "u1"), ("time", "<f8"), ("values", _DTYPES[about.format], (about.n_channels,))])
        rows = np.empty(len(times), row)
        rows["size"], rows["time"], rows["values"] = 8, times, values
        self._samples(stream, times, rows.tobytes())

    def strings(self, stream: int, times: F64, data: Sequence[str]) -> None:
        """Write samples of a string stream with one channel: one text per stamp (s, the sender's clock)."""
        about = self._streams[stream]
        if len(data) != len(times) or about.format != "string" or about.n_channels != 1:
            raise ValueError(
                f"{len(data)} texts with {len(times)} stamps for a {about.format} stream of {about.n_channels} channels"
            )
        if not data:
            return
        parts: list[bytes] = []
        for time, text in zip(times, data, strict=True):
            encoded = text.encode()
            parts += [struct.pack("<Bd", 8, time), _length(len(encoded)), encoded]
        self._samples(stream, times, b"".join(parts))

    def clock_offset(self, stream: int, collected: float, offset: float) -> None:
        """Write one clock measurement.

        Parameters
        ----------
        stream : int
        collected : float
            When it was measured, s on the sender's clock.
        offset : float
            s to add to the sender's stamps.
        """
        self._streams[stream].offsets.append((collected, offset))
        self._chunk(_CLOCK_OFFSET, struct.pack("<Idd", stream, collected, offset))

    def close(self) -> None:
        """Write the footers and close the file. May be called twice."""
        if self._file.closed:
            return
        for number, stream in self._streams.items():
            info = ET.Element("info")
            if stream.count:
                ET.SubElement(info, "first_timestamp").text = repr(stream.first)
                ET.SubElement(info, "last_timestamp").text = repr(stream.last)
            ET.SubElement(info, "sample_count").text = str(stream.count)
            listed = ET.SubElement(info, "clock_offsets")
            for collected, offset in stream.offsets:
                entry = ET.SubElement(listed, "offset")
                ET.SubElement(entry, "time").text = repr(collected)
                ET.SubElement(entry, "value").text = repr(offset)
            self._chunk(_STREAM_FOOTER, struct.pack("<I", number), _xml(info))
        self._file.close()

    def _samples(self, stream: int, times: F64, content: bytes) -> None:
        about = self._streams[stream]
        if not about.count:
            about.first = float(times[0])
        about.last = float(times[-1])
        about.count += len(times)
        self._chunk(_SAMPLES, struct.pack("<I", stream), _length(len(times)), content)
        if self._since_boundary > _BOUNDARY_EVERY:
            self._chunk(_BOUNDARY, _BOUNDARY_MARK)
            self._since_boundary = 0

    def _chunk(self, tag: int, *content: bytes) -> None:
        size = 2 + sum(len(part) for part in content)
        self._file.write(_length(size) + struct.pack("<H", tag))
        for part in content:
            self._file.write(part)
        self._since_boundary += size


def _length(value: int) -> bytes:
    # a number of bytes (1, 4 or 8), then the value in so many bytes
    if value < 1 << 8:
        return struct.pack("<BB", 1, value)
    if value < 1 << 32:
        return struct.pack("<BI", 4, value)
    return struct.pack("<BQ", 8, value)


def _clean(text: str) -> str:
    # XML 1.0 has no word for control characters
    return "".join(c for c in text if c.isprintable())


def _xml(element: ET.Element) -> bytes:
    return b'<?xml version="1.0"?>' + ET.tostring(element, encoding="unicode").encode()
