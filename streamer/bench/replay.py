"""How fast a long recording is replayed, and whether memory stays flat meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.bench.figures import Figure
from streamer.bench.session import make_session, memory_mb, write_settings
from streamer.child import child
from streamer.clock import pause, stopwatch
from streamer.errors import StreamerError

_SAMPLE_S = 0.25


def bench_replay(folder: Path, minutes: float, progress: Callable[[float], None]) -> list[Figure]:
    """Replay ``minutes`` of the session with all results written, by the command itself.

    Parameters
    ----------
    folder : Path
        New; some 40 MB a minute are written into it.
    minutes : float
    progress : callable
        Takes the fraction done of the simulation.
    """
    recording = make_session(folder, minutes, progress)
    settings = write_settings(folder)
    began = stopwatch()
    held: list[float] = []
    with child("replay", str(recording), "--config", str(settings), "--out", str(folder / "out"), "--json") as run:
        while run.process.poll() is None:
            held.append(memory_mb(run.process.pid))
            pause(_SAMPLE_S)
        took = stopwatch() - began
        if run.process.returncode:
            raise StreamerError(f"the replay ended with {run.process.returncode}: {run.text()}")
        seconds = float(run.wait_for(lambda message: "counts" in message, 1.0)["seconds"])
    quarter = max(1, len(held) // 4)
    first, last = float(np.median(held[quarter : 2 * quarter])), float(np.median(held[-quarter:-1] or held[-1:]))
    return [
        Figure("length of the recording", seconds / 60, "min"),
        Figure("replay, the command's start included", seconds / took, "times real time", 20.0, "more"),
        Figure("memory in the second quarter", first, "MB"),
        Figure("memory in the last quarter against it", 100 * (last / first - 1), "%", 5.0),
    ]
