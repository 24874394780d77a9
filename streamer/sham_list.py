"""The sealed list of a blinded study: which participant gets which feedback, for the program to read and nobody else.

A list is a JSON file with the study's conditions in the open and one sealed entry for each participant's code::

    sealed = (condition, zeros to 32 bytes) XOR HMAC-SHA256(k1, id, code)        hexadecimal, 32 bytes for all
    tag    = HMAC-SHA256(k2, id, seed, conditions, code, sealed)                 32 bytes

k1 and k2 are HMACs of the study's key, ``id`` is drawn anew for every list. Codes are assigned in blocks, of random
length, by a generator that is seeded with the seed *and* the key: who knows the seed alone cannot make the list again.

What this protects against: eyes and accident. A look at the list, a session's folder, the screen, the log or what is
sent does not tell the condition of a session to come, and a list that was altered is refused. What it does not protect
against: somebody with the key and the program. On one account the operator of a session can read the key; where that
is too little, a third person keeps it and sets it in the environment for the session. The results of a session that
was run hold what was shown beside the participant's own score: who compares the two is no longer blind.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from streamer.clock import wall_time_stamp
from streamer.decode.sham import CONDITIONS, REAL
from streamer.errors import FormatError, UsageError

FORMAT = "eegfmri-sham-list-1"
KEY_ENV = "EEGFMRI_SHAM_KEY"
"""Variable that holds the key where no file is named."""
KEY_BYTES = 16
"""A key is at least so long."""
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_BYTES = 32
_MOST = 10_000


class SealedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed list as its file has it."""

    format: str
    id: str
    """Drawn anew for every list, hexadecimal."""
    seed: int
    ratio: dict[str, int]
    """Participants of each condition in the smallest block."""
    entries: dict[str, str]
    """Code → sealed condition and tag, hexadecimal, as long for all."""


class Opening(msgspec.Struct, frozen=True):
    """That entries of a list were opened."""

    opened_utc: str
    codes: list[str]


@dataclass(frozen=True)
class Assignment:
    """What a participant gets."""

    condition: str
    seed: int
    """For what is random in it."""


def parse_ratio(text: str) -> dict[str, int]:
    """Read ``real=1,yoked=1``.

    Raises
    ------
    UsageError
        A condition is not known, or it is not a comparison of real feedback with sham.
    """
    ratio: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.strip().partition("=")
        if name not in CONDITIONS or name in ratio or not count.isdecimal() or not 1 <= int(count) <= 20:
            raise UsageError(f"ratio {text!r}: expected real=1,yoked=1 and so on, of {', '.join(CONDITIONS)}")
        ratio[name] = int(count)
    if REAL not in ratio or len(ratio) < 2:
        raise UsageError(f"ratio {text!r}: expected real and at least one other condition")
    return ratio


def make_list(participants: int, ratio: Mapping[str, int], seed: int, key: bytes, prefix: str = "P") -> SealedList:
    """Assign codes to conditions, balanced in blocks, and seal them.

    Parameters
    ----------
    participants : int
        A whole number of smallest blocks.
    ratio : mapping of str to int
        Participants of each condition in the smallest block.
    seed : int
        With the key it decides who gets what.
    key : bytes
    prefix : str
        Codes are this and a number from 1.

    Raises
    ------
    UsageError
        The numbers do not fit, or a code would not be one.
    """
    block = [name for name in sorted(ratio) for _ in range(ratio[name])]
    if not 1 <= participants <= _MOST or participants % len(block):
        raise UsageError(f"{participants} participants: expected a multiple of {len(block)}, up to {_MOST}")
    digits = max(2, len(str(participants)))
    codes = [f"{prefix}{k:0{digits}d}" for k in range(1, participants + 1)]
    if not CODE.fullmatch(codes[-1]):
        raise UsageError(f"prefix {prefix!r}: expected letters, digits, dashes and underscores, no names of people")
    drawn = np.random.default_rng(int.from_bytes(_mac(key, "assign", str(seed), _plain(ratio), str(participants))))
    order: list[str] = []
    while len(order) < participants:
        # whoever was told some assignments must not be able to count where a block ends
        size = min(len(block) * int(drawn.integers(1, 3)), participants - len(order))
        order += [block[k % len(block)] for k in drawn.permutation(size)]
    empty = SealedList(FORMAT, secrets.token_hex(16), seed, dict(ratio), {})
    entries = {code: _seal(empty, code, name, key) for code, name in zip(codes, order, strict=True)}
    return msgspec.structs.replace(empty, entries=entries)


def write_list(path: Path, sealed: SealedList) -> None:
    """Write a list; UsageError where the file exists."""
    text = json.dumps(msgspec.to_builtins(sealed), indent=1) + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists: nothing is overwritten") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error


def read_list(path: Path) -> SealedList:
    """Read a list; without the key nothing is known of its entries but how many there are.

    Raises
    ------
    UsageError
        The file cannot be read.
    FormatError
        It is not a sealed list.
    """
    try:
        sealed = msgspec.json.decode(path.read_bytes(), type=SealedList)
    except OSError as error:
        raise UsageError(f"{path}: the sealed list cannot be read: {error}") from error
    except msgspec.MsgspecError as error:
        raise FormatError(f"{path} is not a sealed list: {error}") from error
    if sealed.format != FORMAT:
        raise FormatError(f"{path}: format {sealed.format!r}; expected {FORMAT}")
    unknown = set(sealed.ratio) - set(CONDITIONS)
    whole = re.compile(f"[0-9a-f]{{{4 * _BYTES}}}")
    wrong = [code for code, entry in sealed.entries.items() if not (CODE.fullmatch(code) and whole.fullmatch(entry))]
    if unknown or wrong:
        raise FormatError(f"{path}: not a sealed list: {', '.join([*sorted(unknown), *wrong][:5])}")
    return sealed


