"""Networks of the same settings, trained from different seeds and asked together.

What they do not agree on is what the model does not know (Lakshminarayanan 2017, arXiv:1612.01474).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from models.fusion import FusionNetwork
from models.network.bounds import bounded
from streamer.errors import ModelError


class Ensemble(nn.Module):
    """Members behind one interface.

    Parameters
    ----------
    members : sequence of FusionNetwork
        At least one, all of the same settings.

    Raises
    ------
    ModelError
        There is none, or their settings differ.
    """

    def __init__(self, members: Sequence[FusionNetwork]) -> None:
        super().__init__()
        if not members:
            raise ModelError("an ensemble has no member: expected at least one")
        if any(member.settings != members[0].settings for member in members):
            raise ModelError("the members of an ensemble differ in their settings: expected the same of all")
        self.settings = members[0].settings
        self.members = nn.ModuleList(members)
        n = len(members)
        self.state_width = n * members[0].state_width
        """Numbers in the flat EEG state of one window."""
        self.eeg_token_width = n * members[0].eeg_token_width or 1
        self.bold_token_width = n * members[0].bold_token_width or 1

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[FusionNetwork]:
        for member in self.members:
            assert isinstance(member, FusionNetwork)  # ModuleList knows modules only
            yield member

    def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch; takes what ``FusionNetwork.forward`` takes.

        Returns
        -------
        logits : Tensor, shape (b, members, n_classes)
        attention : Tensor, shape (b, 2)
            Mean over the members.
        """
        return _together([member(eeg, bold, age, valid) for member in self])

    def eeg_step(self, step: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Carry the EEG branches on by one step.

        Parameters
        ----------
        step : Tensor, shape (b, n_channels * n_bands)
        state : Tensor, shape (b, state_width)
            Zeros before a window's first step.

        Returns
        -------
        state : Tensor, shape (b, state_width)
        token : Tensor, shape (b, eeg_token_width)

        Raises
        ------
        ModelError
            The network has no EEG.
        """
        # once for all members
        step = bounded(step)
        states: list[Tensor] = []
        tokens: list[Tensor] = []
        for member, own in zip(self, state.chunk(len(self), dim=1), strict=True):
            if member.eeg is None:
                raise ModelError("a network of BOLD alone has no EEG step")
            carried, token = member.eeg.step(step, own)
            states.append(carried)
            tokens.append(token)
        return torch.cat(states, dim=1), torch.cat(tokens, dim=1)

    def bold_token(self, bold: Tensor) -> Tensor:
        """Read BOLD windows, shape (b, bold_steps, n_regions); give their tokens, shape (b, bold_token_width).

        Raises
        ------
        ModelError
            The network has no BOLD.
        """
        bold = bounded(bold)
        tokens: list[Tensor] = []
        for member in self:
            if member.bold is None:
                raise ModelError("a network of EEG alone reads no BOLD")
            tokens.append(member.bold(bold))
        return torch.cat(tokens, dim=1)

    def fuse(self, eeg_token: Tensor, bold_token: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Join the branches' tokens to what ``forward`` gives; one that has no branch is of width 1."""
        n = len(self)
        heard = eeg_token.chunk(n, dim=1) if self.settings.n_channels else [eeg_token] * n
        seen = bold_token.chunk(n, dim=1) if self.settings.n_regions else [bold_token] * n
        return _together([member.fuse(e, b, age, valid) for member, e, b in zip(self, heard, seen, strict=True)])


def _together(scored: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    logits = torch.stack([each for each, _ in scored], dim=1)
    return logits, torch.stack([attention for _, attention in scored]).mean(dim=0)
