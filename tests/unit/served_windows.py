"""Labelled windows that the small models of ``served_files`` take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.dataset import Inputs, WindowSet
from tests.unit.served_files import BOLD_STEPS, CHANNELS, N_STEPS, REGIONS
from tests.unit.synthetic_windows import some_subjects


def served_windows(names: str, seed: int, effect: float = 1.2) -> WindowSet:
    """Draw one subject per letter; some windows lack a modality, some both, some their tangent vector."""
    whole = some_subjects(names, seed, effect)
    rng = np.random.default_rng(seed)
    n = len(whole)
    eeg = whole.eeg.reshape(n, 20, 6, 3)[:, -N_STEPS:, : len(CHANNELS), 1:].reshape(n, N_STEPS, -1)
    valid = np.ones((n, 2), np.float32)
    valid[::5, 0] = 0
    valid[::7, 1] = 0
    tangent = rng.standard_normal((n, 10)).astype(np.float32)
    tangent[valid[:, 0] == 0] = np.nan
    tangent[::11] = np.nan
    return replace(
        whole,
        eeg=eeg * valid[:, :1, None],
        bold=whole.bold[:, -BOLD_STEPS:] * valid[:, 1:, None],
        tangent=tangent,
        age=whole.age * valid,
        valid=valid,
        inputs=Inputs(CHANNELS, REGIONS, 250.0),
    )
