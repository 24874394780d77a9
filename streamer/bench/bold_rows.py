"""How well the BOLD lane registers, what it costs and how late it is: on planted moves, and on a real run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from threadpoolctl import threadpool_limits

from streamer.bench import bold_watch, haxby
from streamer.bench.bold_beside import bench_beside
from streamer.bench.bold_glm import bench_glm
from streamer.bench.bold_others import OtherPackages
from streamer.bench.bold_real import bench_real_run
from streamer.bench.bold_registration import bench_registration
from streamer.bench.bold_signals import bench_region_signal
from streamer.bench.bold_start import bench_start
from streamer.bench.bold_truth import Head
from streamer.bench.figures import Figure

Progress = Callable[[float], None]


def bench_bold(
    progress: Progress, *, quick: bool = False, real: Path | None = None, peers: Path | None = None
) -> list[Figure]:
    """Measure the BOLD lane, one thread, everything compiled and warm unless a row says otherwise.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    quick : bool
        One grid, fewer volumes, shorter turns; of the other packages only the quick one.
    real : Path or None
        Folder of real recordings, see :func:`streamer.bench.bold_real.read_run`.
    peers : Path or None
        Interpreter of an environment with other packages, which then run on the same volumes.

    Raises
    ------
    UsageError
        ``peers`` is no such interpreter.
    RecordingError
        ``real`` holds no such run.
    """
    others = None if peers is None else OtherPackages(peers)
    head = Head()
    heavy = 1.0 if others is None else 8.0
    # each with its share of the time that all take
    parts: list[tuple[float, Callable[[Progress], list[Figure]]]] = [
        (heavy, lambda tell: bench_registration(tell, head, others, quick=quick)),
        (0.2, lambda _: bench_glm(quick=quick)),
        (0.5, lambda _: bench_region_signal(quick=quick)),
        (0.5, lambda _: bold_watch.measure(15, 2000) if quick else bold_watch.measure()),
        (0.5, lambda tell: bench_start(tell, head)),
        (1.0, lambda tell: bench_beside(tell, head, quick=quick)),
    ]
    if real is not None:
        parts.append((2.0, lambda tell: bench_real_run(real, tell, others, quick=quick)))
        parts.append((0.3, lambda _: haxby.measure(real)))
    total, done = sum(share for share, _ in parts), 0.0
    figures: list[Figure] = []
    with threadpool_limits(1):
        for share, measure in parts:
            figures += measure(lambda part, done=done, share=share: progress((done + part * share) / total))
            done += share
            progress(done / total)
    return figures
