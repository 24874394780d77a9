"""Two tokens to one: weighted by attention, or side by side.

A head takes the tokens (b, 2, token_width), with learned ones in the place of what is missing, and ``there`` (b, 2);
it gives the joint token (b, token_width) and the weight of each modality (b, 2), 0 for a masked one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.network.settings import FusionSettings

MASK_BIAS = -1e4
"""Added to the attention score of a masked modality: its weight is exactly 0, in half precision, too."""


class AttentionHead(nn.Module):
    """A learned query, which is told what is missing, weighs the modalities (Vaswani 2017, arXiv:1706.03762)."""

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        d = settings.token_width
        self.heads = settings.heads
        self.width = d // settings.heads
        self.query = nn.Parameter(torch.randn(d) * 0.1)
        self.absent = nn.Parameter(torch.randn(2, d) * 0.1)
        self.to_query = nn.Linear(d, d)
        self.to_key = nn.Linear(d, d)
        self.to_value = nn.Linear(d, d)
        self.mix = nn.Linear(d, d)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        present = there.to(tokens.dtype)
        absent = 1.0 - present
        query = self.query + absent @ self.absent
        q = self.to_query(query).reshape(-1, self.heads, 1, self.width)
        k = self.to_key(tokens).reshape(-1, 2, self.heads, self.width).transpose(1, 2)
        v = self.to_value(tokens).reshape(-1, 2, self.heads, self.width).transpose(1, 2)
        scores = (q @ k.transpose(2, 3)) / math.sqrt(self.width) + MASK_BIAS * absent[:, None, None, :]
        weights = torch.softmax(scores, dim=-1)
        fused = (weights @ v).flatten(1)
        return query + self.mix(self.dropout(fused)), weights.mean(dim=1).squeeze(1) * present


class ConcatenationHead(nn.Module):
    """Both tokens side by side; it weighs nothing, so what is there has equal weights."""

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        d = settings.token_width
        self.mix = nn.Linear(2 * d + 2, d)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        present = there.to(tokens.dtype)
        weights = present / present.sum(dim=1, keepdim=True).clamp(min=1.0)
        return self.mix(torch.cat([self.dropout(tokens.flatten(1)), present], dim=1)), weights


def make_head(settings: FusionSettings) -> nn.Module:
    """Make the head that the settings ask for; a pyramid's tokens are pooled in the branches already."""
    return AttentionHead(settings) if settings.head == "attention" else ConcatenationHead(settings)
