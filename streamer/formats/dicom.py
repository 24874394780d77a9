"""DICOM in: Siemens mosaics (VB to VE), enhanced multi-frame (Siemens XA, Philips, GE, others), and one slice a file.

Nothing that could name a person leaves the reader: of the header only geometry, timing and the series' number are kept,
the series' UID as a short digest. Errors name the file and what is wrong with it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_enhanced import enhanced_volumes
from streamer.formats.dicom_header import DAMAGE, ENHANCED_MR_IMAGE, NotAnImageVolume, parse, sop_class
from streamer.formats.dicom_kinds import refuse_other_kinds
from streamer.formats.dicom_mosaic import is_mosaic, mosaic_volume
from streamer.formats.dicom_pixels import lossy_notes, pixels
from streamer.formats.dicom_slice import Slice, make_slice
from streamer.formats.dicom_write import write_mosaic
from streamer.messages import Array, Volume

__all__ = [
    "Content",
    "NotAnImageVolume",
    "Slice",
    "content_of",
    "read_content",
    "read_dicom",
    "read_image",
    "read_slice",
    "write_mosaic",
]


@dataclass(frozen=True, slots=True)
class Content:
    """What a DICOM file holds."""

    images: tuple[Volume, ...] | tuple[Slice]
    """Whole volumes in the order of their numbers (several only in an enhanced file), or one slice of one."""
    notes: tuple[str, ...]
    """What is not as it should be and was put right or left out; each worth telling once a series. Without the name
    of the file."""


def read_content(raw: bytes, name: str, echo: int = 1) -> Content:
    """Read all volumes of a file, or its one slice.

    Parameters
    ----------
    raw : bytes
        The whole file.
    name : str
        How errors call the file.
    echo : int
        Which echo of a multi-echo scan, from 1; the others are left out.

    Returns
    -------
    content : Content
        ``data`` of a volume (x, y, z) in the storage order of dcm2niix (columns, rows bottom up, slices along rows ×
        columns): the stored type when the scale is 1, else float32. ``received`` is NaN: the loop stamps it.

    Raises
    ------
    IncompleteFile
        The file ends too early: it may still be being written.
    NotAnImageVolume
        It is no magnitude volume of an original series, nor a slice of one, or of another echo.
    FormatError
        It is damaged, or not DICOM.
    """
    with warnings.catch_warnings():
        # pydicom warns of values that break the standard; what matters here is checked below
        warnings.simplefilter("ignore")
        header = parse(raw, name)
        try:
            refuse_other_kinds(header, name)
            return content_of(header, pixels(header, name), name, echo, lossy_notes(header))
        except FormatError:
            raise
        except DAMAGE as error:
            raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error


def read_image(raw: bytes, name: str, echo: int = 1) -> Volume | Slice:
    """Read a file of one volume, or of one slice; notes are not given.

    Raises
    ------
    IncompleteFile, NotAnImageVolume, FormatError
        As :func:`read_content` does; FormatError for several volumes, too.
    """
    images = read_content(raw, name, echo).images
    if len(images) != 1:
        raise FormatError(f"{name}: {len(images)} volumes, expected one a file")
    return images[0]


def read_dicom(raw: bytes, name: str, echo: int = 1) -> Volume:
    """Read one exported volume that is a file of its own.

    Raises
    ------
    IncompleteFile, NotAnImageVolume, FormatError
        As :func:`read_image` does; NotAnImageVolume for one slice of a volume, too.
    """
    found = read_image(raw, name, echo)
    if isinstance(found, Slice):
        raise NotAnImageVolume(f"{name}: one slice of a volume, expected a whole one")
    return found


def read_slice(raw: bytes, name: str, echo: int = 1) -> Slice:
    """Read one slice of a volume that is exported one slice a file.

    Raises
    ------
    IncompleteFile, NotAnImageVolume, FormatError
        As :func:`read_image` does; NotAnImageVolume for a whole volume, too.
    """
    found = read_image(raw, name, echo)
    if isinstance(found, Volume):
        raise NotAnImageVolume(f"{name}: a whole volume, expected one slice")
    return found


def content_of(header: Dataset, frames: Array, name: str, echo: int, notes: list[str]) -> Content:
    """Make volumes or a slice of a header and its stored values, shape (frames, rows, columns).

    ``notes`` are those of the pixels; what the header adds is put behind them. What a damaged header can raise besides
    FormatError is listed in ``dicom_header.DAMAGE``.
    """
    images: tuple[Volume, ...] | tuple[Slice]
    if sop_class(header) == ENHANCED_MR_IMAGE:
        images = tuple(enhanced_volumes(header, frames, name, echo, notes))
    elif len(frames) != 1:
        raise FormatError(f"{name}: {len(frames)} frames, expected 1")
    elif is_mosaic(header, name):
        images = (mosaic_volume(header, frames[0], name, echo, notes),)
    else:
        images = (make_slice(header, frames[0], name, echo, notes),)
    return Content(images, tuple(dict.fromkeys(notes)))
