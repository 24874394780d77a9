"""One part of a recording as a plain object."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streamer.acquire.recorded_bold import BoldSource
from streamer.acquire.recording import EegPart, PhysioPart, Recording

_MOST_LABELS = 200
"""Markers of more labels than this are numbers or sentences: they are not counted one by one."""


@dataclass
class Part:
    """One part of a recording; a field that its kind has not is None and left out of :meth:`plain`."""

    kind: str
    """``eeg``, ``bold``, ``markers`` or ``physio``."""
    format: str
    path: str | None = None
    """Where it is, from the folder that was looked into."""
    name: str | None = None
    """Of the stream, the series or the table."""
    n_channels: int | None = None
    sfreq: float | None = None
    """Hz."""
    n_samples: int | None = None
    n_markers: int | None = None
    labels: dict[str, int] | None = None
    """Markers by label."""
    grid: tuple[int, ...] | None = None
    tr: float | None = None
    """s."""
    n_volumes: int | None = None
    slice_times: tuple[float, ...] | None = None
    """s after the onset of a volume; empty when unknown."""
    problems: list[str] = field(default_factory=list[str])

    def plain(self) -> dict[str, Any]:
        """As JSON values, without the fields that this kind has not."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def at(self, path: str) -> Part:
        """Give the same part at a place within a folder."""
        return replace(self, path=path if self.path is None else str(Path(path) / self.path))


def markers_part(labels: Iterable[str], form: str, name: str | None = None) -> Part:
    """Describe markers."""
    counted = Counter(labels)
    few = dict(sorted(counted.items())) if len(counted) <= _MOST_LABELS else None
    return Part("markers", form, name=name, n_markers=counted.total(), labels=few)


def eeg_parts(eeg: EegPart) -> list[Part]:
    """Describe EEG and, where there are any, its markers."""
    part = Part("eeg", eeg.format, n_channels=len(eeg.channels), sfreq=eeg.sfreq, n_samples=eeg.n_samples)
    part.problems += eeg.problems
    return [part, markers_part((marker.label for marker in eeg.markers), eeg.format)] if eeg.markers else [part]


def bold_part(source: BoldSource) -> Part:
    """Describe a series of volumes."""
    name = None if source.number is None else f"series {source.number}"
    part = Part(
        "bold", source.format, name=name, n_volumes=source.n_volumes, problems=[*source.problems, *source.conflicts]
    )
    if source.grid:
        part.grid, part.slice_times = tuple(source.grid), source.slice_times
    if math.isfinite(source.tr):
        part.tr = source.tr
    return part


def physio_part(physio: PhysioPart) -> Part:
    """Describe physiology with its annotations."""
    counted = markers_part((marker.label for marker in physio.markers), physio.format)
    return Part(
        "physio",
        physio.format,
        n_channels=len(physio.channels),
        sfreq=physio.sfreq,
        n_samples=physio.n_samples,
        n_markers=counted.n_markers if physio.markers else None,
        labels=counted.labels if physio.markers else None,
        problems=[*physio.problems],
    )


def recording_parts(recording: Recording) -> list[Part]:
    """Describe a recording; what is wrong with how its parts go together stands with the volumes, else with the EEG."""
    parts = [] if recording.eeg is None else eeg_parts(recording.eeg)
    if (bold := recording.bold) is not None:
        first = bold.volume(0)
        parts.append(
            Part(
                "bold",
                bold.format,
                grid=tuple(first.data.shape),
                tr=bold.tr,
                n_volumes=bold.n_volumes,
                slice_times=first.slice_times,
                problems=[*bold.problems, *recording.problems],
            )
        )
    elif parts:
        parts[0].problems += recording.problems
    if recording.events:
        parts.append(markers_part((event.label for event in recording.events), "table", "events"))
    return parts + [physio_part(physio) for physio in recording.physio]
