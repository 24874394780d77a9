"""What the BOLD worker does in its process: volumes from files and from the network, read and cleaned, down a pipe.

What a volume looks like is sent when it is asked for, all frames are sent and no volume waits: it delays none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from streamer.acquire.dicom_push import DicomPushSettings, DicomReceiver
from streamer.acquire.export_intake import Arrival, FileProblem
from streamer.acquire.scanner_export import ExportDirectory, ExportSettings
from streamer.bold_core import BoldCore, BoldSetup
from streamer.clock import stopwatch
from streamer.errors import SourceError
from streamer.messages import F64, Array, SessionTime, SourceState, Volume

STOP = "stop"
"""Asks the worker to end."""
LOOK = "look"
"""Asks the worker for one view, of the next volume or a later one."""
_SHORT_S = 0.001


@dataclass(frozen=True)
class WorkerReport:
    """What the worker says besides events."""

    kind: str
    """``timing``, ``problem``, ``lost``, ``refused`` or ``counts``."""
    text: str = ""
    seconds: float = 0.0
    """From the volume to its frame: the lane alone."""
    total: float = 0.0
    """From the look that found the last of its files complete to its frame."""
    counts: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Reference:
    """What motion is measured against; goes to the parent before the first frame that was measured."""

    data: Array
    affine: F64


@dataclass(frozen=True)
class WorkerTask:
    """What a worker starts with."""

    setup: BoldSetup
    directory: Path
    export: ExportSettings
    push: DicomPushSettings
    seen: frozenset[tuple[str, int]] = frozenset()
    newest: Volume | None = None


def work(conn: Connection, task: WorkerTask) -> None:
    """Follow a directory until the other end of the pipe says so or is gone.

    Parameters
    ----------
    conn : Connection
        Gets ``"ready"``, then events, frames, views, :class:`WorkerReport` and :class:`Reference`; at the end the maps.
    task : WorkerTask
    """
    # Ctrl-C reaches the whole process group: the parent decides when this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
    core = task.setup.core()
    core.lane.warm_up()
    intake = task.export.intake(stopwatch)
    intake.resume(task.seen, task.newest)
    watched = ExportDirectory(task.directory, task.export, stopwatch, intake)
    wake = threading.Event()
    receiver = DicomReceiver(task.push, intake, wake) if task.push.enabled else None
    try:
        if receiver is not None:
            receiver.open()
        conn.send("ready")
        _follow(conn, core, watched, receiver, wake)
    except SourceError as error:
        conn.send(WorkerReport("refused", str(error)))
    except (EOFError, BrokenPipeError):
        return
    finally:
        watched.close()
        if receiver is not None:
            receiver.close()


def _follow(
    conn: Connection, core: BoldCore, watched: ExportDirectory, receiver: DicomReceiver | None, wake: threading.Event
) -> None:
    told: dict[str, int] = {}
    given = core.lane.reference
    poll_s = watched.settings.poll_s
    wanted = unseen = False
    while True:
        while conn.poll(0):
            if conn.recv() == STOP:
                if core.lane.settings.maps.enabled:
                    conn.send(core.lane.maps)
                return
            wanted = True
        started = stopwatch()
        items = watched.poll()
        if receiver is not None:
            items += receiver.poll()
        for item in items:
            given = _handle(conn, core, item, given, started)
        if told != watched.counts:
            told = dict(watched.counts)
            conn.send(WorkerReport("counts", counts=told))
        came = any(isinstance(item, Volume) for item in items)
        unseen = unseen or came
        look_again = came and wanted
        if wanted and unseen and not came:
            unseen = False
            if (view := core.view()) is not None:
                conn.send(view)
                wanted = False
        left_s = poll_s - (stopwatch() - started)
        watched.wait(_SHORT_S if look_again else max(_SHORT_S, left_s), wake)
        wake.clear()


def _handle(
    conn: Connection, core: BoldCore, item: Arrival, given: tuple[Array, F64] | None, looked: float
) -> tuple[Array, F64] | None:
    # gives the reference that the parent has
    if isinstance(item, FileProblem):
        conn.send(WorkerReport("lost" if item.lost else "problem", str(item)))
        return given
    item = replace(item, received=SessionTime(np.nan))
    conn.send(item)
    if isinstance(item, SourceState):
        return given
    started = stopwatch()
    refused = core.refused
    outputs = core.feed(item)
    cleaned = stopwatch()
    if given is None and (given := core.lane.reference) is not None:
        conn.send(Reference(*given))
    for output in outputs:
        conn.send(output)
    conn.send(WorkerReport("timing", seconds=cleaned - started, total=stopwatch() - looked))
    if core.refused > refused:
        conn.send(WorkerReport("lost", core.reasons[-1]))
    return given
