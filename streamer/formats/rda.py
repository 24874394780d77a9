"""Messages of BrainVision's Remote Data Access (RDA), as BrainVision Recorder sends them over TCP.

A message is a header of 24 bytes (identity, size, type), then a body; all numbers are little-endian. Recorder sends a
start message when monitoring begins and to everyone who connects later, then numbered blocks of samples with the
markers that lie in them (16-bit integers on port 51234, 32-bit floats on 51244), then a stop message.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64, Array

GUID = bytes.fromhex("8E45584396C9864CAF4A98BBF6C91450")
"""Every message begins with it."""
MAX_BYTES = 64 * 2**20
"""No message is longer."""
MAX_CHANNELS = 4096

_START, _INT16, _STOP, _FLOAT32 = 1, 2, 3, 4
_HEAD = struct.Struct("<16sII")
_START_HEAD = struct.Struct("<Id")
_DATA_HEAD = struct.Struct("<III")
_MARKER_HEAD = struct.Struct("<IIIi")


@dataclass(frozen=True, slots=True)
class RdaStart:
    """Monitoring begins, or is going on already."""

    interval_us: float
    """From one sample to the next, µs."""
    resolutions: tuple[float, ...]
    """µV per unit of a sample, for each channel."""
    names: tuple[str, ...]
    """Of the channels."""

    @property
    def sfreq(self) -> float:
        """Hz."""
        return 1e6 / self.interval_us


@dataclass(frozen=True, slots=True)
class RdaMarker:
    """A marker within a block."""

    position: int
    """Sample within its block, from 0."""
    points: int
    """Length in samples; 0 and 1 both mean a moment."""
    channel: int
    """The channel that it belongs to, -1 for all."""
    kind: str
    """``Response``, ``SyncStatus``."""
    label: str
    """``R128``, ``Sync On``."""


@dataclass(frozen=True, slots=True)
class RdaData:
    """A block of samples."""

    block: int
    """Number; rises by 1 from block to block, so that a jump tells how many were lost."""
    samples: Array
    """int16 or float32, shape (n_points, n_channels); times the resolution it is µV."""
    markers: tuple[RdaMarker, ...] = ()


@dataclass(frozen=True, slots=True)
class RdaStop:
    """Monitoring has ended."""


RdaMessage = RdaStart | RdaData | RdaStop


class RdaDecoder:
    """Make messages of bytes, however they were cut on the way.

    After an error nothing more can be read: where the next message would begin is unknown.
    """

    def __init__(self) -> None:
        self.skipped = 0
        """Messages of types that are not known here."""
        self._buffer = bytearray()
        self._n_channels: int | None = None
        self._error: FormatError | None = None

    def feed(self, data: bytes) -> list[RdaMessage]:
        """Take bytes; give the messages that they complete.

        Raises
        ------
        FormatError
            The bytes are no RDA. What was whole before the damage is given first, and the error at the next call.
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        out: list[RdaMessage] = []
        at = 0
        try:
            while (size := self._size(at)) is not None and at + size <= len(self._buffer):
                message = self._message(bytes(memoryview(self._buffer)[at : at + size]))
                at += size
                if message is None:
                    self.skipped += 1
                else:
                    out.append(message)
        except FormatError as error:
            self._error = error
            if not out:
                raise
        del self._buffer[:at]
        return out

    def _size(self, at: int) -> int | None:
        head = bytes(self._buffer[at : at + _HEAD.size])
        if head[:16] != GUID[: len(head)]:
            raise FormatError(f"a message begins with {head[:16].hex()}, expected {GUID.hex()} as in every RDA message")
        if len(head) < _HEAD.size:
            return None
        size = int.from_bytes(head[16:20], "little")
        if not _HEAD.size <= size <= MAX_BYTES:
            raise FormatError(f"an RDA message of {size} bytes, expected {_HEAD.size} to {MAX_BYTES}")
        return size

    def _message(self, raw: bytes) -> RdaMessage | None:
        kind = _HEAD.unpack_from(raw)[2]
        try:
            match kind:
                case 1:
                    start = _start(raw)
                    self._n_channels = len(start.names)
                    return start
                case 2 | 4:
                    if self._n_channels is None:
                        raise FormatError("an RDA data message came before any start message")
                    return _data(raw, self._n_channels, "<i2" if kind == _INT16 else "<f4")
                case 3:
                    return RdaStop()
                case _:
                    return None
        except (struct.error, ValueError) as error:
            raise FormatError(f"an RDA message of type {kind} and {len(raw)} bytes ends too early") from error


