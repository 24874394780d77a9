"""What a session would have sent over MQTT, made from its recording: for a dashboard that looks back.

The recording goes through the same loop as in ``replay.py``, and what comes of it through the same making of messages
as live; nothing expires, nothing is dropped, and EEG is always previewed, as bytes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from streamer import wire
from streamer.announcing import announce
from streamer.bold_core import BoldCore, BoldSetup
from streamer.calibration import Calibration
from streamer.clock import stopwatch
from streamer.config import Config
from streamer.emit.message_stream import MessageStream
from streamer.emit.mqtt_messages import Outgoing, volume_preview
from streamer.messages import BoldFrame, Event, Output, SessionTime, State
from streamer.replay import Replay, open_origin, prepare
from streamer.wire.records import Progress, Record, progress_record

HEALTH_S = 1.0
"""Health is told so often, s of the session."""
TELL_S = 0.1
"""Progress is told so often, s of the reader's time."""
RECORDED = frozenset({"eeg_transport", "loop_lag", "volume_to_frame"})
"""Latencies that a session's own log holds; all others would be those of the machine that plays it."""
_VIEWS = 16
_SHOWN = {"preview": "binary", "preview_raw": True, "preview_volumes": True}


def play(
    path: Path,
    config: Config,
    give: Callable[[Record], None],
    calibration: Calibration | None = None,
    *,
    without_model: bool = False,
) -> None:
    """Play a whole recording, as fast as ``give`` takes it.

    Parameters
    ----------
    path : Path
        A session's own folder, or any recording.
    config : Config
    give : callable
        Takes every message in order, and progress about ten times a second; the last progress is at the end.
    calibration : Calibration, optional
        Taken when ``config`` names none.
    without_model : bool
        As for :func:`streamer.replay.prepare`.

    Raises
    ------
    StreamerError
        The recording cannot be read, or the model does not fit it.
    """
    blinded = config.sham.blinded
    views = _Views(blinded=blinded)
    origin = open_origin(path)
    replay = prepare(origin, config, calibration, without_model=without_model, bold_core=views.core)
    label = replay.parts.config.clean.triggers.label
    stream = MessageStream(
        origin.name, config.mqtt.model_copy(update=_SHOWN), blinded=blinded, volume_label=label
    )  # fmt: skip
    replay.loop.sinks = [stream]
    announce(stream, replay.parts, origin.name, replay.loop.core, origin.channels)
    health = _HealthOf(replay, stream)
    at = SessionTime(origin.span[0])
    told = -math.inf

    def send() -> None:
        for message in stream.drain():
            give(Record(wire.topic(origin.name, message.name), message.payload, at))

    send()
    for event, _ in replay.steps():
        at = replay.clock.now()
        stream.see(event)
        if isinstance(event, BoldFrame) and (view := views.of(event)) is not None:
            stream.add(view)
        health.tell(at)
        send()
        if (now := stopwatch()) - told >= TELL_S:
            told = now
            give(progress_record(Progress(min(1.0, max(0.0, origin.fraction(at))), at)))
    stream.publish_status(State.STOPPED.value)
    stream.flush()
    send()
    stream.publish_status(State.STOPPED.value, "the recording ends", online=False)
    send()
    give(progress_record(Progress(1.0, at, ended=True)))


class _Views:
    """Keeps how each volume looked when it was cleaned, which may be before its frame is fed, and in another thread."""

    def __init__(self, *, blinded: bool) -> None:
        self._blinded = blinded
        # a frame that never comes must not keep its view for ever
        self._made: OrderedDict[tuple[str, int], Outgoing] = OrderedDict()

    def core(self, setup: BoldSetup) -> BoldCore:
        """Make a core whose views are kept."""
        return _ViewedCore(setup, self)

    def keep(self, core: BoldCore) -> None:
        """Keep the newest view of a core."""
        view = core.view()
        if view is not None:
            self._made[view.series, view.index] = volume_preview(view, blinded=self._blinded)
            if len(self._made) > _VIEWS:
                self._made.popitem(last=False)

    def of(self, frame: BoldFrame) -> Outgoing | None:
        """Give the view of a frame's volume, once."""
        return self._made.pop((frame.series, frame.index), None)


class _ViewedCore(BoldCore):
    def __init__(self, setup: BoldSetup, views: _Views) -> None:
        super().__init__(setup)
        self._views = views

    def feed(self, event: Event) -> list[Output]:
        frames = super().feed(event)
        if frames:
            self._views.keep(self)
        return frames


@dataclass
class _HealthOf:
    """Tells once a second of the session how the loop is, and when its state changes."""

    replay: Replay
    stream: MessageStream
    due: float = -math.inf
    state: State | None = None

    def tell(self, now: SessionTime) -> None:
        if now < self.due:
            return
        self.due = now + HEALTH_S
        loop, model = self.replay.loop, self.replay.parts.model
        so_far = self.replay.summary(None, 0.0)
        notes = [*so_far.notes, *loop.core.notes, *loop.core.lane.quality.notes]
        notes += [] if model is None else model.notes
        health = loop.health({}, tuple(notes))
        known = {} if self.replay.origin.log is None else health.latency_ms
        latency = {stage: values for stage, values in known.items() if stage in RECORDED}
        self.stream.put(replace(health, losses=so_far.losses, latency_ms=latency))
        if health.state is not self.state:
            self.state = health.state
            self.stream.publish_status(health.state.value)
