"""What a recording is, whatever file it came from: the one contract of everything that reads or plays recordings.

The axis of a recording is s after its first EEG sample; of one without EEG, s after its first volume or first value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamer.acquire.recorded_bold import BoldPart
from streamer.formats.nifti import LabelImage
from streamer.messages import F32, F64, ChannelInfo


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """A stretch of the recording that has a label."""

    onset_s: float
    """On the recording's axis, s."""
    duration_s: float
    label: str


@dataclass(frozen=True, slots=True)
class RecordedMarker:
    """A marker as it was recorded."""

    label: str
    at_s: float
    """On the recording's axis, s."""
    at_raw: float
    """The sender's own stamp, s; in files of one clock, the stamp of its sample."""
    sample: int | None = None
    """Place in :meth:`EegPart.read`; None where the recording tells no more than a time."""
    kind: str = ""
    """What the file or its stream calls this kind of marker: ``Response``."""


class EegPart(Protocol):
    """The EEG of a recording; samples are read when they are asked for."""

    @property
    def format(self) -> str:
        """What it is stored as, such as ``BrainVision``."""
        ...

    @property
    def sfreq(self) -> float:
        """Nominal rate, Hz."""
        ...

    @property
    def channels(self) -> tuple[ChannelInfo, ...]:
        """What was recorded; unit V where it is a voltage."""
        ...

    @property
    def n_samples(self) -> int:
        """How many there are; lost ones are not counted."""
        ...

    @property
    def markers(self) -> tuple[RecordedMarker, ...]:
        """Events in the order of their times."""
        ...

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, lost stretches included, s."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in sentences."""
        ...

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        ...

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give the sender's raw stamps of these samples, s, and their times on the recording's axis, s."""
        ...


@dataclass(frozen=True)
class PhysioPart:
    """Physiology that was recorded apart from the EEG: ECG, pulse, respiration."""

    format: str
    channels: tuple[ChannelInfo, ...]
    sfreq: float
    """Hz."""
    n_samples: int
    start_s: float
    """First sample on the recording's axis, s."""
    read: Callable[[int, int], F64]
    """Samples ``start`` to ``stop`` (excluded) in the channels' units, shape (stop - start, n_channels)."""
    markers: tuple[RecordedMarker, ...] = ()
    """Beats and other annotations."""
    problems: tuple[str, ...] = ()
    """What is wrong with it, in sentences."""


@dataclass(frozen=True)
class Recording:
    """A recording that was opened; samples and volumes are read when they are asked for."""

    name: str
    eeg: EegPart | None = None
    bold: BoldPart | None = None
    regions: LabelImage | None = None
    events: tuple[BlockEvent, ...] = ()
    physio: tuple[PhysioPart, ...] = ()
    problems: tuple[str, ...] = ()
    """What is wrong with how the parts go together, in sentences."""

    @property
    def duration_s(self) -> float:
        """From the beginning to the end of the EEG, or to the last byte of the last volume when there is no EEG."""
        if self.eeg is not None:
            return self.eeg.duration_s
        if self.bold is not None and self.bold.n_volumes:
            return max(self.bold.known_at_s(k) for k in range(self.bold.n_volumes))
        return 0.0
