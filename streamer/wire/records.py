"""Messages one after the other in a stream of bytes: what a recorded session would have sent, for a dashboard to read.

All little-endian.

======  ========  ==================================================================
offset  type      what
======  ========  ==================================================================
0       4 bytes   ``EFSM``
4       uint32    bytes of the topic
8       uint32    bytes of the payload
12      float64   session time at which it would have been sent, s
20      UTF-8     the topic, as over MQTT; ``progress`` for how far the stream is
…       bytes     the payload, as over MQTT; of ``progress`` :class:`Progress` as JSON
======  ========  ==================================================================

The stream of a recording that was read to its end ends with a progress that says so.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import msgspec

from streamer.errors import FormatError

RECORD_MAGIC = b"EFSM"
PROGRESS = "progress"
"""Topic of :class:`Progress`."""
MAX_TOPIC = 2**10
MAX_PAYLOAD = 2**26
_HEADER = struct.Struct("<4sIId")


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a recorded session."""

    topic: str
    payload: bytes
    at: float
    """SessionTime at which it would have been sent, s."""


class Progress(msgspec.Struct, frozen=True):
    """How far the stream is."""

    fraction: float
    """Of the recording, 0..1."""
    at: float
    """SessionTime, s."""
    ended: bool = False
    """Nothing follows."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Progress)


def encode_record(record: Record) -> bytes:
    """Write one record."""
    topic = record.topic.encode()
    return b"".join([_HEADER.pack(RECORD_MAGIC, len(topic), len(record.payload), record.at), topic, record.payload])


def progress_record(progress: Progress) -> Record:
    """Make the record that tells how far the stream is."""
    return Record(PROGRESS, _encoder.encode(progress), progress.at)


def decode_progress(payload: bytes) -> Progress:
    """Read how far the stream is; FormatError where ``payload`` does not tell."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{len(payload)} bytes do not tell how far a recording is: {error}") from error


def read_records(stream: IO[bytes]) -> Iterator[Record]:
    """Read records until the stream ends.

    Raises
    ------
    FormatError
        It holds something else, or ends within a record.
    """
    while header := stream.read(_HEADER.size):
        magic, topic_size, payload_size, at = _HEADER.unpack(_whole(header, _HEADER.size))
        if magic != RECORD_MAGIC or topic_size > MAX_TOPIC or payload_size > MAX_PAYLOAD or not math.isfinite(at):
            raise FormatError(f"no record begins with {header!r}: expected one from {RECORD_MAGIC!r} on")
        body = _whole(stream.read(topic_size + payload_size), topic_size + payload_size)
        try:
            topic = body[:topic_size].decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"the topic {body[:topic_size]!r} of a record is no UTF-8") from error
        yield Record(topic, body[topic_size:], at)


def _whole(part: bytes, size: int) -> bytes:
    if len(part) != size:
        raise FormatError(f"the stream ends within a record, after {len(part)} of {size} bytes")
    return part
