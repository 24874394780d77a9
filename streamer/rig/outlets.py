"""The amplifier's two LSL streams: EEG, described as an amplifier describes it, and markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.acquire.recording import EegPart
from streamer.messages import F64

_MICROVOLTS_PER_VOLT = 1e6


@dataclass(frozen=True)
class StreamNames:
    """What the streams are called on the network."""

    eeg: str
    markers: str
    source_id: str
    """Stays the same when the rig is started again, so that a lost stream is found again."""


class Amplifier:
    """Two outlets that a recording's samples and markers are pushed through.

    Every sample carries its own stamp: when it was taken on the recording's axis, with gaps and jitter as they were
    recorded, after the LSL time at which the axis begins. A marker carries its own time in the same way, which is
    exactly the stamp of its sample where the recording knows one, whenever it is sent.

    Parameters
    ----------
    eeg : EegPart
    names : StreamNames
    """

    def __init__(self, eeg: EegPart, names: StreamNames) -> None:
        from pylsl import StreamOutlet

        self._eeg = eeg
        self._t0 = 0.0
        self._eeg_outlet: Any = StreamOutlet(_eeg_info(eeg, names))
        self._marker_outlet: Any = StreamOutlet(_marker_info(names))
        self._scale = np.array([_MICROVOLTS_PER_VOLT if c.unit == "V" else 1.0 for c in eeg.channels], np.float32)

    def begin(self, t0: float) -> None:
        """Say at which LSL time the recording's first sample lies, s."""
        self._t0 = t0

    def heard(self) -> bool:
        """Tell whether somebody listens to both streams."""
        return all(self.listeners())

    def listeners(self) -> tuple[bool, bool]:
        """Tell whether somebody listens to the EEG, and to the markers."""
        return bool(self._eeg_outlet.have_consumers()), bool(self._marker_outlet.have_consumers())

    def send(self, start: int, stop: int, offset_s: float = 0.0, ppm: float = 0.0) -> None:
        """Send samples ``start`` to ``stop`` (excluded), their stamps wrong by an offset and a rate."""
        stamps = self._stamps(self._eeg.times(start, stop)[1], offset_s, ppm)
        self._eeg_outlet.push_chunk(self._eeg.read(start, stop) * self._scale, stamps.tolist())

    def mark(self, label: str, at_s: float, offset_s: float = 0.0, ppm: float = 0.0) -> None:
        """Send a marker of this time on the recording's axis, s."""
        stamp = self._stamps(np.array([at_s]), offset_s, ppm)[0]
        self._marker_outlet.push_sample([label], float(stamp))

    def _stamps(self, at: F64, offset_s: float, ppm: float) -> F64:
        return self._t0 + (at + (offset_s + ppm * 1e-6 * at))

    def close(self) -> None:
        """Take both streams off the network."""
        self._eeg_outlet = self._marker_outlet = None


def _eeg_info(eeg: EegPart, names: StreamNames) -> Any:
    from pylsl import StreamInfo, cf_float32

    info: Any = StreamInfo(names.eeg, "EEG", len(eeg.channels), eeg.sfreq, cf_float32, f"{names.source_id}-eeg")
    description: Any = info.desc()
    channels: Any = description.append_child("channels")
    for channel in eeg.channels:
        entry: Any = channels.append_child("channel")
        entry.append_child_value("label", channel.name)
        entry.append_child_value("unit", "microvolts" if channel.unit == "V" else channel.unit)
        entry.append_child_value("type", channel.kind.upper())
    acquisition: Any = description.append_child("acquisition")
    acquisition.append_child_value("manufacturer", "eeg-fmri-streamer")
    acquisition.append_child_value("model", "rig")
    synchronization: Any = description.append_child("synchronization")
    synchronization.append_child_value("can_drop_samples", "false")
    return info


def _marker_info(names: StreamNames) -> Any:
    from pylsl import IRREGULAR_RATE, StreamInfo, cf_string

    return StreamInfo(names.markers, "Markers", 1, IRREGULAR_RATE, cf_string, f"{names.source_id}-markers")
