"""Averages over the newest stretches of a window: pyramid pooling in time (He 2015, doi:10.1109/TPAMI.2015.2389824)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def newest_means(steps: Tensor, spans: Sequence[int]) -> Tensor:
    """Average the newest steps, once per span.

    Parameters
    ----------
    steps : Tensor, shape (b, n_steps, width)
        Oldest first.
    spans : sequence of int
        Steps to average, each up to n_steps.

    Returns
    -------
    means : Tensor, shape (b, len(spans) * width)
    """
    return torch.cat([steps[:, -n:].mean(dim=1) for n in spans], dim=1)
