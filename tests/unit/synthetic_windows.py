"""Windows drawn from a statistical model of two states, without any signal: alpha falls, and the BOLD follows late."""

from __future__ import annotations

import numpy as np

from models.dataset import Block, Inputs, WindowSet, joined

CHANNELS = ("O1", "O2", "Pz", "C3", "C4", "Fz")
BANDS = {"theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
REGIONS = ("left", "right", "control")
BLOCK_S = 20.0
STEP_S = 0.2


def subject_windows(name: str, seed: int, n_blocks: int = 10, effect: float = 1.2) -> WindowSet:
    """Draw one subject; ``effect`` 0 plants nothing."""
    rng = np.random.default_rng(seed)
    labels = [("rest", "task")[k % 2] for k in range(n_blocks)]
    blocks = tuple(Block(k * BLOCK_S, BLOCK_S, label, name) for k, label in enumerate(labels))
    n_steps = round(n_blocks * BLOCK_S / STEP_S)
    at = np.arange(n_steps) * STEP_S
    task = np.array([labels[int(t // BLOCK_S)] == "task" for t in at])
    power = rng.standard_normal((n_steps, len(CHANNELS), len(BANDS)))
    power[:, :3, 1] -= effect * task[:, None]
    lag = np.exp(-((np.arange(0, 15, STEP_S) - 5.5) ** 2) / 8)
    slow = np.convolve(task, lag / lag.sum())[:n_steps]
    bold = 0.5 * rng.standard_normal((n_steps, len(REGIONS)))
    bold[:, :2] += effect * slow[:, None]
    ends = np.arange(100, n_steps, 2)
    settled = np.array([at[e] % BLOCK_S >= 1.0 for e in ends])
    valid = np.ones((len(ends), 2), np.float32)
    return WindowSet(
        eeg=np.stack([power[e - 19 : e + 1].reshape(20, -1) for e in ends]).astype(np.float32),
        bold=np.stack([bold[e - 75 : e + 1 : 5] for e in ends]).astype(np.float32),
        age=np.column_stack([np.full(len(ends), 0.05), rng.uniform(1.5, 4.0, len(ends))]).astype(np.float32),
        valid=valid,
        label=task[ends].astype(np.int64),
        settled=settled,
        subject=np.array([name] * len(ends)),
        time=at[ends],
        classes=("rest", "task"),
        blocks=blocks,
        inputs=Inputs(CHANNELS, REGIONS, 250.0),
    )


def some_subjects(names: str, seed: int, effect: float = 1.2) -> WindowSet:
    """Draw one subject per letter."""
    return joined([subject_windows(name, seed + k, effect=effect) for k, name in enumerate(names)])
