"""Siemens mosaics (VB to VE): all slices of a volume as tiles of one image."""

from __future__ import annotations

import math

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_header import (
    MAX_SLICES,
    NotAnImageVolume,
    echo_number,
    image_type,
    instance_number,
    plane_geometry,
    private,
    repetition_time,
    right_angles,
    scale,
    series_label,
    siemens_protocol,
    time_of_day,
)
from streamer.formats.dicom_siemens import mosaic_affine, read_csa, split_mosaic, tiles_per_side
from streamer.messages import Array, SessionTime, Volume

_CSA_TAGS = frozenset({"NumberOfImagesInMosaic", "MosaicRefAcqTimes", "SliceNormalVector"})


def is_mosaic(header: Dataset, name: str) -> bool:
    """Whether an image that calls itself a mosaic is one, and no single slice of what once was one.

    A mosaic says how many slices it has; where that was removed, it is at least twice as wide as what was acquired.
    """
    if "MOSAIC" not in image_type(header):
        return False
    if _values(header, 0x0A, "<u2", (0,))[0] > 0 or "NumberOfImagesInMosaic" in _csa(header, name):
        return True
    matrix = max((int(size) for size in header.get("AcquisitionMatrix", None) or ()), default=0)
    return not matrix or int(header.get("Rows", None) or 0) >= 2 * matrix


def mosaic_volume(header: Dataset, plane: Array, name: str, echo: int, notes: list[str]) -> Volume:
    """Make a volume of a mosaic's header and its image, shape (rows, columns).

    Raises
    ------
    NotAnImageVolume
        Another echo than the one that is asked for.
    FormatError
        The header lacks what places the volume in space, or its values are impossible.
    """
    if (own := echo_number(header) or 1) != echo:
        raise NotAnImageVolume(f"{name}: echo {own}, expected echo {echo}")
    csa = _csa(header, name)
    tr = repetition_time(header, name, notes)
    n_slices, slice_times = _slices(header, csa, tr)
    if not n_slices:
        raise FormatError(f"{name}: a mosaic whose header does not tell the number of its slices")
    side = tiles_per_side(n_slices) if 0 < n_slices <= MAX_SLICES else 0
    if not side or plane.shape[0] % side or plane.shape[1] % side:
        raise FormatError(f"{name}: mosaic of {plane.shape[0]} x {plane.shape[1]} does not hold {n_slices} slices")
    orientation, position, spacing, step = plane_geometry(header, name)
    across, down = right_angles(orientation, name)
    sign = 1
    if len(csa.get("SliceNormalVector", ())) == 3:
        normal = np.array([float(item) for item in csa["SliceNormalVector"]])
        sign = -1 if float(normal @ np.cross(across, down)) < 0 else 1
    tile = (plane.shape[0] // side, plane.shape[1] // side)
    data = split_mosaic(plane, n_slices, reverse=sign < 0)
    slope, intercept = scale(header, name)
    if (slope, intercept) != (1.0, 0.0):
        data = (data * np.float64(slope) + intercept).astype(np.float32)
    return Volume(
        data=data,
        affine=mosaic_affine(orientation, position, spacing, step, tile, n_slices, sign),
        series=series_label(header, name),
        index=_number(header, name) - 1,
        onset=time_of_day(header.get("AcquisitionTime", "")),
        tr=tr,
        slice_times=slice_times[::-1] if sign < 0 else slice_times,
        received=SessionTime(math.nan),
    )


def _number(header: Dataset, name: str) -> int:
    instance = instance_number(header, name)
    acquisition = int(header.get("AcquisitionNumber", None) or 0)
    # instances count the images: several a volume where there are several echoes
    if 0 < acquisition < instance and (siemens_protocol(header, "lContrasts") or 1) > 1:
        return acquisition
    return instance


def _csa(header: Dataset, name: str) -> dict[str, list[str]]:
    element = private(header, 0x0029, "SIEMENS CSA HEADER", 0x10)
    if element is None or not element.value:
        return {}
    try:
        return read_csa(bytes(element.value), _CSA_TAGS)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def _slices(header: Dataset, csa: dict[str, list[str]], tr: float) -> tuple[int, tuple[float, ...]]:
    count, times = csa.get("NumberOfImagesInMosaic", []), csa.get("MosaicRefAcqTimes", [])
    n_slices = int(count[0]) if count else 0
    seconds = [float(item) / 1000.0 for item in times]
    if not n_slices:
        n_slices = int(_values(header, 0x0A, "<u2", (0,))[0])
    if len(seconds) != n_slices:
        seconds = [value / 1000.0 for value in _values(header, 0x29, "<f8", ())]
    # some software versions leave other clocks' times here: times that do not fit the volume are no slice times
    if len(seconds) != n_slices or not all(0.0 <= value <= tr for value in seconds):
        seconds = []
    # text of the header such as 52.50000001: the decimal that was meant is what is kept
    return n_slices, tuple(round(value, 6) for value in seconds)


def _values(header: Dataset, element: int, kind: str, default: tuple[float, ...]) -> tuple[float, ...]:
    found = private(header, 0x0019, "SIEMENS MR HEADER", element)
    if found is None or found.value is None:
        return default
    if isinstance(found.value, bytes):
        return tuple(float(value) for value in np.frombuffer(found.value, kind))
    return tuple(float(value) for value in np.atleast_1d(np.asarray(found.value, float)))
