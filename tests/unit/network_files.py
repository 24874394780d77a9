"""Small untrained networks, and drafts of their cards."""

from __future__ import annotations

import torch

from models.fusion import FusionNetwork, FusionSettings
from models.graphs.publish import pending_graphs
from models.network.ensemble import Ensemble
from streamer.decode.model_card import BoldInput, EegInput, ModelCard, TrainingData
from tests.unit.synthetic_windows import BANDS, CHANNELS, REGIONS

CELLS = (4, 3, 2)
BOTH = FusionSettings(n_channels=len(CHANNELS), n_bands=len(BANDS), n_regions=len(REGIONS))
VOLUME = FusionSettings(n_channels=len(CHANNELS), n_bands=len(BANDS), n_regions=24, cells=CELLS)
EEG = FusionSettings(n_channels=len(CHANNELS), n_bands=len(BANDS), n_regions=0)
BOLD = FusionSettings(n_channels=0, n_bands=0, n_regions=len(REGIONS))


def network(settings: FusionSettings = BOTH, seed: int = 0) -> FusionNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FusionNetwork(settings).eval()


def ensemble(settings: FusionSettings = BOTH, members: int = 2, seed: int = 0) -> Ensemble:
    return Ensemble([network(settings, seed + k) for k in range(members)]).eval()


def draft(of: Ensemble, **changes: object) -> ModelCard:
    s = of.settings
    regions = REGIONS if s.cells is None else tuple(f"cell{k}" for k in range(s.n_regions))
    eeg = EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=20, sfreq_hz=250.0)
    bold = BoldInput(regions=regions, grid_s=1.0, n_steps=16, cells=s.cells)
    card = ModelCard(
        kind="network",
        name="test-fusion",
        description="Untrained.",
        licence="BSD-3-Clause",
        classes=tuple(f"state{k}" for k in range(s.n_classes)),
        preprocessing="0" * 64,
        graphs=pending_graphs(of),
        eeg=eeg if s.n_channels else None,
        bold=bold if s.n_regions else None,
        training=TrainingData(data="none"),
    )
    return card.model_copy(update=changes)
