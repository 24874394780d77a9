"""The fusion network: one token per modality, weighted by attention.

::

    eeg  (b, steps, features) ─ linear ─ LSTM ─ last state ─┐   + age  ┌──────────┐
                                                            ├─ tokens ─┤ attention├─ logits (b, 2)
    bold (b, steps, regions) ── linear ─ MLP over time ─────┘          └──────────┘  attention (b, 2)
                                              query ───────────────────────┘

A masked modality is replaced by a learned token, shut out of the attention, and announced to the query, so that the
network knows what it has to do without. During training modalities, ages and channels are dropped at random, so that
it has learned to do without them.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from streamer.contracts import Settings

CLAMP = 12.0
"""Inputs are cut off here (z-scores, % signal change): an artefact must not outweigh everything else."""
MASK_BIAS = -1e4
"""Added to the attention score of a masked modality: its weight is exactly 0 in float32, and both masked is defined."""


class FusionSettings(Settings):
    """Size of the network, and what training drops."""

    n_channels: int = Field(ge=1)
    """EEG channels."""
    n_bands: int = Field(ge=1)
    """Bands per channel."""
    eeg_steps: int = Field(default=20, ge=1)
    """Steps of an EEG window."""
    n_regions: int = Field(ge=1)
    """BOLD regions."""
    bold_steps: int = Field(default=16, ge=1)
    """Steps of a BOLD window."""
    n_classes: int = Field(default=2, ge=2)
    """Outputs."""
    eeg_width: int = Field(default=16, ge=1)
    """Width of the EEG embedding."""
    lstm_width: int = Field(default=32, ge=1)
    """State of the LSTM."""
    bold_width: int = Field(default=16, ge=1)
    """Width of the BOLD embedding per step."""
    token_width: int = Field(default=32, ge=1)
    """Width of the tokens: a multiple of heads."""
    heads: int = Field(default=4, ge=1)
    """Attention heads."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of activations dropped in training."""
    drop_eeg: float = Field(default=0.2, ge=0, lt=1)
    """Share of training windows without EEG."""
    drop_bold: float = Field(default=0.3, ge=0, lt=1)
    """Share of training windows without BOLD; never without both."""
    drop_channel: float = Field(default=0.1, ge=0, lt=1)
    """Share of EEG channels silenced in training."""
    age_inflation_s: float = Field(default=2.0, ge=0)
    """Age added at most to the BOLD's in training, s; the EEG's gets a tenth."""


