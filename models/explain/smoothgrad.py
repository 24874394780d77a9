"""SmoothGrad: the gradient, averaged over copies of a window with noise (Smilkov 2017, arXiv:1706.03825)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.network import LogOdds, Modality, inputs, present
from streamer.messages import F64

DRAWS = 8
"""Noisy copies of each window."""
NOISE = 0.5
"""Standard deviation of the noise, of that of the modality's values."""


def smoothgrad(network: nn.Module, windows: WindowSet, target: int, seed: int = 0, draws: int = DRAWS) -> Attribution:
    """Attribute the log-odds of a class.

    Parameters
    ----------
    network : nn.Module
    windows : WindowSet
        With all modalities that it has, as ``attribution.some`` gives them.
    target : int
        Index of the class.
    seed : int
        Of the noise.
    draws : int
        Noisy copies of each window.

    Returns
    -------
    Attribution
        The evidence is the input times the gradient's mean over the windows: the gradient of a window that is decided
        already is small, and its product with the input says little of it. The dependence is the gradient's size times
        the standard deviation of the input: what a usual change of it changes.
    """
    names = present(windows)
    data, rest = inputs(windows)
    spread = tuple(NOISE * float(part.std()) for part in data)
    method = NoiseTunnel(Saliency(LogOdds(network, target, names)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        slopes: Any = method.attribute(
            data,
            nt_type="smoothgrad",
            nt_samples=draws,
            nt_samples_batch_size=4,
            stdevs=spread,
            additional_forward_args=rest,
            abs=False,
        )
    gradient: dict[Modality, F64] = {
        name: slope.detach().numpy().astype(np.float64) for name, slope in zip(names, slopes, strict=True)
    }
    values = {name: getattr(windows, name).astype(np.float64) for name in names}
    return Attribution(
        "smoothgrad",
        {name: np.tensordot(values[name], gradient[name].mean(axis=0), axes=2) for name in names},
        {name: np.abs(gradient[name]).mean(axis=0) * values[name].std(axis=0) for name in names},
    )
