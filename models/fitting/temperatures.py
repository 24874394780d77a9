"""Temperatures of the ensemble's probabilities, one per set of modalities (Guo 2017, arXiv:1706.04599)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from models.dataset import WindowSet
from models.fitting.fitted import logits_of
from models.network.ensemble import Ensemble
from models.patterns import occurring, reduced
from streamer.decode.model_card import Temperatures
from streamer.messages import F64

RANGE = (0.2, 10.0)
"""Beyond this a temperature says that the logits are no scores at all."""


def temperatures(ensemble: Ensemble, held: WindowSet) -> Temperatures:
    """Fit a temperature per set of modalities, to labelled windows of people that the weights were not fitted on.

    A window that holds both serves three times: as it is, and reduced to either modality.
    """
    found: dict[str, float] = {}
    for pattern in occurring(held):
        windows = reduced(held, pattern)
        found[pattern] = fit_temperature(logits_of(ensemble, windows), windows.label)
    return Temperatures(**found)


def fit_temperature(logits: F64, label: NDArray[np.int64]) -> float:
    """Find the temperature of least cross-entropy of the members' mean probability.

    Parameters
    ----------
    logits : ndarray, shape (n, members, n_classes)
    label : ndarray, int64, shape (n,)
    """

    def cost(log_t: float) -> float:
        each = log_softmax(logits / math.exp(log_t), axis=2)
        of_truth = np.take_along_axis(each, label[:, None, None], axis=2)[:, :, 0]
        return -float(np.mean(logsumexp(of_truth, axis=1)))

    low, high = map(math.log, RANGE)
    found: Any = minimize_scalar(cost, bounds=(low, high), method="bounded")
    return round(math.exp(found.x), 4)
