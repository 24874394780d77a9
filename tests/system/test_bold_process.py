"""The BOLD worker as a process: what reaches the loop, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.acquire.dicom_push import DicomPushSettings
from streamer.acquire.scanner_export import ExportSettings
from streamer.bold_core import BoldSetup
from streamer.bold_process import BoldProcess
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.clock import LiveClock
from streamer.errors import SourceError
from streamer.formats.dicom import write_mosaic
from streamer.messages import BoldFrame, SourceState, Volume
from tests.unit.export_room import AFFINE

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SETUP = BoldSetup(BoldLaneSettings(), None)


def brain(instance: int, series: int = 3, shape: tuple[int, int, int] = (32, 32, 16)) -> bytes:
    distance = np.linalg.norm(np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2, axis=0)
    noise = np.random.default_rng(instance).normal(0, 3, shape)
    data = np.clip(1000 / (1 + np.exp(distance - 7.0)) + noise, 0, None).astype(np.uint16)
    uid = f"1.2.826.0.1.3680043.8.498.{series}"
    onset = 36000.0 + instance
    return write_mosaic(
        data,
        AFFINE,
        tr=1.0,
        slice_times=(),
        instance=instance,
        series_number=series,
        series_uid=uid,
        onset=onset,
    )


def put(folder: Path, instance: int, **changes: int) -> None:
    part = folder / f".{instance}.part"
    part.write_bytes(brain(instance, **changes))
    part.rename(folder / f"{instance}{''.join(f'-{v}' for v in changes.values())}.dcm")


class Heard:
    """Follows a worker, and waits for what it says."""

    def __init__(self, worker: BoldProcess) -> None:
        self.items: list[Any] = []
        self._worker = worker
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for item in self._worker:
            self.items.append(item)
            self._news.set()

    async def until(self, fits: Callable[[list[Any]], bool], seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not fits(self.items):
                if self._task.done():
                    self._task.result()
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    async def end(self) -> None:
        await self._worker.close()
        await asyncio.wait_for(self._task, 10)


def frames(n: int) -> Callable[[list[Any]], bool]:
    return lambda items: sum(isinstance(item, BoldFrame) for item in items) >= n


def state(name: str) -> Callable[[list[Any]], bool]:
    return lambda items: any(isinstance(i, SourceState) and (i.source, i.state) == ("bold", name) for i in items)


async def test_a_worker_that_is_killed_starts_again_with_the_same_reference(tmp_path: Path):
    worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock(), restart_s=0.1)
    await worker.open()
    heard = Heard(worker)
    try:
        for k in (1, 2, 3):
            put(tmp_path, k)
            await heard.until(frames(k))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        await heard.until(state("lost"))
        await heard.until(state("back"))
        # a copy that is made beside the run must not become the run now, nor may what came before come again
        put(tmp_path, 5, series=9)
        (tmp_path / "again.dcm").write_bytes(brain(2))
        for k in (5, 6):
            put(tmp_path, k)
        await heard.until(frames(5))
    finally:
        await heard.end()
    said = [(i.source, i.state) for i in heard.of(SourceState)]
    assert said == [("export", "found"), ("bold", "lost"), ("bold", "back"), ("export", "found")]
    assert [(v.series[:2], v.index) for v in heard.of(Volume)] == [("s3", k) for k in (0, 1, 2, 4, 5)]
    assert worker.restarts == 1
    assert any("exit code -9" in text for text in worker.problems)
    # live and made anew as a replay makes it: with the first volume as reference, and nothing else of before
    volumes = heard.of(Volume)
    core = BoldSetup(BoldLaneSettings(), None, reference=(volumes[0].data, volumes[0].affine)).core()
    again = [out for volume in volumes[3:] for out in core.feed(volume)]
    for live, made in zip(heard.of(BoldFrame)[3:], again, strict=True):
        assert isinstance(made, BoldFrame)
        np.testing.assert_array_equal(live.motion, made.motion)
        np.testing.assert_array_equal(live.means, made.means)


async def test_the_volume_in_work_when_the_worker_is_killed_counts_as_lost(tmp_path: Path):
    worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock(), restart_s=0.1)
    await worker.open()
    heard = Heard(worker)
    try:
        # the first volume takes longest: it becomes the reference
        (tmp_path / "1.dcm").write_bytes(brain(1, shape=(112, 112, 60)))
        await heard.until(lambda items: any(isinstance(item, Volume) for item in items))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        await heard.until(state("lost"))
    finally:
        await heard.end()
    assert worker.lost == 1
    assert not heard.of(BoldFrame)
    assert any("volume 1 of series s3" in item.detail for item in heard.of(SourceState))


async def test_a_session_may_end_while_a_worker_waits_to_start_again(tmp_path: Path):
    worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock(), restart_s=60.0)
    await worker.open()
    heard = Heard(worker)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    await heard.until(state("lost"))
    await heard.end()
    assert worker.restarts == 0


async def test_a_port_that_is_taken_is_refused_at_the_start(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        push = DicomPushSettings(enabled=True, port=other.getsockname()[1])
        worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock(), push)
        with pytest.raises(SourceError, match=r"cannot listen at 127\.0\.0\.1 port \d+: address already in use"):
            await worker.open()
        await worker.close()


async def test_timings_tell_the_lane_and_the_way_from_the_file(tmp_path: Path):
    worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock())
    await worker.open()
    heard = Heard(worker)
    try:
        for k in (1, 2, 3):
            put(tmp_path, k)
            await heard.until(frames(k))
        await heard.until(lambda _: len(worker.totals) >= 2)
    finally:
        await heard.end()
    assert all(0 < lane < total < 5 for lane, total in zip(worker.timings, worker.totals, strict=True))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
async def test_the_worker_computes_with_one_thread_and_less_priority(tmp_path: Path):
    before = dict(os.environ)
    worker = BoldProcess(SETUP, tmp_path, ExportSettings(), LiveClock())
    await worker.open()
    heard = Heard(worker)
    try:
        with open(f"/proc/{worker.pid}/environ", "rb") as environment:  # noqa: ASYNC230, PTH123 - no file on a disk
            told = environment.read().split(b"\0")
        assert {b"OPENBLAS_NUM_THREADS=1", b"OMP_NUM_THREADS=1", b"NUMBA_NUM_THREADS=1"} <= set(told)
        assert worker.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
    finally:
        await heard.end()
    assert dict(os.environ) == before
