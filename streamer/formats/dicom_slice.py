"""One slice a file: what GE and classic Philips scanners export, and Siemens XA when it is asked for classic DICOM.

Such a file says where its slice lies and which volume it belongs to, each vendor in fields of its own:

- GE numbers the slices of a series through; the order in which they were taken stands in a packed protocol block.
- Philips counts the volumes as temporal positions, and stores values that become signal only by a scale.
- Siemens counts the volumes as acquisitions.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_header import (
    MAX_SLICES,
    NotAnImageVolume,
    echo_number,
    instance_number,
    plane_geometry,
    private,
    private_number,
    repetition_time,
    right_angles,
    scale,
    series_label,
    siemens_protocol,
    time_of_day,
)
from streamer.messages import F64, Array, ScannerTime

_MAX_PROTOCOL_BYTES = 2**20
_SLICE_ORDER = re.compile(rb'SLICEORDER "(\d)"')
_GE_RELATION, _GE_PARAMETERS, _PHILIPS = "GEMS_RELA_01", "GEMS_PARM_01", "Philips Imaging DD 001"


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of one volume."""

    vendor: str
    """``GE``, ``Philips`` or ``Siemens``."""
    pixels: Array
    """Stored values, shape (rows, columns), int16 or uint16."""
    slope: float
    intercept: float
    """Signal = stored value x slope + intercept."""
    orientation: F64
    """Direction of a row, then of a column (LPS), shape (6,)."""
    position: F64
    """Centre of the first pixel, mm (LPS), shape (3,)."""
    place: float
    """Where it lies along rows x columns, mm."""
    spacing: F64
    """Between rows, between columns, mm, shape (2,)."""
    step: float
    """Distance of the slices, mm."""
    series: str
    """Identity of the series within the session, free of identifying UIDs."""
    instance: int
    """Number of the file within the series, from 1."""
    volume: int
    """Acquisition number of its volume within the series, from 0."""
    n_slices: int | None
    """Slices of a volume; None where the header does not tell."""
    n_volumes: int | None
    """Volumes that the series is to have; None where the header does not tell."""
    tr: float
    """s."""
    acquired: ScannerTime | None
    """Time of acquisition: of the slice, the volume or the series, as the vendor has it."""
    timer: float | None
    """s since the scan began, as a GE scanner measured it."""
    order: str
    """``sequential`` or ``interleaved`` in the order of instances, where a GE protocol says so; else empty."""
    pause: float
    """s at the end of each volume in which nothing is acquired."""


def make_slice(header: Dataset, pixels: Array, name: str, echo: int, notes: list[str]) -> Slice:
    """Make a slice of a header and its image, shape (rows, columns).

    Raises
    ------
    NotAnImageVolume
        A localiser, an anatomical image, or another echo than the one that is asked for.
    FormatError
        The header lacks what places the slice in space or in the series.
    """
    vendor = _vendor(header)
    sequence = header.get("ScanningSequence", None) or ()
    n_temporal = int(header.get("NumberOfTemporalPositions", None) or 0)
    if "EP" not in ((sequence,) if isinstance(sequence, str) else tuple(sequence)) and n_temporal < 2:
        raise NotAnImageVolume(f"{name}: not a mosaic but a single image (a localiser or an anatomical image)")
    if not vendor:
        raise NotAnImageVolume(f"{name}: a single image of an unknown vendor, expected GE, Philips or Siemens")
    if (own := echo_number(header) or 1) != echo:
        raise NotAnImageVolume(f"{name}: echo {own}, expected echo {echo}")
    if vendor == "GE" and (private_number(header, 0x0019, "GEMS_ACQU_01", 0xA9, "<f4") or 0.0) > 1:
        notes.append("a scan of several echoes, which older GE software does not tell apart: check that they are")
    orientation, position, spacing, step = plane_geometry(header, name)
    instance = instance_number(header, name)
    n_slices = _n_slices(header, vendor, name)
    slope, intercept = scale(header, name)
    return Slice(
        vendor=vendor,
        pixels=pixels,
        slope=slope,
        intercept=intercept,
        orientation=orientation,
        position=position,
        place=float(position @ np.cross(*right_angles(orientation, name))),
        spacing=spacing,
        step=step,
        series=series_label(header, name),
        instance=instance,
        volume=_volume(header, vendor, instance, n_slices, name),
        n_slices=n_slices,
        n_volumes=n_temporal or None,
        tr=repetition_time(header, name, notes),
        acquired=time_of_day(header.get("AcquisitionTime", "")),
        timer=_ge_timer(header) if vendor == "GE" else None,
        order=_ge_order(header) if vendor == "GE" else "",
        pause=(private_number(header, 0x0043, _GE_PARAMETERS, 0x7C, "<f4") or 0.0) if vendor == "GE" else 0.0,
    )


def _vendor(header: Dataset) -> str:
    maker = str(header.get("Manufacturer", "") or "").strip().upper()
    return next((name for name in ("GE", "Philips", "Siemens") if maker.startswith(name.upper())), "")


def _n_slices(header: Dataset, vendor: str, name: str) -> int | None:
    found: float | None = None
    if vendor == "GE":
        found = private_number(header, 0x0021, _GE_RELATION, 0x4F, "<i2") or header.get("ImagesInAcquisition", None)
    elif vendor == "Philips":
        found = private_number(header, 0x2001, _PHILIPS, 0x18, "<i4")
    else:
        found = siemens_protocol(header, "sSliceArray.lSize")
    if not found:
        return None
    if not 1 <= found <= MAX_SLICES:
        raise FormatError(f"{name}: {found} slices a volume, expected 1 to {MAX_SLICES}")
    return int(found)


def _volume(header: Dataset, vendor: str, instance: int, n_slices: int | None, name: str) -> int:
    if vendor == "GE":
        if n_slices is None:
            raise FormatError(f"{name}: no number of slices a volume, expected one in (0021,xx4F) or (0020,1002)")
        return (instance - 1) // n_slices
    number = header.get("TemporalPositionIdentifier", None)
    if number is None and vendor == "Siemens":
        number = header.get("AcquisitionNumber", None)
    if number is None or int(number) < 1:
        raise FormatError(f"{name}: volume number {number}, expected 1 or more")
    return int(number) - 1


def _ge_timer(header: Dataset) -> float | None:
    timer = private_number(header, 0x0021, _GE_RELATION, 0x5E, "<f4")
    trigger = header.get("TriggerTime", None)
    return float(trigger) / 1000.0 if not timer and trigger else timer


def _ge_order(header: Dataset) -> str:
    if (private_number(header, 0x0043, _GE_PARAMETERS, 0xB6, "<f4") or 0.0) > 1:
        # several slices at a time: the order of single ones says nothing of their times
        return ""
    block: Any = private(header, 0x0025, "GEMS_SERS_01", 0x1B)
    return _slice_order(bytes(block.value)) if block is not None and isinstance(block.value, bytes) else ""


@lru_cache(maxsize=8)
def _slice_order(block: bytes) -> str:
    # four bytes of length, then gzip
    try:
        text = zlib.decompressobj(wbits=31).decompress(block[4:], _MAX_PROTOCOL_BYTES)
    except zlib.error:
        return ""
    found = _SLICE_ORDER.search(text)
    return {b"0": "sequential", b"1": "interleaved"}.get(found[1], "") if found else ""
