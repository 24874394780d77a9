"""The BOLD worker: watching the export directory, reading files and cleaning volumes, in a process of its own.

Python work beside the EEG lane would cost that lane milliseconds, so the DICOM parse and ``BoldCore`` live here. A pipe
carries raw volumes and BOLD frames to the loop, which stamps, numbers and logs both: the worker's own timing never
enters a result. The worker is spawned, never forked, and ends with its parent: the pipe's end tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from streamer.acquire.scanner_export import ExportDirectory, ExportSettings, FileProblem
from streamer.bold_core import BoldCore, BoldSetup
from streamer.clock import Clock, stopwatch
from streamer.errors import SourceError
from streamer.messages import BoldFrame, SessionTime, SourceState, Volume


@dataclass(frozen=True)
class WorkerReport:
    """What the worker says besides events."""

    kind: str
    """``timing``, ``problem``, ``lost`` or ``counts``."""
    text: str = ""
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict[str, int])


class BoldProcess:
    """The worker as a source of ``Volume``, ``BoldFrame`` and ``SourceState``.

    Parameters
    ----------
    setup : BoldSetup
    directory : Path
        The scanner's export directory; may appear later.
    export : ExportSettings
    clock : Clock
    """

    name = "bold"

    def __init__(self, setup: BoldSetup, directory: Path, export: ExportSettings, clock: Clock) -> None:
        self._clock = clock
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, setup, directory, export), daemon=True)
        self._theirs = theirs
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._thread: threading.Thread | None = None
        self.problems: list[str] = []
        self.lost = 0
        """Files that hold a volume and could not be used."""
        self.counts: dict[str, int] = {}
        """What the export directory held: volumes, duplicates, other series, quarantined …"""
        self.timings: list[float] = []
        """s from a file's complete read to its frame, per volume."""

    async def open(self) -> None:
        """Start the worker and wait until it watches the directory.

        Raises
        ------
        SourceError
            The worker ended before it was ready.
        """
        self._process.start()
        self._theirs.close()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, args=(loop,), name="bold-pipe", daemon=True)
        self._thread.start()
        first = await self._items.get()
        if first != "ready":
            raise SourceError(f"the BOLD worker ended before it was ready: {first}")

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def hand_over(item: object) -> None:
            # the loop may be closed already when the last items come
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._items.put_nowait, item)

        try:
            while True:
                hand_over(self._conn.recv())
        except (EOFError, OSError):
            hand_over(None)

    async def __aiter__(self) -> AsyncIterator[Volume | BoldFrame | SourceState]:
        while True:
            item = await self._items.get()
            match item:
                case Volume() | BoldFrame() | SourceState():
                    yield replace(item, received=self._clock.now())
                case WorkerReport(kind="timing"):
                    self.timings.append(item.seconds)
                case WorkerReport(kind="counts"):
                    self.counts = item.counts
                case WorkerReport(kind="lost"):
                    self.lost += 1
                    self.problems.append(item.text)
                case WorkerReport():
                    self.problems.append(item.text)
                case None:
                    if self._process.exitcode not in {0, None}:
                        raise SourceError(f"the BOLD worker died with exit code {self._process.exitcode}")
                    return
                case _:
                    raise TypeError(f"the BOLD worker sent {type(item).__name__}")

    async def close(self) -> None:
        """Ask the worker to end, then make sure that it has."""
        with contextlib.suppress(OSError):
            self._conn.send("stop")
        if self._process.pid is not None:
            await asyncio.to_thread(self._process.join, 1.0)
            if self._process.is_alive():
                self._process.kill()
                await asyncio.to_thread(self._process.join, 1.0)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 1.0)
            self._thread = None
        self._conn.close()


def _work(conn: Connection, setup: BoldSetup, directory: Path, export: ExportSettings) -> None:
    # Ctrl-C reaches the whole process group: the parent decides when this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    core = setup.core()
    core.lane.warm_up()
    watched = ExportDirectory(directory, export, stopwatch)
    conn.send("ready")
    told: dict[str, int] = {}
    try:
        while True:
            if conn.poll(0):
                conn.recv()
                break
            for item in watched.poll():
                _handle(conn, core, item)
            if told != watched.counts:
                told = dict(watched.counts)
                conn.send(WorkerReport("counts", counts=told))
            watched.wait(export.poll_s)
    except (EOFError, BrokenPipeError):
        return
    finally:
        watched.close()


def _handle(conn: Connection, core: BoldCore, item: Volume | FileProblem | SourceState) -> None:
    if isinstance(item, FileProblem):
        conn.send(WorkerReport("lost" if item.lost else "problem", str(item)))
        return
    item = replace(item, received=SessionTime(np.nan))
    conn.send(item)
    if isinstance(item, SourceState):
        return
    started = stopwatch()
    refused = core.refused
    for frame in core.feed(item):
        conn.send(frame)
    conn.send(WorkerReport("timing", seconds=stopwatch() - started))
    if core.refused > refused:
        conn.send(WorkerReport("lost", core.reasons[-1]))
