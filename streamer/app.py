"""The live session: sources, cores, sinks and the loop, put together. The clock is chosen here and nowhere else.

Edges are asyncio; each source has a task that moves its events into one queue, and one task takes them out in the order
in which they came. A bad stream, a lost broker or a full disk degrades the session and is said; an error in the program
ends it, and with it all triggers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamer.acquire.lsl import EegDescription, LslEegSource, LslMarkerSource
from streamer.acquire.rda import RdaSource
from streamer.acquire.recorded_events import HEARTBEAT_S, SILENT_S
from streamer.announcing import announce
from streamer.bold_inputs import keep_inputs
from streamer.bold_process import BoldProcess
from streamer.calibration import copy_session_card, save_calibration
from streamer.clock import LiveClock, wall_time_stamp
from streamer.compose import (
    CALIBRATION,
    Parts,
    compose,
    make_eeg_core,
    make_header,
    with_score,
)
from streamer.config import Config
from streamer.contracts import Source
from streamer.emit.gate import Gate
from streamer.emit.map_files import write_maps
from streamer.emit.mqtt import MqttSink
from streamer.emit.quality import QUALITY
from streamer.emit.recorder import Recorder
from streamer.errors import UsageError
from streamer.live_summary import summarise
from streamer.loop import Loop
from streamer.messages import Event, Marker, SessionTime, SourceState, Tick
from streamer.meter import Meter
from streamer.operators import Operators, watch_signals
from streamer.outputs import Outputs, open_outputs
from streamer.publishing import publishing
from streamer.session_log import MachineLock, close_log, open_log
from streamer.sham_inputs import keep_sham
from streamer.summary import RunSummary, quality_values

LAG_TICK_S = 1.0
"""Otherwise a tick a second tells the log how late the loop was."""
QUEUE_EVENTS = 4000

log = logging.getLogger("streamer.app")


@dataclass
class Options:
    """How a session is run."""

    wait: bool = True
    """Wait for sources that are not there yet."""
    duration_s: float | None = None
    """End after this many seconds of EEG or volumes."""
    say: Callable[[str], None] = field(default=print)
    """Takes lines for the operator."""
    announce: Callable[[dict[str, object]], None] = field(default=lambda _: None)
    """Takes events for another program."""


async def run_session(config: Config, options: Options) -> RunSummary:
    """Run one live session until it is stopped (Ctrl-C, SIGTERM) or ``duration_s`` is over.

    Raises
    ------
    StreamerError
        The session cannot start: wrong settings, an absent source with ``wait=False``, a model that does not fit.
    """
    name = config.session.name or f"s{wall_time_stamp()}"
    folder = config.session.directory / name
    if folder.exists():
        raise UsageError(f"{folder} exists: nothing is overwritten; choose another session.name")
    if not (config.eeg.enabled or config.bold.enabled):
        raise UsageError("eeg.enabled and bold.enabled are both false: there is nothing to run on")
    with contextlib.ExitStack() as stack:
        stack.enter_context(MachineLock())
        parts = compose(config)
        folder.mkdir(parents=True)
        stack.callback(close_log, open_log(folder / "session.log.jsonl"))
        _keep_inputs(parts, folder)
        log.info("session %s starts, config %s", name, config.sha256()[:12])
        session = _Session(parts, name, folder, options)
        try:
            summary = await session.run()
        finally:
            if not session.started:
                # nothing was recorded: the name stays free for the next try
                shutil.rmtree(folder, ignore_errors=True)
        if session.started:
            session.write(folder / "summary.json", summary.plain())
        log.info("session %s ends: %s", name, json.dumps(summary.counts))
        return summary


def _keep_inputs(parts: Parts, folder: Path) -> None:
    # a replay must not depend on files that may have changed since: the session keeps its own copies
    if parts.calibration is not None:
        save_calibration(parts.calibration, folder / CALIBRATION)
        if parts.config.model.calibration is not None:
            copy_session_card(parts.config.model.calibration, folder / CALIBRATION)
    keep_inputs(parts.bold, folder, parts.calibration)
    keep_sham(parts.config.sham, folder)


class _Session:
    """The parts of one live session and their life."""

    def __init__(self, parts: Parts, name: str, folder: Path, options: Options) -> None:
        self.parts = parts
        self.config = parts.config
        self.name = name
        self.folder = folder
        self.options = options
        self.clock = LiveClock()
        self.meter = Meter()
        self.stop = asyncio.Event()
        self.queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_EVENTS)
        self.started = False
        self.notes: list[str] = []
        self.first: SessionTime | None = None
        self.last: SessionTime | None = None
        self._markers: LslMarkerSource | None = None
        self._operators = Operators(folder, self.clock, options.say, self.stop.set)
        self._mqtt: MqttSink | None = None
        self._worker: BoldProcess | None = None
        self._timed = 0
        self._outputs: Outputs | None = None
        self._waiting: Callable[[str], None] = options.say

    async def run(self) -> RunSummary:
        async with contextlib.AsyncExitStack() as stack:
            watch_signals(stack, self.stop.set)
            mqtt = await stack.enter_async_context(
                publishing(
                    self.config.mqtt,
                    self.name,
                    self.clock,
                    self._note,
                    folder=self.folder,
                    blinded=self.config.sham.blinded,
                    on_command=self._operators.take,
                    volume_label=self.config.clean.triggers.label,
                )
            )
            self._mqtt = mqtt
            told = {"session": self.name, "folder": str(self.folder), "broker": mqtt.url}
            self.options.announce({"event": "starting", **told})
            sources, eeg = await self._open_sources(stack, mqtt)
            if eeg is None and self.config.eeg.enabled:
                self.notes.append("stopped before the EEG stream was found")
                return self._summary(None, [])
            sfreq, channels = (None, ()) if eeg is None else (eeg.sfreq, eeg.channels)
            self.parts = with_score(self.parts, sfreq, channels)
            core = make_eeg_core(self.parts, sfreq, channels, self.meter)
            self.started = True
            header = make_header(self.parts, self.name, sfreq, channels)
            recorder = Recorder(self.folder, header) if self.config.output.record else None
            gate = Gate(self.config.gate)
            outputs = open_outputs(
                self.parts, self.name, self.folder, core, gate, self.clock, self._from_thread(self._note)
            )
            self._outputs = outputs
            self._operators.begin(gate, outputs.watchdog)
            loop = Loop(core, self.clock, gate, [mqtt, *outputs.sinks], recorder, self.meter)
            announce(mqtt, self.parts, self.name, core, channels)
            stack.push_async_callback(self._operators.close)
            self.options.say(f"running: session {self.name}, results in {self.folder}, broker {mqtt.url}")
            if self.parts.sham is not None and math.isfinite(self.parts.sham.length_s):
                self.options.say(f"blinded: feedback for {self.parts.sham.length_s:.0f} s, as long as the record")
            self.options.announce({"event": "running", **told})
            # start-up leaves millions of objects that no later collection needs to visit
            gc.collect()
            gc.freeze()
            try:
                await self._go(loop, sources, mqtt, recorder)
            finally:
                gc.unfreeze()
                mqtt.publish_status("STOPPED", "")
                await outputs.close()
                if self.config.output.record:
                    self.write(self.folder / QUALITY, quality_values(loop.tally, core))
                if recorder is not None:
                    # XDF is made from the log afterwards: a long session must not keep Ctrl-C waiting
                    await asyncio.to_thread(recorder.close, xdf=False)
            return self._summary(loop, [*sources, *([self._markers] if self._markers is not None else [])])

    def _keep_maps(self, worker: BoldProcess) -> None:
        if self.started and self.config.output.record and worker.maps is not None:
            write_maps(self.folder, worker.maps)

    @staticmethod
    def _from_thread(tell: Callable[[str], None]) -> Callable[[str], None]:
        """Say what another thread says, in the loop's own."""
        running = asyncio.get_running_loop()

        def pass_on(text: str) -> None:
            # what is said after the loop's end is not worth a traceback
            with contextlib.suppress(RuntimeError):
                running.call_soon_threadsafe(tell, text)

        return pass_on

    def write(self, path: Path, values: object) -> None:
        """Write values as JSON; a disk that is full must not keep the rest from being said."""
        try:
            path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            self._note(f"{path.name} could not be written: {error}")

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.options.say(text)
        log.warning("%s", text)

    async def _open_sources(
        self, stack: contextlib.AsyncExitStack, mqtt: MqttSink
    ) -> tuple[list[Source], EegDescription | None]:
        """Open what is there at once, and wait for the EEG; None when the operator stopped the wait."""
        sources: list[Source] = []

        def waiting(message: str) -> None:
            self.options.say(message)
            log.info("%s", message)
            mqtt.publish_status("STARTING", message)

        if self.config.bold.enabled:
            c = self.config.bold
            on_view = mqtt.put_view if self.config.mqtt.preview_volumes else None
            worker = BoldProcess(self.parts.bold, c.directory, c.export, self.clock, c.push, on_view=on_view)
            self._worker = worker
            # called after the worker has ended, which hands its maps over
            stack.callback(self._keep_maps, worker)
            stack.push_async_callback(worker.close)
            await worker.open()
            sources.append(worker)
        if not self.config.eeg.enabled:
            return sources, None
        c = self.config.eeg
        eeg = RdaSource(c.rda, self.clock) if c.source == "rda" else LslEegSource(c.stream, self.clock)
        stack.push_async_callback(eeg.close)
        opening = asyncio.create_task(eeg.open(wait=self.options.wait, on_wait=waiting))
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
            return sources, None
        description = opening.result()
        if description.triggers and (c.source == "rda" or c.markers.name is None):
            # its markers come with its samples: the same pulses on a stream of their own would count as doubled
            return [*sources, eeg], description
        markers = LslMarkerSource(c.markers, self.clock)
        stack.push_async_callback(markers.close)
        if not self.options.wait:
            await markers.open(wait=False, on_wait=waiting)
        self._markers, self._waiting = markers, waiting
        return [*sources, eeg], description

    async def _go(self, loop: Loop, sources: Sequence[Source], mqtt: MqttSink, recorder: Recorder | None) -> None:
        working = {
            asyncio.create_task(self._consume(loop), name="consume"),
            asyncio.create_task(self._heartbeat(loop), name="heartbeat"),
            asyncio.create_task(self._tell_health(loop, mqtt, recorder), name="health"),
            *(asyncio.create_task(self._pump(source), name=source.name) for source in sources),
        }
        working |= self._operators.start(self.queue)
        if self._markers is not None:
            working.add(asyncio.create_task(self._pump_markers(self._markers), name="markers"))
        everything = set(working)
        stopping = asyncio.create_task(self.stop.wait())
        try:
            while not self.stop.is_set():
                done, _ = await asyncio.wait({stopping, *working}, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopping}:
                    working.discard(task)
                    # a refused stream or an error in the program ends the session here
                    task.result()
        finally:
            for task in (stopping, *everything):
                task.cancel()
            await asyncio.gather(stopping, *everything, return_exceptions=True)
            while not self.queue.empty():
                self._take(loop, self.queue.get_nowait())

    async def _pump(self, source: Source) -> None:
        async for event in source:
            if isinstance(event, SourceState):
                text = f"{event.source} {event.state}: {event.detail}"
                self.options.say(text)
                log.info("%s", text)
            await self.queue.put(event)

    async def _pump_markers(self, markers: LslMarkerSource) -> None:
        # markers may come later than the EEG: the loop does not wait for them
        if self.options.wait:
            await markers.open(wait=True, on_wait=self._waiting)
        await self._pump(markers)

    def _take(self, loop: Loop, event: Event) -> None:
        now = self.clock.now()
        self.first = self.first if self.first is not None else now
        self.last = now
        event = replace(event, received=now)
        loop.handle(event)
        if self._mqtt is not None:
            self._mqtt.see(event)
        if isinstance(event, Marker) and self._outputs is not None and self._outputs.clean is not None:
            self._outputs.clean.mark(event)
        if self.options.duration_s is not None and now - self.first >= self.options.duration_s:
            self.stop.set()

    async def _consume(self, loop: Loop) -> None:
        while True:
            self._take(loop, await self.queue.get())
            # a full queue must not starve the other tasks
            await asyncio.sleep(0)

    async def _heartbeat(self, loop: Loop) -> None:
        due = self.clock.now() + HEARTBEAT_S
        told = due
        while True:
            await self.clock.sleep_until(SessionTime(due))
            now = self.clock.now()
            loop.gate.beat(now)
            silent = loop.last_eeg is None or now - loop.last_eeg > SILENT_S
            if silent or now - told >= LAG_TICK_S:
                told = now
                await self.queue.put(Tick(at=now, lag=now - due, received=now))
            due = max(due + HEARTBEAT_S, now)

    async def _tell_health(self, loop: Loop, mqtt: MqttSink, recorder: Recorder | None) -> None:
        state = None
        while True:
            self._time_volumes()
            queues = {"events": self.queue.qsize(), "mqtt": mqtt.depth}
            sizes = {"events": QUEUE_EVENTS, "mqtt": self.config.mqtt.queue_size}
            notes = [*self.notes, *loop.core.timing_alarms(), *loop.core.notes, *loop.core.lane.quality.notes]
            if recorder is not None:
                queues["recorder"], sizes["recorder"] = recorder.depth, recorder.capacity
                loop.recording_failed = recorder.failed is not None
                notes += [] if recorder.failed is None else [f"recording: {recorder.failed}"]
            notes += [] if not mqtt.problem else [f"broker: {mqtt.problem}"]
            notes += [] if self.parts.model is None else self.parts.model.notes
            notes += [] if self._outputs is None else self._outputs.problems
            if mqtt.refused_commands:
                notes.append(f"commands over MQTT that were refused: {mqtt.refused_commands}")
            health = loop.health(queues, tuple(notes), sizes, armed=loop.gate.armed)
            mqtt.put(health)
            if health.state is not state:
                state = health.state
                mqtt.publish_status(state.value, "")
                log.info("state %s", state.value)
                self.options.say(f"state: {state.value}")
            await asyncio.sleep(1.0)

    def _time_volumes(self) -> None:
        if self._worker is not None:
            for stage, spans in (("clean_bold", self._worker.timings), ("volume", self._worker.totals)):
                for span in spans[self._timed :]:
                    self.meter.add(stage, span)
            self._timed = len(self._worker.timings)

    def _summary(self, loop: Loop | None, sources: Sequence[Source]) -> RunSummary:
        seconds = self.last - self.first if self.first is not None and self.last is not None else 0.0
        self._time_volumes()
        model = self.parts.model
        return summarise(self.name, self.folder, seconds, self.meter, loop, sources, model, self.notes)
