"""What is in a recording: one plain object per part, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recording import EegPart
from streamer.acquire.recordings import open_recording
from streamer.messages import EegChunk, Marker, Volume
from streamer.runlog import is_session, read_session

FORMATS = {".vhdr": "BrainVision", ".nii": "NIfTI", ".gz": "NIfTI"}


@dataclass
class Part:
    """One part of a recording; a field that its kind has not is None and left out of :meth:`plain`."""

    kind: str
    """``eeg``, ``bold`` or ``markers``."""
    format: str
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
    """s after the onset of a volume."""
    problems: list[str] = field(default_factory=list[str])

    def plain(self) -> dict[str, Any]:
        """As JSON values, without the fields that this kind has not."""
        return {key: value for key, value in vars(self).items() if value is not None}


def inspect_path(path: Path) -> list[Part]:
    """Look into a recording or a session's folder.

    Raises
    ------
    RecordingError
        It cannot be read.
    """
    if is_session(path):
        return _session(path)
    recording = open_recording(path)
    parts: list[Part] = []
    if recording.eeg is not None:
        parts += _eeg(recording.eeg)
    if recording.bold is not None:
        parts.append(_bold(recording.bold, recording.eeg))
    return parts


def _markers(labels: list[str], form: str) -> Part:
    counts = {label: labels.count(label) for label in sorted(set(labels))}
    return Part("markers", form, n_markers=len(labels), labels=counts)


def _eeg(eeg: EegPart) -> list[Part]:
    part = Part("eeg", "BrainVision", len(eeg.channels), eeg.sfreq, eeg.n_samples)
    return [part, _markers([m.label for m in eeg.markers], "BrainVision")]


def _bold(bold: BoldPart, eeg: EegPart | None) -> Part:
    file = bold.file(0)
    form = "NIfTI" if file is None else FORMATS.get(file.suffix, "DICOM")
    first = bold.volume(0)
    part = Part(
        "bold", form, grid=first.data.shape, tr=bold.tr, n_volumes=bold.n_volumes, slice_times=first.slice_times
    )
    holes = sum(b - a - 1 for a, b in pairwise(bold.indices))
    if holes:
        part.problems.append(f"{holes} volumes are missing between numbers {bold.indices[0]} and {bold.indices[-1]}")
    if eeg is not None:
        triggers = sum(m.label == bold.trigger for m in eeg.markers)
        if triggers != bold.n_volumes:
            part.problems.append(f"{triggers} markers {bold.trigger} for {bold.n_volumes} volumes")
        ends = bold.onset_s(bold.n_volumes - 1) + bold.tr
        if bold.onset_s(0) < 0 or ends > eeg.n_samples / eeg.sfreq:
            part.problems.append("the volumes reach beyond the EEG")
    return part


def _session(path: Path) -> list[Part]:
    log = read_session(path)
    labels: list[str] = []
    volumes: set[tuple[str, int]] = set()
    n_samples = 0
    grid: tuple[int, ...] | None = None
    tr: float | None = None
    slice_times: tuple[float, ...] | None = None
    steps: list[float] = []
    for _, event in log.events:
        match event:
            case EegChunk():
                n_samples += len(event.data)
                steps.append(float(event.times[-1]))
            case Marker():
                labels.append(event.label)
            case Volume():
                volumes.add((event.series, event.index))
                grid, tr, slice_times = event.data.shape, event.tr, event.slice_times
            case _:
                continue
    parts: list[Part] = []
    if log.header.channels:
        eeg = Part("eeg", "run log", len(log.header.channels), log.header.eeg_sfreq, n_samples)
        expected = float(np.ptp(steps)) * log.header.eeg_sfreq if steps else 0.0
        if n_samples and expected - n_samples > 0.01 * n_samples:
            eeg.problems.append(f"{n_samples} samples, but the time stamps span about {round(expected)}")
        parts += [eeg, _markers(labels, "run log")]
    if volumes:
        parts.append(Part("bold", "run log", grid=grid, tr=tr, n_volumes=len(volumes), slice_times=slice_times))
    # the log's own problems are complete only once it has been read
    for part in parts[:1]:
        part.problems += log.problems
    return parts
