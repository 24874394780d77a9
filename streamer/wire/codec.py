"""To bytes and back."""

from __future__ import annotations

import msgspec

from streamer.errors import FormatError
from streamer.wire.payloads import SCHEMA, Message
from streamer.wire.preview_bytes import MAGIC, decode_preview
from streamer.wire.volume_bytes import VOLUME_MAGIC, VolumeMessage, decode_volume

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Encode as JSON, UTF-8."""
    return _encoder.encode(message)


def decode(payload: bytes) -> Message | VolumeMessage:
    """Decode a payload: JSON, or a preview or volume as bytes.

    Raises
    ------
    FormatError
        Neither, an unknown kind, a missing field, or a schema that is newer than ours.
    """
    if payload.startswith(MAGIC):
        return decode_preview(payload)
    if payload.startswith(VOLUME_MAGIC):
        return decode_volume(payload)
    try:
        message = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"MQTT payload of {len(payload)} bytes is not a message of ours: {error}") from error
    if not SCHEMA - 1 <= message.schema <= SCHEMA:
        raise FormatError(f"MQTT payload has schema {message.schema}: expected {SCHEMA - 1} or {SCHEMA}")
    return message
