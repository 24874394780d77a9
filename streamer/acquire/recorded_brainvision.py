"""A BrainVision file as the EEG part of a recording: one clock, that of the amplifier, and the pauses in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from streamer.acquire.recorded_segments import Segments
from streamer.acquire.recording import RecordedMarker
from streamer.formats.brainvision import NEW_SEGMENT, BrainVisionFile, FileMarker, read_brainvision
from streamer.formats.brainvision_header import SEGMENT_DATE
from streamer.messages import F32, F64, ChannelInfo


@dataclass(frozen=True)
class BrainVisionEeg:
    """The EEG of a BrainVision recording."""

    file: BrainVisionFile
    format: str = "BrainVision"

    @cached_property
    def segments(self) -> Segments:
        """Stretches that were recorded without a pause."""
        return find_segments(self.file.markers, self.file.sfreq)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in sentences."""
        return (*self.file.problems, *self.segments.problems)

    @property
    def sfreq(self) -> float:
        """Hz."""
        return self.file.sfreq

    @property
    def channels(self) -> tuple[ChannelInfo, ...]:
        """What was recorded; unit V where it is a voltage."""
        return self.file.channels

    @property
    def n_samples(self) -> int:
        """How many there are; those of a pause are not counted."""
        return self.file.n_samples

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, pauses included, s."""
        return self.n_samples / self.sfreq + float(self.segments.late_s[-1])

    @cached_property
    def markers(self) -> tuple[RecordedMarker, ...]:
        """Events in the order of their samples; the marks by which the file itself is divided are left out."""
        found = [m for m in self.file.markers if m.kind != NEW_SEGMENT and m.label]
        times = self.segments.times(np.array([m.sample for m in found], np.int64), self.sfreq).tolist()
        return tuple(RecordedMarker(m.label, at, at, m.sample, m.kind) for m, at in zip(found, times, strict=True))

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        return self.file.read(start, stop)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give raw stamps and times of these samples, s: both count from the first one, and jump at a pause."""
        at = self.segments.times(np.arange(start, stop), self.sfreq)
        return at, at


def open_brainvision(vhdr: Path) -> BrainVisionEeg:
    """Open a BrainVision recording.

    Raises
    ------
    FormatError
        A file is missing or is not what the format demands.
    """
    return BrainVisionEeg(read_brainvision(vhdr))


def find_segments(markers: tuple[FileMarker, ...], sfreq: float) -> Segments:
    """Tell from the marks of new segments and their dates how long the pauses were.

    Parameters
    ----------
    markers : tuple of FileMarker
        In the order of their samples.
    sfreq : float
        Hz.
    """
    first, late = [0], [0.0]
    problems: list[str] = []
    dated: tuple[float, datetime] | None = None
    for marker in markers:
        if marker.kind != NEW_SEGMENT:
            continue
        date = _date(marker.date)
        at = marker.sample / sfreq + late[-1]
        if marker.sample > 0:
            lost = None
            if date is not None and dated is not None:
                lost = (date - dated[1]).total_seconds() - (at - dated[0])
            where = f"a new segment begins at sample {marker.sample} ({at:.3f} s)"
            if lost is None:
                problems.append(f"{where} without a date: the pause before it is of unknown length and taken as none")
            elif lost < -1.0 / sfreq:
                problems.append(
                    f"{where}, by its date {-lost:.3f} s before the end of the one before: taken as no pause"
                )
            else:
                problems.append(f"{where} after a pause of {lost:.3f} s")
                at += max(lost, 0.0)
            first.append(marker.sample)
            late.append(at - marker.sample / sfreq)
        if date is not None:
            dated = at, date
    return Segments(np.array(first, np.int64), np.array(late), tuple(problems))


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, SEGMENT_DATE)  # noqa: DTZ007 - only differences are taken
    except ValueError:
        return None
