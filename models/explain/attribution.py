"""What a method says of a set of windows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.dataset import WindowSet
from models.explain.network import MODALITIES, Modality, present
from streamer.messages import F64


@dataclass(frozen=True)
class Attribution:
    """Parts of the log-odds of a class, per window and input."""

    method: str
    evidence: dict[Modality, F64]
    """What each modality adds to the log-odds of a window against the baseline, shape (n,)."""
    dependence: dict[Modality, F64]
    """How much the log-odds depend on each input, over all windows, shape (n_steps, n_features), 0 and up."""
    facts: dict[str, float] = field(default_factory=dict[str, float])
    """What the method measured of itself, for instance its completeness."""
    windows: WindowSet | None = None
    """The windows that it speaks of, where it took fewer than it was given."""


def some(windows: WindowSet, count: int) -> WindowSet:
    """Take at most so many labelled, settled windows that hold all modalities, evenly over time and classes."""
    whole = windows.trainable()
    held = np.ones(len(whole), np.bool_)
    for name in present(windows):
        held &= whole.valid[:, MODALITIES.index(name)] > 0
    whole = whole.rows(held)
    classes = [np.flatnonzero(whole.label == k) for k in range(len(windows.classes))]
    found = [rows for rows in classes if len(rows)]
    each = max(1, count // max(1, len(found)))
    picked = [
        rows[np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows))).round().astype(int))] for rows in found
    ]
    return whole.rows(np.sort(np.concatenate(picked)) if picked else np.zeros(0, np.int64))
