"""The BOLD branch: every step is embedded alike, from regions or from a small volume, then the lags are weighed."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.network.pooling import newest_means
from models.network.settings import FusionSettings


class RegionEmbedding(nn.Module):
    """Signals of regions to one vector per step."""

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        self.linear = nn.Linear(settings.n_regions, settings.bold_width)

    def forward(self, bold: Tensor) -> Tensor:
        return torch.tanh(self.linear(bold))


class VolumeEmbedding(nn.Module):
    """A small volume to one vector per step: 3-D convolutions, group norm, the average over space.

    The position of every cell enters as three more channels (Liu 2018, arXiv:1807.03247): an average over space would
    not tell left from right.
    """

    where: Tensor

    def __init__(self, settings: FusionSettings, cells: tuple[int, int, int]) -> None:
        super().__init__()
        self.cells = cells
        axes = [torch.linspace(-1.0, 1.0, n) if n > 1 else torch.zeros(1) for n in cells]
        where = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        self.register_buffer("where", where, persistent=False)
        layers: list[nn.Module] = []
        for before, after in pairwise((4, *settings.volume_widths)):
            layers += [
                nn.Conv3d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(math.gcd(4, after), after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(settings.volume_widths[-1], settings.bold_width)

    def forward(self, bold: Tensor) -> Tensor:
        n_steps = bold.shape[1]
        volumes = bold.flatten(0, 1).unflatten(1, (1, *self.cells))
        where = self.where.expand(volumes.shape[0], -1, -1, -1, -1)
        found = self.layers(torch.cat([volumes, where], dim=1)).mean(dim=(2, 3, 4))
        return torch.tanh(self.linear(found)).unflatten(0, (-1, n_steps))


class BoldBranch(nn.Module):
    """BOLD over a haemodynamic response, to one token: every lag (or span, for a pyramid) has its own weights.

    Parameters
    ----------
    settings : FusionSettings
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        s = settings
        self.embed = RegionEmbedding(s) if s.cells is None else VolumeEmbedding(s, s.cells)
        self.spans = s.bold_spans() if s.head == "pyramid" else None
        n = s.bold_steps if self.spans is None else len(self.spans)
        self.hidden = nn.Linear(s.bold_width * n, s.lstm_width)
        self.dropout = nn.Dropout(s.dropout)
        self.out = nn.Linear(s.lstm_width, s.token_width)

    def forward(self, bold: Tensor) -> Tensor:
        """Read a window, shape (b, bold_steps, n_regions); give its token, shape (b, token_width)."""
        steps = self.embed(bold)
        lags = steps.flatten(1) if self.spans is None else newest_means(steps, self.spans)
        hidden = torch.tanh(self.hidden(self.dropout(lags)))
        return torch.tanh(self.out(self.dropout(hidden)))
