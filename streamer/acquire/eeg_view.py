"""An EEG part with what another file says of it: channels, units, markers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamer.acquire.recording import EegPart, RecordedMarker
from streamer.errors import FormatError
from streamer.formats.volts import volts_per
from streamer.messages import F32, F64, ChannelInfo


@dataclass(frozen=True)
class EegView:
    """The samples of one EEG part under another description."""

    base: EegPart
    channels: tuple[ChannelInfo, ...]
    scale: F64
    """From the values of ``base`` to those given, shape (n_channels,)."""
    markers: tuple[RecordedMarker, ...]
    problems: tuple[str, ...]

    @property
    def format(self) -> str:
        """What it is stored as."""
        return self.base.format

    @property
    def sfreq(self) -> float:
        """Nominal rate, Hz."""
        return self.base.sfreq

    @property
    def n_samples(self) -> int:
        """How many there are; lost ones are not counted."""
        return self.base.n_samples

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, lost stretches included, s."""
        return self.base.duration_s

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        data = self.base.read(start, stop)
        return data if (self.scale == 1.0).all() else (data * self.scale).astype(np.float32)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give the sender's raw stamps of these samples, s, and their times on the recording's axis, s."""
        return self.base.times(start, stop)


def view(
    base: EegPart,
    channels: tuple[ChannelInfo, ...] | None = None,
    scale: F64 | None = None,
    markers: tuple[RecordedMarker, ...] | None = None,
    problems: tuple[str, ...] = (),
) -> EegView:
    """Describe an EEG part anew; what is not given stays, and ``problems`` are added to its own."""
    return EegView(
        base,
        base.channels if channels is None else channels,
        np.ones(len(base.channels)) if scale is None else scale,
        base.markers if markers is None else markers,
        (*base.problems, *problems),
    )


def with_unit(base: EegPart, unit: str) -> EegView:
    """Take the channels whose file does not say V as being in ``unit``: V, mV, µV.

    Raises
    ------
    FormatError
        It is no unit of voltage.
    """
    size = volts_per(unit)
    if size is None:
        raise FormatError(f"unit is {unit!r}, expected V, mV or µV")
    told = [channel.unit == "V" for channel in base.channels]
    channels = tuple(c if v else replace(c, unit="V") for c, v in zip(base.channels, told, strict=True))
    return view(base, channels, np.where(told, 1.0, size))
