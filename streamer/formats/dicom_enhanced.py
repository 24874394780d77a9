"""Enhanced multi-frame DICOM: one volume a file, as Siemens XA exports, or a whole series, as Philips and others do.

Each frame is a slice with its own position and its own time of acquisition, from which the slice times come,
multiband included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_frames import (
    SIEMENS_FRAME,
    Frame,
    by_volume,
    functional_group,
    magnitudes,
    one_echo,
    one_orientation,
    optional_group,
    read_frames,
    siemens_group,
)
from streamer.formats.dicom_header import (
    DAY_S,
    MAX_SLICES,
    NotAnImageVolume,
    instance_number,
    private_number,
    repetition_time,
    scale,
    series_label,
    time_of_day,
    voxel_size,
)
from streamer.formats.dicom_stack import relative_times, stack_affine, stored_order
from streamer.messages import Array, ScannerTime, SessionTime, Volume


def enhanced_volumes(header: Dataset, frames: Array, name: str, echo: int, notes: list[str]) -> list[Volume]:
    """Make volumes of an enhanced header and its frames, shape (frames, rows, columns).

    Raises
    ------
    NotAnImageVolume
        A localiser, an anatomical image, no magnitudes, or another echo than the one that is asked for.
    FormatError
        No whole volume, or a header that lacks what places one in space.
    """
    n_temporal = int(header.get("NumberOfTemporalPositions", None) or 0)
    shared, groups = _functional_groups(header, len(frames), name)
    taken = one_echo(magnitudes(read_frames(header, shared, groups, name), name, notes), echo, name, notes)
    across, down = one_orientation(taken, name)
    volumes = by_volume(taken, name, notes)
    epi = str(header.get("EchoPlanarPulseSequence", "") or "").upper()
    if epi == "NO" and n_temporal < 2 and len(volumes) < 2:
        raise NotAnImageVolume(f"{name}: a localiser or an anatomical image, expected one of a series of volumes")
    first = taken[0].group
    spacing, step = voxel_size(functional_group(first, shared, "PixelMeasuresSequence", name), name)
    tr = repetition_time(functional_group(first, shared, "MRTimingAndRelatedParametersSequence", name), name, notes)
    number = _numbers(header, volumes, n_temporal, name)
    series = series_label(header, name)
    made: list[Volume] = []
    for position, members in sorted(volumes.items()):
        if len(members) > MAX_SLICES:
            raise FormatError(f"{name}: {len(members)} slices a volume, expected 1 to {MAX_SLICES}")
        onset, times = _times(header, members, tr)
        planes = stored_order(frames[[frame.at for frame in members]])
        positions = np.array([frame.position for frame in members])
        made.append(
            Volume(
                data=_scaled(planes, members, shared, name),
                affine=stack_affine(across, down, spacing, positions, step, frames.shape[1], name),
                series=series,
                index=number[position] - 1,
                onset=onset,
                tr=tr,
                slice_times=times,
                received=SessionTime(math.nan),
            )
        )
    return made


def _functional_groups(header: Dataset, n_frames: int, name: str) -> tuple[Any, list[Any]]:
    shared: Any = header.get("SharedFunctionalGroupsSequence", None) or [Dataset()]
    groups: Any = list(header.get("PerFrameFunctionalGroupsSequence", None) or ())
    if len(groups) != n_frames:
        raise FormatError(f"{name}: {len(groups)} functional groups for {n_frames} frames")
    return shared[0], groups


def _numbers(header: Dataset, volumes: dict[int, list[Frame]], n_temporal: int, name: str) -> dict[int, int]:
    # the temporal position counts the volumes of a series; without one the instances do, one a file
    temporal = all(members[0].temporal for members in volumes.values())
    if temporal and (n_temporal > 1 or len(volumes) > 1):
        return {position: members[0].temporal for position, members in volumes.items()}
    before = (instance_number(header, name) - 1) * len(volumes)
    return {position: before + k for k, position in enumerate(sorted(volumes), start=1)}


def _times(header: Dataset, members: Sequence[Frame], tr: float) -> tuple[ScannerTime | None, tuple[float, ...]]:
    known = [frame.began for frame in members if frame.began is not None]
    if len(known) < len(members):
        return time_of_day(header.get("AcquisitionDateTime", None)) if _alone(header, members) else None, ()
    if max(known) - min(known) > DAY_S / 2:
        # the volume was taken at midnight
        known = [ScannerTime(value + DAY_S if value < DAY_S / 2 else value) for value in known]
    clock = [_since_start(frame.group) for frame in members]
    return ScannerTime(min(known) % DAY_S), relative_times(clock, tr) or relative_times(known, tr)


def _alone(header: Dataset, members: Sequence[Frame]) -> bool:
    # the time of a whole file is that of its volume when it holds no other
    return int(header.get("NumberOfFrames", None) or 1) == len(members)


def _since_start(group: Any) -> float | None:
    # Siemens' own clock of the scan ticks as the frames' times of day do, but is not rounded to them
    found = siemens_group(group)
    return None if found is None else private_number(found, 0x0021, SIEMENS_FRAME, 0x04, "<f8")


def _scaled(data: Array, members: Sequence[Frame], shared: Any, name: str) -> Array:
    # Philips' own scale slope (2005,100E) is one for a series and is left out, as it is of classic files
    found = [optional_group(frame.group, shared, "PixelValueTransformationSequence") for frame in members]
    scales = [(1.0, 0.0) if each is None else scale(each, name) for each in found]
    if all(pair == (1.0, 0.0) for pair in scales):
        return data
    slopes, intercepts = (np.array(values) for values in zip(*scales, strict=True))
    return (data * slopes + intercepts).astype(np.float32)
