"""What the rig does and when, without faults: pure, so that it can be looked at without playing."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
from pydantic import Field, model_validator

from streamer.acquire.recording import EegPart, RecordedMarker, Recording
from streamer.contracts import Settings
from streamer.rig.actions import Action, SendChunk, SendMarker, Timed, WriteVolume
from streamer.rig.faults import RigFaults

__all__ = ["Action", "RigSettings", "SendChunk", "SendMarker", "Timed", "WriteVolume", "left_out", "schedule", "span"]

_TAIL_S = 60.0
"""So long after the last EEG sample markers and volumes are still played, s: nobody waits for a wrong clock."""
_BEFORE = 1e-9
_NOT_OVER_RDA = frozenset(
    {
        "stamp_jitter_ms",
        "clock_offset_s",
        "drift_ppm",
        "clock_step_s",
        "doubled_chunk",
        "late_marker",
        "early_marker",
    }
)


class RigSettings(Settings):
    """How a recording is played."""

    stream_name: str = "rig"
    """Name of the EEG stream; the markers' is ``<name>-markers``."""
    speed: float = Field(default=1.0, gt=0, le=100)
    """Recording seconds per second. Stamps keep the recording's spacing: above 1 they run ahead of the clock."""
    start_s: float = Field(default=0.0, ge=0)
    """Where playing begins, s after the first EEG sample. Volumes keep their numbers: it is as if one came late."""
    stop_s: float | None = Field(default=None, gt=0)
    """Where playing ends, s after the first EEG sample; none: with the recording."""
    chunk_s: float = Field(default=0.02, gt=0, le=1)
    """EEG that is sent at a time, s: 20 ms is what amplifiers' programs do."""
    marker_spread_s: float = Field(default=0.1, ge=0, le=1)
    """A third of the markers are sent up to this long before their chunk, a third with it, a third after it, s."""
    halves: float = Field(default=0.3, ge=0, le=1)
    """Part of the volumes whose file is written in two halves."""
    half_s: float = Field(default=0.05, ge=0, le=2)
    """Between the halves, s."""
    seed: int = Field(default=0, ge=0)
    """Decides which markers and files come how, and which get a fault."""
    faults: RigFaults = RigFaults()
    """What goes wrong."""
    rda_port: int | None = Field(default=None, ge=0, le=65535)
    """Play the EEG as BrainVision Recorder at this port, 0 for a free one; none: on LSL."""
    wait_consumers: bool = True
    """Begin when somebody listens to both streams: what is sent before is lost."""
    wait_s: float = Field(default=120.0, gt=0)
    """How long a listener is waited for, s."""
    linger_s: float = Field(default=2.0, ge=0)
    """Both streams stay open so long after the end, s: what is on its way still arrives."""

    @model_validator(mode="after")
    def _check(self) -> RigSettings:
        if self.stop_s is not None and self.stop_s <= self.start_s:
            raise ValueError(f"plays from {self.start_s} to {self.stop_s} s: expected an end after the start")
        if self.rda_port is not None and (wrong := sorted(_NOT_OVER_RDA & set(self.faults.names))):
            raise ValueError(
                "RDA carries no time stamps, each sample once, and markers within their blocks: "
                f"{', '.join(wrong)} cannot be played there"
            )
        return self


def span(recording: Recording, settings: RigSettings) -> tuple[float, float]:
    """Give what is played, s after the first EEG sample.

    A recording is played until its last marker and volume are out, which may be after its last EEG sample.
    """
    eeg, bold = recording.eeg, recording.bold
    end = recording.duration_s
    if eeg is not None:
        later = [marker.at_s + 1.0 / eeg.sfreq for marker in eeg.markers]
        if bold is not None:
            later += [bold.known_at_s(k) for k in range(bold.n_volumes)]
        end = max([end, *(at for at in later if at <= end + _TAIL_S)])
    return settings.start_s, end if settings.stop_s is None else min(end, settings.stop_s)


def left_out(recording: Recording, settings: RigSettings) -> tuple[int, int]:
    """Count the markers and volumes that are not played."""
    start_s, stop_s = span(recording, settings)
    markers = 0 if recording.eeg is None else sum(not _plays(m, start_s, stop_s) for m in recording.eeg.markers)
    bold = recording.bold
    volumes = (
        0 if bold is None else sum(not _volume_plays(recording, k, start_s, stop_s) for k in range(bold.n_volumes))
    )
    return markers, volumes


def schedule(recording: Recording, settings: RigSettings) -> Iterator[Timed]:
    """Give all actions in the order of their times.

    A chunk is sent when its last sample is over; a gap in the recording is a gap in what is sent. A volume is played
    when its acquisition begins after the start and its last byte lies before the end. When playing begins with the
    recording, what lies before its first EEG sample is sent at once. Over RDA, EEG is sent in whole blocks and a marker
    is told when it happens: it travels in the block that holds it.
    """
    start_s, stop_s = span(recording, settings)
    for_markers, for_volumes = np.random.default_rng(settings.seed).spawn(2)
    volumes = _volumes(recording, settings, start_s, stop_s, for_volumes)
    eeg = recording.eeg
    if eeg is None:
        return iter(volumes)
    chunks = _Chunks(eeg, start_s, stop_s, settings)
    markers = _markers(eeg, chunks, settings, start_s, stop_s, for_markers)
    # equal times keep this order: a marker that comes with its chunk comes right after it
    return heapq.merge(chunks.all(), markers, volumes, key=lambda timed: timed[0])


