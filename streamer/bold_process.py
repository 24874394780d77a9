"""The BOLD worker as a source: volumes and what was made of them, from a process of its own.

Python work beside the EEG lane would cost that lane milliseconds, so the DICOM parse and ``BoldCore`` live there
(:mod:`streamer.bold_worker`). A pipe carries raw volumes and BOLD frames to the loop, which stamps, numbers and logs
both: the worker's own timing never enters a result. The worker is spawned, never forked, and ends with its parent: the
pipe's end tells it.

A worker that is killed is started again. The new one begins its baseline and its model anew, but measures motion
against the same reference; it says so by a ``SourceState`` ``back``, at which a replay of the log begins anew, too. The
reference is kept if a frame had come of it: that, too, stands in the log.

What volumes look like goes to whoever asked, and to no log. The loop asks for one view at a time, and the worker sends
it when the frames are sent and no volume waits: neither a slow pipe nor a slow looker piles views up.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from streamer.acquire.dicom_push import DicomPushSettings
from streamer.acquire.scanner_export import ExportSettings
from streamer.bold_core import BoldSetup
from streamer.bold_worker import LOOK, STOP, Reference, WorkerReport, WorkerTask, work
from streamer.clock import Clock, stopwatch
from streamer.environment import environment
from streamer.errors import SourceError
from streamer.messages import BoldFrame, RunMaps, SourceState, Volume, VolumeView

RESTART_S = 10.0
_ONE_THREAD: dict[str, str] = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""numpy's libraries read these when they are loaded: they must stand before the child's first import."""


