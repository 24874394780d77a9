"""How well the EEG lane cleans, what it costs and how late it is: on planted truth, and on a real recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.bench.eeg_beats import bench_beats
from streamer.bench.eeg_cost import bench_cost, bench_start
from streamer.bench.eeg_gradient import SEQUENCES, bench_gradient
from streamer.bench.eeg_pulse import bench_both, bench_pulse
from streamer.bench.eeg_real import bench_real
from streamer.bench.eeg_steps import bench_steps
from streamer.bench.figures import Figure
from streamer.clean.eeg.decimate import design

_SFREQ, _FACTOR = 5000.0, 20
Progress = Callable[[float], None]


def bench_eeg_lane(
    progress: Progress, *, quick: bool = False, seeds: int = 3, real: Path | None = None
) -> list[Figure]:
    """Measure the lane: causal, 64 channels and ECG at 5 kHz, everything in one band from 0.5 to 70 Hz.

    One session is held in memory at a time.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    quick : bool
        One seed, one sequence, 16 channels where it is not the cost that is measured, shorter sessions.
    seeds : int
        Simulated participants per row.
    real : Path or None
        Folder of real recordings, see :func:`streamer.bench.eeg_real.real_session`.
    """
    if quick:
        sequences, seeds, n_channels = ("TR 2 s",), 1, 17
    else:
        sequences, n_channels = tuple(SEQUENCES), 65
    blocks = 14 if quick else 24
    # each with its share of the time that all take
    parts: list[tuple[float, Callable[[Progress], list[Figure]]]] = [
        (10.0, lambda tell: bench_gradient(tell, seeds, sequences, n_channels)),
        (2.0, lambda tell: bench_both(tell, seeds, sequences, n_channels)),
        (3.0, lambda tell: bench_pulse(tell, seeds, blocks=blocks, n_channels=n_channels)),
        (1.5, lambda tell: bench_steps(tell, seeds, n_channels=n_channels)),
        (2.0, lambda tell: bench_beats(tell, seeds, blocks=8 if quick else 20)),
        (2.0, lambda tell: bench_cost(tell, blocks=6 if quick else 10, repeats=1 if quick else 3)),
        (0.5, lambda _: bench_start(1 if quick else 3)),
        (0.1, lambda _: decimator()),
    ]
    if real is not None:
        parts.append((2.0, lambda tell: bench_real(real, tell)))
    total, done = sum(share for share, _ in parts), 0.0
    figures: list[Figure] = []
    for share, measure in parts:
        figures += measure(lambda part, done=done, share=share: progress((done + part * share) / total))
        done += share
        progress(done / total)
    return figures


def decimator() -> list[Figure]:
    """Frequency response of the decimator."""
    taps = design(_SFREQ, _FACTOR)
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 50_000)) + 1e-12)
    freqs = np.fft.rfftfreq(50_000, 1 / _SFREQ)
    return [
        Figure("decimator, ripple to 70 Hz", float(np.abs(response[freqs <= 70]).max()), "dB"),
        Figure("decimator, from 180 Hz on", float(response[freqs >= 180].max()), "dB"),
    ]