class _Chunks:
    """The EEG cut into blocks of so many samples, and these where a stretch is missing."""

    def __init__(self, eeg: EegPart, start_s: float, stop_s: float, settings: RigSettings) -> None:
        self._eeg, self._longest_s = eeg, settings.chunk_s
        self._step = max(1, round(settings.chunk_s * eeg.sfreq))
        # stamps may jitter: where nothing is cut off, no sample is looked for by its time
        self._first = self.sample_at(start_s) if start_s > 0 else 0
        self._last = self.sample_at(stop_s) if stop_s < eeg.duration_s else eeg.n_samples
        if settings.rda_port is not None and self._last < eeg.n_samples:
            self._last -= (self._last - self._first) % self._step

    def sample_at(self, at_s: float) -> int:
        """Give the first sample that is not before this time; the number of samples when there is none."""
        return bisect_left(range(self._eeg.n_samples), at_s - _BEFORE, key=self._time)

    def _time(self, sample: int) -> float:
        return float(self._eeg.times(sample, sample + 1)[1][0])

    def _block(self, number: int) -> list[tuple[float, SendChunk]]:
        start = self._first + number * self._step
        stop = min(start + self._step, self._last)
        times = self._eeg.times(start, stop)[1]
        if times.max() - times.min() <= self._longest_s:
            return [(float(times[-1]) + 1.0 / self._eeg.sfreq, SendChunk(start, stop))]
        cuts = [start, *(start + 1 + np.flatnonzero(np.diff(times) > self._longest_s)).tolist(), stop]
        ends = (times[[cut - start - 1 for cut in cuts[1:]]] + 1.0 / self._eeg.sfreq).tolist()
        return [(end, SendChunk(a, b)) for end, a, b in zip(ends, cuts, cuts[1:], strict=False)]

    def all(self) -> Iterator[tuple[float, SendChunk]]:
        """Give every chunk with the time at which it can be sent."""
        newest = -np.inf
        for number in range(-(-(self._last - self._first) // self._step)):
            for end, chunk in self._block(number):
                # stamps may jitter: chunks stay in their order
                newest = max(newest, end)
                yield newest, chunk

    def sent_at(self, marker: RecordedMarker) -> float:
        """Give the time at which the chunk of a marker is sent; its own time where it lies in none."""
        sample = marker.sample if marker.sample is not None else self.sample_at(marker.at_s)
        if not self._first <= sample < self._last or self._time(sample) - marker.at_s > self._longest_s:
            return marker.at_s
        pieces = self._block((sample - self._first) // self._step)
        return next(end for end, chunk in pieces if chunk.start <= sample < chunk.stop)


def _plays(marker: RecordedMarker, start_s: float, stop_s: float) -> bool:
    return marker.at_s <= stop_s - _BEFORE and (marker.at_s >= start_s - _BEFORE or start_s == 0)


def _markers(
    eeg: EegPart, chunks: _Chunks, settings: RigSettings, start_s: float, stop_s: float, rng: np.random.Generator
) -> list[Timed]:
    timed: list[Timed] = []
    for place, marker in enumerate(eeg.markers):
        way, share = int(rng.integers(3)), float(rng.uniform(0.05, 1.0))
        if not _plays(marker, start_s, stop_s):
            continue
        if settings.rda_port is None:
            at = chunks.sent_at(marker) + (way - 1) * share * settings.marker_spread_s
        else:
            at = marker.at_s
        timed.append((max(start_s, at), SendMarker(marker.label, marker.at_s, place, marker.sample)))
    return sorted(timed, key=lambda item: item[0])


def _volume_plays(recording: Recording, k: int, start_s: float, stop_s: float) -> bool:
    assert recording.bold is not None
    # without an EEG the first volumes would lie before the axis' start: they are all played
    begins = recording.bold.onset_s(k) >= start_s or start_s == 0
    return begins and recording.bold.known_at_s(k) <= stop_s


def _volumes(
    recording: Recording, settings: RigSettings, start_s: float, stop_s: float, rng: np.random.Generator
) -> list[Timed]:
    bold = recording.bold
    if bold is None:
        return []
    timed: list[Timed] = []
    for k in range(bold.n_volumes):
        halved = bool(rng.random() < settings.halves)
        if not _volume_plays(recording, k, start_s, stop_s):
            continue
        known = bold.known_at_s(k)
        if halved:
            timed.append((known - settings.half_s, WriteVolume(k, 0, 2)))
            timed.append((known, WriteVolume(k, 1, 2)))
        else:
            timed.append((known, WriteVolume(k, 0, 1)))
    return sorted(timed, key=lambda item: item[0])