class BoldProcess:
    """The worker as a source of ``Volume``, ``BoldFrame`` and ``SourceState``.

    Parameters
    ----------
    setup : BoldSetup
    directory : Path
        The scanner's export directory; may appear later.
    export : ExportSettings
    clock : Clock
    push : DicomPushSettings, optional
        Receive pushed objects, too.
    restart_s : float
        A worker that was killed is started again, at most once in so long, s.
    on_view : callable, optional
        Takes what the newest volume looks like, while the source is iterated; without it no view is made.
    """

    name = "bold"

    def __init__(
        self,
        setup: BoldSetup,
        directory: Path,
        export: ExportSettings,
        clock: Clock,
        push: DicomPushSettings | None = None,
        restart_s: float = RESTART_S,
        on_view: Callable[[VolumeView], None] | None = None,
    ) -> None:
        self._clock = clock
        self._task = WorkerTask(setup, directory, export, push or DicomPushSettings())
        self._restart_s = restart_s
        self._on_view = on_view
        self._conn: Connection | None = None
        self._process: BaseProcess | None = None
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._thread: threading.Thread | None = None
        self._closing = asyncio.Event()
        self._started = 0.0
        self._seen: set[tuple[str, int]] = set()
        self._newest: Volume | None = None
        self._in_work: Volume | None = None
        self._reference: Reference | None = None
        self._before: Counter[str] = Counter()
        self.maps: RunMaps | None = None
        """Maps of the runs, after ``close``; None where there are none."""
        self.problems: list[str] = []
        self.lost = 0
        """Files that hold a volume and could not be used, and volumes that a worker had in work when it died."""
        self.restarts = 0
        self.counts: dict[str, int] = {}
        """What came: volumes, duplicates, other series, quarantined …"""
        self.timings: list[float] = []
        """s from a volume to its frame, per volume: the lane alone."""
        self.totals: list[float] = []
        """s from the look that found a volume's file complete to its frame, per volume."""

    @property
    def pid(self) -> int | None:
        """The worker's process; None before it is started."""
        return None if self._process is None else self._process.pid

    async def open(self) -> None:
        """Start the worker and wait until it watches the directory.

        Raises
        ------
        SourceError
            The worker ended before it was ready, or cannot listen where it should.
        """
        first = await self._start()
        if isinstance(first, WorkerReport):
            raise SourceError(first.text)
        if first != "ready":
            raise SourceError(f"the BOLD worker ended before it was ready: {first}")

    async def _start(self) -> object:
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, self._task), daemon=True)
        self._started = stopwatch()
        with environment(_ONE_THREAD):
            self._process.start()
        theirs.close()
        self._thread = threading.Thread(
            target=_read, args=(self._conn, asyncio.get_running_loop(), self._items), name="bold-pipe", daemon=True
        )
        self._thread.start()
        self._ask()
        return await self._items.get()

    def _ask(self) -> None:
        # for one view, of the next volume or a later one
        if self._on_view is not None and self._conn is not None:
            # a worker that died is told of by its pipe's end
            with contextlib.suppress(OSError):
                self._conn.send(LOOK)

    async def __aiter__(self) -> AsyncIterator[Volume | BoldFrame | SourceState]:
        reference: Reference | None = None
        while True:
            item = await self._items.get()
            match item:
                case Volume() | BoldFrame() | SourceState():
                    if isinstance(item, Volume):
                        self._note(item)
                    elif isinstance(item, BoldFrame):
                        self._reference = self._reference or reference
                    yield replace(item, received=self._clock.now())
                case Reference():
                    reference = item
                case RunMaps():
                    self.maps = item
                case VolumeView():
                    if self._on_view is not None:
                        self._on_view(replace(item, received=self._clock.now()))
                    self._ask()
                case WorkerReport():
                    self._take(item)
                case None:
                    code = await self._end()
                    if self._closing.is_set() or code == 0:
                        return
                    _refuse_own_fault(code)
                    yield self._say("lost", self._mourn(code))
                    if not await self._revive():
                        return
                    reference = None
                    yield self._say("back", "the worker runs again; its baseline and its model begin anew")
                case _:
                    raise TypeError(f"the BOLD worker sent {type(item).__name__}")

    def _note(self, volume: Volume) -> None:
        self._in_work = volume
        self._seen.add((volume.series, volume.index))
        if self._newest is None or volume.series != self._newest.series or volume.index > self._newest.index:
            self._newest = volume

    def _take(self, report: WorkerReport) -> None:
        match report.kind:
            case "timing":
                self._in_work = None
                self.timings.append(report.seconds)
                self.totals.append(report.total)
            case "counts":
                self.counts = dict(self._before + Counter(report.counts))
            case _:
                self.lost += report.kind == "lost"
                self.problems.append(report.text)

    def _mourn(self, code: int | None) -> str:
        # count what the dead worker took along
        text = f"the BOLD worker died with exit code {code}"
        if (volume := self._in_work) is not None:
            self.lost += 1
            text += f"; volume {volume.index + 1} of series {volume.series} is lost"
            self._in_work = None
        self.problems.append(text)
        self._before = Counter(self.counts)
        # files that are there at the new start were there before, too
        del self._before["existing"]
        return text

    async def _revive(self) -> bool:
        # whether a new worker runs; False when the session ends before
        first: object = None
        while first != "ready":
            wait_s = self._started + self._restart_s - stopwatch()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), max(0.0, wait_s))
            if self._closing.is_set():
                return False
            setup = self._task.setup
            if self._reference is not None and setup.reference is None:
                setup = replace(setup, reference=(self._reference.data, self._reference.affine))
            self._task = replace(self._task, setup=setup, seen=frozenset(self._seen), newest=self._newest)
            first = await self._start()
            if isinstance(first, WorkerReport):
                self.problems.append(first.text)
                await self._items.get()
            if first != "ready":
                _refuse_own_fault(await self._end())
        self.restarts += 1
        return True

    def _say(self, state: str, detail: str) -> SourceState:
        return SourceState(self.name, state, detail, self._clock.now())

    async def _end(self) -> int | None:
        # make sure that the worker has ended; its exit code
        process, conn = self._process, self._conn
        if process is not None and process.pid is not None:
            await asyncio.to_thread(process.join, 1.0)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join, 1.0)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 1.0)
            self._thread = None
        if conn is not None:
            conn.close()
            self._conn = None
        return None if process is None else process.exitcode

    async def close(self) -> None:
        """Ask the worker to end, then make sure that it has; ``maps`` are those of its end."""
        self._closing.set()
        if self._conn is not None:
            with contextlib.suppress(OSError):
                self._conn.send(STOP)
        await self._end()
        while not self._items.empty():
            item = self._items.get_nowait()
            if isinstance(item, RunMaps):
                self.maps = item


def _refuse_own_fault(code: int | None) -> None:
    # a signal may have come from anywhere (no memory, a decoder's crash); an error in the program would come again
    if code is None or code > 0:
        raise SourceError(f"the BOLD worker died with exit code {code}")


def _read(conn: Connection, loop: asyncio.AbstractEventLoop, items: asyncio.Queue[object]) -> None:
    def hand_over(item: object) -> None:
        # the loop may be closed already when the last items come
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(items.put_nowait, item)

    try:
        while True:
            hand_over(conn.recv())
    except (EOFError, OSError):
        hand_over(None)
