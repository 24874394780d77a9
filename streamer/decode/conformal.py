"""Sets of candidates that hold the true class at a stated rate: split conformal prediction, block by block.

Windows of one block overlap and share their noise, so that they are not exchangeable: counted one by one they would
feign certainty. What is exchangeable, at most, are blocks. Every block therefore carries the same weight, shared among
its windows, and the block that is to come carries one block's weight at the worst score there is. A window drawn from a
new block then has its true class among the candidates at least at the stated rate.

References
----------
Vovk 2005, doi:10.1007/b106715 (split conformal prediction); Dunn 2023, doi:10.1080/01621459.2022.2060112 and Lee 2023,
arXiv:2306.06342 (groups of repeated measurements).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64

GRID = 1e-5
"""Probabilities are served on this grid."""
_ROUNDING = 1e-9


def block_quantile(p_true: F64, block: NDArray[np.int64], alpha: float) -> float:
    """Find the quantile that a card's sets of candidates are made with.

    Parameters
    ----------
    p_true : ndarray, shape (n,)
        Probability that the model gave to each window's true class; of blocks that it was not fitted on.
    block : ndarray, int64, shape (n,)
        Number of the window's block.
    alpha : float
        Rate at which the true class may be missing.

    Returns
    -------
    quantile : float
        A class is a candidate while its probability is at least 1 less this. 1, so that every class is one, where the
        blocks are fewer than ``1 / alpha - 1``.

    Raises
    ------
    ValueError
        The vectors differ in length or are empty, or alpha is not between 0 and 1.
    """
    score, weight, n_blocks = 1 - _vector(p_true), _weights(p_true, block), len(np.unique(block))
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}: expected more than 0 and less than 1")
    order = np.argsort(score, kind="stable")
    reached = np.cumsum(weight[order]) / (n_blocks + 1)
    at = int(np.searchsorted(reached, 1 - alpha - _ROUNDING))
    if at >= len(order):
        return 1.0
    # up to the next point of the grid: what is rounded when served still counts
    return min(1.0, round((math.floor(float(score[order[at]]) / GRID) + 1) * GRID, 5))


def candidates(p: F64, quantile: float) -> NDArray[np.bool_]:
    """Say which classes cannot be ruled out.

    Parameters
    ----------
    p : ndarray, shape (..., n_classes)
        Probabilities.
    quantile : float
        As ``block_quantile`` gives it.
    """
    return np.asarray(p) >= 1 - quantile - _ROUNDING


def block_coverage(p_true: F64, block: NDArray[np.int64], quantile: float) -> float:
    """Measure how often the true class was a candidate: the mean over blocks of the share of their windows.

    Parameters
    ----------
    p_true, block : ndarray, shape (n,)
        As ``block_quantile`` takes them, of blocks that it did not see.
    quantile : float
    """
    weight = _weights(p_true, block)
    return float(weight[candidates(_vector(p_true), quantile)].sum() / weight.sum())


def _vector(p_true: F64) -> F64:
    p = np.asarray(p_true, np.float64)
    if p.ndim != 1 or not len(p) or not np.isfinite(p).all():
        raise ValueError(f"probabilities of shape {p.shape}: expected a vector of at least one, all finite")
    return p


def _weights(p_true: F64, block: NDArray[np.int64]) -> F64:
    if np.shape(p_true) != np.shape(block):
        raise ValueError(f"probabilities {np.shape(p_true)} and blocks {np.shape(block)}: expected two equal vectors")
    _, own, size = np.unique(block, return_inverse=True, return_counts=True)
    return 1.0 / size[own]
