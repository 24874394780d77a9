"""Frames of an enhanced DICOM object: what each one is, and which of them make up a volume.

Vendors put volumes, echoes and parts of complex images into one file in orders of their own, and say what a frame is
in its functional groups. Frames of a volume are told by those, and put in order by where they lie.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset

from streamer.errors import FormatError
from streamer.formats.dicom_header import (
    NotAnImageVolume,
    echo_number,
    field,
    private,
    right_angles,
    texts,
    time_of_day,
    vector,
)
from streamer.formats.dicom_kinds import EXPECTED, complex_part, other_kind
from streamer.messages import F64, ScannerTime

SIEMENS_FRAME = "SIEMENS MR SDI 02"


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice of one volume, as its functional groups describe it."""

    at: int
    """Its place in the file, from 0."""
    group: Any
    """Its functional groups."""
    kind: str
    """What it is if no original magnitude image; else empty."""
    echo: int | None
    echo_time: float | None
    """ms."""
    orientation: F64
    position: F64
    """mm (LPS)."""
    place: float
    """Where it lies along rows x columns, mm."""
    temporal: int
    """Number of its volume, from 1; 0 where there is none."""
    offset: float | None
    """Time of its volume since the first, in a unit of the vendor's."""
    acquisition: int
    """Number of its acquisition, from 1; 0 where there is none."""
    began: ScannerTime | None


def functional_group(frame: Any, shared: Any, key: str, name: str) -> Any:
    """Find a functional group, which stands with the frame, or once for all of them; or raise FormatError."""
    found = optional_group(frame, shared, key)
    if found is None:
        raise FormatError(f"{name}: no {key} in the header")
    return found


def optional_group(frame: Any, shared: Any, key: str) -> Any:
    """Find a functional group as :func:`functional_group` does; None when there is none."""
    for holder in (frame, shared):
        if items := holder.get(key, None):
            return items[0]
    return None


def read_frames(header: Dataset, shared: Any, groups: Sequence[Any], name: str) -> list[Frame]:
    """Describe all frames of an object, in the order of the file."""
    own = complex_part((*texts(header, "ImageType"), *texts(header, "ComplexImageComponent"))) or ""
    return [_frame(k, group, shared, own, name) for k, group in enumerate(groups)]


def _frame(at: int, group: Any, shared: Any, kind: str, name: str) -> Frame:
    # a header speaks for its frames where they do not speak for themselves
    if (types := optional_group(group, shared, "MRImageFrameTypeSequence")) is not None and "FrameType" in types:
        found = (*texts(types, "FrameType"), *texts(types, "ComplexImageComponent"))
        kind = other_kind(found) or complex_part(found) or ""
    if (siemens := siemens_group(group)) is not None and not kind:
        text: Any = private(siemens, 0x0021, SIEMENS_FRAME, 0x75)
        found = () if text is None or not text.value else tuple(str(part).upper() for part in _items(text.value))
        kind = other_kind(found) or complex_part(found) or ""
        if not kind and "MOSAIC" in found and at == 0:
            kind = "mosaic"
    echo = optional_group(group, shared, "MREchoSequence")
    content = optional_group(group, shared, "FrameContentSequence")
    content = Dataset() if content is None else content
    time = None if echo is None else echo.get("EffectiveEchoTime", None)
    offset = content.get("TemporalPositionTimeOffset", None)
    if offset is None and (temporal := optional_group(group, shared, "TemporalPositionSequence")) is not None:
        offset = temporal.get("TemporalPositionTimeOffset", None)
    plane = functional_group(group, shared, "PlaneOrientationSequence", name)
    orientation = vector(field(plane, "ImageOrientationPatient", name), 6, name, "ImageOrientationPatient")
    placed = functional_group(group, shared, "PlanePositionSequence", name)
    position = vector(field(placed, "ImagePositionPatient", name), 3, name, "ImagePositionPatient")
    return Frame(
        at=at,
        group=group,
        kind=kind,
        echo=None if echo is None else echo_number(echo),
        echo_time=None if time is None else float(time),
        orientation=orientation,
        position=position,
        place=float(position @ np.cross(orientation[:3], orientation[3:])),
        temporal=int(content.get("TemporalPositionIndex", None) or 0),
        offset=None if offset is None else float(offset),
        acquisition=int(content.get("FrameAcquisitionNumber", None) or 0),
        began=time_of_day(content.get("FrameAcquisitionDateTime", None)),
    )


def siemens_group(group: Any) -> Any:
    """Give what Siemens adds to a frame; None when there is nothing."""
    found = private(group, 0x0021, SIEMENS_FRAME, 0xFE)
    return found.value[0] if found is not None and found.value else None


