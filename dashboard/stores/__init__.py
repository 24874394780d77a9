"""What the panels show, in arrays: numpy only, no Qt, no clock.

Everything is addressed by the number that the sender counted (sample, volume, window). So a gap is a row of NaN, a late
row lands where it belongs, and a row that comes twice is counted and changes nothing. All stores reach back as far as
the display may be scrolled back.
"""

from __future__ import annotations

from dashboard.stores.decisions import Mark, PredictionStore, ScoreStore
from dashboard.stores.eeg import EegStore
from dashboard.stores.images import ImageStore
from dashboard.stores.rows import RowRing
from dashboard.stores.timeline import Timeline
from dashboard.stores.volumes import VolumeStore, VolumeTraces

HISTORY_S = 600.0
"""How far a live display can be scrolled back, s."""

__all__ = [
    "HISTORY_S",
    "EegStore",
    "ImageStore",
    "Mark",
    "PredictionStore",
    "RowRing",
    "ScoreStore",
    "Timeline",
    "VolumeStore",
    "VolumeTraces",
]
