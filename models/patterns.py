"""Windows reduced to a set of modalities, as the loop has them when one is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.predict import masked
from streamer.decode.model_card import PATTERNS, Pattern


def pattern_of(windows: WindowSet) -> NDArray[np.str_]:
    """Name what every window holds, shape (n,): a pattern, or nothing."""
    has_eeg, has_bold = (windows.valid > 0).T
    return np.select([has_eeg & has_bold, has_eeg, has_bold], PATTERNS, "")


def held(windows: WindowSet, pattern: Pattern) -> NDArray[np.bool_]:
    """Say which windows hold at least these modalities, shape (n,)."""
    found = pattern_of(windows)
    return (found == pattern) | ((found == "both") & (pattern != "both"))


def reduced(windows: WindowSet, pattern: Pattern) -> WindowSet:
    """Take the windows that hold these modalities, without the others."""
    return masked(windows.rows(held(windows, pattern)), pattern)


def occurring(windows: WindowSet) -> tuple[Pattern, ...]:
    """Name the patterns that windows can be reduced to."""
    return tuple(pattern for pattern in PATTERNS if bool(held(windows, pattern).any()))
