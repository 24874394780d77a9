"""A fast way through DICOM headers: only what the readers need is kept.

Headers of enhanced objects have a hundred elements for each frame, of which some twenty matter here. pydicom makes an
object of each; this passes over the rest. Only whole explicit little-endian files are walked: whatever looks unusual
is left to pydicom, which then says what is wrong with it.
"""

from __future__ import annotations

import struct
from typing import Any

from pydicom import DataElement, Dataset, FileDataset, FileMetaDataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

_TAG = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<I")
_ITEM = struct.Struct("<HHI")
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
}  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM_START, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_META_AT, _META_START, _META_BYTES = 132, b"\x02\0\0\0UL\x04\0", 12
_SYNTAX = BaseTag(0x00020010)
_EXPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2.1"
_MAX_DEPTH = 16
_KEPT = {
    0x0002: {0x0002, 0x0010},
    0x0008: {0x0008, 0x0016, 0x002A, 0x0032, 0x0064, 0x0070, 0x103E, 0x9007, 0x9208},
    0x0018: {
        0x0020, 0x0050, 0x0080, 0x0086, 0x0088, 0x1060, 0x1310, 0x9018, 0x9074, 0x9082, 0x9087, 0x9112, 0x9114, 0x9226,
    },
    0x0020: {
        0x000E, 0x0011, 0x0012, 0x0013, 0x0032, 0x0037, 0x0100, 0x0105, 0x1002, 0x4000, 0x9111, 0x9113, 0x9116, 0x9128,
        0x9156, 0x930D, 0x9310,
    },
    0x0028: {
        0x0002, 0x0004, 0x0008, 0x0010, 0x0011, 0x0030, 0x0100, 0x0101, 0x0102, 0x0103, 0x1052, 0x1053, 0x2110, 0x9110,
        0x9145,
    },
    0x5200: {0x9229, 0x9230},
    0x7FE0: {0x0010},
}  # fmt: skip
_KEPT_PRIVATE = {
    0x0019: {0x0A, 0x29, 0xA9},
    0x0021: {0x04, 0x19, 0x4F, 0x5E, 0x75, 0xFE},
    0x0025: {0x1B},
    0x0029: {0x10, 0x20},
    0x0043: {0x2F, 0x7C, 0xB6},
    0x2001: {0x18},
}


class _UnusualFile(Exception):
    """A file that is left to pydicom."""


def walk(raw: bytes) -> FileDataset | None:
    """Parse a whole file.

    Parameters
    ----------
    raw : bytes
        The file, from its preamble on.

    Returns
    -------
    header : FileDataset or None
        The elements that the readers need, the pixels among them; None when pydicom must have a look at the file.
    """
    try:
        if not raw.startswith(_META_START, _META_AT):
            return None
        first = _META_AT + _META_BYTES
        body = first + _LENGTH.unpack_from(raw, first - 4)[0]
        meta, at = _elements(raw, first, body, 0)
        if at != body or meta[_SYNTAX].value.rstrip(b"\0") != _EXPLICIT_LITTLE_ENDIAN:
            return None
        kept, at = _elements(raw, body, len(raw), 0)
    except (_UnusualFile, KeyError, struct.error):
        return None
    return FileDataset("", Dataset(kept), raw[:128], FileMetaDataset(Dataset(meta)), is_implicit_VR=False)


def _elements(
    raw: bytes, at: int, end: int, depth: int, *, open_end: bool = False, keep: bool = True
) -> tuple[dict[BaseTag, Any], int]:
    kept: dict[BaseTag, Any] = {}
    while at < end:
        group, element, kind, length = _TAG.unpack_from(raw, at)
        if kind in _SHORT:
            value = at + 8
        elif kind in _LONG:
            value = at + 12
            (length,) = _LENGTH.unpack_from(raw, at + 8)
        elif open_end and (group, element) == _ITEM_END:
            return kept, at + 8
        else:
            raise _UnusualFile
        wanted = keep and (
            element in _KEPT.get(group, ())
            or (group & 1 and (0x10 <= element <= 0xFF or element & 0xFF in _KEPT_PRIVATE.get(group, ())))
        )
        if kind == b"SQ" and (wanted or length == _UNDEFINED):
            items, at = _items(
                raw, value, end if length == _UNDEFINED else value + length, depth + 1, length, keep=wanted
            )
            if wanted:
                tag = BaseTag(group << 16 | element)
                kept[tag] = DataElement(tag, "SQ", Sequence(items))
            continue
        at = value + length
        if length == _UNDEFINED or at > end:
            raise _UnusualFile
        if wanted:
            tag = BaseTag(group << 16 | element)
            kept[tag] = RawDataElement(tag, kind.decode(), length, raw[value:at], value, False, True)
    if open_end or at != end:
        raise _UnusualFile
    return kept, at


def _items(raw: bytes, at: int, end: int, depth: int, length: int, *, keep: bool) -> tuple[list[Dataset], int]:
    if depth > _MAX_DEPTH or end > len(raw):
        raise _UnusualFile
    items: list[Dataset] = []
    while length == _UNDEFINED or at < end:
        group, element, size = _ITEM.unpack_from(raw, at)
        if (group, element) == _SEQUENCE_END and length == _UNDEFINED:
            return items, at + 8
        if (group, element) != _ITEM_START:
            raise _UnusualFile
        undefined = size == _UNDEFINED
        kept, at = _elements(raw, at + 8, end if undefined else at + 8 + size, depth, open_end=undefined, keep=keep)
        if keep:
            items.append(Dataset(kept))
    if at != end:
        raise _UnusualFile
    return items, at
