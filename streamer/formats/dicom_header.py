"""DICOM headers: parsing that survives damage, and the fields that all layouts share.

Nothing that could name a person leaves a reader: of the header only geometry, timing and the series' number are kept,
the series' UID as a short digest. Errors name the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from streamer.errors import FormatError, IncompleteFile
from streamer.messages import F64, Array, ScannerTime

MAX_SLICES = 512
MAX_PIXEL_BYTES = 256 * 2**20
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
DAY_S = 86400.0
_LITTLE_ENDIAN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXEL_DATA = 0x7FE00010
_UNDEFINED_LENGTH = 0xFFFFFFFF
_OTHER_KINDS = {
    "DERIVED": "derived",
    "SECONDARY": "derived",
    "MOCO": "motion-corrected by the scanner",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "R": "real part",
    "REAL": "real part",
    "I": "imaginary part",
    "IMAGINARY": "imaginary part",
}
_OTHER_SERIES = (
    ("MOCOSERIES", "motion-corrected by the scanner"),
    ("_MOCO", "motion-corrected by the scanner"),
    ("_PHA", "phase"),
    ("_SBREF", "single-band reference"),
)
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


def parse(raw: bytes, name: str) -> Dataset:
    """Parse a whole file.

    Raises
    ------
    IncompleteFile
        It ends inside its header.
    FormatError
        It is no DICOM file, damaged, or of a kind that unpacks to an unknown size.
    """
    _require_preamble(raw[:1024], name)
    stream = io.BytesIO(raw)
    try:
        header = dcmread(stream)
    except DAMAGE as error:
        if stream.tell() >= len(raw):
            raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes") from error
        raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error
    if "PixelData" not in header and _ends_inside_an_element(header):
        # its last value may be cut, and say another thing than it will
        raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes")
    return header


def parse_file(path: Path, defer: int = 2**16) -> Dataset:
    """Parse a file's header; values of more than ``defer`` bytes (the pixels) stay on the disk.

    Raises
    ------
    IncompleteFile, FormatError
        As :func:`parse` does.
    """
    try:
        with path.open("rb") as stream:
            _require_preamble(stream.read(1024), path.name)
        header = dcmread(path, defer_size=defer)
    except OSError as error:
        raise FormatError(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from error
    except DAMAGE as error:
        raise FormatError(f"{path.name}: damaged DICOM header ({type(error).__name__})") from error
    if "PixelData" not in header and _ends_inside_an_element(header):
        raise IncompleteFile(f"{path.name}: the file ends inside its header, after {path.stat().st_size} bytes")
    return header


def _require_preamble(start: bytes, name: str) -> None:
    if len(start) < 132:
        raise IncompleteFile(f"{name}: {len(start)} bytes, expected a DICOM file")
    if start[128:132] != b"DICM":
        raise FormatError(f"{name}: no DICOM preamble")
    if _DEFLATED in start[132:]:
        # unpacked while it is parsed, to a size that nothing announces
        raise FormatError(f"{name}: deflated transfer syntax, expected uncompressed little endian")


def _ends_inside_an_element(header: Dataset) -> bool:
    last: Any = None
    for tag in header.keys():  # noqa: SIM118 - iterating over a dataset itself converts every element
        last = tag
    element: Any = None if last is None else header.get_item(last)
    if element is None:
        return True
    length, value = getattr(element, "length", None), element.value
    return isinstance(value, bytes) and length not in {None, _UNDEFINED_LENGTH} and len(value) < int(length or 0)


def sop_class(header: Dataset) -> str:
    """Tell the kind of object; empty when the header does not."""
    return str(header.file_meta.get("MediaStorageSOPClassUID", "") or header.get("SOPClassUID", "") or "")


def image_type(header: Dataset) -> list[str]:
    """Values of ImageType, in upper case."""
    value = header.get("ImageType", None) or []
    return [value.upper()] if isinstance(value, str) else [str(part).upper() for part in value]


def refuse_other_kinds(header: Dataset, name: str) -> None:
    """Raise :class:`NotAnImageVolume` for what is no original magnitude image of the scanner."""
    kind = sop_class(header)
    if kind and kind not in {MR_IMAGE, ENHANCED_MR_IMAGE}:
        raise NotAnImageVolume(f"{name}: not an MR image (SOP class {kind})")
    component = str(header.get("ComplexImageComponent", "") or "").upper()
    for part in (*image_type(header), component):
        if part in _OTHER_KINDS:
            raise NotAnImageVolume(f"{name}: {_OTHER_KINDS[part]} image, expected an original magnitude volume")
    description = str(header.get("SeriesDescription", "") or "").upper()
    for mark, other in _OTHER_SERIES:
        if description.endswith(mark):
            raise NotAnImageVolume(f"{name}: {other} image, expected an original magnitude volume")


def pixel_layout(header: Dataset, name: str, size: int | None = None) -> tuple[int, int, int]:
    """Frames, rows and columns, checked against what is there before anything is allocated.

    Parameters
    ----------
    header : Dataset
    name : str
    size : int or None
        Bytes of the file, where the pixels were left on the disk.

    Raises
    ------
    IncompleteFile
        Pixels are missing at the end.
    FormatError
        Not 16 bits uncompressed, absurdly large, or not as many bytes as rows, columns and frames need.
    """
    # get_item would fetch from the disk what was left there
    element: Any = next((each for each in header.values() if each.tag == _PIXEL_DATA), None)
    if element is None:
        raise IncompleteFile(f"{name}: no pixel data yet")
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in _LITTLE_ENDIAN:
        raise FormatError(f"{name}: transfer syntax {syntax or 'missing'}, expected uncompressed little endian")
    rows, columns, bits = (int(header[key].value) for key in ("Rows", "Columns", "BitsAllocated"))
    samples, frames = int(header.get("SamplesPerPixel", 1) or 1), int(header.get("NumberOfFrames", 1) or 1)
    if bits != 16 or samples != 1:
        raise FormatError(f"{name}: {bits} bits, {samples} samples a pixel; expected 16 bits, 1 sample")
    expected = frames * rows * columns * 2
    if min(frames, rows, columns) < 1 or expected > MAX_PIXEL_BYTES:
        raise FormatError(
            f"{name}: {frames} images of {rows} x {columns} pixels, expected 1 to {MAX_PIXEL_BYTES // 2} pixels in all"
        )
    given = _bytes_there(element, size)
    declared = int(getattr(element, "length", given))
    if declared != expected:
        raise FormatError(
            f"{name}: {declared} bytes of pixels announced, {frames} x {rows} x {columns} pixels need {expected}"
        )
    if given < expected:
        raise IncompleteFile(f"{name}: {given} of {expected} bytes of pixels")
    return frames, rows, columns


def _bytes_there(element: Any, size: int | None) -> int:
    if isinstance(element.value, bytes):
        return len(element.value)
    if size is None or element.value is not None:
        return 0
    return max(0, min(int(element.length), size - int(element.value_tell)))


def pixels(header: Dataset, name: str) -> Array:
    """Read the stored values, shape (frames, rows, columns); int16 or uint16. Raises as :func:`pixel_layout` does."""
    shape = pixel_layout(header, name)
    element: Any = header.get_item("PixelData")
    kind = "<i2" if int(header.get("PixelRepresentation", 0) or 0) else "<u2"
    return np.frombuffer(element.value, kind, math.prod(shape)).reshape(shape)


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
    orientation = vector(header["ImageOrientationPatient"].value, 6, name, "ImageOrientationPatient")
    position = vector(header["ImagePositionPatient"].value, 3, name, "ImagePositionPatient")
    spacing = vector(header["PixelSpacing"].value, 2, name, "PixelSpacing")
    step = float(header.get("SpacingBetweenSlices", None) or header["SliceThickness"].value)
    if not (np.all(spacing > 0) and math.isfinite(step) and step > 0):
        raise FormatError(f"{name}: voxel of {spacing[1]} x {spacing[0]} x {step} mm, expected sizes above 0")
    return orientation, position, spacing, step


def repetition_time(value: Any, name: str) -> float:
    """RepetitionTime (ms) in s, or FormatError when it is no time that a volume can take."""
    tr = float(value) / 1000.0
    if not (math.isfinite(tr) and 0.0 < tr < 100.0):
        raise FormatError(f"{name}: repetition time {tr} s, expected 0 to 100")
    # Philips gives 1999.99975585937: the decimal that was meant is what is kept
    return round(tr, 6)


def scale(header: Any, name: str) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept; 1 and 0 where there are none."""
    slope, intercept = (float(header.get(key, None) or default) for key, default in _SCALE)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise FormatError(f"{name}: rescale slope {slope}, intercept {intercept}: expected finite numbers")
    return slope, intercept


_SCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def instance_number(header: Dataset, name: str) -> int:
    """InstanceNumber, which counts from 1, or FormatError."""
    instance = int(header["InstanceNumber"].value)
    if instance < 1:
        raise FormatError(f"{name}: instance number {instance}, expected 1 or more")
    return instance


def series_label(header: Dataset) -> str:
    """Name the series without its UID: ``s<number>-<8 hex digits>``."""
    number = int(header["SeriesNumber"].value)
    digest = hashlib.sha256(str(header["SeriesInstanceUID"].value).encode()).hexdigest()[:8]
    return f"s{number}-{digest}"


def time_of_day(value: Any) -> ScannerTime | None:
    """Read ``HHMMSS.ffffff`` or ``YYYYMMDDHHMMSS.ffffff`` as s since midnight; None when it is blank."""
    # a date-time may end in its distance from Greenwich, which the time of day has already
    text = re.split(r"[+-]", str(value or "").strip(), maxsplit=1)[0]
    whole = text.split(".", maxsplit=1)[0]
    if len(whole) >= 14:
        text = text[8:]
    if len(text) < 6:
        return None
    return ScannerTime(int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:]))
