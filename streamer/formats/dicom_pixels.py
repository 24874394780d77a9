"""Pixels of DICOM files, plain or compressed: their size is checked against the header before anything is allocated.

Plain pixels are complete when as many bytes are there as rows, columns and frames need. Compressed ones have no length
of their own: they are a sequence of fragments that a delimiter ends, without which the header does not even parse.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.dicom_codestream import codestream_size
from streamer.formats.dicom_header import DAMAGE, DEFLATED, MAX_PIXEL_BYTES, field, pixel_element
from streamer.messages import Array

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", DEFLATED, _BIG_ENDIAN}
_RLE = "1.2.840.10008.1.2.5"
# which installed decoder takes which: GDCM knows JPEG and JPEG-LS, OpenJPEG (by pylibjpeg) JPEG 2000
_DECODERS = {
    _RLE: "pydicom",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}
_LOSSY = {"1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}
_EXPECTED = "expected plain, deflated, RLE, lossless JPEG, JPEG-LS or JPEG 2000 pixels"
_UNDEFINED_LENGTH = 0xFFFFFFFF


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
        Not 16 bits, in a transfer syntax that is not read, absurdly large, or plain and not as many bytes as rows,
        columns and frames need.
    """
    element = pixel_element(header)
    if element is None:
        raise IncompleteFile(f"{name}: no pixel data yet")
    syntax = _syntax(header)
    if syntax not in _PLAIN and syntax not in _DECODERS:
        # its UID may be anybody's: it is not repeated
        raise FormatError(f"{name}: unknown transfer syntax, {_EXPECTED}")
    rows, columns, bits = (int(field(header, key, name)) for key in ("Rows", "Columns", "BitsAllocated"))
    samples, frames = int(header.get("SamplesPerPixel", 1) or 1), int(header.get("NumberOfFrames", 1) or 1)
    if bits != 16 or samples != 1:
        raise FormatError(f"{name}: {bits} bits, {samples} samples a pixel; expected 16 bits, 1 sample")
    expected = frames * rows * columns * 2
    if min(frames, rows, columns) < 1 or expected > MAX_PIXEL_BYTES:
        raise FormatError(
            f"{name}: {frames} images of {rows} x {columns} pixels, expected 1 to {MAX_PIXEL_BYTES // 2} pixels in all"
        )
    declared = getattr(element, "length", None)
    if syntax in _DECODERS:
        if declared not in {None, _UNDEFINED_LENGTH}:
            raise FormatError(f"{name}: compressed pixels of a fixed length, expected a sequence of fragments")
        return frames, rows, columns
    given = _bytes_there(element, size)
    declared = given if declared is None else int(declared)
    if declared != expected:
        raise FormatError(
            f"{name}: {declared} bytes of pixels announced, {frames} x {rows} x {columns} pixels need {expected}"
        )
    if given < expected:
        raise IncompleteFile(f"{name}: {given} of {expected} bytes of pixels")
    return frames, rows, columns


def lossy_notes(header: Dataset) -> list[str]:
    """Tell of values that were compressed with a loss. They are read: a run with them is better than none."""
    if _syntax(header) in _LOSSY or str(header.get("LossyImageCompression", "") or "") == "01":
        return ["in a compression that loses: its values may not be those that the scanner measured"]
    return []


def pixels(header: Dataset, name: str) -> Array:
    """Read the stored values, shape (frames, rows, columns); int16 or uint16.

    Raises
    ------
    IncompleteFile, FormatError
        As :func:`pixel_layout` does; FormatError also for compressed pixels that are damaged.
    """
    shape = pixel_layout(header, name)
    syntax = _syntax(header)
    signed = bool(int(header.get("PixelRepresentation", 0) or 0))
    if syntax in _DECODERS:
        return _decoded(header, name, shape, syntax, np.dtype(np.int16 if signed else np.uint16))
    element: Any = header.get_item("PixelData")
    kind = np.dtype("i2" if signed else "u2").newbyteorder(">" if syntax == _BIG_ENDIAN else "<")
    stored = np.frombuffer(element.value, kind, math.prod(shape)).reshape(shape)
    return stored.astype(kind.newbyteorder("="), copy=False)


def _syntax(header: Dataset) -> str:
    return str(header.file_meta.get("TransferSyntaxUID", ""))


def _bytes_there(element: Any, size: int | None) -> int:
    if isinstance(element.value, bytes):
        return len(element.value)
    if size is None or element.value is not None:
        return 0
    return max(0, min(int(element.length), size - int(element.value_tell)))


def _decoded(
    header: Dataset, name: str, shape: tuple[int, int, int], syntax: str, dtype: np.dtype[np.generic]
) -> Array:
    frames, rows, columns = shape
    try:
        fragments = list(generate_frames(bytes(header["PixelData"].value), number_of_frames=frames))
        if len(fragments) != frames:
            raise FormatError(f"{name}: {len(fragments)} compressed images, {frames} announced")
        # a compressed image carries a size of its own, for which its decoder makes room
        if syntax != _RLE and any(codestream_size(each) != (rows, columns) for each in fragments):
            raise FormatError(
                f"{name}: a compressed image is damaged, or not of {rows} x {columns} pixels as its header says"
            )
        decoded, _ = get_decoder(syntax).as_array(header, decoding_plugin=_DECODERS[syntax], raw=True)
    except FormatError:
        raise
    except (*DAMAGE, RuntimeError) as error:
        raise FormatError(f"{name}: damaged compressed pixels ({type(error).__name__})") from error
    if decoded.size != math.prod(shape) or decoded.dtype.itemsize != dtype.itemsize:
        raise FormatError(f"{name}: {decoded.size} pixels of {decoded.dtype} unpacked, expected {math.prod(shape)}")
    return decoded.reshape(shape).astype(dtype, copy=False)
