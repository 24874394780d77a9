"""From a complete file, or a pushed object, to the volume in the program: by the system's word and by listing."""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from streamer.acquire.dicom_push import DicomPushSettings, DicomReceiver
from streamer.acquire.scanner_export import ExportDirectory, ExportSettings
from streamer.bench.figures import Figure
from streamer.clock import pause, stopwatch
from streamer.formats.dicom import write_mosaic
from streamer.messages import ScannerTime, Volume

SHAPE = (64, 64, 36)
OLD_FILES = 20_000
_BARS_MS = {"auto": 5.0, "poll": 60.0}
_NAMES = {"auto": "by inotify", "poll": "by listing"}
_AFFINE = np.diag([-3.0, 3.0, 3.5, 1.0])
_LOST_S = 20.0
_GOLDEN = 0.6180339887498949


def measure(n: int = 60, old_files: int = OLD_FILES) -> list[Figure]:
    """Measure all ways in.

    Parameters
    ----------
    n : int
        Volumes for each.
    old_files : int
        Files that lie in the directory before.
    """
    figures: list[Figure] = []
    for watch in ("auto", "poll"):
        for n_old in (0, old_files):
            figures += _watched(watch, n, n_old)
    return figures + _pushed(n)


def _watched(watch: Literal["auto", "poll"], n: int, n_old: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for k in range(n_old):
            (root / f"old_{k:06d}.dcm").touch()
        begun = stopwatch()
        directory = ExportDirectory(root, ExportSettings(watch=watch), stopwatch)
        directory.poll()
        start_s = stopwatch() - begun
        seen: dict[int, tuple[float, float]] = {}
        stop = threading.Event()
        following = threading.Thread(target=_follow, args=(directory, seen, stop))
        following.start()
        noticed: list[float] = []
        waited: list[float] = []
        try:
            for k in range(n):
                # every phase between two looks comes up
                pause(0.08 + 0.05 * (k * _GOLDEN % 1.0))
                (root / f"{k + 1:06d}.dcm.part").write_bytes(_mosaic(k + 1))
                (root / f"{k + 1:06d}.dcm.part").rename(root / f"{k + 1:06d}.dcm")
                complete = stopwatch()
                _wait_until(lambda k=k: k in seen)
                looked, read = seen.get(k, (np.inf, np.inf))
                # a look may have begun before the file was complete, and found it all the same
                noticed.append(max(looked - complete, 0.0))
                waited.append(read - complete)
        finally:
            stop.set()
            following.join()
            directory.close()
        idle_ms = 1e3 * _cost_of_a_look(root, watch)
    among = f" among {n_old} old files" if n_old else ""
    note = f"{n} mosaics of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]}, read"
    bar, way = _BARS_MS[watch], f"{_NAMES[watch]}{among}"
    figures: list[Figure] = []
    if watch == "auto":
        # listing is a part of the look: only of what the system told does the look begin with the event
        figures += _percentiles(f"complete file to event {way}", noticed, bar, note)
        bar = None
    figures += _percentiles(f"complete file to volume {way}", waited, bar, note)
    figures.append(Figure(f"a look at nothing new {_NAMES[watch]}{among}", idle_ms, "ms", note="mean of 100"))
    if n_old:
        figures.append(Figure(f"start {_NAMES[watch]}{among}", start_s, "s", 1.0))
    return figures


def _cost_of_a_look(root: Path, watch: Literal["auto", "poll"]) -> float:
    directory = ExportDirectory(root, ExportSettings(watch=watch), stopwatch)
    directory.poll()
    spent = 0.0
    for _ in range(100):
        pause(0.005)
        started = stopwatch()
        directory.poll()
        spent += stopwatch() - started
    directory.close()
    return spent / 100


def _follow(directory: ExportDirectory, seen: dict[int, tuple[float, float]], stop: threading.Event) -> None:
    poll_s = directory.settings.poll_s
    while not stop.is_set():
        started = stopwatch()
        for item in directory.poll():
            if isinstance(item, Volume):
                seen[item.index] = (started, stopwatch())
        directory.wait(max(0.001, poll_s - (stopwatch() - started)))


def _pushed(n: int) -> list[Figure]:
    intake = ExportSettings().intake(stopwatch)
    wake = threading.Event()
    receiver = DicomReceiver(DicomPushSettings(enabled=True, port=0), intake, wake)
    port = receiver.open()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sender = context.Process(target=_send, args=(theirs, port, n), daemon=True)
    sender.start()
    theirs.close()
    n_volumes = 0
    end = stopwatch() + _LOST_S + 0.1 * n
    try:
        while n_volumes < n and stopwatch() < end:
            wake.wait(0.05)
            wake.clear()
            n_volumes += sum(isinstance(item, Volume) for item in receiver.poll())
        took: list[float] = ours.recv() if n_volumes == n else [np.inf]
    except EOFError:
        took = [np.inf]
    finally:
        receiver.close()
        sender.join(5.0)
        if sender.is_alive():
            sender.kill()
    note = f"{n} mosaics of {SHAPE[0]} x {SHAPE[1]} x {SHAPE[2]} from another process, pynetdicom on both sides"
    peer = "pynetdicom 50 ms, dcmtk 21 ms (pynetdicom#701: 34 s and 14 s for 675 images)"
    return _percentiles("a pushed object, as its sender sees it", took, None, note, peer)


def _send(conn: Connection, port: int, n: int) -> None:
    from pydicom import dcmread
    from pynetdicom import AE

    objects = [dcmread(io.BytesIO(_mosaic(k + 1))) for k in range(n)]
    entity: Any = AE(ae_title="BENCH")
    entity.add_requested_context(objects[0].SOPClassUID, objects[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="STREAMER")
    took: list[float] = []
    for each in objects:
        started = stopwatch()
        association.send_c_store(each)
        took.append(stopwatch() - started)
    association.release()
    conn.send(took)


def _mosaic(instance: int) -> bytes:
    values = np.random.default_rng(instance).integers(1, 3000, SHAPE).astype(np.uint16)
    return write_mosaic(
        values,
        _AFFINE,
        tr=1.0,
        slice_times=(),
        instance=instance,
        series_number=3,
        series_uid="1.2.826.0.1.3680043.8.498.3",
        onset=ScannerTime(36000.0 + instance),
    )


def _percentiles(name: str, seconds: list[float], bar_ms: float | None, note: str, peer: str = "") -> list[Figure]:
    p50, p95, p99 = (float(value) for value in 1e3 * np.percentile(seconds, (50, 95, 99)))
    return [
        Figure(f"{name}, p50", p50, "ms", note=note, peer=peer),
        Figure(f"{name}, p95", p95, "ms", bar_ms, note=note),
        Figure(f"{name}, p99", p99, "ms", note=note),
    ]


def _wait_until(fits: Callable[[], bool]) -> None:
    end = stopwatch() + _LOST_S
    while not fits() and stopwatch() < end:
        pause(0.001)
