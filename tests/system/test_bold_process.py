"""The BOLD worker as a process: what reaches the loop, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.acquire.dicom_push import DicomPushSettings
from streamer.acquire.scanner_export import ExportSettings
from streamer.bold_core import BoldSetup
from streamer.bold_process import BoldProcess
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.clean.bold.view import ViewSettings
from streamer.clock import LiveClock
from streamer.errors import SourceError
from streamer.formats.dicom import write_mosaic
from streamer.messages import BoldFrame, SourceState, Volume, VolumeView
from tests.unit.export_room import AFFINE

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SETUP = BoldSetup(BoldLaneSettings(), None)
STILL = BoldSetup(BoldLaneSettings(measure_motion=False), None)
"""A ball with noise cannot be registered, and volumes that are not count for no view."""


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


class Looker:
    """Keeps what it is shown, and what had been heard by then."""

    def __init__(self) -> None:
        self.views: list[VolumeView] = []
        self.frames: list[int] = []
        self.heard: Heard | None = None
        self._news = asyncio.Event()

    def __call__(self, view: VolumeView) -> None:
        self.views.append(view)
        self.frames.append(len(self.heard.of(BoldFrame)) if self.heard is not None else 0)
        self._news.set()

    async def until(self, index: int, seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while not self.views or self.views[-1].index < index:
                self._news.clear()
                await self._news.wait()


async def test_what_a_volume_looks_like_follows_its_frame(tmp_path: Path):
    looker, clock = Looker(), LiveClock()
    worker = BoldProcess(STILL, tmp_path, ExportSettings(), clock, restart_s=0.1, on_view=looker)
    began = clock.now()
    await worker.open()
    looker.heard = heard = Heard(worker)
    try:
        for k in (1, 2, 3):
            put(tmp_path, k)
            await looker.until(k - 1)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        await heard.until(state("back"))
        put(tmp_path, 4)
        await looker.until(3)
    finally:
        await heard.end()
    assert [view.index for view in looker.views] == [0, 1, 2, 3]
    assert looker.frames == [1, 2, 3, 4]
    times = [began, *(view.received for view in looker.views), clock.now()]
    assert times == sorted(times)
    assert {type(item) for item in heard.items} == {SourceState, Volume, BoldFrame}
    # live and made anew, of the first worker
    core = STILL.core()
    for volume, view in zip(heard.of(Volume)[:3], looker.views, strict=False):
        core.feed(volume)
        again = core.view()
        assert again is not None
        assert view.series == again.series
        np.testing.assert_array_equal(view.affine, again.affine)
        np.testing.assert_array_equal(view.mean, again.mean)
        np.testing.assert_array_equal(view.maps["change"][0], again.maps["change"][0])


async def test_views_are_left_out_where_volumes_wait_and_the_last_is_seen(tmp_path: Path):
    looker = Looker()
    worker = BoldProcess(STILL, tmp_path, ExportSettings(), LiveClock(), on_view=looker)
    await worker.open()
    looker.heard = heard = Heard(worker)
    n = 12
    try:
        put(tmp_path, 1)
        await heard.until(frames(1))
        contents = {k: brain(k) for k in range(2, n + 1)}
        for k, content in contents.items():
            (tmp_path / f".{k}.part").write_bytes(content)
        for k in contents:
            (tmp_path / f".{k}.part").rename(tmp_path / f"{k}.dcm")
        await looker.until(n - 1)
    finally:
        await heard.end()
    seen = [view.index for view in looker.views]
    assert seen == sorted(set(seen))
    assert seen[-1] == n - 1
    assert len(seen) < n
    # at once: each was shown when nothing but it was left
    assert all(frames_then == index + 1 for index, frames_then in zip(seen, looker.frames, strict=True))


async def test_a_lane_that_keeps_no_view_shows_none(tmp_path: Path):
    looker = Looker()
    setup = replace(STILL, settings=BoldLaneSettings(measure_motion=False, view=ViewSettings(enabled=False)))
    worker = BoldProcess(setup, tmp_path, ExportSettings(), LiveClock(), on_view=looker)
    await worker.open()
    heard = Heard(worker)
    try:
        for k in (1, 2):
            put(tmp_path, k)
            await heard.until(frames(k))
    finally:
        await heard.end()
    assert not looker.views


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
