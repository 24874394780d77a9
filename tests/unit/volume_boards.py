"""Boards that have heard of volumes, for tests of panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dashboard.board import Board
from streamer.wire import About, BoldMessage, ConfigMessage, MarkerMessage, Status

SESSION = "s"
BEGIN = 1000.0
TR = 2.0


def about(regions: Sequence[str], **change: Any) -> About:
    fields: dict[str, Any] = {
        "session": SESSION,
        "eeg_sfreq": 250.0,
        "channels": [],
        "regions": list(regions),
        "classes": ["rest", "task"],
        "model": "m@0",
        "tick_hz": 10.0,
        "thresholds": {},
        "versions": {},
        "tr_s": TR,
    }
    return About(**(fields | change))


def board_of(regions: Sequence[str], **change: Any) -> Board:
    board = Board()
    board.take(SESSION, about(regions, **change))
    board.take(SESSION, Status(session=SESSION, online=True, state="RUNNING"))
    return board


def config(**settings: Any) -> ConfigMessage:
    return ConfigMessage(session=SESSION, sha256="0", settings=settings)


def acquired(index: int) -> float:
    """Middle of volume ``index``."""
    return BEGIN + TR * (index + 0.5)


def bold(index: int, regions: Sequence[float | None], **change: Any) -> BoldMessage:
    fields: dict[str, Any] = {
        "index": index,
        "acquired": acquired(index),
        "received": acquired(index) + TR,
        "regions": list(regions),
        "motion_mm": [0.1, -0.05, 0.02],
        "motion_rad": [0.001, 0.0, -0.002],
        "fd_mm": 0.1,
        "flags": [],
        "dvars_percent": 0.8,
    }
    return BoldMessage(**(fields | change))


def send(board: Board, values: np.ndarray, **change: Any) -> None:
    """Send a volume per row; NaN is not known."""
    for index, row in enumerate(values):
        board.take(SESSION, bold(index, [None if np.isnan(v) else float(v) for v in row], **change))


def mark(board: Board, at: float, label: str) -> None:
    board.take(SESSION, MarkerMessage(label=label, at=at))
