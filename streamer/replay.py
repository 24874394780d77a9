"""The same loop on a recording.

A session's own log is replayed in feed order, at the times at which each event was received. Foreign recordings have
no such order: what they hold is merged by when each item would have been known: a chunk at its last sample, a volume at
its last byte, a BOLD frame ``bold_process_s`` later (a setting, never a measured time).
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.calibration import Calibration
from streamer.clock import ReplayClock
from streamer.compose import CALIBRATION, REGION_NAMES, REGIONS, Parts, compose, make_eeg_core
from streamer.config import Config, load_config, parse_config
from streamer.contracts import Sink
from streamer.emit.gate import Gate
from streamer.emit.results import ResultsSink
from streamer.engine import BoldCore
from streamer.errors import UsageError
from streamer.formats.nifti import LabelImage
from streamer.loop import Loop
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    EegChunk,
    Event,
    Marker,
    Output,
    Prediction,
    SessionTime,
    Tick,
    Trigger,
    Veto,
    Volume,
)
from streamer.meter import Meter
from streamer.runlog import SessionLog, is_session, read_header, read_session, read_span
from streamer.summary import RunSummary

CHUNK_S = 0.02
"""EEG of a foreign recording comes in chunks of this length, s."""
TICK_S = 0.1
"""A foreign recording without EEG brings no ticks: they are made this far apart, s."""


@dataclass(frozen=True)
class Origin:
    """What is replayed: a session's own log, or a foreign recording."""

    name: str
    sfreq: float | None
    channels: tuple[ChannelInfo, ...]
    labels: LabelImage | None
    log: SessionLog | None = None
    recording: Recording | None = None

    span: tuple[float, float] = (0.0, 0.0)
    """Session time of its beginning and end, s."""

    def fraction(self, at: SessionTime) -> float:
        """Tell how much of it lies before ``at``, 0..1: for progress bars."""
        start, end = self.span
        return (at - start) / (end - start) if end > start else 0.0


def open_origin(path: Path) -> Origin:
    """Open a session log or any recording.

    Raises
    ------
    RecordingError
        It cannot be read.
    """
    if is_session(path):
        log = read_session(path)
        span = read_span(path)
        return Origin(path.name, log.header.eeg_sfreq or None, log.header.channels, None, log=log, span=span)
    recording = open_recording(path)
    eeg = recording.eeg
    return Origin(
        recording.name,
        None if eeg is None else eeg.sfreq,
        () if eeg is None else eeg.channels,
        recording.regions,
        recording=recording,
        span=(0.0, recording.duration_s),
    )


def recording_events(recording: Recording, core: BoldCore | None, bold_process_s: float) -> Iterator[Event]:
    """Give what a foreign recording holds in the order in which it would have been known.

    The recording's axis (s after the first EEG sample) serves as session time.
    """
    parts: list[Iterator[Event]] = []
    if recording.eeg is not None:
        parts += [_chunks(recording), _markers(recording)]
    else:
        parts.append(_ticks(recording.duration_s))
    if recording.bold is not None and core is not None:
        parts.append(_volumes(recording, core, bold_process_s))
    return heapq.merge(*parts, key=lambda event: event.received)


def _chunks(recording: Recording) -> Iterator[Event]:
    eeg = recording.eeg
    assert eeg is not None
    step = max(1, round(CHUNK_S * eeg.sfreq))
    for start in range(0, eeg.n_samples, step):
        stop = min(start + step, eeg.n_samples)
        raw, times = eeg.times(start, stop)
        yield EegChunk("EEG", eeg.read(start, stop), raw, times, start, SessionTime(float(times[-1])))


def _ticks(duration_s: float) -> Iterator[Event]:
    # without EEG the heartbeat drives the decisions, as it does in a live session
    for k in range(1, int(duration_s / TICK_S)):
        at = SessionTime(k * TICK_S)
        yield Tick(at, 0.0, at)


def _markers(recording: Recording) -> Iterator[Event]:
    eeg = recording.eeg
    assert eeg is not None
    for marker in eeg.markers:
        at = SessionTime(marker.at_s)
        yield Marker(marker.label, at, marker.at_raw, marker.sample, at)


def _volumes(recording: Recording, core: BoldCore, bold_process_s: float) -> Iterator[Event]:
    bold = recording.bold
    assert bold is not None
    order = sorted(range(bold.n_volumes), key=bold.known_at_s)
    pending: list[tuple[float, int, Event]] = []
    for count, k in enumerate(order):
        known = bold.known_at_s(k)
        while pending and pending[0][0] <= known:
            yield heapq.heappop(pending)[2]
        volume = replace(bold.volume(k), received=SessionTime(known))
        yield volume
        for frame in core.feed(volume):
            if isinstance(frame, BoldFrame):
                ready = known + bold_process_s
                heapq.heappush(pending, (ready, count, replace(frame, received=SessionTime(ready))))
    while pending:
        yield heapq.heappop(pending)[2]


def log_events(log: SessionLog, core: BoldCore) -> Iterator[Event]:
    """Give a log's events in feed order; every BOLD frame is made anew and fed where the log has it."""
    made: dict[tuple[str, int], BoldFrame] = {}
    for _, event in log.events:
        match event:
            case Volume():
                for frame in core.feed(event):
                    if isinstance(frame, BoldFrame):
                        made[frame.series, frame.index] = frame
                yield event
            case BoldFrame():
                again = made.pop((event.series, event.index), None)
                # a frame whose volume the log lost is fed as it was logged
                yield event if again is None else replace(again, received=event.received)
            case _:
                yield event


