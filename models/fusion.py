"""The fusion network: one token per modality, joined by a head.

::

    eeg  (b, steps, features) ─ spatial filters ─ convolution ─ LSTM ─────────┐   + age  ┌──────┐
                                                                              ├─ tokens ─┤ head ├─ logits (b, n_classes)
    bold (b, steps, regions) ── linear, or 3-D convolution ─ MLP over lags ───┘          └──────┘  attention (b, 2)

A masked modality is replaced by a learned token, shut out of the attention, and announced to the head, so that the
network knows what it has to do without. During training modalities, ages and channels are dropped at random, so that
it has learned to do without them. Steps, spans and ages are in seconds: nothing here knows the scanner's TR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network.bold_branch import BoldBranch
from models.network.bounds import bounded
from models.network.dropping import drop_at_random
from models.network.eeg_branch import EegBranch
from models.network.heads import make_head
from models.network.settings import FusionSettings

__all__ = ["FusionNetwork", "FusionSettings", "drop_at_random"]

AGE_MAX_S = 60.0
"""Ages beyond are all alike."""


class FusionNetwork(nn.Module):
    """EEG and BOLD windows to class scores.

    Parameters
    ----------
    settings : FusionSettings
        Without channels or without regions it has no branch for them, and takes the modality as missing always.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        s, d = settings, settings.token_width
        self.settings = settings
        self.eeg = EegBranch(s) if s.n_channels else None
        self.bold = BoldBranch(s) if s.n_regions else None
        self.age = nn.ModuleList([nn.Linear(2, d), nn.Linear(2, d)])
        self.missing = nn.Parameter(torch.randn(2, d) * 0.1)
        self.join = make_head(s)
        self.dropout = nn.Dropout(s.dropout)
        self.head = nn.Linear(d, s.n_classes)
        self.eeg_head = nn.Linear(d, s.n_classes)
        self.bold_head = nn.Linear(d, s.n_classes)
        self.state_width = 0 if self.eeg is None else self.eeg.state_width
        """Numbers in the flat EEG state of one window; 0 without EEG."""
        self.eeg_token_width = 0 if self.eeg is None else d
        """0 without EEG."""
        self.bold_token_width = 0 if self.bold is None else d
        """0 without BOLD."""

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
        return self.fuse(*self.branches(eeg, bold, valid), age, valid)

    def with_heads(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score a batch jointly, by EEG alone and by BOLD alone; each of shape (b, n_classes)."""
        tokens, there = self._tokens(*self.branches(eeg, bold, valid), age, valid)
        logits, _ = self._score(tokens, there)
        return logits, self.eeg_head(tokens[:, 0]), self.bold_head(tokens[:, 1])

    def branches(self, eeg: Tensor, bold: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Give the token of either modality, shape (b, token_width); (b, 1) zeros for one that has no branch."""
        there = valid > 0.5
        # where, not times 0: what is masked may be NaN
        heard = None if self.eeg is None else self.eeg(bounded(torch.where(there[:, 0, None, None], eeg, 0.0)))
        seen = None if self.bold is None else self.bold(bounded(torch.where(there[:, 1, None, None], bold, 0.0)))
        nothing = torch.zeros_like(valid[:, :1])
        return nothing if heard is None else heard, nothing if seen is None else seen

    def fuse(self, eeg_token: Tensor, bold_token: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Join the branches' tokens to what ``forward`` gives; the token of a masked modality does not matter."""
        return self._score(*self._tokens(eeg_token, bold_token, age, valid))

    def _tokens(self, eeg_token: Tensor, bold_token: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        known = [self.eeg is not None, self.bold is not None]
        columns = [valid[:, k] > 0.5 if known[k] else torch.zeros_like(valid[:, k], dtype=torch.bool) for k in (0, 1)]
        there = torch.stack(columns, dim=1)
        log_age = torch.log1p(torch.where(there, age, 0.0).clamp(0.0, AGE_MAX_S))
        found: list[Tensor] = []
        for column, token in enumerate((eeg_token, bold_token)):
            told = torch.stack([log_age[:, column], there[:, column].to(log_age.dtype)], dim=1)
            found.append(token + self.age[column](told))
        return torch.where(there[:, :, None], torch.stack(found, dim=1), self.missing), there

    def _score(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        joint, attention = self.join(tokens, there)
        return self.head(self.dropout(torch.tanh(joint))), attention
