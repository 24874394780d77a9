"""DICOM in: Siemens mosaics (VB to VE), Siemens XA enhanced, and one slice a file (GE, Philips, Siemens XA classic).

Nothing that could name a person leaves the reader: of the header only geometry, timing and the series' number are kept,
the series' UID as a short digest. Errors name the file and what is wrong with it.
"""

from __future__ import annotations

import warnings

from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_enhanced import enhanced_volume
from streamer.formats.dicom_header import (
    DAMAGE,
    ENHANCED_MR_IMAGE,
    NotAnImageVolume,
    image_type,
    parse,
    pixels,
    refuse_other_kinds,
    sop_class,
)
from streamer.formats.dicom_mosaic import mosaic_volume
from streamer.formats.dicom_slice import Slice, make_slice
from streamer.formats.dicom_write import write_mosaic
from streamer.messages import Array, Volume

__all__ = ["NotAnImageVolume", "Slice", "image_of", "read_dicom", "read_image", "read_slice", "write_mosaic"]


def read_dicom(raw: bytes, name: str) -> Volume:
    """Read one exported volume that is a file of its own.

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
        It is no magnitude volume of an original series, or one slice of one.
    FormatError
        It is damaged, or not DICOM.
    """
    found = read_image(raw, name)
    if isinstance(found, Slice):
        raise NotAnImageVolume(f"{name}: one slice of a volume, expected a whole one")
    return found


def read_slice(raw: bytes, name: str) -> Slice:
    """Read one slice of a volume that is exported one slice a file.

    Raises
    ------
    IncompleteFile, NotAnImageVolume, FormatError
        As :func:`read_dicom` does; NotAnImageVolume for a whole volume, too.
    """
    found = read_image(raw, name)
    if isinstance(found, Volume):
        raise NotAnImageVolume(f"{name}: a whole volume, expected one slice")
    return found


def read_image(raw: bytes, name: str) -> Volume | Slice:
    """Read what a file holds: a whole volume, or one slice. Raises as :func:`read_dicom` does."""
    with warnings.catch_warnings():
        # pydicom warns of values that break the standard; what matters here is checked below
        warnings.simplefilter("ignore")
        header = parse(raw, name)
        try:
            refuse_other_kinds(header, name)
            return image_of(header, pixels(header, name), name)
        except FormatError:
            raise
        except DAMAGE as error:
            raise FormatError(f"{name}: damaged DICOM header ({type(error).__name__})") from error


def image_of(header: Dataset, frames: Array, name: str) -> Volume | Slice:
    """Make a volume or a slice of a header and its stored values, shape (frames, rows, columns).

    What a damaged header can raise besides FormatError is listed in ``dicom_header.DAMAGE``.
    """
    if sop_class(header) == ENHANCED_MR_IMAGE:
        return enhanced_volume(header, frames, name)
    if len(frames) != 1:
        raise FormatError(f"{name}: {len(frames)} frames, expected 1")
    if "MOSAIC" in image_type(header):
        return mosaic_volume(header, frames[0], name)
    return make_slice(header, frames[0], name)
