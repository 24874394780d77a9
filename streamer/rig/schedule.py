"""What the rig does and when: pure, so that it can be looked at without playing."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from streamer.acquire.recording import Recording
from streamer.contracts import Settings


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
    """Decides which markers and files come how."""
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
        return self


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send the EEG's samples ``start`` to ``stop`` (excluded)."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class SendMarker:
    """Send a marker, stamped with its own time."""

    label: str
    at_s: float
    """On the recording's axis, s."""


@dataclass(frozen=True, slots=True)
class WriteVolume:
    """Write a part of a volume's file; complete when ``part`` is ``parts - 1``."""

    k: int
    part: int
    parts: int


Action = SendChunk | SendMarker | WriteVolume
Timed = tuple[float, Action]
"""s after the first EEG sample, and what to do then."""


def span(recording: Recording, settings: RigSettings) -> tuple[float, float]:
    """Give what is played, s after the first EEG sample."""
    end = recording.duration_s
    return settings.start_s, end if settings.stop_s is None else min(end, settings.stop_s)


def schedule(recording: Recording, settings: RigSettings) -> Iterator[Timed]:
    """Give all actions in the order of their times.

    A volume is played when its acquisition begins after the start and its last byte lies before the end.
    """
    start_s, stop_s = span(recording, settings)
    for_markers, for_volumes = np.random.default_rng(settings.seed).spawn(2)
    volumes = _volumes(recording, settings, start_s, stop_s, for_volumes)
    if recording.eeg is None:
        return iter(volumes)
    first, last = round(start_s * recording.eeg.sfreq), round(stop_s * recording.eeg.sfreq)
    last = min(last, recording.eeg.n_samples)
    chunks = _chunks(recording.eeg.sfreq, first, last, settings.chunk_s)
    markers = _markers(recording, settings, first, last, for_markers)
    # equal times keep this order: a marker that comes with its chunk comes right after it
    return heapq.merge(chunks, markers, volumes, key=lambda timed: timed[0])


def _chunks(sfreq: float, first: int, last: int, chunk_s: float) -> Iterator[Timed]:
    step = max(1, round(chunk_s * sfreq))
    for start in range(first, last, step):
        stop = min(start + step, last)
        # a chunk can be sent once its last sample is there
        yield stop / sfreq, SendChunk(start, stop)


def _markers(
    recording: Recording, settings: RigSettings, first: int, last: int, rng: np.random.Generator
) -> list[Timed]:
    assert recording.eeg is not None
    sfreq = recording.eeg.sfreq
    step = max(1, round(settings.chunk_s * sfreq))
    timed: list[Timed] = []
    for marker in recording.eeg.markers:
        way, share = int(rng.integers(3)), float(rng.uniform(0.05, 1.0))
        sample = math.floor(marker.at_s * sfreq + 1e-6)
        if not first <= sample < last:
            continue
        with_chunk = min(first + ((sample - first) // step + 1) * step, last) / sfreq
        shift = (way - 1) * share * settings.marker_spread_s
        timed.append((max(first / sfreq, with_chunk + shift), SendMarker(marker.label, marker.at_s)))
    return sorted(timed, key=lambda item: item[0])


def _volumes(
    recording: Recording, settings: RigSettings, start_s: float, stop_s: float, rng: np.random.Generator
) -> list[Timed]:
    bold = recording.bold
    if bold is None:
        return []
    timed: list[Timed] = []
    for k in range(bold.n_volumes):
        halved = bool(rng.random() < settings.halves)
        known = bold.known_at_s(k)
        # without an EEG the first volumes would lie before the axis' start: they are all played
        if known > stop_s or (bold.onset_s(k) < start_s and start_s > 0):
            continue
        if halved:
            timed.append((known - settings.half_s, WriteVolume(k, 0, 2)))
            timed.append((known, WriteVolume(k, 1, 2)))
        else:
            timed.append((known, WriteVolume(k, 0, 1)))
    return sorted(timed, key=lambda item: item[0])
