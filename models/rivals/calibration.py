"""From scores to probabilities: one slope for all classes and an offset for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from streamer.messages import F64

_PENALTY = 1e-3
"""On the square of the slope: scores that part the classes wholly would make it infinite."""


def fit_calibration(scores: F64, label: NDArray[np.int64]) -> tuple[float, F64]:
    """Find slope and offsets so that the softmax of ``slope * scores + bias`` is a probability.

    With two classes this is Platt's scaling (Platt 1999), with more vector-offset temperature scaling (Guo 2017,
    arXiv:1706.04599).

    Parameters
    ----------
    scores : ndarray, float64, shape (b, n_classes)
        Of windows that the scoring fit had not seen.
    label : ndarray, int64, shape (b,)
        Every class occurs.

    Returns
    -------
    slope : float
        0 where higher scores do not speak for a class at all: then nothing is said but how common the classes are.
    bias : ndarray, float64, shape (n_classes,)
    """
    n, n_classes = scores.shape
    centred = scores - scores.mean(axis=1, keepdims=True)
    unit = float(centred.std()) or 1.0
    x, truth = centred / unit, np.eye(n_classes)[label]
    common = np.log(truth.mean(axis=0))

    def loss(theta: F64) -> tuple[float, F64]:
        log_p = log_softmax(theta[0] * x + theta[1:], axis=1)
        wrong = (np.exp(log_p) - truth) / n
        gradient = np.append((wrong * x).sum() + _PENALTY * theta[0] / n, wrong.sum(axis=0))
        return float(-(truth * log_p).sum() / n + 0.5 * _PENALTY * theta[0] ** 2 / n), gradient

    found = minimize(loss, np.append(1.0, common), jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8})
    slope = float(found.x[0]) / unit
    return (slope, found.x[1:] - found.x[1:].mean()) if slope > 0 else (0.0, common)


def fit_temperature(logits: F64, label: NDArray[np.int64]) -> float:
    """Find what to divide logits by for the least log loss (Guo 2017, arXiv:1706.04599): 0.05 to 20.

    Parameters
    ----------
    logits : ndarray, float64, shape (b, n_classes)
    label : ndarray, int64, shape (b,)
    """
    found: Any = minimize_scalar(
        lambda exponent: log_loss(logits / np.exp(exponent), label), bounds=(-np.log(20), np.log(20)), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(logits: F64, label: NDArray[np.int64]) -> float:
    """Mean negative log probability of the truth, nats."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(label)), label].mean())
