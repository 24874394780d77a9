"""Results as LSL streams: triggers and scores for stimulus software, cleaned EEG for any LSL client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np
from pylsl import IRREGULAR_RATE, StreamInfo, StreamOutlet, cf_float32, cf_string

from streamer import wire
from streamer.clock import Clock, pause
from streamer.emit.gate import Gate
from streamer.emit.schedule import may_show, why_silent
from streamer.messages import ChannelInfo, CleanEeg, Output, Score, Trigger

TRIGGERS = "NeurofeedbackTriggers"
SCORES = "NeurofeedbackScore"
CLEAN_EEG = "CleanEEG"
LAST_S = 0.1
"""What the last sample of a stream is given to leave, s."""
SHOWN, NOTHING, SILENT = 0.0, 1.0, 2.0
"""Values of the channel ``neutral`` of the score: the level counts; nothing that counts is known; the session is
stopped or its loop stands still, and triggers that wait for their time must be forgotten."""


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


class ScoreOutlet:
    """What the participant is shown, on an irregular float32 stream ``NeurofeedbackScore``: a sample per decision.

    Its channels are ``level`` and ``threshold`` (0..1), one per axis (0..1, NaN while not known), ``neutral`` (see
    ``SHOWN``, ``NOTHING``, ``SILENT``) and ``valid_s``: so long after its time stamp a sample may be shown, s; later
    the neutral level must be. A sample's time stamp is the time that it speaks of.

    Parameters
    ----------
    session : str
    axes : sequence of str
        Names of the axes of the scores.
    neutral_level : float
        0..1: the level where nothing counts.
    gate : Gate
    clock : Clock
    """

    name = "score_outlet"

    def __init__(self, session: str, axes: Sequence[str], neutral_level: float, gate: Gate, clock: Clock) -> None:
        self._axes = tuple(axes)
        self._neutral_level = neutral_level
        self._gate = gate
        self._clock = clock
        self._newest: Score | None = None
        self._lock = Lock()
        labels = ("level", "threshold", *self._axes, "neutral", "valid_s")
        info = StreamInfo(SCORES, "Score", len(labels), IRREGULAR_RATE, cf_float32, f"{session}-score")
        listed = info.desc().append_child("channels")
        for label in labels:
            entry = listed.append_child("channel")
            entry.append_child_value("label", label)
            entry.append_child_value("unit", "seconds" if label == "valid_s" else "none")
            entry.append_child_value("type", "MISC")
        info.desc().append_child_value("neutral_level", f"{neutral_level:g}")
        self._outlet: StreamOutlet | None = StreamOutlet(info)

    def put(self, item: Output) -> None:
        """Push a score; everything else is passed over."""
        if not isinstance(item, Score):
            return
        # a score must not overtake the neutral level that another thread pushes
        with self._lock:
            now = self._clock.now()
            self._newest = item
            if may_show(item, self._gate, now):
                self._push(item, SHOWN)
            else:
                self._push(item, SILENT if why_silent(self._gate, now) else NOTHING)

    def neutral(self, why: str) -> None:
        """Push the neutral level. From any thread."""
        del why
        with self._lock:
            if self._newest is not None:
                # stamped like the newest score, so that stamps never go back
                self._push(self._newest, SILENT)

    def losses(self) -> Mapping[str, int]:
        return {}

    async def close(self) -> None:
        """Push the neutral level and end the stream. May be called twice."""
        self.neutral("the session ends")
        if self._outlet is not None and self._outlet.have_consumers():
            # an outlet that ends takes with it what it has not yet sent
            await asyncio.to_thread(pause, LAST_S)
        with self._lock:
            self._outlet = None

    def _push(self, score: Score, state: float) -> None:
        if self._outlet is None:
            return
        if state == SHOWN:
            levels = [score.level, score.threshold, *(score.axes.get(name, math.nan) for name in self._axes)]
        else:
            levels = [self._neutral_level, score.threshold, *(self._neutral_level for _ in self._axes)]
        self._outlet.push_sample([*levels, state, score.expires - score.about], timestamp=score.about)


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
