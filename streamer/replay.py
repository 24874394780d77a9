"""The same loop on a recording.

A session's own log is replayed in feed order, at the times at which each event was received. Foreign recordings have
no such order: what they hold is merged by when each item would have been known (``acquire/recorded_events.py``).

A replay writes what a live session writes, and what it could find out besides::

    decisions.jsonl triggers.jsonl vetoes.jsonl features.jsonl    see emit/results.py
    bold_regions.tsv confounds.tsv                                see emit/results.py
    maps/<series>/*.nii.gz                                        where [clean.bold.maps] is switched on
    clean_eeg.vhdr .eeg .vmrk .tsv                                see emit/clean_eeg_file.py
    header.json     what it was run with
    quality.json    what was good and what was not, per lane
    summary.json    counts and losses
    timings.json    how long it took: the only file in which two replays of one recording differ
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer.acquire.recorded_events import Unreadable, recorded_events
from streamer.acquire.recording import Recording
from streamer.acquire.recordings import open_recording
from streamer.bold_core import BoldCore, BoldSetup
from streamer.bold_inputs import kept_inputs
from streamer.calibration import Calibration
from streamer.clean.eeg.ocular import OcularFit
from streamer.clock import ReplayClock, stopwatch
from streamer.compose import CALIBRATION, Parts, compose, make_eeg_core, make_header, with_score
from streamer.config import Config, load_config, parse_config
from streamer.contracts import Sink
from streamer.emit.clean_eeg_file import CleanEegFile
from streamer.emit.gate import Gate, LoggedGate
from streamer.emit.map_files import write_maps
from streamer.emit.quality import QUALITY
from streamer.emit.results import ResultsSink
from streamer.engine import EegCore
from streamer.errors import ModelError, UsageError
from streamer.formats.nifti import LabelImage
from streamer.logged_events import decides_as_logged, log_events, with_refusals
from streamer.loop import Loop
from streamer.messages import (
    ChannelInfo,
    Event,
    Marker,
    Output,
    Prediction,
    SessionTime,
    Trigger,
    Veto,
)
from streamer.meter import Meter
from streamer.runlog import write_header
from streamer.runlog_read import SessionLog, is_session, read_header, read_session, read_span
from streamer.sham_inputs import keep_sham, kept_sham
from streamer.summary import RunSummary, quality_values

SUMMARY = "summary.json"
TIMINGS = "timings.json"
_NOTES = 20


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

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, in sentences; of a log, whole when it was replayed."""
        if self.log is not None:
            return self.log.problems
        if self.recording is None:
            return []
        eeg = self.recording.eeg
        return [*self.recording.problems, *(() if eeg is None else eeg.problems)]

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


