"""Features standardised within each run, as decoders do that have the whole run at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.splits import runs
from streamer.messages import F32, F64


def within_run(windows: WindowSet) -> WindowSet:
    """Take a line in time out of every feature in each run, and bring what is left to unit variance.

    Labels are not used, but the whole run is, the windows still to come among them: a loop cannot have this. Windows
    without the modality stay as they are and enter no mean; so do tangent vectors that are missing.
    """
    name = runs(windows)
    eeg, bold, tangent = windows.eeg.copy(), windows.bold.copy(), windows.tangent.copy()
    there = windows.valid > 0
    has_tangent = np.isfinite(windows.tangent).all(axis=1)
    for run in np.unique(name):
        own = name == run
        for values, holds in ((eeg, there[:, 0]), (bold, there[:, 1]), (tangent, there[:, 0] & has_tangent)):
            _standardise(values, np.flatnonzero(own & holds), windows.time)
    return replace(windows, eeg=eeg, bold=bold, tangent=tangent)


def _standardise(values: F32, rows: NDArray[np.int64], time: F64) -> None:
    if len(rows) < 3 or not values.size:
        return
    flat = values[rows].reshape(len(rows), -1).astype(np.float64)
    design = np.column_stack([np.ones(len(rows)), time[rows] - time[rows].mean()])
    flat -= design @ np.linalg.lstsq(design, flat, rcond=None)[0]
    spread = flat.std(axis=0)
    # what does not change within the run says nothing of its states
    flat = np.divide(flat, spread, out=np.zeros_like(flat), where=spread > 1e-9)
    values[rows] = flat.reshape(len(rows), *values.shape[1:])
