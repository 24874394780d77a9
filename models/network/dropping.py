"""What training takes away: whole modalities, channels, freshness."""

from __future__ import annotations

import torch
from torch import Tensor

from models.network.settings import FusionSettings

EEG_AGE_SHARE = 0.1
"""Of ``age_inflation_s`` that the EEG's age grows by at most."""


def drop_at_random(
    settings: FusionSettings, eeg: Tensor, age: Tensor, valid: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Make a training batch harder: whole modalities and channels go, ages grow.

    Parameters
    ----------
    settings : FusionSettings
    eeg, age, valid : Tensor
        As ``FusionNetwork.forward`` takes them; left as they are.
    generator : torch.Generator
        May be of another device: the same seed then drops the same everywhere.

    Returns
    -------
    eeg, age, valid : Tensor
        A window never loses the last modality that it has.
    """
    n, device = len(eeg), eeg.device

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).to(device)

    lot = draw(n)
    lose_eeg = lot < settings.drop_eeg
    lose_bold = (lot >= settings.drop_eeg) & (lot < settings.drop_eeg + settings.drop_bold)
    both = valid.min(dim=1).values > 0.5
    keep = ~(torch.stack([lose_eeg, lose_bold], dim=1) & both[:, None])
    inflation = draw(n, 2) * settings.age_inflation_s
    inflation = torch.stack([EEG_AGE_SHARE * inflation[:, 0], inflation[:, 1]], dim=1)
    if settings.n_channels:
        heard = draw(n, 1, settings.n_channels, 1) >= settings.drop_channel
        channels = eeg.reshape(n, settings.eeg_steps, settings.n_channels, settings.n_bands)
        eeg = (channels * heard).reshape(eeg.shape)
    return eeg, age + inflation, valid * keep
