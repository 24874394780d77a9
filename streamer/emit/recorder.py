"""The recorder: every event to disk, from a thread of its own, so that the loop never waits for a disk."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from streamer.clock import stopwatch
from streamer.errors import FormatError
from streamer.formats.xdf import XdfChannel, XdfWriter
from streamer.messages import ClockOffset, Command, EegChunk, Event, Marker, SessionHeader, Volume
from streamer.runlog import RunLogWriter, kind_of
from streamer.runlog_read import SessionLog, read_session

XDF = "recording.xdf"
_SYNC_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Recorder:
    """Writes the run log of a session.

    ``record`` puts an event into a bounded queue and returns; one thread writes the queue to disk and makes it safe
    against a loss of power once a second. When the queue is full, or the disk refuses an event, the event is counted as
    lost and ``failed`` says why; writing goes on as soon as it can, and the log shows the hole by its numbers.

    Parameters
    ----------
    directory : Path
        The session's directory.
    header : SessionHeader
    capacity : int
        Events that may wait for the disk.

    Raises
    ------
    UsageError
        The directory holds a session already: nothing is overwritten.
    """

    def __init__(self, directory: Path, header: SessionHeader, capacity: int = 8192) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: expected at least 1")
        self.directory = directory
        self.failed: str | None = None
        """Why events were lost, the latest reason; None while all is well. Stays once set."""
        self.capacity = capacity
        """Events that may wait for the disk."""
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._queue: SimpleQueue[tuple[int, Event] | None] = SimpleQueue()
        self._writer = RunLogWriter(directory, header)
        self._thread = Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()
        self._closed = False

    def record(self, number: int, event: Event) -> None:
        """Hand over one event with its number in the feed; never blocks. Its arrays must not change any more."""
        if self._closed:
            self._lose(self._dropped, event, "an event came after the recorder was closed")
        elif self._queue.qsize() >= self.capacity:
            self._lose(self._dropped, event, f"the disk is too slow: {self.capacity} events wait for it")
        else:
            self._queue.put((number, event))

    @property
    def depth(self) -> int:
        """Events that wait for the disk."""
        return self._queue.qsize()

    def losses(self) -> dict[str, int]:
        """Events that are not on disk, by kind."""
        # each counter has one writing thread; a copy is one step for the interpreter
        return dict(self._dropped.copy() + self._refused.copy())

    def close(self, *, xdf: bool = True) -> None:
        """Write what is queued, close the log, and write ``recording.xdf`` from it. May be called twice.

        Raises
        ------
        OSError
            The XDF file cannot be written; the run log is whole, and ``write_xdf`` can be tried again.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        if xdf:
            write_xdf(self.directory)

    def _lose(self, where: Counter[str], event: Event, reason: str) -> None:
        where[kind_of(event)] += 1
        if self.failed != reason:
            _log.error("recording lost: %s", reason)
            self.failed = reason

    def _write(self) -> None:
        synced = stopwatch()
        running, unsafe = True, False
        with closing(self._writer):
            while running:
                with suppress(Empty):
                    item = self._queue.get(timeout=_SYNC_EVERY_S)
                    if item is None:
                        running = False
                    else:
                        self._store(*item)
                        unsafe = True
                if unsafe and (not running or stopwatch() - synced >= _SYNC_EVERY_S):
                    self._sync()
                    synced, unsafe = stopwatch(), False

    def _store(self, number: int, event: Event) -> None:
        try:
            self._writer.append(number, event)
        except OSError as error:
            self._lose(self._refused, event, f"the disk refuses: {error.strerror or error}")
        except (FormatError, TypeError, ValueError) as error:
            self._lose(self._refused, event, f"an event cannot be stored: {error}")

    def _sync(self) -> None:
        try:
            self._writer.sync()
        except OSError as error:
            self.failed = f"the disk refuses: {error.strerror or error}"
            _log.exception("recording may be lost")


def write_xdf(session: Path) -> Path:
    """Write ``recording.xdf`` from a session's run log: raw stamps and clock offsets, never corrected stamps.

    There is one stream per EEG stream (float32, V), ``Markers`` for the markers, ``Volumes`` for the acquisition number
    of each volume when its last byte had come, and ``Commands`` for what the operator said. An existing file is
    replaced, and only by a whole one.

    Parameters
    ----------
    session : Path
        The session's directory.

    Returns
    -------
    Path

    Raises
    ------
    RecordingError
        There is no readable run log.
    OSError
        It cannot be written.
    """
    path = session / XDF
    part = session / f"{XDF}.part"
    part.unlink(missing_ok=True)
    log = read_session(session)
    try:
        with XdfWriter(part) as writer:
            _XdfExport(writer, log).write()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    for problem in log.problems:
        _log.warning("%s: %s", session, problem)
    return path


class _XdfExport:
    def __init__(self, writer: XdfWriter, log: SessionLog) -> None:
        self._writer = writer
        self._log = log
        self._eeg: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._measured: list[ClockOffset] = []
        self._ends: dict[int, list[tuple[float, float]]] = {}

    def write(self) -> None:
        for _, event in self._log.events:
            match event:
                case EegChunk() if len(event.data):
                    self._chunk(event)
                case ClockOffset():
                    self._measured.append(event)
                case Marker():
                    self._text("Markers", event.label, event.at_raw, event.at)
                case Volume():
                    self._text("Volumes", str(event.index), event.received, event.received)
                case Command():
                    said = f"{event.action}: {event.text}" if event.text else event.action
                    self._text("Commands", said, event.received, event.received)
                case _:
                    pass
        self._clock_offsets()

    def _chunk(self, chunk: EegChunk) -> None:
        stream = self._eeg.get(chunk.stream, 0)
        if not stream:
            header = self._log.header
            channels = [
                XdfChannel(c.name, "volts" if c.unit == "V" else c.unit, c.kind.upper()) for c in header.channels
            ]
            stream = self._writer.add_stream(chunk.stream, "EEG", channels, header.eeg_sfreq, "float32")
            self._eeg[chunk.stream] = stream
        self._writer.samples(stream, chunk.times_raw, chunk.data)
        self._seen(stream, float(chunk.times_raw[-1]), float(chunk.times[-1]))

    def _text(self, name: str, text: str, raw: float, at: float) -> None:
        stream = self._texts.get(name, 0)
        if not stream:
            stream = self._texts[name] = self._writer.add_stream(name, "Markers", [XdfChannel("label")], 0.0, "string")
        self._writer.strings(stream, np.array([raw]), [text])
        self._seen(stream, raw, at)

    def _seen(self, stream: int, raw: float, at: float) -> None:
        ends = self._ends.setdefault(stream, [])
        ends[1:] = [(raw, at)]

    def _clock_offsets(self) -> None:
        measured: set[int] = set()
        for offset in self._measured:
            # what is not the clock of an EEG stream is that of the markers: no other stream is taken in
            stream = self._eeg.get(offset.stream, self._texts.get("Markers", 0))
            if stream:
                self._writer.clock_offset(stream, offset.received - offset.offset, offset.offset)
                measured.add(stream)
        for stream in self._ends.keys() - measured:
            # nothing was measured: both stamps of the first and the last sample tell the offset that was applied
            for raw, at in self._ends[stream]:
                self._writer.clock_offset(stream, raw, at - raw)
