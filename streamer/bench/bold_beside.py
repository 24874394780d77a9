"""What the EEG lane feels of volumes that the BOLD worker cleans beside it, on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamer.bench.bold_truth import CASES, FINE, Head, plant_volumes
from streamer.bench.bold_worker import ExportFile, running
from streamer.bench.eeg_gradient import session
from streamer.bench.eeg_run import chunks
from streamer.bench.eeg_truth import Planted, plant
from streamer.bench.figures import Figure
from streamer.bold_core import BoldSetup
from streamer.bold_process import BoldProcess
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.clock import LiveClock
from streamer.compose import compose, make_eeg_core
from streamer.config import Config, ModelSection
from streamer.engine import EegCore
from streamer.formats.nifti import LabelImage, write_nifti
from streamer.messages import F64, Array, BoldFrame, Marker, SessionTime, Volume

TR_S = 0.8
_CHUNK = 100
_PLANTED_VOLUMES = 5


def bench_beside(progress: Callable[[float], None], head: Head, *, quick: bool = False) -> list[Figure]:
    """Measure 64 channels at 5 kHz in chunks of 20 ms, in turns with and without volumes of 96×96×60, TR 0.8 s.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    head : Head
    quick : bool
        Shorter turns.
    """
    turn_s, pairs = (4.0, 2) if quick else (8.0, 3)
    n_turns = 1 + 2 * pairs
    settings = session("TR 0.8 s", 71, block_s=turn_s, n_blocks=n_turns + 1)
    planted = plant(settings)
    labels = LabelImage(np.ones((4, 4, 4), np.int16), np.diag([40.0, 40.0, 40.0, 1.0]), ("brain",))
    with tempfile.TemporaryDirectory(prefix="streamer-export-") as name:
        files = _files(head, Path(name), round(n_turns * turn_s / TR_S))
        progress(0.3)
        export = Path(name) / "export"
        export.mkdir()
        turns = _Turns(planted, files, export, turn_s, n_turns)
        late, frames = asyncio.run(turns.run(BoldSetup(BoldLaneSettings(), labels)))
    progress(1.0)
    # of the first turn nothing counts: the template is being learned, and the first volume is made the reference
    of_turns = np.split(1e3 * late, n_turns)[1:]
    p99 = np.array([np.quantile(values, 0.99) for values in of_turns])
    # the median over turns: a burst of other programs' work falls into one
    without, with_volumes = p99[::2], p99[1::2]
    note = "turns " + "; ".join(", ".join(f"{value:.1f}" for value in some) for some in (without, with_volumes))
    note += f" ms; median of all chunks {np.median(late) * 1e3:.2f}"
    moved = float(np.median(with_volumes) - np.median(without))
    what = "EEG chunk due to cleaned, p99"
    return [
        Figure(f"{what}, no volumes", float(np.median(without)), "ms"),
        Figure(f"{what}, 96×96×60 volumes at TR {TR_S:g} s", float(np.median(with_volumes)), "ms", note=note),
        Figure(f"{what}, moved by volumes", moved, "ms", 3.0),
        Figure("volumes meanwhile without a frame", float(turns.sent - frames), "", 0.0),
    ]


def _files(head: Head, folder: Path, n: int) -> list[ExportFile]:
    volumes = plant_volumes(head, FINE, CASES["with all of these"], _PLANTED_VOLUMES).volumes
    contents: list[bytes] = []
    for k, volume in enumerate(volumes):
        path = folder / f"{k}.nii"
        write_nifti(path, volume, FINE.affine, TR_S)
        contents.append(path.read_bytes())
    return [ExportFile(f"bench_{k + 1:04d}.nii", contents[k % len(contents)]) for k in range(n)]


class _Turns:
    """Plays the EEG at its own pace, and volumes in every other turn."""

    def __init__(
        self, planted: Planted, files: Sequence[ExportFile], export: Path, turn_s: float, n_turns: int
    ) -> None:
        self.sent = 0
        self._planted = planted
        self._files, self._export = files, export
        self._turn_s, self._n_turns = turn_s, n_turns
        self._clock = LiveClock()

    async def run(self, setup: BoldSetup) -> tuple[F64, int]:
        """Give how late each chunk came out, s, and how many frames there were."""
        core = make_eeg_core(
            compose(Config(model=ModelSection(card="none"))), self._planted.sfreq, self._planted.channels
        )
        async with running(setup, self._export) as (process, _):
            frames: list[BoldFrame] = []
            began = SessionTime(self._clock.now() + 0.5)
            reading = asyncio.create_task(self._read(process, core, frames))
            writing = asyncio.create_task(self._write(began))
            try:
                late = await self._play(core, began)
                await writing
                await self._clock.sleep_until(SessionTime(self._clock.now() + TR_S))
            finally:
                for task in (reading, writing):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            return late, len(frames)

    async def _read(self, process: BoldProcess, core: EegCore, frames: list[BoldFrame]) -> None:
        async for item in process:
            if isinstance(item, Volume | BoldFrame):
                core.feed(item)
            if isinstance(item, BoldFrame):
                frames.append(item)

    async def _write(self, began: SessionTime) -> None:
        for k, file in enumerate(self._files):
            at = k * TR_S
            # the last volume of a turn is to be through before the turn is
            if int(at // self._turn_s) % 2 or at % self._turn_s > self._turn_s - TR_S:
                continue
            await self._clock.sleep_until(SessionTime(began + at))
            await asyncio.to_thread((self._export / file.name).write_bytes, file.content)
            self.sent += 1

    async def _play(self, core: EegCore, began: SessionTime) -> F64:
        planted, sfreq = self._planted, self._planted.sfreq
        n = round(self._n_turns * self._turn_s * sfreq)
        parts = [part[:n] for part in (planted.eeg, planted.pulse, planted.gradient)]
        pieces = chunks(parts, _CHUNK, sfreq)
        triggers: Array = planted.triggers
        late = np.empty(len(pieces))
        told = 0
        for i, chunk in enumerate(pieces):
            due = SessionTime(began + (chunk.first_sample + len(chunk.data)) / sfreq)
            await self._clock.sleep_until(due)
            now = self._clock.now()
            times = began + (chunk.first_sample + np.arange(len(chunk.data))) / sfreq
            while told < len(triggers) and triggers[told] < chunk.first_sample + len(chunk.data):
                sample = int(triggers[told])
                at = SessionTime(began + sample / sfreq)
                core.feed(Marker("R128", at, float(at), sample, now))
                told += 1
            core.feed(replace(chunk, times=times, times_raw=times, received=now))
            late[i] = self._clock.now() - due
        return late
