"""How far an input counts."""

from __future__ import annotations

from torch import Tensor

CLAMP = 12.0
"""Inputs are cut off here (z-scores, % signal change): an artefact must not outweigh everything else."""


def bounded(values: Tensor) -> Tensor:
    """Cut values off at ``CLAMP``, before a branch reads them."""
    return values.clamp(-CLAMP, CLAMP)