def open_entry(sealed: SealedList, code: str, key: bytes) -> Assignment:
    """Open the entry of one code.

    Raises
    ------
    UsageError
        The list has no such code.
    FormatError
        The entry was altered, or sealed with another key. The message does not tell the condition.
    """
    if code not in sealed.entries:
        raise UsageError(f"sham.code {code!r} is not in the list: expected one of its {len(sealed.entries)} codes")
    entry = bytes.fromhex(sealed.entries[code])
    hidden, tag = entry[:_BYTES], entry[_BYTES:]
    if not hmac.compare_digest(tag, _tag(sealed, code, hidden, key)):
        raise FormatError(f"the entry of {code} in the sealed list was altered, or the key is not the list's")
    condition = _hide(sealed, code, hidden, key).rstrip(b"\0").decode()
    return Assignment(condition, int.from_bytes(_mac(key, "draw", sealed.id, code)[:8]))


def open_list(sealed: SealedList, key: bytes) -> dict[str, str]:
    """Open all entries: code → condition; errors as ``open_entry``."""
    return {code: open_entry(sealed, code, key).condition for code in sealed.entries}


def is_balanced(sealed: SealedList, key: bytes) -> bool:
    """Whether all entries are intact and the conditions have their shares; errors as ``open_entry``."""
    counts = Counter(open_list(sealed, key).values())
    blocks, rest = divmod(len(sealed.entries), sum(sealed.ratio.values()))
    return rest == 0 and counts == Counter({name: blocks * share for name, share in sealed.ratio.items()})


def entry_alone(sealed: SealedList, code: str) -> SealedList:
    """Give a list with nothing but one entry, which opens as in the whole one: what a session keeps."""
    return msgspec.structs.replace(sealed, entries={code: sealed.entries[code]})


def make_key(path: Path) -> bytes:
    """Draw a key and write it for its owner alone; UsageError where the file exists."""
    key = secrets.token_hex(32).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists: nothing is overwritten") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + b"\n")
    return key


def read_key(path: Path | None) -> bytes:
    """Read the key from a file, or from the environment where none is named or it is not there.

    Raises
    ------
    UsageError
        There is none, others than its owner can read it, or it is too short to be one.
    """
    if path is not None and (path.exists() or KEY_ENV not in os.environ):
        where, key = str(path), _key_file(path)
    else:
        where, key = f"the variable {KEY_ENV}", os.environ.get(KEY_ENV, "").encode().strip()
    if len(key) < KEY_BYTES:
        raise UsageError(f"{where} holds {len(key)} bytes: expected the key of the sealed list, {KEY_BYTES} or more")
    return key


def _key_file(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        key = path.read_bytes().strip()
    except OSError as error:
        raise UsageError(f"{path}: the key of the sealed list cannot be read: {error}") from error
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"{path}: others can read this key (mode {mode:03o}): expected 600")
    return key


def note_opening(path: Path, codes: list[str]) -> Path:
    """Write beside a list, before anything is told, that entries of it were opened; gives the file."""
    noted = _openings_file(path)
    line = msgspec.json.encode(Opening(wall_time_stamp(), codes)) + b"\n"
    try:
        with noted.open("ab") as file:
            file.write(line)
    except OSError as error:
        raise UsageError(f"{noted} cannot be written, so nothing is opened: {error}") from error
    return noted


def openings(path: Path) -> list[Opening]:
    """Tell when entries of a list were opened, oldest first; FormatError where that cannot be read."""
    noted = _openings_file(path)
    try:
        return [msgspec.json.decode(line, type=Opening) for line in noted.read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise FormatError(f"{noted} cannot be read: {error}") from error


def _openings_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.opened.jsonl")


def _seal(sealed: SealedList, code: str, condition: str, key: bytes) -> str:
    hidden = _hide(sealed, code, condition.encode().ljust(_BYTES, b"\0"), key)
    return (hidden + _tag(sealed, code, hidden, key)).hex()


def _hide(sealed: SealedList, code: str, text: bytes, key: bytes) -> bytes:
    # its own inverse; the stream serves one entry of one list only, since the id is drawn anew
    stream = _mac(_mac(key, "hide"), sealed.id, code)
    return bytes(a ^ b for a, b in zip(text, stream, strict=True))


def _tag(sealed: SealedList, code: str, hidden: bytes, key: bytes) -> bytes:
    return _mac(_mac(key, "whole"), sealed.id, str(sealed.seed), _plain(sealed.ratio), code, hidden.hex())


def _plain(ratio: Mapping[str, int]) -> str:
    return json.dumps(dict(ratio), sort_keys=True)


def _mac(key: bytes, *parts: str) -> bytes:
    # as JSON, so that no two lists of parts read alike
    return hmac.new(key, json.dumps(parts).encode(), hashlib.sha256).digest()
