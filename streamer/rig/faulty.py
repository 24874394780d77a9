"""A schedule with faults put into it: pure, and with a ledger of every one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamer.acquire.recording import Recording
from streamer.rig.actions import SendChunk, SendMarker, Timed, WriteVolume
from streamer.rig.draw import Draw
from streamer.rig.faulty_eeg import SenderClock, faulty_chunks, faulty_streams
from streamer.rig.faulty_files import faulty_files
from streamer.rig.faulty_markers import faulty_markers
from streamer.rig.ledger import SWALLOWED, Injected
from streamer.rig.schedule import RigSettings, schedule, span


@dataclass(frozen=True)
class Plan:
    """What is played."""

    actions: Iterable[Timed]
    """In the order of their times; can be gone through once."""
    ledger: tuple[Injected, ...]
    """In the order of their times."""


def plan(recording: Recording, settings: RigSettings, *, export: bool = True) -> Plan:
    """Lay out what is played, faults and all.

    Parameters
    ----------
    recording : Recording
        Neither samples nor volumes are read.
    settings : RigSettings
    export : bool
        Whether volumes are written at all.

    Returns
    -------
    plan : Plan
        Equal for equal settings; without faults the schedule as it is.
    """
    base = schedule(recording, settings)
    if not export:
        base = (timed for timed in base if not isinstance(timed[1], WriteVolume))
    if not settings.faults.names:
        return Plan(base, ())
    draw = Draw(settings.faults, settings.seed, *span(recording, settings))
    chunks: list[tuple[float, SendChunk]] = []
    markers: list[tuple[float, SendMarker]] = []
    files: list[tuple[float, WriteVolume]] = []
    for at, action in base:
        match action:
            case SendChunk():
                chunks.append((at, action))
            case SendMarker():
                markers.append((at, action))
            case WriteVolume():
                files.append((at, action))
            case _:
                raise TypeError(f"a schedule without faults holds a {type(action).__name__}")
    ledger: list[Injected] = []
    actions: list[Timed] = []
    if recording.eeg is not None:
        trigger = recording.bold.trigger if recording.bold is not None else None
        clock = SenderClock(draw, chunks)
        actions += faulty_streams(draw, ledger)
        sent = faulty_chunks(chunks, clock, draw, ledger)
        told = faulty_markers(markers, trigger, clock, draw, ledger)
        if settings.rda_port is not None:
            told = _outside_lost_blocks(told, chunks, sent, recording.eeg.sfreq, ledger)
        actions += [*sent, *told]
    if recording.bold is not None and files:
        actions += faulty_files(files, recording.bold, draw, ledger)
    # equal times keep this order: streams come back before anything is sent through them
    actions.sort(key=lambda timed: timed[0])
    return Plan(actions, tuple(sorted(ledger, key=lambda entry: entry.at_s)))


def _outside_lost_blocks(
    markers: Sequence[tuple[float, SendMarker]],
    chunks: Sequence[tuple[float, SendChunk]],
    sent: Sequence[tuple[float, SendChunk]],
    sfreq: float,
    ledger: list[Injected],
) -> list[tuple[float, SendMarker]]:
    ends, there = [end for end, _ in chunks], {chunk.start for _, chunk in sent}
    kept: list[tuple[float, SendMarker]] = []
    for when, marker in markers:
        # the sample nearest to its time holds it
        block = bisect_right(ends, marker.at_s + 0.5 / sfreq)
        if block < len(chunks) and chunks[block][1].start not in there:
            detail = marker.label if marker.place is None else ""
            ledger.append(Injected(SWALLOWED, when, marker=marker.place, detail=detail))
        else:
            kept.append((when, marker))
    return kept