class EegBranch(nn.Module):
    """Band power over a few seconds, to one token: the newest state of an LSTM."""

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        self.embed = nn.Linear(settings.n_channels * settings.n_bands, settings.eeg_width)
        self.lstm = nn.LSTM(settings.eeg_width, settings.lstm_width, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.out = nn.Linear(settings.lstm_width, settings.token_width)

    def forward(self, eeg: Tensor) -> Tensor:
        steps, _ = self.lstm(self.dropout(torch.tanh(self.embed(eeg))))
        return torch.tanh(self.out(self.dropout(steps[:, -1])))


class BoldBranch(nn.Module):
    """Region signals over a haemodynamic response, to one token: every lag has its own weights."""

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        self.embed = nn.Linear(settings.n_regions, settings.bold_width)
        self.hidden = nn.Linear(settings.bold_width * settings.bold_steps, settings.lstm_width)
        self.dropout = nn.Dropout(settings.dropout)
        self.out = nn.Linear(settings.lstm_width, settings.token_width)

    def forward(self, bold: Tensor) -> Tensor:
        steps = torch.tanh(self.embed(bold))
        hidden = torch.tanh(self.hidden(self.dropout(steps.flatten(1))))
        return torch.tanh(self.out(self.dropout(hidden)))


class FusionNetwork(nn.Module):
    """EEG and BOLD windows to class scores.

    Parameters
    ----------
    settings : FusionSettings

    Raises
    ------
    ValueError
        ``token_width`` is not a multiple of ``heads``.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        d = settings.token_width
        if d % settings.heads:
            raise ValueError(f"token_width {d} is not a multiple of heads {settings.heads}")
        self.settings = settings
        self.eeg = EegBranch(settings)
        self.bold = BoldBranch(settings)
        self.age = nn.ModuleList([nn.Linear(2, d), nn.Linear(2, d)])
        self.missing = nn.Parameter(torch.randn(2, d) * 0.1)
        self.query = nn.Parameter(torch.randn(d) * 0.1)
        self.to_query = nn.Linear(d, d)
        self.to_key = nn.Linear(d, d)
        self.to_value = nn.Linear(d, d)
        self.mix = nn.Linear(d, d)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(d, settings.n_classes)
        self.eeg_head = nn.Linear(d, settings.n_classes)
        self.bold_head = nn.Linear(d, settings.n_classes)

    def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Parameters
        ----------
        eeg : Tensor, shape (b, eeg_steps, n_channels * n_bands)
            Log band power, z-scored.
        bold : Tensor, shape (b, bold_steps, n_regions)
            % signal change.
        age : Tensor, shape (b, 2)
            Of EEG and BOLD, s.
        valid : Tensor, shape (b, 2)
            1 where the modality is there, else 0.

        Returns
        -------
        logits : Tensor, shape (b, n_classes)
        attention : Tensor, shape (b, 2)
            Weight of EEG and BOLD, mean over the heads; 0 for a masked one.
        """
        tokens, there = self._tokens(eeg, bold, age, valid)
        return self._fuse(tokens, there)

    def with_heads(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch jointly, by EEG alone and by BOLD alone; each of shape (b, n_classes)."""
        tokens, there = self._tokens(eeg, bold, age, valid)
        logits, _ = self._fuse(tokens, there)
        return logits, self.eeg_head(tokens[:, 0]), self.bold_head(tokens[:, 1])

    def _tokens(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        there = valid > 0.5
        # where, not times 0: what is masked may be NaN
        eeg = torch.where(there[:, 0, None, None], eeg, 0.0).clamp(-CLAMP, CLAMP)
        bold = torch.where(there[:, 1, None, None], bold, 0.0).clamp(-CLAMP, CLAMP)
        log_age = torch.log1p(torch.where(there, age, 0.0).clamp(0.0, 60.0))
        found: list[Tensor] = []
        for column, token in enumerate((self.eeg(eeg), self.bold(bold))):
            told = torch.stack([log_age[:, column], there[:, column].to(token.dtype)], dim=1)
            found.append(token + self.age[column](told))
        tokens = torch.where(there[:, :, None], torch.stack(found, dim=1), self.missing)
        return tokens, there

    def _fuse(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        s = self.settings
        width = s.token_width // s.heads
        absent = 1.0 - there.to(tokens.dtype)
        query = self.query + absent @ self.missing
        q = self.to_query(query).reshape(-1, s.heads, 1, width)
        k = self.to_key(tokens).reshape(-1, 2, s.heads, width).transpose(1, 2)
        v = self.to_value(tokens).reshape(-1, 2, s.heads, width).transpose(1, 2)
        scores = (q @ k.transpose(2, 3)) / math.sqrt(width) + MASK_BIAS * absent[:, None, None, :]
        weights = torch.softmax(scores, dim=-1)
        fused = (weights @ v).reshape(-1, s.token_width)
        out = query + self.mix(self.dropout(fused))
        return self.head(self.dropout(torch.tanh(out))), weights.mean(dim=1).squeeze(1)


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

    Returns
    -------
    eeg, age, valid : Tensor
        A window never loses the last modality that it has.
    """
    n = len(eeg)
    draw = torch.rand(n, generator=generator)
    lose_eeg = draw < settings.drop_eeg
    lose_bold = (draw >= settings.drop_eeg) & (draw < settings.drop_eeg + settings.drop_bold)
    both = valid.min(dim=1).values > 0.5
    keep = ~(torch.stack([lose_eeg, lose_bold], dim=1) & both[:, None])
    inflation = torch.rand(n, 2, generator=generator) * torch.tensor([0.1, 1.0]) * settings.age_inflation_s
    heard = torch.rand(n, 1, settings.n_channels, 1, generator=generator) >= settings.drop_channel
    channels = eeg.reshape(n, settings.eeg_steps, settings.n_channels, settings.n_bands) * heard
    return channels.reshape(eeg.shape), age + inflation, valid * keep
