r"""Commands to a session, and how they are signed.

The signature is HMAC-SHA256 (RFC 2104), in hex, over these fields with a NUL between them: ``eegfmri-command-1``, the
session, the action, the text, ``at`` with three decimals, the nonce. With a shell::

    printf 'eegfmri-command-1\0%s\0%s\0%s\0%s\0%s' SESSION arm '' 1234.500 NONCE | openssl dgst -sha256 -hmac "$KEY"
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated, Literal

import msgspec

from streamer.errors import FormatError
from streamer.wire.payloads import SCHEMA

MAX_BYTES = 4096
"""A longer payload is not looked at."""
_PREFIX = "eegfmri-command-1"
# Python's $ also fits before a last line break
_END = r"(?![\s\S])"

Action = Literal["stop", "arm", "annotate", "recentre", "end"]
"""``stop`` stops triggers, ``arm`` lets them go again, ``end`` ends the session."""
Text = Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*" + _END)]
Nonce = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_-]{16,64})?" + _END)]
Mac = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?" + _END)]


class CommandMessage(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="command", forbid_unknown_fields=True
):
    """A command to the session whose topic it is sent to."""

    schema: int = SCHEMA
    action: Action
    """``stop`` is taken from anybody; all others must be signed."""
    text: Text = ""
    """What is to be noted; no control characters."""
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """That of the topic; may be left out."""
    at: float | None = None
    """SessionTime, s: see ``at`` in ``health``."""
    nonce: Nonce = ""
    """16 to 64 letters, digits, ``_`` or ``-`` that were never used before."""
    mac: Mac = ""
    """The signature, hex; empty for none."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(CommandMessage)


def new_nonce() -> str:
    """Draw 128 random bits, as hex."""
    return secrets.token_hex(16)


def mac_of(key: bytes, session: str, action: str, text: str, at: float, nonce: str) -> str:
    """Sign the fields of a command; gives hex."""
    signed = "\0".join((_PREFIX, session, action, text, f"{at:.3f}", nonce))
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


def signed_command(key: bytes, session: str, action: str, text: str, at: float) -> bytes:
    """Make the payload of a signed command.

    Parameters
    ----------
    key : bytes
    session : str
        Name of the session that it is for.
    action : str
        ``stop``, ``arm``, ``annotate``, ``recentre`` or ``end``.
    text : str
        At most 500 characters, none of them a control character.
    at : float
        SessionTime now, s: the newest ``at`` of the session's ``health`` plus the time since it came.

    Raises
    ------
    FormatError
        The session would not take it.
    """
    # as it is signed, so that both sides sign the same number
    at = round(at, 3)
    nonce = new_nonce()
    fields = {"kind": "command", "action": action, "text": text, "session": session, "at": at, "nonce": nonce}
    payload = _encoder.encode(fields | {"mac": mac_of(key, session, action, text, at, nonce)})
    decode_command(payload)
    return payload


def decode_command(payload: bytes) -> CommandMessage:
    """Read a command.

    Raises
    ------
    FormatError
        It is too long, not a command, has a field too many, or a field that cannot be. What it holds is not repeated.
    """
    if len(payload) > MAX_BYTES:
        raise FormatError(f"a command of {len(payload)} bytes: expected {MAX_BYTES} at most")
    try:
        message = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"{len(payload)} bytes are no command of ours") from error
    if not SCHEMA - 1 <= message.schema <= SCHEMA:
        raise FormatError(f"a command of schema {message.schema}: expected {SCHEMA - 1} or {SCHEMA}")
    return message
