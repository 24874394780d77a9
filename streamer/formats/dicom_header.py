"""DICOM headers: parsing that survives damage, and the fields that all layouts share.

Nothing that could name a person leaves a reader: of the header only geometry, timing and the series' number are kept,
the series' UID as a short digest. Errors name the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileDataset, FileMetaDataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom_walk import walk
from streamer.messages import F64, ScannerTime

MAX_SLICES = 512
MAX_PIXEL_BYTES = 512 * 2**20
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
DAY_S = 86400.0
TR_RANGE_S = (0.05, 100.0)
_MOST_SECONDS = 30.0
PIXEL_DATA = 0x7FE00010
DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_INFLATED = MAX_PIXEL_BYTES + 64 * 2**20
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DELIMITER_BYTES = 8
_META_START = b"\x02\0\0\0UL\x04\0"
_META_LENGTH = struct.Struct("<8xI")
# pydicom has no common root for what a damaged header can make it raise
DAMAGE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class NotAnImageVolume(FormatError):
    """A sound DICOM object that is no fMRI volume: derived, phase, localiser or report."""


# what is wrong with a header is said by our errors: pydicom's own lines may quote values, and values may be names
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def parse(raw: bytes, name: str) -> Dataset:
    """Parse a whole file.

    Raises
    ------
    IncompleteFile
        It ends inside its header.
    FormatError
        It is no DICOM file, damaged, or unpacks to more than a volume can take.
    """
    _require_preamble(raw[:132], name)
    stream = io.BytesIO(raw)
    try:
        if DEFLATED.encode() in raw[132:1024]:
            return _parse_deflated(raw, name)
        header = walk(raw) or dcmread(stream)
    except FormatError:
        raise
    except DAMAGE as error:
        if stream.tell() >= len(raw):
            raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes") from error
        raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error
    return _whole(header, name, len(raw))


def parse_file(path: Path, defer: int = 2**16) -> Dataset:
    """Parse a file's header; values of more than ``defer`` bytes (the pixels) stay on the disk where that is possible.

    Raises
    ------
    IncompleteFile, FormatError
        As :func:`parse` does.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(1024)
        _require_preamble(start, path.name)
        if DEFLATED.encode() in start:
            return parse(path.read_bytes(), path.name)
        header = dcmread(path, defer_size=defer)
    except FormatError:
        raise
    except OSError as error:
        raise FormatError(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from error
    except EOFError as error:
        # compressed pixels have no length: only the end of the file tells that they are cut
        raise IncompleteFile(f"{path.name}: the file ends inside its pixels") from error
    except DAMAGE as error:
        raise FormatError(f"{path.name}: damaged DICOM header ({type(error).__name__})") from error
    return _whole(header, path.name, size)


def _require_preamble(start: bytes, name: str) -> None:
    if len(start) < 132:
        raise IncompleteFile(f"{name}: {len(start)} bytes, expected a DICOM file")
    if start[128:132] != b"DICM":
        raise FormatError(f"{name}: no DICOM preamble")


def _parse_deflated(raw: bytes, name: str) -> Dataset:
    (length,) = _META_LENGTH.unpack_from(raw, 132)
    body_at = 132 + _META_LENGTH.size + length
    if not raw.startswith(_META_START, 132) or body_at > len(raw):
        raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes")
    meta = FileMetaDataset(read_dataset(io.BytesIO(raw[132:body_at]), is_implicit_VR=False, is_little_endian=True))
    if str(meta.get("TransferSyntaxUID", "")) != DEFLATED:
        raise FormatError(f"{name}: damaged DICOM header (transfer syntax)")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    # nothing announces how much it unpacks to
    content = unpacker.decompress(raw[body_at:], _MAX_INFLATED)
    if len(content) >= _MAX_INFLATED:
        raise FormatError(f"{name}: unpacks to more than {_MAX_INFLATED} bytes")
    if not unpacker.eof:
        raise IncompleteFile(f"{name}: the deflated data ends too early")
    body = read_dataset(io.BytesIO(content), is_implicit_VR=False, is_little_endian=True)
    return _whole(FileDataset("", body, raw[:128], meta, is_implicit_VR=False), name, len(content))


def _whole(header: FileDataset, name: str, size: int) -> Dataset:
    if "PixelData" not in header and _ends_inside_an_element(header):
        # its last value may be cut, and say another thing than it will
        raise IncompleteFile(f"{name}: the file ends inside its header, after {size} bytes")
    element = pixel_element(header)
    if getattr(element, "length", 0) == _UNDEFINED_LENGTH and isinstance(element.value, bytes):
        end = element.value_tell + len(element.value) + _DELIMITER_BYTES
        if end > size:
            raise IncompleteFile(f"{name}: {size} bytes, its compressed pixels end after {end}")
    return header


def pixel_element(header: Dataset) -> Any:
    """Give the element of the pixels as it was parsed; None when there is none."""
    # get_item would fetch from the disk what was left there
    return next((each for each in header.values() if each.tag == PIXEL_DATA), None)


def _ends_inside_an_element(header: Dataset) -> bool:
    # iterating over a dataset itself converts every element
    element: Any = next(reversed(list(header.values())), None)
    if element is None:
        return True
    length, value = getattr(element, "length", None), element.value
    return isinstance(value, bytes) and length not in {None, _UNDEFINED_LENGTH} and len(value) < int(length or 0)


def sop_class(header: Dataset) -> str:
    """Tell the kind of object; empty when the header does not."""
    return str(header.file_meta.get("MediaStorageSOPClassUID", "") or header.get("SOPClassUID", "") or "")


def image_type(header: Dataset) -> list[str]:
    """Values of ImageType, in upper case."""
    return texts(header, "ImageType")


def texts(header: Dataset, key: str) -> list[str]:
    """Values of an element in upper case; none when it is absent or empty."""
    value: Any = header.get(key, None)
    if value is None or isinstance(value, str):
        return [str(value).upper()] if value else []
    return [str(part).upper() for part in (value if isinstance(value, Iterable) else [value])]


def field(header: Any, key: str, name: str) -> Any:
    """Value of an element that must be there and not be empty, or FormatError."""
    value = header.get(key, None)
    if value is None or value == "":
        raise FormatError(f"{name}: no {key} in the header")
    return value


def private(header: Dataset, group: int, owner: str, element: int) -> Any:
    """Find ``element`` of the private block that ``owner`` reserved in ``group``; None when it is absent."""
    # the block's number is usually 10, but another vendor's tags may have taken that one first
    for block in range(0x10, 0x20):
        creator: Any = header.get((group, block))
        if creator is not None and str(creator.value).strip() == owner:
            return header.get((group, block << 8 | element))
    return None


def private_number(header: Dataset, group: int, owner: str, element: int, kind: str) -> float | None:
    """First number of a private element; ``kind`` is its dtype where the VR was lost. None when there is none."""
    found = private(header, group, owner, element)
    value: Any = None if found is None else found.value
    if isinstance(value, bytes):
        value = np.frombuffer(value, kind, len(value) // np.dtype(kind).itemsize)
    values: list[Any] = [] if value is None else [value] if isinstance(value, str | int | float) else list(value)
    if not values or values[0] == "":
        return None
    number = float(values[0])
    return number if math.isfinite(number) else None


def vector(values: Any, size: int, name: str, what: str) -> F64:
    """Turn ``size`` finite numbers of a header into an array, or raise FormatError."""
    found = np.array([float(value) for value in values], dtype=np.float64)
    if found.shape != (size,) or not np.isfinite(found).all():
        raise FormatError(f"{name}: {what} has {found.size} values, expected {size} finite ones")
    return found


def right_angles(orientation: F64, name: str) -> tuple[F64, F64]:
    """Split ImageOrientationPatient into the directions of a row and of a column (LPS), or raise FormatError."""
    across, down = orientation[:3], orientation[3:]
    if max(abs(across @ across - 1), abs(down @ down - 1), abs(across @ down)) > 1e-2:
        raise FormatError(f"{name}: the directions of rows and columns are not at right angles")
    return across, down


def plane_geometry(header: Dataset, name: str) -> tuple[F64, F64, F64, float]:
    """Give orientation (6), position (3) and spacing (2) of an image, and the distance of slices; mm."""
    orientation = vector(field(header, "ImageOrientationPatient", name), 6, name, "ImageOrientationPatient")
    position = vector(field(header, "ImagePositionPatient", name), 3, name, "ImagePositionPatient")
    return (orientation, position, *voxel_size(header, name))


def voxel_size(header: Any, name: str) -> tuple[F64, float]:
    """Give the spacing of an image (2) and the distance of slices; mm."""
    spacing = vector(field(header, "PixelSpacing", name), 2, name, "PixelSpacing")
    step = float(header.get("SpacingBetweenSlices", None) or field(header, "SliceThickness", name))
    if not (np.all(spacing > 0) and math.isfinite(step) and step > 0):
        raise FormatError(f"{name}: voxel of {spacing[1]} x {spacing[0]} x {step} mm, expected sizes above 0")
    return spacing, step


def repetition_time(header: Any, name: str, notes: list[str]) -> float:
    """RepetitionTime (ms) in s, or FormatError when it is no time that a volume can take.

    Some programs write it in s: a number that is a plausible time in s and none in ms is taken so, which is noted.
    """
    number = float(field(header, "RepetitionTime", name))
    low, high = TR_RANGE_S
    tr = number / 1000.0
    if low <= number <= _MOST_SECONDS:
        tr = number
        notes.append(f"repetition time {number:g} in the header, expected milliseconds: taken as {number:g} s")
    if not low <= tr <= high:
        raise FormatError(f"{name}: repetition time {tr:g} s, expected {low:g} to {high:g}")
    # Philips gives 1999.99975585937: the decimal that was meant is what is kept
    return round(tr, 6)


def echo_number(header: Any) -> int | None:
    """EchoNumbers, which count from 1; None where there is none."""
    value: Any = header.get("EchoNumbers", None)
    if value is not None and not isinstance(value, str | int):
        value = next(iter(value), None)
    return int(value) if value else None


def siemens_protocol(header: Any, key: str) -> int | None:
    """Look a number up in the protocol that Siemens adds to a header; None when there is none."""
    shared: Any = private(header, 0x0021, "SIEMENS MR SDS 01", 0xFE)
    holders = [header, *(shared.value if shared is not None and shared.VR == "SQ" else ())]
    for holder in holders:
        for group, owner, element in _PROTOCOLS:
            found = private(holder, group, owner, element)
            text = None if found is None else found.value
            if isinstance(text, str):
                text = text.encode("latin-1", "replace")
            if isinstance(text, bytes) and (number := re.search(rb"\n" + key.encode() + rb"\s*=\s*(\d{1,6})\s", text)):
                return int(number[1])
    return None


_PROTOCOLS = ((0x0029, "SIEMENS CSA HEADER", 0x20), (0x0021, "SIEMENS MR SDS 01", 0x19))


def scale(header: Any, name: str) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept; 1 and 0 where there are none."""
    slope, intercept = (float(header.get(key, None) or default) for key, default in _SCALE)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise FormatError(f"{name}: rescale slope {slope}, intercept {intercept}: expected finite numbers")
    return slope, intercept


_SCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def instance_number(header: Dataset, name: str) -> int:
    """InstanceNumber, which counts from 1, or FormatError."""
    instance = int(field(header, "InstanceNumber", name))
    if instance < 1:
        raise FormatError(f"{name}: instance number {instance}, expected 1 or more")
    return instance


def series_number(header: Dataset) -> int:
    """SeriesNumber; 0 where it is blank, as it may be."""
    return int(header.get("SeriesNumber", None) or 0)


def series_label(header: Dataset, name: str) -> str:
    """Name the series without its UID: ``s<number>-<8 hex digits>``."""
    digest = hashlib.sha256(str(field(header, "SeriesInstanceUID", name)).encode()).hexdigest()[:8]
    return f"s{series_number(header)}-{digest}"


def time_of_day(value: Any) -> ScannerTime | None:
    """Read ``HHMMSS.ffffff`` or ``YYYYMMDDHHMMSS.ffffff`` as s since midnight; None when it is blank or no time."""
    # a date-time may end in its distance from Greenwich, which the time of day has already
    text = re.split(r"[+-]", str(value or "").strip(), maxsplit=1)[0]
    whole = text.split(".", maxsplit=1)[0]
    if len(whole) >= 14:
        text = text[8:]
    if len(text) < 6:
        return None
    seconds = int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])
    # a leap second may follow the last one
    return ScannerTime(seconds) if 0.0 <= seconds <= DAY_S + 1.0 else None
