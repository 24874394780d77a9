"""Grad-CAM and layer-wise relevance propagation, for those who must compare: both failed validation in neuroimaging.

Grad-CAM (Selvaraju 2017, doi:10.1109/ICCV.2017.74) is defined over a convolution's outputs: here the one over EEG time,
so that it tells steps apart but no channel, band or region. LRP (Bach 2015, doi:10.1371/journal.pone.0130140) has no
rule for an LSTM in captum: a network of EEG has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from captum.attr import LRP, LayerGradCam
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.network import LogOdds, Modality, inputs, present
from streamer.errors import ModelError
from streamer.messages import F64

WARNING = "failed validation in neuroimaging: shown for comparison only, not to be read as an explanation"


def gradcam(network: nn.Module, windows: WindowSet, target: int) -> Attribution:
    """Attribute the log-odds of a class to the steps of the EEG.

    Raises
    ------
    ModelError
        The network has no convolution over time.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv1d) and layer.kernel_size[0] > 1]
    if not layers or "eeg" not in present(windows):
        raise ModelError("Grad-CAM is not defined for this network: it has no convolution over EEG time")
    data, rest = inputs(windows)
    model = LogOdds(network, target, present(windows))
    n_steps, width = windows.eeg.shape[1:]
    found = np.zeros((len(windows), n_steps))
    for layer in layers:
        parts: Any = LayerGradCam(model, layer).attribute(data, additional_forward_args=rest)
        found += parts.detach().numpy()[:, 0, -n_steps:]
    spread = np.repeat(np.abs(found).mean(axis=0)[:, None] / width, width, axis=1)
    return Attribution("gradcam", {"eeg": found.sum(axis=1)}, {"eeg": spread})


def lrp(network: nn.Module, windows: WindowSet, target: int) -> Attribution:
    """Attribute the log-odds of a class by propagating relevance back through the layers.

    Raises
    ------
    ModelError
        The network has a layer that no rule is known for.
    """
    if any(isinstance(layer, nn.RNNBase) for layer in network.modules()):
        raise ModelError("LRP is not defined for this network: no rule is known for its LSTM")
    names = present(windows)
    data, rest = inputs(windows)
    try:
        parts = LRP(LogOdds(network, target, names)).attribute(data, additional_forward_args=rest)
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ModelError(f"LRP is not defined for this network: {error}") from error
    found: dict[Modality, F64] = {
        name: part.detach().numpy().astype(np.float64) for name, part in zip(names, parts, strict=True)
    }
    return Attribution(
        "lrp",
        {name: part.sum(axis=(1, 2)) for name, part in found.items()},
        {name: np.abs(part).mean(axis=0) for name, part in found.items()},
    )
