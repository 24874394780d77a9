"""Faults of the EEG's way: chunks late, lost, twice, wrongly stamped; a stream that is silent or goes away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.rig.actions import CloseStreams, OpenStreams, SendChunk, Timed
from streamer.rig.draw import Draw
from streamer.rig.ledger import Injected

TimedChunk = tuple[float, SendChunk]
_SPIKE_S = (0.05, 0.3)
_SAME = 1e-9


@dataclass(frozen=True)
class Window:
    """A stretch in which nothing is sent."""

    fault: str
    begin: float
    """s on the recording's axis."""
    end: float


def windows_of(draw: Draw, *names: str) -> tuple[Window, ...]:
    """Give the stretches of these faults, in the order of their times."""
    found = [(name, draw.stretch(name)) for name in names]
    return tuple(sorted((Window(n, *s) for n, s in found if s is not None), key=lambda window: window.begin))


def inside(windows: Sequence[Window], at: float) -> Window | None:
    """Give the window that a time lies in."""
    return next((window for window in windows if window.begin <= at < window.end), None)


def before_the_next(windows: Sequence[Window], at: float, later: float) -> float:
    """Put a sending off from ``at`` to ``later``, though not into or over a window: it is sent out before that."""
    limit = min((window.begin for window in windows if window.begin > at), default=math.inf)
    return min(later, math.nextafter(limit, -math.inf))


class SenderClock:
    """What the sender's clock is wrong by.

    A change of it falls between two chunks, and markers change with the samples.
    """

    def __init__(self, draw: Draw, chunks: Sequence[TimedChunk]) -> None:
        self._faults = draw.faults
        self._ends = [at for at, _ in chunks]
        step_at = draw.moment("clock_step_s")
        self.step_at = None if step_at is None else self._boundary(step_at)
        self._offset_at = self._boundary(draw.since("clock_offset_s"))
        self._drift_at = self._boundary(draw.since("drift_ppm"))

    def _boundary(self, at: float) -> float:
        return max((end for end in self._ends if end <= at), default=-math.inf)

    def error(self, at: float) -> tuple[float, float]:
        """Give what is added to the stamps at this time on the axis, s, and how much faster the clock runs, ppm."""
        faults, offset, ppm = self._faults, 0.0, 0.0
        if at >= self._offset_at - _SAME:
            offset += faults.clock_offset_s
        if self.step_at is not None and at >= self.step_at - _SAME:
            offset += faults.clock_step_s
        if at >= self._drift_at - _SAME and faults.drift_ppm:
            ppm = faults.drift_ppm
            offset -= ppm * 1e-6 * (self._drift_at if math.isfinite(self._drift_at) else 0.0)
        return offset, ppm


def faulty_streams(draw: Draw, ledger: list[Injected]) -> list[Timed]:
    """Take the streams away and bring them back."""
    timed: list[Timed] = []
    for window in windows_of(draw, "outlet_gone_s"):
        timed += [(window.begin, CloseStreams()), (window.end, OpenStreams())]
    lasting = windows_of(draw, "outlet_gone_s", "silent_s")
    ledger += [Injected(window.fault, window.begin, window.end - window.begin) for window in lasting]
    return timed


def faulty_chunks(
    chunks: Sequence[TimedChunk], clock: SenderClock, draw: Draw, ledger: list[Injected]
) -> list[TimedChunk]:
    """Put the EEG's faults into its chunks; they keep their order."""
    faults, at = draw.faults, [when for when, _ in chunks]
    windows = windows_of(draw, "outlet_gone_s", "silent_s")
    lost, doubled, spiked = (draw.hits(name, at) for name in ("lost_chunk", "doubled_chunk", "spike"))
    spikes = draw.rng("spike-size").uniform(*_SPIKE_S, len(at)).tolist()
    delays = _from(draw, "jitter_ms", at, draw.rng("jitter_ms").exponential(faults.jitter_ms * 1e-3, len(at)))
    errors = _from(
        draw, "stamp_jitter_ms", at, draw.rng("stamp_jitter_ms").normal(0, faults.stamp_jitter_ms * 1e-3, len(at))
    )
    sent: list[TimedChunk] = []
    dropped: list[Injected] = []
    newest = begin = -math.inf
    for i, (when, chunk) in enumerate(chunks):
        begin, began = when, begin
        samples = (chunk.start, chunk.stop)
        if (window := inside(windows, when)) is not None:
            _drop(dropped, Injected(window.fault, when, samples=samples))
            continue
        if lost[i]:
            ledger.append(Injected("lost_chunk", when, samples=samples))
            continue
        wanted = when + delays[i] + (spikes[i] if spiked[i] else 0.0)
        newest = before_the_next(windows, when, max(newest, wanted))
        if spiked[i]:
            ledger.append(Injected("spike", when, newest - when, samples))
        offset, ppm = clock.error(began)
        sent.append((newest, SendChunk(*samples, offset + errors[i], ppm)))
        if doubled[i]:
            sent.append(sent[-1])
            ledger.append(Injected("doubled_chunk", when, samples=samples))
    ledger += dropped
    if chunks:
        ledger += _lasting(draw, clock, at)
    return sent


def _from(draw: Draw, name: str, at: list[float], drawn: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    return np.where(np.asarray(at) >= draw.since(name), drawn, 0.0).tolist()


def _drop(dropped: list[Injected], entry: Injected) -> None:
    # one entry for all that is lost in one piece
    last = dropped[-1] if dropped else None
    if last and last.fault == entry.fault and last.samples and entry.samples and last.samples[1] == entry.samples[0]:
        dropped[-1] = replace(last, samples=(last.samples[0], entry.samples[1]))
    else:
        dropped.append(entry)


def _lasting(draw: Draw, clock: SenderClock, at: list[float]) -> list[Injected]:
    """List what goes on from some moment to the end, once each."""
    entries = [
        Injected(name, max(draw.start_s, draw.since(name)), getattr(draw.faults, name))
        for name in ("jitter_ms", "stamp_jitter_ms", "clock_offset_s", "drift_ppm")
        if getattr(draw.faults, name) and draw.since(name) <= at[-1]
    ]
    if clock.step_at is not None:
        entries.append(Injected("clock_step_s", max(draw.start_s, clock.step_at), draw.faults.clock_step_s))
    return entries
