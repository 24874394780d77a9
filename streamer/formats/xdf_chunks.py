"""The chunks of an XDF file: where each one lies, and which of them are whole.

A recording may end in the middle of a chunk, or have a damaged stretch: what cannot be a chunk is left out, and the
walk goes on behind the next boundary mark, which XDF has for this.

Reference: https://github.com/sccn/xdf/wiki/Specifications
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from streamer.errors import FormatError

MAGIC = b"XDF:"
FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY, STREAM_FOOTER = range(1, 7)
BOUNDARY_MARK = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
_GZIP = b"\x1f\x8b"
_ANY_GZIP = 31
"""Tells zlib to expect the header of gzip."""
_SCAN = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """One whole chunk."""

    tag: int
    start: int
    """First byte of the chunk, its length included."""
    content: int
    """First byte behind the tag."""
    stop: int
    """The byte after it."""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file; one that was compressed (.xdfz) is read into memory, as far as it goes."""
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
    if not compressed:
        return path.open("rb")
    about = path.stat()
    return io.BytesIO(_decompressed(path, about.st_mtime_ns, about.st_size))


@lru_cache(maxsize=1)
def _decompressed(path: Path, _changed: int, _size: int) -> bytes:
    whole = bytearray()
    raw = memoryview(path.read_bytes())
    inflate = zlib.decompressobj(_ANY_GZIP)
    try:
        for start in range(0, len(raw), _SCAN):
            whole += inflate.decompress(raw[start : start + _SCAN])
    except zlib.error:
        # what comes after it is lost; the walk finds the chunk that was cut
        pass
    return bytes(whole)


def walk_chunks(file: BinaryIO, problems: list[str]) -> Iterator[Chunk]:
    """Give the whole chunks in the order in which they lie; what is left out is added to ``problems``.

    Parameters
    ----------
    file : binary file
        May be read between two chunks.
    problems : list of str

    Raises
    ------
    FormatError
        It is no XDF file.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if (magic := file.read(4)) != MAGIC:
        raise FormatError(f"begins with {magic!r}, expected {MAGIC!r}")
    at = 4
    while at < size:
        chunk = _chunk_at(file, at, size)
        if chunk is not None:
            yield chunk
            at = chunk.stop
            continue
        resumed = _after_boundary(file, at)
        if resumed is None:
            problems.append(f"ends in the middle of a chunk; the last {size - at} of {size} bytes are left out")
            return
        problems.append(f"{resumed - at} bytes from byte {at} on are damaged and left out")
        at = resumed


def _chunk_at(file: BinaryIO, at: int, size: int) -> Chunk | None:
    file.seek(at)
    head = file.read(11)
    length, width = read_length(head)
    content = at + width + 2
    if length is None or length < 2 or content > size or at + width + length > size:
        return None
    (tag,) = struct.unpack_from("<H", head, width)
    if not FILE_HEADER <= tag <= STREAM_FOOTER:
        return None
    return Chunk(tag, at, content, at + width + length)


def read_length(head: bytes) -> tuple[int | None, int]:
    """Read a length: a number of bytes (1, 4 or 8), then the value in so many bytes; gives it and the bytes it took.

    The value is None where there is no length.
    """
    layout = {1: "<B", 4: "<I", 8: "<Q"}.get(head[0] if head else 0)
    if layout is None or len(head) < 1 + struct.calcsize(layout):
        return None, 0
    return struct.unpack_from(layout, head, 1)[0], 1 + struct.calcsize(layout)


def _after_boundary(file: BinaryIO, at: int) -> int | None:
    file.seek(at)
    held = b""
    while block := file.read(_SCAN):
        held += block
        found = held.find(BOUNDARY_MARK)
        if found >= 0:
            return at + found + len(BOUNDARY_MARK)
        at += max(0, len(held) - len(BOUNDARY_MARK) + 1)
        held = held[-len(BOUNDARY_MARK) + 1 :]
    return None


class Pieces(io.RawIOBase):
    """Some stretches of a file, read as if they were a file of their own.

    Parameters
    ----------
    path : Path
    ranges : sequence of (int, int)
        First byte and the byte after the last one.
    """

    def __init__(self, path: Path, ranges: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._file = open_bytes(path)
        self._left = list(reversed(ranges))
        self._read = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._read

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        while self._left:
            start, stop = self._left.pop()
            if start >= stop:
                continue
            self._file.seek(start)
            block = self._file.read(min(len(view), stop - start))
            if not block:
                return 0
            read = len(block)
            view[:read] = block
            self._left.append((start + read, stop))
            self._read += read
            return read
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()
