"""Recordings in memory, for the rig: nothing of their volumes can be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recording import RecordedMarker, Recording
from streamer.messages import F32, F64, ChannelInfo


@dataclass(frozen=True)
class MemoryEeg:
    """An EEG part whose samples carry their own number."""

    at: F64
    sfreq: float
    markers: tuple[RecordedMarker, ...] = ()
    format: str = "memory"
    problems: tuple[str, ...] = ()
    channels: tuple[ChannelInfo, ...] = (ChannelInfo("Cz", "eeg"),)

    @property
    def n_samples(self) -> int:
        return len(self.at)

    @property
    def duration_s(self) -> float:
        return float(self.at[-1]) + 1 / self.sfreq

    def read(self, start: int, stop: int) -> F32:
        return np.arange(start, stop, dtype=np.float32)[:, None] * np.float32(1e-6)

    def times(self, start: int, stop: int) -> tuple[F64, F64]:
        return self.at[start:stop] + 1e5, self.at[start:stop]


def memory_bold(n: int, tr: float, first_s: float = 1.0) -> BoldPart:
    """Volumes a TR apart, known 0.3 s after their end."""

    def refuse(k: int) -> None:
        raise AssertionError(f"volume {k} was read")

    onsets = tuple(first_s + tr * k for k in range(n))
    return BoldPart(tuple(range(n)), tr, "R128", 0, onsets, tuple(t + tr + 0.3 for t in onsets), refuse, refuse)  # type: ignore[arg-type]


def memory_recording(sfreq=200.0, seconds=30.0, gaps=(), jitter_s=0.0, n_volumes=30, tr=0.8, sampled=True) -> Recording:
    """EEG with gaps (at, length) in s and jittering stamps, a trigger per volume and some other markers."""
    rng = np.random.default_rng(5)
    at = np.arange(round(seconds * sfreq)) / sfreq
    for begin, length in sorted(gaps, reverse=True):
        at[at >= begin] += length
    at = at + np.concatenate([[0.0], np.abs(rng.normal(0, jitter_s, len(at) - 1))])
    bold = memory_bold(n_volumes, tr)
    when = [(t, "R128") for t in bold.onsets] + [(t, "S  1") for t in np.arange(0.35, seconds, 1.7).tolist()]
    markers = tuple(
        RecordedMarker(label, t, t + 1e5, int(np.searchsorted(at, t - 1e-9)) if sampled else None)
        for t, label in sorted(when)
        if t < at[-1]
    )
    return Recording("memory", MemoryEeg(at, sfreq, markers), bold)
