"""Results as LSL streams: triggers for stimulus software, cleaned EEG for any LSL client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pylsl import IRREGULAR_RATE, StreamInfo, StreamOutlet, cf_float32, cf_string

from streamer import wire
from streamer.messages import ChannelInfo, CleanEeg, Output, Trigger

TRIGGERS = "NeurofeedbackTriggers"
CLEAN_EEG = "CleanEEG"


class TriggerOutlet:
    """Triggers on an irregular string stream ``NeurofeedbackTriggers``: one JSON object each, as over MQTT.

    A sample's time stamp is the trigger's ``fire_at``. liblsl hands samples to its own threads and drops none on our
    side, so nothing can be lost here.

    Parameters
    ----------
    session : str
    """

    name = "trigger_outlet"

    def __init__(self, session: str) -> None:
        self._session = session
        info = StreamInfo(TRIGGERS, "Markers", 1, IRREGULAR_RATE, cf_string, f"{session}-triggers")
        channel = info.desc().append_child("channels").append_child("channel")
        channel.append_child_value("label", "trigger")
        channel.append_child_value("type", "JSON")
        info.desc().append_child_value("schema", str(wire.SCHEMA))
        self._outlet: StreamOutlet | None = StreamOutlet(info)

    def put(self, item: Output) -> None:
        """Push a trigger; everything else is passed over."""
        if isinstance(item, Trigger) and self._outlet is not None:
            self._outlet.push_sample(
                [wire.encode(wire.from_trigger(self._session, item)).decode()], timestamp=item.fire_at
            )

    def losses(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        """End the stream. May be called twice."""
        self._outlet = None


class CleanEegOutlet:
    """Cleaned EEG on a regular float32 stream ``CleanEEG``, in µV, as LSL clients of the field expect it.

    Each hop is one chunk, stamped with the time of its last sample; LSL counts back from there.

    Parameters
    ----------
    session : str
    channels : sequence of ChannelInfo
    sfreq : float
        Hz, of the cleaned EEG.
    """

    name = "clean_eeg_outlet"

    def __init__(self, session: str, channels: Sequence[ChannelInfo], sfreq: float) -> None:
        info = StreamInfo(CLEAN_EEG, "EEG", len(channels), sfreq, cf_float32, f"{session}-clean-eeg")
        listed = info.desc().append_child("channels")
        for channel in channels:
            entry = listed.append_child("channel")
            entry.append_child_value("label", channel.name)
            entry.append_child_value("unit", "microvolts")
            entry.append_child_value("type", channel.kind.upper())
        self._outlet: StreamOutlet | None = StreamOutlet(info)

    def put(self, item: Output) -> None:
        """Push a hop of cleaned EEG; everything else is passed over."""
        if isinstance(item, CleanEeg) and len(item.data) and self._outlet is not None:
            self._outlet.push_chunk(np.multiply(item.data, 1e6, dtype=np.float32), timestamp=float(item.times[-1]))

    def losses(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        """End the stream. May be called twice."""
        self._outlet = None
