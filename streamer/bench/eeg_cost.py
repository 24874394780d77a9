"""What the whole lane costs, how old its samples are, and how soon it begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamer.bench.eeg_gradient import session
from streamer.bench.eeg_run import chunks
from streamer.bench.eeg_truth import Planted, plant
from streamer.bench.figures import Figure
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.clock import stopwatch
from streamer.messages import F64

_WARM_S = 60.0
"""By then all templates are there."""
_START = """
import sys
import numpy as np
from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.messages import ChannelInfo, EegChunk, SessionTime
channels = (*(ChannelInfo(f"E{i}", "eeg") for i in range(64)), ChannelInfo("ECG", "ecg"))
lane = EegLane(EegLaneSettings(), 5000.0, channels)
times = 100.0 + np.arange(100) / 5000.0
data = np.zeros((100, 65), np.float32)
out = lane.chunk(EegChunk("bench", data, times, times, 0, SessionTime(100.02)))
print(sum(len(clean.data) for clean in out), flush=True)
"""


def bench_cost(progress: Callable[[float], None], *, blocks: int = 10, repeats: int = 3) -> list[Figure]:
    """Measure the lane with its own defaults, pulse correction ``fast``, on everything that is planted.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    blocks : int
        Of 8 s.
    repeats : int
        The same chunks go so often through a new lane; each counts with its shortest time, since other programs on this
        machine can only make it longer.
    """
    planted = plant(session("TR 2 s", 71, motion_mm=0.08, nods_per_min=0.3, n_blocks=blocks))
    figures: list[Figure] = []
    for number, (size, bar) in enumerate(((100, 4.0), (20, None))):
        timed = _timed(planted, size, repeats, lambda done, n=number: progress((n + done) / 2))
        figures += _rows(planted, size, timed, bar)
        if size == 100:
            figures += _ages(timed)
    return figures


@dataclass(frozen=True)
class _Timed:
    """Chunks that came when all templates were there, s each."""

    took: F64
    newest: F64
    """Since the newest sample that came out for the chunk; infinite where none did."""
    oldest: F64


def _timed(planted: Planted, size: int, repeats: int, progress: Callable[[float], None]) -> _Timed:
    pieces = chunks([planted.eeg, planted.pulse, planted.gradient], size, planted.sfreq)
    took, newest, oldest = (np.full(len(pieces), np.inf) for _ in range(3))
    for repeat in range(repeats):
        lane = EegLane(EegLaneSettings(), planted.sfreq, planted.channels)
        triggers = planted.triggers.tolist()
        for i, chunk in enumerate(pieces):
            began = stopwatch()
            while triggers and triggers[0] < chunk.first_sample + size:
                lane.trigger(triggers.pop(0))
            out = lane.chunk(chunk)
            took[i] = min(took[i], stopwatch() - began)
            if out:
                # it comes when its last sample was taken: transport is measured by `streamer bench live`
                came = float(chunk.times[-1]) + 1 / planted.sfreq
                newest[i], oldest[i] = came - float(out[-1].times[-1]), came - float(out[0].times[0])
        progress((repeat + 1) / repeats)
    warm = slice(round(min(_WARM_S, 0.6 * len(planted.eeg) / planted.sfreq) * planted.sfreq / size), None)
    return _Timed(took[warm], (newest + took)[warm], (oldest + took)[warm])


def _rows(planted: Planted, size: int, timed: _Timed, bar: float | None) -> list[Figure]:
    chunk_ms = 1e3 * size / planted.sfreq
    share = 100 * float(timed.took.mean()) / (1e-3 * chunk_ms)
    p50, p99, most = 1e3 * np.quantile(timed.took, (0.5, 0.99, 1.0))
    name = f"whole lane, 64 channels at 5 kHz, {chunk_ms:g} ms chunks"
    peer = "NeuXus: 26 %, 32 channels" if bar is not None else ""
    note = f"a chunk: median {p50:.2f}, longest {most:.2f} ms"
    return [
        Figure(name, share, "% of a core", bar, peer=peer, note=note),
        Figure(f"processing of a {chunk_ms:g} ms chunk, p99", float(p99), "ms", 5.0 if bar is not None else None),
    ]


def _ages(timed: _Timed) -> list[Figure]:
    """Age when the lane hands a sample out: since its own time, which the filters' delay at 10 Hz is taken off."""
    peer = "NeuXus: {} ms; EEG-LLAMAS: < 50 ms on average"
    newest, oldest = (1e3 * float(np.quantile(ages, 0.99)) for ages in (timed.newest, timed.oldest))
    return [
        Figure("age of a cleaned sample, newest of 20 ms, p99", newest, "ms", 20.0, peer=peer.format(104)),
        Figure("age of a cleaned sample, oldest of 20 ms, p99", oldest, "ms", 40.0, peer=peer.format(320)),
    ]


def bench_start(repeats: int = 3) -> list[Figure]:
    """Measure from the start of a process to the first cleaned sample: the median of a few."""
    found: list[float] = []
    for _ in range(repeats):
        began = stopwatch()
        with subprocess.Popen([sys.executable, "-c", _START], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            found.append(stopwatch() - began)
        if process.returncode or not line.strip().isdigit() or int(line) < 1:
            found[-1] = float("nan")
    return [
        Figure(
            "start-up, a process's start to the first cleaned sample",
            float(np.median(found)),
            "s",
            3.0,
            peer="NeuXus: 18–27 s",
        )
    ]
