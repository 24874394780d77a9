"""A CSV table as the EEG part of a recording, and a table of events as its markers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.acquire.recording import RecordedMarker
from streamer.errors import FormatError
from streamer.formats.brainvision_header import kind_of
from streamer.formats.tables import SignalTable, read_signal_table
from streamer.formats.volts import volts_per
from streamer.messages import F32, F64, ChannelInfo

_MUSE = {"TP9", "AF7", "AF8", "TP10"}
"""The electrodes of a Muse, whose recorder writes µV and says so nowhere."""
_USUAL_HZ = (100, 125, 128, 200, 220, 250, 256, 300, 500, 512, 1000, 1024, 2000, 2048, 2500, 5000)
_NEAR = 2e-3
"""A measured rate this close (relative) to a usual one is that."""
_GAP_S = 0.25


@dataclass(frozen=True)
class TableEeg:
    """The EEG of a table; it was read whole."""

    table: SignalTable
    sfreq: float
    """Hz: the usual rate that the stamps come close to, or what they say."""
    channels: tuple[ChannelInfo, ...]
    scale: F64
    """From what is written to V, shape (n_channels,)."""
    markers: tuple[RecordedMarker, ...]
    problems: tuple[str, ...]
    format: str = "CSV"

    @property
    def n_samples(self) -> int:
        """How many there are; lost ones are not counted."""
        return len(self.table.stamps)

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one, lost stretches included, s."""
        return float(self.table.stamps.max() - self.table.stamps[0]) + 1.0 / self.sfreq

    def read(self, start: int, stop: int) -> F32:
        """Read samples ``start`` to ``stop`` (excluded), V, shape (stop - start, n_channels)."""
        return (self.table.data[start:stop] * self.scale).astype(np.float32)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        """Give the stamps as written, s, and s after the first one."""
        raw = self.table.stamps[start:stop]
        return raw, raw - self.table.stamps[0]


def open_csv(path: Path, unit: str | None = None) -> TableEeg:
    """Open a table with the columns ``timestamps``, one for each channel, and perhaps ``Marker`` (0: none).

    Parameters
    ----------
    path : Path
    unit : str, optional
        Unit of all channels; needed when the table is not that of a Muse, which is in µV.

    Raises
    ------
    FormatError
        It cannot be read, its unit is not known, or its stamps tell no rate.
    """
    table = read_signal_table(path)
    given = unit or ("µV" if set(table.names) >= _MUSE else "")
    volts = volts_per(given)
    if volts is None:
        raise FormatError(f"{path.name}: unit is {given or 'not told'}; expected V, mV or µV, set unit to what it is")
    steps = np.diff(table.stamps)
    even = steps[(steps >= 0) & (steps <= _GAP_S)]
    if not even.sum() > 0:
        raise FormatError(f"{path.name}: its timestamps tell no rate, expected them in s and rising")
    # the stamps may be rounded to ms, which the median would keep
    rate = len(even) / float(even.sum())
    sfreq = next((float(usual) for usual in _USUAL_HZ if abs(rate / usual - 1) < _NEAR), rate)
    problems = [*table.problems]
    if backwards := int(np.count_nonzero(steps < 0)):
        problems.append(f"{backwards} stamps go backwards, by {-float(steps.min()):.3f} s at most")
    if doubled := int(np.count_nonzero(steps == 0)):
        problems.append(f"{doubled} stamps are the same as the one before")
    if late := int(np.count_nonzero(steps > _GAP_S)):
        problems.append(f"{late} gaps, the longest of {float(steps.max()):.3f} s")
    channels = tuple(ChannelInfo(name, "misc" if "AUX" in name.upper() else kind_of(name)) for name in table.names)
    scale = np.full(len(channels), volts)
    return TableEeg(table, sfreq, channels, scale, _markers(table), tuple(problems))


def _markers(table: SignalTable) -> tuple[RecordedMarker, ...]:
    if table.markers is None:
        return ()
    codes = np.nan_to_num(table.markers)
    found: list[RecordedMarker] = []
    for k in np.flatnonzero(codes).tolist():
        code, stamp = float(codes[k]), float(table.stamps[k])
        label = f"{code:g}"
        found.append(RecordedMarker(label, stamp - float(table.stamps[0]), stamp, k, "Marker"))
    return tuple(sorted(found, key=lambda marker: marker.at_s))
