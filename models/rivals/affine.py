"""What every rival comes to in the end: a matrix and an offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64, Array


@dataclass(frozen=True)
class Affine:
    """Features to one score per class.

    Parameters
    ----------
    weights : ndarray, float64, shape (n, n_classes)
    offset : ndarray, float64, shape (n_classes,)
    """

    weights: F64
    offset: F64

    def __call__(self, features: Array) -> F64:
        """Give scores, shape (b, n_classes), of features, shape (b, n)."""
        return features @ self.weights + self.offset

    def calibrated(self, slope: float, bias: F64) -> Affine:
        """Multiply the scores and add to them; ``bias`` of shape (n_classes,)."""
        return Affine(slope * self.weights, slope * self.offset + bias)


Learn = Callable[[Sequence[Array], NDArray[np.int64], int, Sequence[float]], list[Affine]]
"""Takes blocks of features of shape (b, n) each, labels 0..n_classes-1 of shape (b,), n_classes and values of the one
setting that it has; gives the map that it learned for each value."""


def of_linear_model(estimator: Any) -> Affine:
    """Take the scores of a fitted linear classifier of scikit-learn; with two classes those of the first are 0."""
    weights, offset = np.asarray(estimator.coef_, np.float64).T, np.asarray(estimator.intercept_, np.float64)
    if weights.shape[1] == 1:
        return Affine(np.hstack([np.zeros_like(weights), weights]), np.append(0.0, offset))
    return Affine(weights, offset)
