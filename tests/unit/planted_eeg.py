"""A board that follows a session with planted EEG."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dashboard.board import Board
from streamer.formats.montage import electrode_positions
from streamer.wire import About, ChannelEntry, EegPreview, HealthMessage, Status

SFREQ = 100.0
NAMES = ["Fp1", "Fp2", "F3", "F4", "C3", "Cz", "C4", "P3", "P4", "O1", "Oz", "O2"]
START = 1000.0
"""SessionTime of sample 0, s."""

Signal = Callable[[np.ndarray], np.ndarray]
"""Times in s from sample 0, shape (n,), to µV, shape (n, n_channels)."""


def sine(amplitudes: Sequence[float], frequency: float = 10.0) -> Signal:
    return lambda t: np.sin(2 * np.pi * frequency * t)[:, None] * np.asarray(amplitudes)


def session(names: Sequence[str] = NAMES, *, unplaced: Sequence[str] = (), blinded: bool = False) -> Board:
    """A board that knows of a session, and nothing more."""
    board = Board()
    positions = electrode_positions(names)
    channels = [
        ChannelEntry(name, "eeg", None if name in unplaced or np.isnan(place).any() else place.tolist())
        for name, place in zip(names, positions, strict=True)
    ]
    about = About(
        session="s",
        eeg_sfreq=SFREQ,
        channels=[*channels, ChannelEntry("ECG", "ecg")],
        regions=[],
        classes=["rest", "task"],
        model="m@0",
        tick_hz=10.0,
        thresholds={},
        versions={},
        blinded=blinded,
    )
    board.take("s", about)
    board.take("s", Status(session="s", online=True, state="RUNNING"))
    return board


def send(board: Board, signal: Signal, begin: float, end: float, *, bad: Sequence[int] = (), raw: bool = False) -> None:
    """Send the EEG of a stretch, s from sample 0; raw as pairs of a least and a largest value of two samples."""
    first, last = round(begin * SFREQ), round(end * SFREQ)
    data = signal(np.arange(first, last) / SFREQ)
    message = EegPreview(
        first_sample=first,
        t0=START + begin,
        sfreq=SFREQ,
        data_uv=[[None if np.isnan(v) else float(v) for v in channel] for channel in data.T],
        flags=[],
        bad=list(bad),
        raw=raw,
    )
    board.take("s", message)


def tell_time(board: Board, at: float) -> None:
    """Let the loop say that it is ``at``, s from sample 0, while no EEG comes."""
    board.take(
        "s",
        HealthMessage(
            state="RUNNING", at=START + at, counts={}, losses={}, latency_ms={}, queues={}, flags=[], notes=[]
        ),
    )
