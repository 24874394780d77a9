"""What a recording holds as events, in the order in which it would have been known.

A chunk is known at its last sample, a marker at its time, a volume at its last byte, a BOLD frame ``process_s`` later
(a setting, never a measured time). While the EEG is silent there are ticks, as the heartbeat of a live loop makes them,
so that decisions go on. The recording's axis serves as session time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recording import EegPart, Recording
from streamer.ahead import ahead
from streamer.errors import RecordingError
from streamer.messages import BoldFrame, EegChunk, Event, Marker, Output, SessionTime, Tick, Volume

CHUNK_S = 0.1
"""EEG comes in chunks of this length, s: as decisions do; shorter ones cost a third more."""
CHUNKS_READ = 10
"""So many chunks are read from the file at a time."""
HEARTBEAT_S = 0.1
"""Ticks are this far apart, here and in a live loop, s."""
SILENT_S = 0.3
"""Without EEG for this long ticks are made, here and in a live loop, so that decisions go on (and say NO_EEG), s."""
LONGEST_SILENCE_S = 600.0
"""Of a stretch without anything only the last so many s are ticked through: stamps that jump further are in doubt."""

VOLUMES_AHEAD = 4
"""So many volumes are cleaned before they are asked for."""

_JUMP_S = 0.01
"""Chunks are cut where the times jump by more than this, s."""


@dataclass
class Unreadable:
    """Volumes that are in the recording and cannot be read."""

    indices: list[int] = field(default_factory=list[int])
    """Acquisition numbers."""
    reasons: list[str] = field(default_factory=list[str])


def recorded_events(
    recording: Recording,
    clean: Callable[[Volume], Iterable[Output]] | None,
    process_s: float,
    unreadable: Unreadable | None = None,
) -> Iterator[Event]:
    """Give what a recording holds, each thing when it would have been known.

    Parameters
    ----------
    recording : Recording
    clean : callable or None
        Makes BOLD frames of a volume; None leaves the volumes out.
    process_s : float
        From a volume's last byte to its frame, s.
    unreadable : Unreadable, optional
        Takes the volumes that cannot be read; they are left out.
    """
    parts: list[Iterator[Event]] = []
    if recording.eeg is not None:
        parts += [_chunks(recording.eeg), _markers(recording.eeg)]
    if recording.bold is not None and clean is not None:
        missed = unreadable if unreadable is not None else Unreadable()
        parts.append(_volumes(recording.bold, clean, process_s, missed))
    return _with_ticks(heapq.merge(*parts, key=lambda event: event.received))


def _chunks(eeg: EegPart) -> Iterator[Event]:
    step = max(1, round(CHUNK_S * eeg.sfreq))
    jump = _JUMP_S + 1.5 / eeg.sfreq
    block = step * CHUNKS_READ
    known = -np.inf
    for start in range(0, eeg.n_samples, block):
        stop = min(start + block, eeg.n_samples)
        raw, times = eeg.times(start, stop)
        data = eeg.read(start, stop)
        # samples before a pause were known before it
        pauses = (np.flatnonzero(np.diff(times) > jump) + 1).tolist()
        cuts = sorted({*range(0, stop - start, step), *pauses, stop - start})
        for a, b in pairwise(cuts):
            # stamps may jump back; knowing never does
            known = max(known, float(times[b - 1]))
            yield EegChunk("EEG", data[a:b], raw[a:b], times[a:b], start + a, SessionTime(known))


def _markers(eeg: EegPart) -> Iterator[Event]:
    known = -np.inf
    for marker in eeg.markers:
        at = SessionTime(marker.at_s)
        known = max(known, marker.at_s)
        yield Marker(marker.label, at, marker.at_raw, marker.sample, SessionTime(known))


def _volumes(
    bold: BoldPart, clean: Callable[[Volume], Iterable[Output]], process_s: float, missed: Unreadable
) -> Iterator[Event]:
    pending: list[tuple[float, int, Event]] = []
    # one volume is cleaned while the EEG of the time before it is
    for count, (known, found) in enumerate(ahead(_cleaned(bold, clean), VOLUMES_AHEAD)):
        while pending and pending[0][0] <= known:
            yield heapq.heappop(pending)[2]
        if isinstance(found, _Missed):
            missed.indices.append(found.index)
            missed.reasons.append(found.reason)
            continue
        volume, frames = found
        yield volume
        ready = known + process_s
        for frame in frames:
            heapq.heappush(pending, (ready, count, replace(frame, received=SessionTime(ready))))
    while pending:
        yield heapq.heappop(pending)[2]


@dataclass(frozen=True)
class _Missed:
    index: int
    reason: str


def _cleaned(
    bold: BoldPart, clean: Callable[[Volume], Iterable[Output]]
) -> Iterator[tuple[float, tuple[Volume, list[BoldFrame]] | _Missed]]:
    """Give each volume with its frames, in the order in which they were known, and when that was."""
    for k in sorted(range(bold.n_volumes), key=bold.known_at_s):
        known = bold.known_at_s(k)
        try:
            volume = replace(bold.volume(k), received=SessionTime(known))
        except RecordingError as error:
            yield known, _Missed(bold.indices[k], f"volume {bold.indices[k]} cannot be read: {error}")
            continue
        yield known, (volume, [frame for frame in clean(volume) if isinstance(frame, BoldFrame)])


def _with_ticks(events: Iterator[Event]) -> Iterator[Event]:
    """Put ticks in where the EEG is silent: on whole heartbeats, before what is known at the same time."""
    beat: int | None = None
    last_eeg: float | None = None
    last = 0.0
    for event in events:
        now = float(event.received)
        if beat is None:
            beat, last = int(np.floor(now / HEARTBEAT_S)) + 1, now
        if now - last > LONGEST_SILENCE_S:
            beat = max(beat, int((now - LONGEST_SILENCE_S) / HEARTBEAT_S) + 1)
        while (at := beat * HEARTBEAT_S) < now:
            if last_eeg is None or at - last_eeg > SILENT_S:
                yield Tick(SessionTime(at), 0.0, SessionTime(at))
            beat += 1
        last = now
        if isinstance(event, EegChunk):
            last_eeg = now
        yield event
