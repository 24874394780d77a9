"""A BrainVision file as the EEG part of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.acquire.recording import RecordedMarker
from streamer.formats.brainvision import BrainVisionFile
from streamer.messages import F32, F64, ChannelInfo


@dataclass(frozen=True)
class BrainVisionEeg:
    """The EEG of a BrainVision recording: one clock, that of the amplifier."""

    file: BrainVisionFile
    format: str = "BrainVision"
    problems: tuple[str, ...] = ()

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
        """Length."""
        return self.file.n_samples

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, s."""
        return self.n_samples / self.sfreq

    @property
    def markers(self) -> tuple[RecordedMarker, ...]:
        """Events in the order of their samples; the marks by which the file itself is divided are left out."""
        return tuple(
            RecordedMarker(m.label, m.sample / self.sfreq, m.sample / self.sfreq, m.sample, m.kind)
            for m in self.file.markers
            if m.kind != "New Segment" and m.label
        )

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        return self.file.read(start, stop)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give raw stamps and times of these samples, s: both count from the first one."""
        at = np.arange(start, stop) / self.sfreq
        return at, at
