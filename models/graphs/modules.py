"""An ensemble cut into the three graphs that are served: one EEG step, a window of BOLD, the head.

All take and give float32. In half precision the numbers are turned at the edges: weights and arithmetic are float16.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from models.network.ensemble import Ensemble

GraphName = Literal["eeg", "bold", "head"]
Precision = Literal["fp32", "fp16"]

INPUTS: Mapping[GraphName, tuple[str, ...]] = {
    "eeg": ("step", "state"),
    "bold": ("bold",),
    "head": ("eeg_token", "bold_token", "age", "valid"),
}
OUTPUTS: Mapping[GraphName, tuple[str, ...]] = {
    "eeg": ("state_out", "token"),
    "bold": ("token",),
    "head": ("logits", "attention"),
}


class EegStep(nn.Module):
    """One step of the EEG, state in and out."""

    def __init__(self, ensemble: Ensemble, dtype: torch.dtype) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.dtype = dtype

    def forward(self, step: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state_out, token = self.ensemble.eeg_step(step.to(self.dtype), state.to(self.dtype))
        return state_out.float(), token.float()


class BoldWindow(nn.Module):
    """A window of BOLD to its token."""

    def __init__(self, ensemble: Ensemble, dtype: torch.dtype) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.dtype = dtype

    def forward(self, bold: Tensor) -> Tensor:
        return self.ensemble.bold_token(bold.to(self.dtype)).float()


class Head(nn.Module):
    """Both tokens to the members' logits and the mean attention."""

    def __init__(self, ensemble: Ensemble, dtype: torch.dtype) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.dtype = dtype

    def forward(self, eeg_token: Tensor, bold_token: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        given = (part.to(self.dtype) for part in (eeg_token, bold_token, age, valid))
        logits, attention = self.ensemble.fuse(*given)
        return logits.float(), attention.float()


def graph_names(ensemble: Ensemble) -> tuple[GraphName, ...]:
    """Name the graphs that an ensemble has: none for a modality that it does not know."""
    s = ensemble.settings
    branches: list[GraphName] = []
    if s.n_channels:
        branches.append("eeg")
    if s.n_regions:
        branches.append("bold")
    return (*branches, "head")


def graph_modules(ensemble: Ensemble, precision: Precision) -> dict[GraphName, nn.Module]:
    """Cut a copy of an ensemble into its graphs."""
    dtype = torch.float16 if precision == "fp16" else torch.float32
    # a copy that wants no gradients: tracing would ask for them
    frozen = copy.deepcopy(ensemble).cpu().eval().requires_grad_(requires_grad=False).to(dtype)
    kinds: dict[GraphName, type[EegStep | BoldWindow | Head]] = {"eeg": EegStep, "bold": BoldWindow, "head": Head}
    return {name: kinds[name](frozen, dtype).eval() for name in graph_names(ensemble)}


def graph_inputs(ensemble: Ensemble, name: GraphName, n: int) -> tuple[Tensor, ...]:
    """Give zeros of the shapes that a graph takes, for a batch of ``n``."""
    s = ensemble.settings
    shapes: dict[GraphName, tuple[tuple[int, ...], ...]] = {
        "eeg": ((n, s.n_eeg_features), (n, ensemble.state_width)),
        "bold": ((n, s.bold_steps, s.n_regions),),
        "head": ((n, ensemble.eeg_token_width), (n, ensemble.bold_token_width), (n, 2), (n, 2)),
    }
    return tuple(torch.zeros(shape) for shape in shapes[name])
