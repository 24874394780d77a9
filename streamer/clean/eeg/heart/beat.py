"""A heart beat, as the pulse artefact's correction needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Beat:
    """One R peak."""

    sample: float
    """Where it lies on the decimated grid, with a fraction: filter delays of the detector are taken off."""
    known: int
    """First sample of the decimated grid that may know of it: the one at which it was found."""
    confidence: float
    """0 to 1."""
    source: Literal["ecg", "eeg", "predicted"]
    """``eeg`` when found in the pulse artefact itself, ``predicted`` when a beat was missed and put in."""