def _items(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str) else list(value)


def magnitudes(frames: Sequence[Frame], name: str, notes: list[str]) -> list[Frame]:
    """Leave out phase, derived and other frames, or raise NotAnImageVolume when nothing is left."""
    kept = [frame for frame in frames if not frame.kind]
    if not kept:
        raise NotAnImageVolume(f"{name}: {frames[0].kind} image, {EXPECTED}")
    for kind, count in Counter(frame.kind for frame in frames if frame.kind).items():
        notes.append(f"{count} {kind} images in the file are left out")
    return kept


def one_echo(frames: Sequence[Frame], echo: int, name: str, notes: list[str]) -> list[Frame]:
    """Keep the frames of one echo (from 1), or raise NotAnImageVolume when there are none."""
    # not every vendor numbers the echoes, but they can be told by their times
    if all(frame.echo is not None for frame in frames):
        numbers = [frame.echo or 1 for frame in frames]
    else:
        times = sorted({frame.echo_time for frame in frames if frame.echo_time is not None})
        numbers = [times.index(frame.echo_time) + 1 if frame.echo_time is not None else 1 for frame in frames]
    kept = [frame for frame, number in zip(frames, numbers, strict=True) if number == echo]
    there = sorted(set(numbers))
    text = ", ".join(str(number) for number in there[:8])
    if not kept:
        raise NotAnImageVolume(f"{name}: echo {text}, expected echo {echo}")
    if len(there) > 1:
        notes.append(f"echoes {text}: echo {echo} is taken")
    return kept


def one_orientation(frames: Sequence[Frame], name: str) -> tuple[F64, F64]:
    """Give the directions of rows and columns that all frames share, or raise NotAnImageVolume."""
    first = frames[0].orientation
    if not all(np.allclose(frame.orientation, first, atol=1e-3) for frame in frames):
        raise NotAnImageVolume(f"{name}: frames of several orientations (a localiser), expected one volume")
    return right_angles(first, name)


def by_volume(frames: Sequence[Frame], name: str, notes: list[str]) -> dict[int, list[Frame]]:
    """Tell the volumes apart: the frames of each, in the order of their places, by the number of the volume from 1.

    The number is the temporal position where the frames have one, else 0 for a single volume, else from 1 in order.

    Raises
    ------
    FormatError
        Several frames lie in one place and nothing tells them apart, or no volume is whole.
    """
    places = [round(frame.place, 3) for frame in frames]
    n_slices = len(set(places))
    temporal = [frame.temporal for frame in frames]
    if n_slices == len(frames):
        if len(set(temporal)) > 1:
            raise FormatError(f"{name}: frames of {len(set(temporal))} volumes, expected each to be whole")
        volumes = {temporal[0]: list(frames)}
    else:
        volumes = _several(frames, places, n_slices, name)
    whole: dict[int, list[Frame]] = {}
    for number, members in volumes.items():
        if len(members) == n_slices:
            whole[number] = sorted(members, key=lambda frame: frame.place)
        else:
            notes.append(f"volume {number} has {len(members)} of {n_slices} slices: left out")
    return whole


def _several(frames: Sequence[Frame], places: Sequence[float], n_slices: int, name: str) -> dict[int, list[Frame]]:
    keys: list[tuple[bool, list[Any]]] = [
        (True, [frame.temporal or None for frame in frames]),
        (False, [frame.offset for frame in frames]),
        (False, [frame.acquisition or None for frame in frames]),
    ]
    if len(frames) % n_slices == 0:
        keys.append((False, _rounds(frames, places)))
    for numbered, values in keys:
        if any(value is None for value in values):
            continue
        volumes: defaultdict[Any, list[Frame]] = defaultdict(list)
        filled: set[tuple[Any, float]] = set()
        for frame, place, value in zip(frames, places, values, strict=True):
            volumes[value].append(frame)
            filled.add((value, place))
        if len(filled) == len(frames) and max(len(members) for members in volumes.values()) == n_slices:
            ordered = sorted(volumes)
            return {(value if numbered else k): volumes[value] for k, value in enumerate(ordered, start=1)}
    raise FormatError(f"{name}: several frames lie in one place, and nothing tells which volume each is of")


def _rounds(frames: Sequence[Frame], places: Sequence[float]) -> list[int]:
    # the first frame in each place is of the first volume, by its time where it has one, else as the file has them
    timed = all(frame.began is not None for frame in frames)
    order = sorted(range(len(frames)), key=lambda k: frames[k].began or 0.0) if timed else range(len(frames))
    seen: Counter[float] = Counter()
    rounds = [0] * len(frames)
    for k in order:
        seen[places[k]] += 1
        rounds[k] = seen[places[k]]
    return rounds
