"""Integrated gradients from the participant's baseline to the window (Sundararajan 2017, arXiv:1703.01365).

Contributions add up to the change of the log-odds, as exactly as the path was cut finely: this is measured, and what
misses more than 1 % is refused.
"""

from __future__ import annotations

import numpy as np
from captum.attr import IntegratedGradients
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.network import LogOdds, Modality, inputs, present
from streamer.errors import ModelError
from streamer.messages import F64

COMPLETENESS = 0.01
"""Largest part of the change of the log-odds that may be missing, over all windows."""
STEPS = (32, 64, 128, 256)
"""Points on the path, tried in turn until it is fine enough."""
_AT_ONCE = 2048


def integrated(network: nn.Module, windows: WindowSet, target: int, steps: tuple[int, ...] = STEPS) -> Attribution:
    """Attribute the log-odds of a class; the baseline is zero, where the participant's calibration lies.

    Raises
    ------
    ModelError
        The contributions do not add up to 1 %, however finely the path is cut.
    """
    names = present(windows)
    data, rest = inputs(windows)
    model = LogOdds(network, target, names)
    method = IntegratedGradients(model)
    change = (model(*data, *rest) - model(*(part * 0 for part in data), *rest)).detach().abs().sum().item()
    missing = np.inf
    for count in steps:
        parts, gap = method.attribute(
            data,
            n_steps=count,
            internal_batch_size=_AT_ONCE,
            return_convergence_delta=True,
            additional_forward_args=rest,
        )
        missing = gap.abs().sum().item() / max(change, 1e-12)
        if missing <= COMPLETENESS:
            pairs = zip(names, parts, strict=True)
            found: dict[Modality, F64] = {name: part.detach().numpy().astype(np.float64) for name, part in pairs}
            return Attribution(
                "integrated",
                {name: part.sum(axis=(1, 2)) for name, part in found.items()},
                {name: np.abs(part).mean(axis=0) for name, part in found.items()},
                {"completeness": 1.0 - missing, "steps": count},
            )
    raise ModelError(
        f"integrated gradients miss {100 * missing:.2g} % of the change of the log-odds with {steps[-1]} steps: "
        f"expected {100 * COMPLETENESS:g} % at most, no map is made"
    )
