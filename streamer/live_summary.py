"""What a live session came to, from all that took part in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamer.acquire.lsl import LslEegSource, LslMarkerSource
from streamer.acquire.rda import RdaSource
from streamer.bold_process import BoldProcess
from streamer.contracts import Source
from streamer.decode.model import Model
from streamer.loop import Loop
from streamer.meter import Meter
from streamer.summary import RunSummary

LEFT_OUT = (
    "duplicates",
    "contradictions",
    "other_series",
    "not_images",
    "outside",
    "refused",
    "aborted",
    "overflowed",
)
"""What came from the scanner and was no volume of the run, by the worker's counts."""
_PROBLEMS = 20


def summarise(
    session: str,
    folder: Path,
    seconds: float,
    meter: Meter,
    loop: Loop | None,
    sources: Sequence[Source],
    model: Model | None,
    notes: Sequence[str],
) -> RunSummary:
    """Sum a live session up.

    Parameters
    ----------
    session : str
    folder : Path
    seconds : float
        From the first event to the last, s.
    meter : Meter
    loop : Loop or None
        None where it never began.
    sources : sequence of Source
        All that were open.
    model : Model or None
    notes : sequence of str
        What was said so far.
    """
    told = [*notes, *([] if model is None else model.notes)]
    losses: dict[str, int] = {}
    if loop is not None:
        losses = loop.losses()
        told += loop.core.timing_alarms()
    for source in sources:
        if isinstance(source, LslEegSource | LslMarkerSource | RdaSource):
            losses.update({f"queue_{k}": v for k, v in source.losses().items()})
    for worker in (s for s in sources if isinstance(s, BoldProcess)):
        told += worker.problems[:_PROBLEMS]
        # a volume that the worker gave up may be a hole in the numbers, too: it is one loss
        losses["volumes"] = max(losses.get("volumes", 0), worker.lost)
        for kind in LEFT_OUT:
            if worker.counts.get(kind):
                told.append(f"from the scanner: {worker.counts[kind]} {kind.replace('_', ' ')}, left out")
    return RunSummary(
        session=session,
        folder=str(folder),
        state="STOPPED",
        seconds=round(seconds, 3),
        counts=dict(meter.counts),
        losses=losses,
        latency_ms=meter.latency_ms(),
        provider="" if model is None else model.provider,
        notes=told,
    )
