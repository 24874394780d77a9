"""Takes planted EEG through the whole lane, and compares what comes out with what is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from streamer.clean.eeg.lane import EegLane
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.messages import F32, F64, Array, ChannelInfo, EegChunk, Flag, SessionTime

BAND_HZ = (0.5, 70.0)
"""Everything is measured in this one band: no decibel comes from filtering."""


def lane_settings(*, gradient: bool = True, pulse: str = "off", hold_s: float = 0.0) -> EegLaneSettings:
    """Give the defaults but for the band, the reference and the mains: each channel for itself, from 0.5 to 70 Hz.

    Parameters
    ----------
    gradient : bool
        Whether the gradient artefact is corrected.
    pulse : str
        Mode of the pulse artefact's correction.
    hold_s : float
        For how long each volume's beginning may be held back to find where it lies, s.
    """
    wanted: dict[str, Any] = {
        "gradient": {"enabled": gradient, "hold_s": hold_s},
        "pulse": {"mode": pulse},
        "band_hz": BAND_HZ,
        "line": {"mode": "off"},
        "reference": {"kind": "none"},
    }
    return EegLaneSettings.model_validate(wanted)


@dataclass(frozen=True)
class Cleaned:
    """What the lane made of a run."""

    data: F32
    """V, shape (n_out, n_eeg), on the decimated grid from sample 0; NaN where nothing came out."""
    flags: Array
    """Of each sample, int, shape (n_out,)."""
    factor: int
    """Input samples per output sample."""
    sfreq: float
    """Hz."""
    epochs: int
    """Volumes in the gradient's template at the end."""
    hold_s: float
    """For how long the lane holds its output back, s."""

    def volumes(self, starts: F64) -> list[slice]:
        """Output samples of each volume; those that the lane's delay brings in from the one before are left out."""
        edges = np.ceil(starts / self.factor).astype(int).tolist()
        return [slice(a, b) for a, b in pairwise(edges)]


def chunks(parts: Sequence[F32], size: int, sfreq: float, lost: tuple[int, int] | None = None) -> list[EegChunk]:
    """Sum up the parts and cut them into chunks with steady stamps.

    Parameters
    ----------
    parts : sequence of ndarray, float32, shape (n_times, n_channels)
    size : int
        Samples per chunk.
    sfreq : float
        Hz.
    lost : (int, int) or None
        First sample that is lost and first that is there again.
    """
    n = len(parts[0])
    cuts = [*range(0, n, size), n]
    if lost is not None:
        cuts = sorted({*cuts, *lost})
    out: list[EegChunk] = []
    for a, b in pairwise(cuts):
        if lost is not None and lost[0] <= a < lost[1]:
            continue
        data = parts[0][a:b] + sum(part[a:b] for part in parts[1:]) if len(parts) > 1 else parts[0][a:b]
        times = 100.0 + np.arange(a, b) / sfreq
        flags = Flag.GAP if lost is not None and a == lost[1] else Flag.NONE
        out.append(EegChunk("bench", data, times, times, a, SessionTime(float(times[-1])), flags))
    return out


def through(
    parts: Sequence[F32],
    triggers: Sequence[int],
    settings: EegLaneSettings,
    channels: tuple[ChannelInfo, ...],
    sfreq: float,
    *,
    lost: tuple[int, int] | None = None,
    poses: Sequence[tuple[int, int, F64]] = (),
    size: int = 2000,
) -> Cleaned:
    """Take the sum of ``parts`` through a new lane.

    Parameters
    ----------
    parts, sfreq, lost, size
        As in :func:`chunks`.
    triggers : sequence of int
        Samples of the volume triggers; each is told with the chunk that holds it.
    settings : EegLaneSettings
    channels : tuple of ChannelInfo
    poses : sequence of (int, int, ndarray of shape (6,))
        When the BOLD lane knows of a pose (sample), of which volume (sample of its trigger), and the pose.
    """
    lane = EegLane(settings, sfreq, channels)
    n_out = len(parts[0]) // lane.factor
    data = np.full((n_out, len(lane.channels)), np.nan, np.float32)
    flags = np.zeros(n_out, np.int64)
    waiting, told = sorted(triggers), list(poses)
    for chunk in chunks(parts, size, sfreq, lost):
        while waiting and waiting[0] < chunk.first_sample + len(chunk.data):
            lane.trigger(waiting.pop(0))
        while told and told[0][0] < chunk.first_sample:
            lane.pose(*told.pop(0)[1:])
        for clean in lane.chunk(chunk):
            at = slice(clean.first_sample, clean.first_sample + len(clean.data))
            data[at], flags[at] = clean.data, int(clean.flags)
    return Cleaned(data, flags, lane.factor, lane.sfreq_out, lane.quality.template_epochs, lane.hold_s)


def rms(values: Array) -> float:
    """Root of the mean square of what is there."""
    return float(np.sqrt(np.nanmean(np.square(values, dtype=np.float64))))


def decibels(ratio: float) -> float:
    """Of a ratio of powers."""
    return float(10 * np.log10(ratio))


def spectrum(data: F32, sfreq: float, length: int) -> tuple[F64, F64]:
    """Power over pieces of ``length`` samples that overlap by half (Hann), all channels: frequencies and powers."""
    pieces = range(0, len(data) - length + 1, length // 2)
    window = np.hanning(length + 1)[:-1, None]
    total = np.zeros(length // 2 + 1)
    for a in pieces:
        piece = data[a : a + length].astype(np.float64)
        if np.isfinite(piece).all():
            total += np.square(np.abs(np.fft.rfft(window * (piece - piece.mean(axis=0)), axis=0))).sum(axis=1)
    return np.arange(length // 2 + 1, dtype=np.float64) * (sfreq / length), total


def band_change(data: F32, truth: F32, sfreq: float, low_hz: float, high_hz: float, length_s: float = 4.0) -> float:
    """Power of ``data`` in a band against that of ``truth``, dB."""
    there = np.isfinite(data).all(axis=1) & np.isfinite(truth).all(axis=1)
    length = round(length_s * sfreq)
    freqs, power = spectrum(data[there], sfreq, length)
    _, true = spectrum(truth[there], sfreq, length)
    inside = (freqs >= low_hz - 1e-9) & (freqs <= high_hz + 1e-9)
    return decibels(float(power[inside].sum() / true[inside].sum()))


def harmonics(data: F32, truth: F32, sfreq: float, slice_hz: float, length_s: float) -> list[float]:
    """Power within 0.1 Hz of the multiples of the slice frequency against that of the truth, dB each."""
    count = int(BAND_HZ[1] // slice_hz)
    return [
        band_change(data, truth, sfreq, k * slice_hz - 0.1, k * slice_hz + 0.1, length_s) for k in range(1, count + 1)
    ]
