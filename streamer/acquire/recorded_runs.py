"""Volumes of a scanner that was stopped and started again within one recording: one series after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from streamer.acquire.recorded_bold import BoldPart
from streamer.errors import RecordingError

T = TypeVar("T")


def join_runs(runs: Sequence[BoldPart]) -> BoldPart:
    """Put the volumes of several series behind one another; each volume keeps its series and its number in it.

    Raises
    ------
    RecordingError
        The series differ in TR.
    """
    first = runs[0]
    if any(abs(run.tr - first.tr) > 1e-6 for run in runs):
        trs = ", ".join(f"{run.tr:g}" for run in runs)
        raise RecordingError(f"series of TR {trs} s in one recording: expected one TR")
    places = [(run, k) for run in runs for k in range(run.n_volumes)]

    def of(ask: Callable[[BoldPart, int], T]) -> Callable[[int], T]:
        return lambda k: ask(*places[k])

    return BoldPart(
        indices=tuple(index for run in runs for index in run.indices),
        tr=first.tr,
        trigger=first.trigger,
        first_volume=first.first_volume,
        onsets=tuple(at for run in runs for at in run.onsets),
        known_at=tuple(at for run in runs for at in run.known_at),
        read=of(BoldPart.volume),
        path=of(_file),
        problems=tuple(dict.fromkeys(problem for run in runs for problem in run.problems)),
        format=first.format,
    )


def _file(run: BoldPart, k: int) -> Path | None:
    return run.file(k)