@dataclass(frozen=True)
class Replay:
    """A replay that is ready to run: iterate :meth:`steps`, then ask for the :meth:`summary`."""

    origin: Origin
    parts: Parts
    loop: Loop
    meter: Meter
    events: Iterator[Event]
    clock: ReplayClock
    bold: BoldCore
    notes: tuple[str, ...] = ()
    """What is different from what was asked for, in sentences."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """Volumes that are in the recording and could not be read so far."""

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

    def losses(self) -> dict[str, int]:
        """Count all that was lost, by name; volumes that could not be read or used among them."""
        found = self.loop.losses()
        seen = [index for _, index in self.loop.volumes_seen]
        # what is missing between two volumes that are there is counted already
        outside = [k for k in self.unreadable.indices if not seen or not min(seen) < k < max(seen)]
        found["volumes"] = found.get("volumes", 0) + len(outside) + self.bold.refused
        return found

    def summary(self, folder: Path | None, seconds: float) -> RunSummary:
        """Sum up."""
        return RunSummary(
            session=self.origin.name,
            folder=str(folder) if folder is not None else "",
            state=self.loop.core.state.value,
            seconds=round(seconds, 3),
            counts=dict(self.meter.counts),
            losses=self.losses(),
            latency_ms={
                # ages on the recording's own axis say nothing of this machine
                stage: values
                for stage, values in self.meter.latency_ms().items()
                if stage in {"align", "clean_eeg", "features", "window", "model", "decide"}
            },
            provider=self.parts.model.provider if self.parts.model is not None else "",
            notes=self._all_notes(),
        )

    def _all_notes(self) -> list[str]:
        notes = list(self.notes)
        alarms = self.loop.core.timing_alarms()
        for problems in (self.origin.problems, self.unreadable.reasons, self.bold.reasons, alarms):
            notes += problems[:_NOTES]
            if len(problems) > _NOTES:
                notes.append(f"and {len(problems) - _NOTES} more of this kind")
        return notes


def prepare(
    origin: Origin,
    config: Config,
    calibration: Calibration | None = None,
    *,
    eyes: OcularFit | None = None,
    speed: float | None = None,
    sinks: tuple[Sink, ...] = (),
    without_model: bool = False,
    bold_core: Callable[[BoldSetup], BoldCore] = BoldCore,
) -> Replay:
    """Put the same loop together for a recording.

    Parameters
    ----------
    origin : Origin
    config : Config
    calibration : Calibration, optional
        Taken when ``config`` names none.
    eyes : OcularFit, optional
        Eye correction while there is no calibration yet.
    speed : float or None
        Session seconds per second; None as fast as it goes.
    sinks : tuple of Sink
    without_model : bool
        When the card that ships does not fit the recording, go on without a model and say so in ``notes``, rather than
        refuse.
    bold_core : callable
        Makes the BOLD core.

    Raises
    ------
    ModelError
        The model or the calibration does not fit the recording.
    """
    has_bold = origin.recording is None or origin.recording.bold is not None
    config = _as_recorded(config, origin)
    meter = Meter()
    notes: tuple[str, ...] = ()

    def composed(settings: Config) -> tuple[Parts, EegCore]:
        parts = compose(settings, origin.labels, calibration, has_eeg=origin.sfreq is not None, has_bold=has_bold)
        parts = with_score(parts, origin.sfreq, origin.channels)
        return parts, make_eeg_core(parts, origin.sfreq, origin.channels, meter, eyes)

    try:
        parts, core = composed(config)
    except ModelError as error:
        if not without_model or config.model.card != "simulated":
            raise
        bare = config.model_copy(update={"model": config.model.model_copy(update={"card": "none"})})
        parts, core = composed(bare)
        notes = (f"replayed without a model, so that nothing is decided: {error}",)
    clock = ReplayClock(speed)
    gate = (
        LoggedGate(config.gate)
        if origin.log is not None and decides_as_logged(config, origin.log)
        else Gate(config.gate)
    )
    gate.arm()
    loop = Loop(core, clock, gate, sinks, None, meter)
    bold = bold_core(parts.bold)
    unreadable = Unreadable()
    if origin.log is not None:
        events = log_events(origin.log, bold)
        if isinstance(gate, LoggedGate):
            events = with_refusals(events, gate)
    elif origin.recording is not None:
        events = recorded_events(origin.recording, bold.feed, config.bold.process_s, unreadable)
    else:
        raise UsageError(f"{origin.name}: nothing to replay")
    return Replay(origin, parts, loop, meter, events, clock, bold, notes, unreadable)


def _as_recorded(config: Config, origin: Origin) -> Config:
    """Take from a foreign recording what it says of its own triggers."""
    bold = None if origin.recording is None else origin.recording.bold
    if bold is None:
        return config
    triggers = config.clean.triggers.model_copy(update={"label": bold.trigger})
    update = {
        "bold": config.bold.model_copy(update={"first_volume": bold.first_volume}),
        "clean": config.clean.model_copy(update={"triggers": triggers}),
    }
    return config.model_copy(update=update)


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
    values["bold"] = {**values["bold"], **kept_inputs(own)}
    values["sham"] = {**values.get("sham", {}), **kept_sham(own)}
    return parse_config(values, f"{path}/header.json", own)


def replay_recording(
    path: Path,
    config: Config,
    out: Path | None,
    calibration: Calibration | None = None,
    progress: Callable[[float], None] | None = None,
    speed: float | None = None,
    *,
    without_model: bool = False,
    take: Callable[[list[Output]], None] | None = None,
) -> RunSummary:
    """Replay a whole recording; what it makes goes to files, and memory stays flat at any length.

    Parameters
    ----------
    path : Path
    config : Config
    out : Path or None
        Folder for the results; must not exist.
    calibration : Calibration, optional
        Taken when ``config`` names none.
    progress : callable, optional
        Takes the fraction done.
    speed : float or None
        Session seconds per second; None as fast as it goes.
    without_model : bool
        As for :func:`prepare`.
    take : callable, optional
        Takes what came of each event.

    Raises
    ------
    UsageError
        ``out`` exists.
    StreamerError
        The recording cannot be read, or the model does not fit it.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists: nothing is overwritten; choose another folder")
    started = stopwatch()
    origin = open_origin(path)
    replay = prepare(origin, config, calibration, speed=speed, without_model=without_model)
    core = replay.loop.core
    results = None if out is None else ResultsSink(out, replay.parts.regions, waits=True)
    clean = None
    if out is not None and origin.sfreq is not None:
        clean = CleanEegFile(out, core.lane.channels, core.lane.sfreq_out, waits=True)
    replay.loop.sinks = [sink for sink in (results, clean) if sink is not None]
    span: list[float] = []

    def taken(event: Event, outputs: list[Output]) -> None:
        if not span:
            span.append(event.received)
        span[1:] = [event.received]
        if clean is not None and isinstance(event, Marker):
            clean.mark(event)
        if outputs and take is not None:
            take(outputs)
        if progress is not None:
            progress(origin.fraction(event.received))

    try:
        asyncio.run(replay.walk(taken))
    finally:
        for sink in (results, clean):
            if sink is not None:
                sink.finish()
    summary = replay.summary(out, span[1] - span[0] if span else 0.0)
    if out is not None:
        quality = quality_values(replay.loop.tally, core, replay.bold)
        if clean is not None:
            quality["eeg"]["clean_eeg_file"] = dict(clean.counts)
        quality["bold"] |= {"unreadable": replay.unreadable.indices, "lost": summary.losses["volumes"]}
        write_maps(out, replay.bold.lane.maps)
        keep_sham(replay.parts.config.sham, out)
        write_header(out, make_header(replay.parts, origin.name, origin.sfreq, origin.channels))
        _write_json(out / QUALITY, quality)
        _write_json(out / SUMMARY, summary.facts())
        _write_json(out / TIMINGS, {**summary.telemetry(), "wall_s": round(stopwatch() - started, 3)})
    return summary


def replay_to(
    path: Path,
    config: Config,
    out: Path | None,
    calibration: Calibration | None = None,
    progress: Callable[[float], None] | None = None,
    speed: float | None = None,
) -> tuple[RunSummary, list[Output]]:
    """Replay as :func:`replay_recording` does; gives the predictions, triggers and vetoes besides the summary."""
    decided: list[Output] = []

    def take(outputs: list[Output]) -> None:
        decided.extend(o for o in outputs if isinstance(o, Prediction | Trigger | Veto))

    return replay_recording(path, config, out, calibration, progress, speed, take=take), decided


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