def _start(raw: bytes) -> RdaStart:
    n_channels, interval_us = _START_HEAD.unpack_from(raw, _HEAD.size)
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise FormatError(f"RDA start message: {n_channels} channels, expected 1 to {MAX_CHANNELS}")
    if not (math.isfinite(interval_us) and interval_us > 0):
        raise FormatError(f"RDA start message: sampling interval {interval_us} µs, expected a number above 0")
    at = _HEAD.size + _START_HEAD.size
    resolutions: F64 = np.frombuffer(raw, "<f8", n_channels, at)
    if not (np.isfinite(resolutions) & (resolutions != 0)).all():
        wrong = int(np.flatnonzero(~np.isfinite(resolutions) | (resolutions == 0))[0])
        raise FormatError(
            f"RDA start message: resolution {resolutions[wrong]} µV of channel {wrong + 1}, expected a number that is "
            "not 0"
        )
    parts = raw[at + 8 * n_channels :].split(b"\0")
    # what follows the last NUL is no name
    if len(parts) <= n_channels:
        raise FormatError(f"RDA start message: {len(parts) - 1} channel names, expected {n_channels}")
    return RdaStart(interval_us, tuple(resolutions.tolist()), tuple(_text(part) for part in parts[:n_channels]))


def _data(raw: bytes, n_channels: int, dtype: str) -> RdaData:
    block, n_points, n_markers = _DATA_HEAD.unpack_from(raw, _HEAD.size)
    at = _HEAD.size + _DATA_HEAD.size
    samples = np.frombuffer(raw, dtype, n_points * n_channels, at).reshape(n_points, n_channels)
    at += samples.nbytes
    markers: list[RdaMarker] = []
    for _ in range(n_markers):
        size, position, points, channel = _MARKER_HEAD.unpack_from(raw, at)
        if not _MARKER_HEAD.size <= size <= len(raw) - at:
            raise FormatError(f"an RDA marker of {size} bytes, {len(raw) - at} are left in its message")
        kind, label = (*raw[at + _MARKER_HEAD.size : at + size].split(b"\0"), b"", b"")[:2]
        markers.append(RdaMarker(position, points, channel, _text(kind), _text(label)))
        at += size
    return RdaData(block, samples, tuple(markers))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # older Recorders write the code page of Windows
        return raw.decode("cp1252", errors="replace")


def encode(message: RdaMessage) -> bytes:
    """Make the bytes of a message.

    Raises
    ------
    ValueError
        Names and resolutions differ in number, or samples are neither int16 nor float32 of shape
        (n_points, n_channels).
    """
    match message:
        case RdaStart():
            return _framed(_START, _start_body(message))
        case RdaData():
            return _framed(_INT16 if message.samples.dtype == np.int16 else _FLOAT32, _data_body(message))
        case RdaStop():
            return _framed(_STOP, b"")


def _framed(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(GUID, _HEAD.size + len(body), kind) + body


def _start_body(start: RdaStart) -> bytes:
    n_channels = len(start.names)
    if len(start.resolutions) != n_channels:
        raise ValueError(f"{len(start.resolutions)} resolutions for {n_channels} channels")
    names = b"".join(name.encode() + b"\0" for name in start.names)
    return _START_HEAD.pack(n_channels, start.interval_us) + struct.pack(f"<{n_channels}d", *start.resolutions) + names


def _data_body(data: RdaData) -> bytes:
    samples = data.samples
    if samples.ndim != 2 or samples.dtype not in {np.dtype(np.int16), np.dtype(np.float32)}:
        raise ValueError(
            f"samples of shape {samples.shape} and {samples.dtype}: expected (n_points, n_channels) of int16 or float32"
        )
    head = _DATA_HEAD.pack(data.block, len(samples), len(data.markers))
    stored = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes()
    return head + stored + b"".join(_marker(marker) for marker in _sorted(data.markers))


def _marker(marker: RdaMarker) -> bytes:
    texts = marker.kind.encode() + b"\0" + marker.label.encode() + b"\0"
    size = _MARKER_HEAD.size + len(texts)
    return _MARKER_HEAD.pack(size, marker.position, marker.points, marker.channel) + texts


def _sorted(markers: Sequence[RdaMarker]) -> list[RdaMarker]:
    return sorted(markers, key=lambda marker: marker.position)
