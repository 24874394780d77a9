"""The text files of a BrainVision recording: sections of ``key=value`` lines."""

from __future__ import annotations

import re
from pathlib import Path

from streamer.errors import FormatError

Sections = dict[str, dict[str, str]]
"""Section name to key to value; names and keys in lower case."""

_MAX_BYTES = 256 * 2**20
_PROSE = {"comment"}


def parse_sections(path: Path, first_line: re.Pattern[str]) -> Sections:
    """Read a header or marker file.

    Parameters
    ----------
    path : Path
    first_line : pattern
        What the first line must begin with.

    Raises
    ------
    FormatError
        It is missing, too large, or another kind of file.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise FormatError(f"{path.name}: {size} bytes, expected a text of at most {_MAX_BYTES}")
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    lines = _decoded(raw).splitlines()
    if not lines or not first_line.match(lines[0].strip()):
        head = lines[0].strip()[:60] if lines else ""
        raise FormatError(f"{path.name}: begins with {head!r}, expected a BrainVision file")
    sections: Sections = {}
    section: dict[str, str] | None = None
    for line in lines[1:]:
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            name = text[1:-1].strip().lower()
            section = None if name in _PROSE else sections.setdefault(name, {})
        elif section is not None and text and not text.startswith(";"):
            key, separator, value = text.partition("=")
            if separator:
                section[key.strip().lower()] = value.strip()
    return sections


def _decoded(raw: bytes) -> str:
    # the Codepage line says UTF-8 or ANSI, but is often wrong: what is no UTF-8 cannot be, and the rest always is
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def split_entry(entry: str) -> list[str]:
    """Split the value of a channel or marker line; a comma inside a field is written as a backslash and 1."""
    return [part.replace("\\1", ",") for part in entry.split(",")]
