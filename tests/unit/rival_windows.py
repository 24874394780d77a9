"""Windows for rivals beyond the two states of ``synthetic_windows``: three states, tangent vectors, one modality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.dataset import WindowSet
from streamer.decode.model_card import BoldInput, EegInput, ModelCard, TangentInput, TrainingData
from streamer.decode.score_spec import ScoreSpec
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS, some_subjects

N_TANGENT = 6
CLASSES = ("rest", "left", "right")


def with_tangents(names: str, seed: int, effect: float = 1.5) -> WindowSet:
    """Two states that the tangent vectors tell apart too."""
    windows = some_subjects(names, seed)
    drawn = np.random.default_rng(seed).standard_normal((len(windows), N_TANGENT))
    drawn[:, 1] += effect * windows.label
    return replace(windows, tangent=drawn.astype(np.float32))


def three_states(names: str, seed: int, effect: float = 1.0) -> WindowSet:
    """Three states; the blocks' labels are those of the windows within."""
    windows = some_subjects(names, seed)
    rng = np.random.default_rng(seed + 500)
    of_block = {(b.subject, b.onset_s): k % 3 for k, b in enumerate(windows.blocks)}
    label = np.full(len(windows), -1)
    for (subject, onset), k in of_block.items():
        inside = (windows.subject == subject) & (windows.time >= onset) & (windows.time < onset + 20.0)
        label[inside] = k
    eeg = rng.standard_normal(windows.eeg.shape)
    bold = 0.5 * rng.standard_normal(windows.bold.shape)
    for k in (1, 2):
        eeg[label == k, :, 3 * k] -= 0.4 * effect
        bold[label == k, 8:, k - 1] += 0.4 * effect
    blocks = tuple(replace(b, label=CLASSES[of_block[b.subject, b.onset_s]]) for b in windows.blocks)
    return replace(
        windows,
        eeg=eeg.astype(np.float32),
        bold=bold.astype(np.float32),
        label=label,
        classes=CLASSES,
        blocks=blocks,
    )


def of_eeg_alone(windows: WindowSet) -> WindowSet:
    """Take the BOLD out of a data set."""
    n_windows = len(windows)
    gone = np.array([1, 0], np.float32)
    return replace(
        windows, bold=np.zeros((n_windows, 0, 0), np.float32), age=windows.age * gone, valid=windows.valid * gone
    )


def of_bold_alone(windows: WindowSet) -> WindowSet:
    """Take the EEG out of a data set."""
    n_windows = len(windows)
    gone = np.array([0, 1], np.float32)
    return replace(
        windows,
        eeg=np.zeros((n_windows, 0, 0), np.float32),
        tangent=np.zeros((n_windows, 0), np.float32),
        age=windows.age * gone,
        valid=windows.valid * gone,
    )


def draft_for(windows: WindowSet, name: str = "rival") -> ModelCard:
    """A card that says what the windows are, for a model of another kind."""
    has_eeg, has_bold, k = windows.eeg.shape[-1] > 0, windows.bold.shape[-1] > 0, windows.tangent.shape[-1]
    return ModelCard(
        schema=2,
        kind="score",
        name=name,
        description="A rival.",
        licence="BSD-3-Clause",
        classes=windows.classes,
        preprocessing="0" * 64,
        eeg=EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=20, sfreq_hz=250.0) if has_eeg else None,
        tangent=TangentInput(channels=CHANNELS[:3], band_hz=(8.0, 30.0), window_s=2.0, width=k) if k else None,
        bold=BoldInput(regions=REGIONS, grid_s=1.0, n_steps=16) if has_bold else None,
        score=ScoreSpec(),
        training=TrainingData(data="drawn"),
    )
