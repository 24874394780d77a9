"""Enhanced multi-frame DICOM, one volume a file: what Siemens XA exports.

Each frame is a slice with its own position and its own time of acquisition, from which the slice times come,
multiband included. Frames are put in order by where they lie.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_header import (
    DAY_S,
    MAX_SLICES,
    NotAnImageVolume,
    instance_number,
    private,
    private_number,
    repetition_time,
    right_angles,
    scale,
    series_label,
    time_of_day,
    vector,
)
from streamer.formats.dicom_stack import relative_times, stack_affine, stored_order
from streamer.messages import F64, Array, ScannerTime, SessionTime, Volume

_SIEMENS_FRAME = "SIEMENS MR SDI 02"


def enhanced_volume(header: Dataset, frames: Array, name: str) -> Volume:
    """Make a volume of an enhanced header and its frames, shape (frames, rows, columns).

    Raises
    ------
    NotAnImageVolume
        A localiser or an anatomical image.
    FormatError
        Several volumes, or a header that lacks what places one in space.
    """
    if str(header.get("EchoPlanarPulseSequence", "") or "").upper() == "NO" and _n_temporal(header) < 2:
        raise NotAnImageVolume(f"{name}: a localiser or an anatomical image, expected one of a series of volumes")
    shared: Any = header["SharedFunctionalGroupsSequence"].value[0]
    groups: Any = list(header["PerFrameFunctionalGroupsSequence"].value)
    if len(groups) != len(frames) or not 0 < len(groups) <= MAX_SLICES:
        raise FormatError(f"{name}: {len(groups)} functional groups for {len(frames)} frames")
    found = [_frame(group, shared, name) for group in groups]
    if any(not np.allclose(each, found[0][0], atol=1e-3) for each, _ in found):
        raise NotAnImageVolume(f"{name}: frames of several orientations (a localiser), expected one volume")
    orientation = found[0][0]
    across, down = right_angles(orientation, name)
    positions = np.array([position for _, position in found])
    order = np.argsort(positions @ np.cross(across, down), kind="stable")
    if len({round(float(value), 3) for value in positions @ np.cross(across, down)}) < len(order):
        raise FormatError(f"{name}: several frames lie in one place, expected one volume a file")
    measures = _group(groups[0], shared, "PixelMeasuresSequence")
    spacing = vector(measures["PixelSpacing"].value, 2, name, "PixelSpacing")
    step = float(measures.get("SpacingBetweenSlices", None) or measures["SliceThickness"].value)
    if not (np.all(spacing > 0) and math.isfinite(step) and step > 0):
        raise FormatError(f"{name}: voxel of {spacing[1]} x {spacing[0]} x {step} mm, expected sizes above 0")
    timing = _group(groups[0], shared, "MRTimingAndRelatedParametersSequence")
    tr = repetition_time(timing["RepetitionTime"].value, name)
    onset, times = _times(header, [groups[k] for k in order], tr)
    return Volume(
        data=_scaled(stored_order(frames[order]), [groups[k] for k in order], shared, name),
        affine=stack_affine(across, down, spacing, positions[order], step, frames.shape[1], name),
        series=series_label(header),
        index=_number(header, groups, name) - 1,
        onset=onset,
        tr=tr,
        slice_times=times,
        received=SessionTime(math.nan),
    )


def _n_temporal(header: Dataset) -> int:
    return int(header.get("NumberOfTemporalPositions", None) or 0)


def _group(frame: Any, shared: Any, key: str) -> Any:
    # a functional group stands with the frame, or once for all of them
    return frame[key].value[0] if key in frame else shared[key].value[0]


def _frame(group: Any, shared: Any, name: str) -> tuple[F64, F64]:
    orientation = _group(group, shared, "PlaneOrientationSequence")["ImageOrientationPatient"].value
    position = _group(group, shared, "PlanePositionSequence")["ImagePositionPatient"].value
    return (
        vector(orientation, 6, name, "ImageOrientationPatient"),
        vector(position, 3, name, "ImagePositionPatient"),
    )


def _number(header: Dataset, groups: list[Any], name: str) -> int:
    # the temporal position counts the volumes of a series; without one the instances do, one a volume
    found = {int(group["FrameContentSequence"].value[0].get("TemporalPositionIndex", 0) or 0) for group in groups}
    if _n_temporal(header) < 2 or found == {0}:
        return instance_number(header, name)
    if len(found) > 1:
        raise FormatError(f"{name}: frames of {len(found)} volumes, expected one volume a file")
    return found.pop()


def _times(header: Dataset, groups: list[Any], tr: float) -> tuple[ScannerTime | None, tuple[float, ...]]:
    began = [time_of_day(group["FrameContentSequence"].value[0].get("FrameAcquisitionDateTime")) for group in groups]
    known = [value for value in began if value is not None]
    if len(known) < len(began):
        return time_of_day(header.get("AcquisitionDateTime")), ()
    if max(known) - min(known) > DAY_S / 2:
        # the volume was taken at midnight
        known = [ScannerTime(value + DAY_S if value < DAY_S / 2 else value) for value in known]
    clock = [_since_start(group) for group in groups]
    return ScannerTime(min(known) % DAY_S), relative_times(clock, tr) or relative_times(known, tr)


def _since_start(group: Any) -> float | None:
    # Siemens' own clock of the scan ticks as the frames' times of day do, but is not rounded to them
    found = private(group, 0x0021, _SIEMENS_FRAME, 0xFE)
    return private_number(found.value[0], 0x0021, _SIEMENS_FRAME, 0x04, "<f8") if found is not None else None


def _scaled(data: Array, groups: list[Any], shared: Any, name: str) -> Array:
    key = "PixelValueTransformationSequence"
    scales = [
        scale(_group(group, shared, key), name) if key in group or key in shared else (1.0, 0.0) for group in groups
    ]
    if all(pair == (1.0, 0.0) for pair in scales):
        return data
    slopes, intercepts = (np.array(values) for values in zip(*scales, strict=True))
    return (data * slopes + intercepts).astype(np.float32)
