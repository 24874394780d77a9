"""DICOM in: one Siemens mosaic (VB to VE) is one volume.

Nothing that could name a person leaves the reader: of the header only geometry, timing and the series' number are kept,
the series' UID as a short digest. Errors name the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom_siemens import mosaic_affine, read_csa, split_mosaic, tiles_per_side
from streamer.formats.dicom_write import write_mosaic
from streamer.messages import F64, Array, ScannerTime, SessionTime, Volume

__all__ = ["NotAnImageVolume", "read_dicom", "write_mosaic"]

MAX_SLICES = 512
MAX_PIXEL_BYTES = 256 * 2**20
_LITTLE_ENDIAN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_OTHER_SERIES = {
    "DERIVED": "derived",
    "SECONDARY": "derived",
    "MOCO": "motion-corrected by the scanner",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
}
_CSA_TAGS = frozenset({"NumberOfImagesInMosaic", "MosaicRefAcqTimes", "SliceNormalVector"})
# pydicom has no common root for what a damaged header can make it raise
_DAMAGE = (
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


def read_dicom(raw: bytes, name: str) -> Volume:
    """Read one exported volume.

    Parameters
    ----------
    raw : bytes
        The whole file.
    name : str
        How errors call the file.

    Returns
    -------
    volume : Volume
        ``data`` (x, y, z) in the storage order of dcm2niix (columns, rows bottom up, slices along rows × columns):
        the stored type when the scale is 1, else float32. ``received`` is NaN: the loop stamps it.

    Raises
    ------
    IncompleteFile
        The file ends too early: it may still be being written.
    NotAnImageVolume
        It is no magnitude mosaic of an original series.
    FormatError
        It is damaged, or not DICOM.
    """
    with warnings.catch_warnings():
        # pydicom warns of values that break the standard; what matters here is checked below
        warnings.simplefilter("ignore")
        header = _parse(raw, name)
        try:
            if "PixelData" not in header and _ends_inside_an_element(header):
                # its last value may be cut, and say another thing than it will
                raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes")
            _refuse_other_objects(header, name)
            return _volume(header, _pixels(header, name), name)
        except FormatError:
            raise
        except _DAMAGE as error:
            raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error


def _parse(raw: bytes, name: str) -> Dataset:
    if len(raw) < 132:
        raise IncompleteFile(f"{name}: {len(raw)} bytes, expected a DICOM file")
    if raw[128:132] != b"DICM":
        raise FormatError(f"{name}: no DICOM preamble")
    if _DEFLATED in raw[132:1024]:
        # unpacked while it is parsed, to a size that nothing announces
        raise FormatError(f"{name}: deflated transfer syntax, expected uncompressed little endian")
    stream = io.BytesIO(raw)
    try:
        return dcmread(stream)
    except _DAMAGE as error:
        if stream.tell() >= len(raw):
            raise IncompleteFile(f"{name}: the file ends inside its header, after {len(raw)} bytes") from error
        raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error


def _ends_inside_an_element(header: Dataset) -> bool:
    last: Any = None
    for tag in header.keys():  # noqa: SIM118 - iterating over a dataset itself converts every element
        last = tag
    element: Any = None if last is None else header.get_item(last)
    if element is None:
        return True
    length, value = getattr(element, "length", None), element.value
    return isinstance(value, bytes) and length not in {None, _UNDEFINED_LENGTH} and len(value) < int(length or 0)


def _refuse_other_objects(header: Dataset, name: str) -> None:
    sop_class = str(header.file_meta.get("MediaStorageSOPClassUID", "") or header.get("SOPClassUID", ""))
    image_type = [str(part).upper() for part in header.get("ImageType", None) or []]
    description = str(header.get("SeriesDescription", "") or "")
    if sop_class and sop_class != _MR_IMAGE:
        raise NotAnImageVolume(f"{name}: not an MR image (SOP class {sop_class})")
    for part in image_type:
        if part in _OTHER_SERIES:
            raise NotAnImageVolume(f"{name}: {_OTHER_SERIES[part]} image, expected an original magnitude volume")
    for mark, kind in (
        ("MoCoSeries", "motion-corrected by the scanner"),
        ("_Pha", "phase"),
        ("_SBRef", "single-band reference"),
    ):
        if description.endswith(mark):
            raise NotAnImageVolume(f"{name}: {kind} image, expected an original magnitude volume")
    if "PixelData" in header and "MOSAIC" not in image_type:
        raise NotAnImageVolume(f"{name}: not a Siemens mosaic (a localiser, or another vendor's layout)")


def _pixels(header: Dataset, name: str) -> Array:
    # sizes are checked as integers before anything is allocated for them
    element: Any = header.get_item("PixelData") if "PixelData" in header else None
    if element is None:
        raise IncompleteFile(f"{name}: no pixel data yet")
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in _LITTLE_ENDIAN:
        raise FormatError(f"{name}: transfer syntax {syntax or 'missing'}, expected uncompressed little endian")
    rows, columns, bits = (int(header[key].value) for key in ("Rows", "Columns", "BitsAllocated"))
    signed = int(header.get("PixelRepresentation", 0) or 0)
    samples, frames = int(header.get("SamplesPerPixel", 1) or 1), int(header.get("NumberOfFrames", 1) or 1)
    if bits != 16 or samples != 1 or frames != 1:
        raise FormatError(
            f"{name}: {bits} bits, {samples} samples a pixel, {frames} frames; expected 16 bits, 1 sample, 1 frame"
        )
    expected = rows * columns * 2
    if not 0 < expected <= MAX_PIXEL_BYTES:
        raise FormatError(f"{name}: image of {rows} x {columns} pixels, expected 1 to {MAX_PIXEL_BYTES // 2} in all")
    value = element.value
    given = len(value) if isinstance(value, bytes) else 0
    declared = int(getattr(element, "length", given))
    if declared != expected:
        raise FormatError(f"{name}: {declared} bytes of pixels announced, {rows} x {columns} pixels need {expected}")
    if given < expected:
        raise IncompleteFile(f"{name}: {given} of {expected} bytes of pixels")
    return np.frombuffer(value, "<i2" if signed else "<u2", rows * columns).reshape(rows, columns)


def _volume(header: Dataset, plane: Array, name: str) -> Volume:
    csa = _csa(header, name)
    tr = float(header["RepetitionTime"].value) / 1000.0
    if not (math.isfinite(tr) and 0.0 < tr < 100.0):
        raise FormatError(f"{name}: repetition time {tr} s, expected 0 to 100")
    n_slices, slice_times = _slices(header, csa, tr)
    side = tiles_per_side(n_slices) if 0 < n_slices <= MAX_SLICES else 0
    if not side or plane.shape[0] % side or plane.shape[1] % side:
        raise FormatError(f"{name}: mosaic of {plane.shape[0]} x {plane.shape[1]} does not hold {n_slices} slices")
    orientation = _vector(header, "ImageOrientationPatient", 6, name)
    position = _vector(header, "ImagePositionPatient", 3, name)
    spacing = _vector(header, "PixelSpacing", 2, name)
    step = float(header.get("SpacingBetweenSlices", None) or header["SliceThickness"].value)
    if not (np.all(spacing > 0) and math.isfinite(step) and step > 0):
        raise FormatError(f"{name}: voxel of {spacing[1]} x {spacing[0]} x {step} mm, expected sizes above 0")
    across, down = orientation[:3], orientation[3:]
    if max(abs(across @ across - 1), abs(down @ down - 1), abs(across @ down)) > 1e-2:
        raise FormatError(f"{name}: the directions of rows and columns are not at right angles")
    sign = 1
    if len(csa.get("SliceNormalVector", ())) == 3:
        normal = np.array([float(item) for item in csa["SliceNormalVector"]])
        sign = -1 if float(normal @ np.cross(across, down)) < 0 else 1
    tile = (plane.shape[0] // side, plane.shape[1] // side)
    instance = int(header["InstanceNumber"].value)
    if instance < 1:
        raise FormatError(f"{name}: instance number {instance}, expected 1 or more")
    return Volume(
        data=_scaled(header, split_mosaic(plane, n_slices, reverse=sign < 0), name),
        affine=mosaic_affine(orientation, position, spacing, step, tile, n_slices, sign),
        series=_series(header),
        index=instance - 1,
        onset=_time_of_day(str(header.get("AcquisitionTime", "") or "")),
        tr=tr,
        slice_times=slice_times[::-1] if sign < 0 else slice_times,
        received=SessionTime(math.nan),
    )


def _csa(header: Dataset, name: str) -> dict[str, list[str]]:
    # the block that Siemens reserved is usually 10, but another vendor's tags may have taken that number first
    for block in range(0x10, 0x20):
        owner: Any = header.get((0x0029, block))
        if owner is not None and str(owner.value).strip() == "SIEMENS CSA HEADER":
            element: Any = header.get((0x0029, block << 8 | 0x10))
            if element is not None and element.value:
                try:
                    return read_csa(bytes(element.value), _CSA_TAGS)
                except FormatError as error:
                    raise FormatError(f"{name}: {error}") from error
    return {}


def _slices(header: Dataset, csa: dict[str, list[str]], tr: float) -> tuple[int, tuple[float, ...]]:
    count, times = csa.get("NumberOfImagesInMosaic", []), csa.get("MosaicRefAcqTimes", [])
    n_slices = int(count[0]) if count else 0
    seconds = [float(item) / 1000.0 for item in times]
    if not n_slices:
        n_slices = int(_private(header, 0x0A, "<u2", (0,))[0])
    if len(seconds) != n_slices:
        seconds = [value / 1000.0 for value in _private(header, 0x29, "<f8", ())]
    # some software versions leave other clocks' times here: times that do not fit the volume are no slice times
    if len(seconds) != n_slices or not all(0.0 <= value <= tr for value in seconds):
        seconds = []
    return n_slices, tuple(seconds)


def _private(header: Dataset, element: int, kind: str, default: tuple[float, ...]) -> tuple[float, ...]:
    for block in range(0x10, 0x20):
        owner: Any = header.get((0x0019, block))
        if owner is not None and str(owner.value).strip() == "SIEMENS MR HEADER":
            found: Any = header.get((0x0019, block << 8 | element))
            if found is None or found.value is None:
                return default
            if isinstance(found.value, bytes):
                return tuple(float(value) for value in np.frombuffer(found.value, kind))
            return tuple(float(value) for value in np.atleast_1d(np.asarray(found.value, float)))
    return default


def _vector(header: Dataset, key: str, size: int, name: str) -> F64:
    values = np.array([float(value) for value in header[key].value], dtype=np.float64)
    if values.shape != (size,) or not np.isfinite(values).all():
        raise FormatError(f"{name}: {key} has {values.size} values, expected {size} finite ones")
    return values


def _scaled(header: Dataset, data: Array, name: str) -> Array:
    slope, intercept = (float(header.get(key, None) or fallback) for key, fallback in _SCALE)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise FormatError(f"{name}: rescale slope {slope}, intercept {intercept}: expected finite numbers")
    if slope == 1.0 and intercept == 0.0:
        return data
    return (data * np.float64(slope) + intercept).astype(np.float32)


_SCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _series(header: Dataset) -> str:
    number = int(header["SeriesNumber"].value)
    digest = hashlib.sha256(str(header["SeriesInstanceUID"].value).encode()).hexdigest()[:8]
    return f"s{number}-{digest}"


def _time_of_day(text: str) -> ScannerTime | None:
    text = text.strip()
    if len(text) < 6:
        return None
    return ScannerTime(int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:]))
