"""Streams whose truth is known: an amplifier and a scanner, each with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamer.align.eeg_time import EegTimeline, EegTimelineSettings
from streamer.align.triggers import TriggerSettings, TriggerTrain
from streamer.align.volume_match import VolumeMatcher
from streamer.messages import F32, F64, BoldFrame, EegChunk, Marker, ScannerTime, SessionTime

SFREQ = 5000.0
ORIGIN = 1000.0
OFFSET = 40.0
SCANNER = 30_000.0


@dataclass(frozen=True)
class Sender:
    """An amplifier on LSL: how its stamps come about."""

    seconds: float
    sfreq: float = SFREQ
    ppm: float = 0.0
    """How much faster its samples come than nominal, 1e-6."""
    jitter_s: float = 0.0
    """Mean of the exponential delay of a chunk's stamps, s."""
    chunk: int = 100
    gap: tuple[float, float] | None = None
    """Beginning and length of a loss that the source does not count, s."""
    offset_noise_s: float = 0.0
    """Standard deviation of a clock offset measured every 2 s, s."""

    def truth(self, sample: F64) -> F64:
        """When a sample was taken, s on the sender's clock."""
        return ORIGIN + sample / (self.sfreq * (1 + 1e-6 * self.ppm))

    def chunks(self, rng: np.random.Generator) -> tuple[list[EegChunk], F64]:
        """Make the chunks, and the true number of every sample that was sent."""
        n = round(self.seconds * self.sfreq)
        number = np.arange(n, dtype=np.float64)
        if self.gap is not None:
            start, length = (round(s * self.sfreq) for s in self.gap)
            number = np.delete(number, slice(start, start + length))
        out: list[EegChunk] = []
        offset = OFFSET
        measured = known = -np.inf
        for first in range(0, len(number), self.chunk):
            part = number[first : first + self.chunk]
            raw = self.truth(part) + (rng.exponential(self.jitter_s) if self.jitter_s else 0.0)
            if raw[-1] - measured > 2.0:
                measured, offset = raw[-1], OFFSET + rng.normal(0.0, 1.0) * self.offset_noise_s
            data = (first + np.arange(len(part), dtype=np.float32))[:, None]
            # a stream keeps its order, however its stamps jitter
            known = max(known, float(raw[-1]) + OFFSET + 0.002)
            out.append(EegChunk("eeg", data, raw, raw + offset, first, SessionTime(known)))
        return out, number


def timed(sender: Sender, rng: np.random.Generator) -> tuple[F64, F64, EegTimeline]:
    """Take a sender through the timeline; true times and given times of all samples that came out."""
    timeline = EegTimeline(EegTimelineSettings(), sender.sfreq)
    chunks, number = sender.chunks(rng)
    times = np.concatenate([piece.times for chunk in chunks for piece in timeline(chunk)])
    return sender.truth(number[: len(times)]) + OFFSET, times, timeline


def recursive_dejitter(stamps: F64, sfreq: float, half_time_s: float = 90.0) -> F64:
    """Smooth stamps as liblsl does: recursive least squares over the count of samples that came, gaps unknown."""
    keep = 2.0 ** (-1.0 / (sfreq * half_time_s))
    start = float(stamps[0])
    w0, w1 = 0.0, 1.0 / sfreq
    p00, p01, p11 = 1e10, 0.0, 1e10
    out = np.empty_like(stamps)
    for u, stamp in enumerate((stamps - start).tolist()):
        a, b = p00 + p01 * u, p01 + p11 * u
        total = keep + a + b * u
        error = stamp - w0 - w1 * u
        w0 += a / total * error
        w1 += b / total * error
        p00, p01, p11 = (p00 - a * a / total) / keep, (p01 - a * b / total) / keep, (p11 - b * b / total) / keep
        out[u] = start + w0 + w1 * u
    return out


class Aligner:
    """What the engine does with time, without what it does with signals."""

    def __init__(self, sfreq: float, settings: TriggerSettings | None = None) -> None:
        self.timeline = EegTimeline(EegTimelineSettings(), sfreq)
        self.triggers = TriggerTrain(settings or TriggerSettings(), sfreq, self.timeline.samples)
        self.matcher = VolumeMatcher(0)
        self.pieces: list[EegChunk] = []
        self.markers: list[Marker] = []

    def feed(self, event: EegChunk | Marker | BoldFrame) -> SessionTime | None:
        """Take an event; the onset when it was a frame."""
        match event:
            case EegChunk():
                for piece in self.timeline(event):
                    self.pieces.append(piece)
                    self.markers += self.triggers.chunk(piece)
                return None
            case Marker():
                self.markers += self.triggers.marker(event)
                return None
            case _:
                return self.matcher(event, self.triggers.trains, self.triggers.newest).onset

    def time_of(self, grid: F64) -> F64:
        """Tell the session time that samples of the grid (fractions too) were given."""
        index = np.concatenate([p.first_sample + np.arange(len(p.data)) for p in self.pieces])
        return np.interp(grid, index, np.concatenate([p.times for p in self.pieces]))


def volume(index: int, tr: float, received: float, onset: float | None = None) -> BoldFrame:
    """Make a frame that holds nothing but its times."""
    nothing: F32 = np.zeros(1, np.float32)
    scanner = None if onset is None else ScannerTime(onset)
    received = SessionTime(received)
    return BoldFrame(index, "s1", nothing, nothing, np.zeros(6), 0.0, tr, None, received, onset=scanner)


def merged(sender: Sender, rng: np.random.Generator, tr: float, drop: float, *, exact: bool) -> Iterator[object]:
    """Give chunks, markers and frames in the order in which they come.

    Parameters
    ----------
    sender : Sender
    rng : Generator
    tr : float
        s, by the scanner's clock, which is the true one.
    drop : float
        Share of triggers that never come.
    exact : bool
        Markers carry their sample's own stamp; else their own delay, drawn like that of a chunk.
    """
    chunks, _ = sender.chunks(rng)
    events: list[tuple[float, int, object]] = [(chunk.received, 1, chunk) for chunk in chunks]
    stamps = np.concatenate([chunk.times_raw for chunk in chunks])
    for k in range(int((sender.seconds - 1.0) / tr)):
        onset = ORIGIN + 0.5 + k * tr
        # the amplifier sees it in the nearest sample
        sample = round((onset - ORIGIN) * sender.sfreq * (1 + 1e-6 * sender.ppm))
        raw = float(stamps[sample]) if exact else onset + (rng.exponential(sender.jitter_s) if sender.jitter_s else 0.0)
        if rng.random() >= drop:
            received = SessionTime(raw + OFFSET + rng.uniform(0.0, 0.05))
            events.append((received, 0, Marker("R128", SessionTime(raw + OFFSET), raw, None, received)))
        known = onset + OFFSET + tr + rng.uniform(0.3, 1.0)
        stamped = SCANNER + round(k * tr / 0.0025) * 0.0025
        events.append((known, 2, volume(k, tr, known, stamped)))
    events.sort(key=lambda item: item[:2])
    for _, _, event in events:
        yield event
