"""A small model on disk: an untrained network, exported with its card."""

from __future__ import annotations

from pathlib import Path

import torch

from models.export import write_model
from models.fusion import FusionNetwork, FusionSettings
from streamer.decode.card import (
    AgeLimits,
    BoldInput,
    EegInput,
    GraphFile,
    LoadedCard,
    ModelCard,
    Temperatures,
    TrainingData,
    preprocessing_digest,
)
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS

DIGEST = preprocessing_digest({"eeg": {"low_hz": 1.0}})
SIZES = FusionSettings(n_channels=len(CHANNELS), n_bands=len(BANDS), n_regions=len(REGIONS))


def untrained(seed: int = 0) -> FusionNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FusionNetwork(SIZES).eval()


def draft_card(**changes: object) -> ModelCard:
    card = ModelCard(
        name="test-fusion",
        description='Untrained; quotes " and \\ and µ must survive.',
        licence="BSD-3-Clause",
        classes=("rest", "task"),
        preprocessing=DIGEST,
        graph=GraphFile(file="default.onnx", sha256="0" * 64),
        eeg=EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=20, sfreq_hz=250.0),
        bold=BoldInput(regions=REGIONS, grid_s=1.0, n_steps=16),
        limits=AgeLimits(age_bold_max_s=6.0),
        temperature=Temperatures(both=1.5, eeg=2.0, bold=0.8),
        training=TrainingData(data="none", train=("a",), validation=("b",), n_windows=1, seed=0),
    )
    return card.model_copy(update=changes)


def write_untrained(folder: Path, seed: int = 0) -> LoadedCard:
    return write_model(untrained(seed), draft_card(), folder)
