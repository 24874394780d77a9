"""Frames of the BOLD lane as tests make them."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamer.messages import BoldFrame, Flag, SessionTime


def frame(index: int, means: object = (), **changes: Any) -> BoldFrame:
    """One volume; ``regions`` given makes a cleaned one."""
    tr = changes.pop("tr", 1.0)
    values = np.atleast_1d(np.asarray(means, np.float32))
    facts: dict[str, Any] = {
        "index": index,
        "series": "run",
        "regions": np.full(values.shape, np.nan, np.float32),
        "means": values,
        "motion": np.zeros(6),
        "fd": 0.0,
        "tr": tr,
        "acquired": SessionTime(100.0 + (index + 0.5) * tr),
        "received": SessionTime(101.0 + (index + 1) * tr),
        "flags": Flag.NONE,
    }
    return BoldFrame(**{**facts, **changes})


def cleaned(index: int, regions: object, **changes: Any) -> BoldFrame:
    values = np.atleast_1d(np.asarray(regions, np.float32))
    return frame(index, np.full(values.shape, 1000.0), regions=values, **changes)