@dataclass(frozen=True)
class Replay:
    """A replay that is ready to run: iterate :meth:`steps`, then ask for the :meth:`summary`."""

    origin: Origin
    parts: Parts
    loop: Loop
    meter: Meter
    events: Iterator[Event]
    clock: ReplayClock

    def steps(self) -> Iterator[tuple[Event, list[Output]]]:
        """Take one event after the other through the loop, as fast as it goes."""
        for event in self.events:
            # the clock only jumps here: sleep_until without a speed never waits
            self.clock.jump(event.received)
            self.loop.gate.beat(event.received)
            yield event, self.loop.handle(event)

    async def walk(self, take: Callable[[Event, list[Output]], None]) -> None:
        """Take the events through the loop at the clock's speed; ``take`` gets each with what came of it."""
        for event in self.events:
            await self.clock.sleep_until(event.received)
            self.loop.gate.beat(event.received)
            take(event, self.loop.handle(event))

    def summary(self, folder: Path | None, seconds: float) -> RunSummary:
        """Sum up."""
        return RunSummary(
            session=self.origin.name,
            folder=str(folder) if folder is not None else "",
            state=self.loop.core.state.value,
            seconds=round(seconds, 3),
            counts=dict(self.meter.counts),
            losses=self.loop.losses(),
            latency_ms={
                # ages on the recording's own axis say nothing of this machine
                stage: values
                for stage, values in self.meter.latency_ms().items()
                if stage in {"align", "clean_eeg", "features", "window", "model", "decide"}
            },
            provider=self.parts.model.provider if self.parts.model is not None else "",
            notes=list(self.origin.log.problems) if self.origin.log is not None else [],
        )


def prepare(
    origin: Origin,
    config: Config,
    calibration: Calibration | None = None,
    *,
    speed: float | None = None,
    sinks: tuple[Sink, ...] = (),
) -> Replay:
    """Put the same loop together for a recording.

    Parameters
    ----------
    origin : Origin
    config : Config
    calibration : Calibration, optional
        Taken when ``config`` names none.
    speed : float or None
        Session seconds per second; None as fast as it goes.
    sinks : tuple of Sink
    """
    has_bold = origin.recording is None or origin.recording.bold is not None
    parts = compose(config, origin.labels, calibration, has_eeg=origin.sfreq is not None, has_bold=has_bold)
    meter = Meter()
    core = make_eeg_core(parts, origin.sfreq, origin.channels, meter)
    clock = ReplayClock(speed)
    gate = Gate(config.gate)
    gate.arm()
    loop = Loop(core, clock, gate, sinks, None, meter)
    bold = parts.bold.core()
    if origin.log is not None:
        events = log_events(origin.log, bold)
    elif origin.recording is not None:
        events = recording_events(origin.recording, bold, config.bold.process_s)
    else:
        raise UsageError(f"{origin.name}: nothing to replay")
    return Replay(origin, parts, loop, meter, events, clock)


def config_for(path: Path, given: Path | None) -> Config:
    """Choose the settings of a replay: those given, else a session log's own, else the defaults."""
    if given is not None:
        return load_config(given)
    if not is_session(path):
        return Config()
    values = dict(read_header(path).config)
    own = path.resolve()
    if (own / CALIBRATION).exists():
        values["model"] = {**values["model"], "calibration": str(own / CALIBRATION)}
    if (own / REGIONS).exists():
        values["bold"] = {**values["bold"], "regions": str(own / REGIONS), "region_names": str(own / REGION_NAMES)}
    return parse_config(values, f"{path}/header.json", own)


def replay_to(
    path: Path,
    config: Config,
    out: Path | None,
    calibration: Calibration | None = None,
    progress: Callable[[float], None] | None = None,
    speed: float | None = None,
) -> tuple[RunSummary, list[Output]]:
    """Replay a whole recording; gives the summary, and the predictions, triggers and vetoes.

    Parameters
    ----------
    out : Path or None
        Folder for the results; must not exist.
    progress : callable, optional
        Takes the fraction done.
    speed : float or None
        Session seconds per second; None as fast as it goes.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists: nothing is overwritten; choose another folder")
    origin = open_origin(path)
    sinks: tuple[ResultsSink, ...] = ()
    if out is not None:
        out.mkdir(parents=True)
        regions = origin.labels.names if origin.labels is not None else ("brain",)
        if origin.log is not None:
            regions = origin.log.header.regions
        sinks = (ResultsSink(out, regions),)
    replay = prepare(origin, config, calibration, speed=speed, sinks=sinks)
    decided: list[Output] = []
    span: list[float] = []

    def take(event: Event, outputs: list[Output]) -> None:
        if not span:
            span.append(event.received)
        span[1:] = [event.received]
        decided.extend(o for o in outputs if isinstance(o, Prediction | Trigger | Veto))
        if progress is not None:
            progress(origin.fraction(event.received))

    asyncio.run(replay.walk(take))
    for sink in sinks:
        sink.finish()
    seconds = span[1] - span[0] if span else 0.0
    summary = replay.summary(out, seconds)
    if out is not None:
        (out / "summary.json").write_text(json.dumps(summary.plain(), indent=1) + "\n", encoding="utf-8")
    return summary, decided
