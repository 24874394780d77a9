"""What a compressed image states of itself, read without unpacking it.

Decoders make room for the size that an image states, and GDCM ends the whole process where a JPEG image is not built as
it expects. So its parts are looked at first: only a single grey component, lossless, with tables that can be.
"""

from __future__ import annotations

import struct

MAX_TILES = 1024
_MAX_BOXES = 4096
_LENGTH = struct.Struct(">H")
_JPEG, _JPEG_2000, _JPEG_END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"
_SIZE_2000 = struct.Struct(">8x8IH")
_FRAME = struct.Struct(">BHHBBBB")
_SCAN = struct.Struct(">BBBBBB")
_LOSSLESS, _LS, _TABLES, _SCAN_START, _INTERVAL, _PRESET = 0xC3, 0xF7, 0xC4, 0xDA, 0xDD, 0xF8
_RESTARTS = range(0xD0, 0xD8)
_PASSED_OVER = {*range(0xE0, 0xF0), 0xFE}
_CODE_LENGTHS = 16
_PRESET_BYTES = 11
_MAX_SYMBOL = 16


def codestream_size(raw: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 image; None when it is none that can be unpacked safely."""
    try:
        return _jpeg(raw) if raw.startswith(_JPEG) else _jpeg_2000(raw)
    except (struct.error, IndexError):
        return None


def _jpeg_2000(raw: bytes) -> tuple[int, int] | None:
    # it may lie in a file format of its own, whose boxes come first
    at = raw.find(_JPEG_2000, 0, _MAX_BOXES)
    if at < 0:
        return None
    right, bottom, left, top, tile_width, tile_height, _, _, components = _SIZE_2000.unpack_from(raw, at)
    if components != 1 or not tile_width or not tile_height:
        return None
    if -(-right // tile_width) * -(-bottom // tile_height) > MAX_TILES:
        return None
    return bottom - top, right - left


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    at = 2
    size: tuple[int, int] | None = None
    kind = component = 0
    tables: set[int] = set()
    while raw[at] == 0xFF:
        marker = raw[at + 1]
        (length,) = _LENGTH.unpack_from(raw, at + 2)
        part = raw[at + 4 : at + 2 + length]
        if length < 2 or len(part) != length - 2:
            return None
        at += 2 + length
        if marker in {_LOSSLESS, _LS} and size is None and len(part) == _FRAME.size:
            precision, rows, columns, components, component, sampling, _ = _FRAME.unpack(part)
            if not 2 <= precision <= 16 or components != 1 or sampling != 0x11:
                return None
            size, kind = (rows, columns), marker
        elif marker == _TABLES and _are_tables(part, tables):
            continue
        elif marker == _SCAN_START and size is not None and len(part) == _SCAN.size:
            return size if _is_scan(part, kind, component, tables) and _is_entropy(raw, at, kind) else None
        elif marker == _PRESET and kind == _LS and part[:1] == b"\x01" and len(part) == _PRESET_BYTES:
            continue
        elif marker not in _PASSED_OVER and not (marker == _INTERVAL and len(part) == 2):
            return None
    return None


def _are_tables(part: bytes, tables: set[int]) -> bool:
    while part:
        counts, number = part[1 : 1 + _CODE_LENGTHS], part[0]
        symbols = part[1 + _CODE_LENGTHS : 1 + _CODE_LENGTHS + sum(counts)]
        if number > 3 or len(counts) < _CODE_LENGTHS or len(symbols) != sum(counts) or not symbols:
            return False
        # codes of each length must be left over by the shorter ones
        free = 1
        for count in counts:
            free = 2 * free - count
            if free < 0:
                return False
        if max(symbols) > _MAX_SYMBOL or len(set(symbols)) < len(symbols):
            return False
        tables.add(number)
        part = part[1 + _CODE_LENGTHS + len(symbols) :]
    return True


def _is_scan(part: bytes, kind: int, component: int, tables: set[int]) -> bool:
    components, own, table, first, second, shift = _SCAN.unpack(part)
    if components != 1 or own != component or shift != 0:
        return False
    if kind == _LS:
        # second says how components are interleaved: a single one is not
        return second == 0
    return 1 <= first <= 7 and second == 0 and table & 0x0F == 0 and table >> 4 in tables


def _is_entropy(raw: bytes, at: int, kind: int) -> bool:
    # an FF of the data is followed by what no marker begins with; the end may be padded to an even length
    end = raw.rfind(_JPEG_END)
    if end < at or raw[end + 2 :].strip(b"\0"):
        return False
    while (at := raw.find(b"\xff", at, end)) >= 0:
        following = raw[at + 1]
        if not (following < 0x80 if kind == _LS else following == 0 or following in _RESTARTS or following == 0xFF):
            return False
        at += 2 if following != 0xFF else 1
    return True
