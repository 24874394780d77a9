"""The text files of a BrainVision recording: sections of ``key=value`` lines, read as they are found and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import FormatError

Sections = dict[str, dict[str, str]]
"""Section name to key to value; names and keys in lower case."""

_MAX_BYTES = 256 * 2**20
_PROSE = {"comment"}


@dataclass(frozen=True, slots=True)
class Text:
    """A header or marker file."""

    sections: Sections
    last_entry: tuple[str, str] | None
    """Section and key of a last line that has no end: the file may have been cut there."""
    problems: tuple[str, ...]


def parse_sections(path: Path, first_line: re.Pattern[str]) -> Text:
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
    text, code_page = _decoded(raw)
    lines = re.split(r"\r\n|\r|\n", text)
    if not first_line.match(lines[0].strip()):
        raise FormatError(f"{path.name}: begins with {lines[0].strip()[:60]!r}, expected a BrainVision file")
    sections: Sections = {}
    section: dict[str, str] | None = None
    name = key = ""
    for line in lines[1:]:
        entry = line.strip()
        key = ""
        if entry.startswith("[") and entry.endswith("]"):
            name = entry[1:-1].strip().lower()
            section = None if name in _PROSE else sections.setdefault(name, {})
        elif section is not None and entry and not entry.startswith(";"):
            before, separator, value = entry.partition("=")
            if separator:
                key = before.strip().lower()
                section[key] = value.strip()
    said = sections.get("common infos", {}).get("codepage", "")
    problems: tuple[str, ...] = ()
    if said and not text.isascii() and (said.upper() in {"UTF-8", "UTF8"}) != (code_page == "UTF-8"):
        problems = (f"{path.name}: says that it is {said}, but is not: read as {code_page}",)
    return Text(sections, (name, key) if key else None, problems)


def _decoded(raw: bytes) -> tuple[str, str]:
    # the Codepage line is often wrong: what is no UTF-8 cannot be, and the rest always is
    try:
        return raw.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), "Latin-1 (Windows-1252)"


def split_entry(entry: str, n_fields: int) -> list[str]:
    """Split the value of a channel or marker line into at least so many fields, absent ones empty.

    A comma inside a field is written as a backslash and 1.
    """
    fields = [part.replace("\\1", ",").strip() for part in entry.split(",")]
    return fields + [""] * (n_fields - len(fields))


def join_entry(*fields: str) -> str:
    """Make the value of a channel or marker line; a line break inside a field becomes a blank."""
    return ",".join(re.sub(r"[\r\n\0]+", " ", field).replace(",", "\\1") for field in fields)


def write_sections(path: Path, first_line: str, sections: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """Write a header or marker file: UTF-8, lines as on Windows."""
    lines = [first_line]
    for name, entries in sections:
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in entries)]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
