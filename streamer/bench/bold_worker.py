"""Volumes as files through the real worker: from the last byte of a file to the frame that the loop gets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamer.acquire.scanner_export import ExportSettings
from streamer.bold_core import BoldSetup
from streamer.bold_process import BoldProcess
from streamer.clock import LiveClock, stopwatch
from streamer.messages import F64, BoldFrame

_LOST_S = 10.0
_REST_S = 0.01
_CACHE = "NUMBA_CACHE_DIR"


@dataclass(frozen=True)
class ExportFile:
    """One volume as the scanner exports it."""

    name: str
    content: bytes


@dataclass
class Passed:
    """What came of a series of files."""

    ready_s: float
    """From the start of the process until it watches the directory."""
    frames: list[BoldFrame] = field(default_factory=list[BoldFrame])
    waited: list[float] = field(default_factory=list[float])
    """From a file's last byte to its frame in this process, s; infinite where none came."""
    worked: list[float] = field(default_factory=list[float])
    """The lane alone, in the worker, s."""

    @property
    def latency_ms(self) -> F64:
        """Like ``waited``, without the first volume, which is made the reference."""
        return 1e3 * np.array(self.waited[1:])

    @property
    def first_against_rest(self) -> float:
        """What the first volume took against the median of the others."""
        return float(self.worked[0] / np.median(self.worked[1:]))


@asynccontextmanager
async def running(setup: BoldSetup, folder: Path) -> AsyncGenerator[tuple[BoldProcess, float]]:
    """Run a worker that watches ``folder``; gives it, and how long it took to be ready, s."""
    process = BoldProcess(setup, folder, ExportSettings(), LiveClock())
    began = stopwatch()
    try:
        await process.open()
        yield process, stopwatch() - began
    finally:
        await process.close()


def through_worker(setup: BoldSetup, files: Sequence[ExportFile], pace_s: float) -> Passed:
    """Write files one after another, each in two pieces, and wait for its frame.

    Parameters
    ----------
    setup : BoldSetup
    files : sequence of ExportFile
    pace_s : float
        From a frame to the next file, s.
    """

    async def run(folder: Path) -> Passed:
        async with running(setup, folder) as (process, ready_s):
            passed = Passed(ready_s)
            frames: asyncio.Queue[tuple[BoldFrame, float]] = asyncio.Queue()

            async def read() -> None:
                async for item in process:
                    if isinstance(item, BoldFrame):
                        frames.put_nowait((item, stopwatch()))

            reading = asyncio.create_task(read())
            try:
                for file in files:
                    await _write(folder / file.name, file.content)
                    written = stopwatch()
                    try:
                        frame, came = await asyncio.wait_for(frames.get(), _LOST_S)
                    except TimeoutError:
                        passed.waited.append(float("inf"))
                    else:
                        passed.frames.append(frame)
                        passed.waited.append(came - written)
                    await asyncio.sleep(pace_s)
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
            passed.worked = list(process.timings)
            return passed

    with tempfile.TemporaryDirectory(prefix="streamer-export-") as name:
        return asyncio.run(run(Path(name)))


async def _write(path: Path, content: bytes) -> None:
    # a scanner's file is seen before it is complete
    with path.open("wb", buffering=0) as file:
        file.write(content[: len(content) // 2])
        await asyncio.sleep(_REST_S)
        file.write(content[len(content) // 2 :])


@contextmanager
def fresh_compile_cache() -> Generator[None]:
    """Let processes that are started meanwhile find nothing compiled, and keep what they compile for the next."""
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory(prefix="streamer-numba-") as name:
        os.environ[_CACHE] = name
        try:
            yield
        finally:
            if before is None:
                del os.environ[_CACHE]
            else:
                os.environ[_CACHE] = before
