"""Scores of two-class probabilities, for many weightings of the same windows at once.

A bootstrap draws blocks, and a block drawn twice weighs twice: estimate and interval come from one and the same code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from streamer.messages import F64

Labels = NDArray[np.int64]
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "pr_auc",
    "brier",
    "ece",
)
"""In the order of reports; the last two are better when smaller."""
ECE_BINS = 15
"""Of equal mass."""


def scores(p: F64, label: Labels, unit: Labels, counts: F64) -> dict[str, F64]:
    """Compute all metrics.

    Parameters
    ----------
    p : ndarray, shape (n,)
        Probability of class 1; above 0.5 it is decided for.
    label : ndarray, shape (n,)
        0 or 1.
    unit : ndarray, shape (n,)
        Number of the unit that the row belongs to.
    counts : ndarray, shape (n_draws, n_units)
        How often each unit counts.

    Returns
    -------
    scores : dict of ndarray, shape (n_draws,)
        NaN where a metric has nothing to go by: no positive row for recall, say.

    References
    ----------
    Matthews 1975, doi:10.1016/0005-2795(75)90109-9 (MCC); Brier 1950, doi:10.1175/1520-0493(1950)078 (Brier);
    Naeini 2015, doi:10.1609/aaai.v29i1.9602 (ECE). PR-AUC is the average precision.
    """
    target, decided = label == 1, p > 0.5
    tp, fp, fn, tn, squares = (
        _sums(values, unit, counts)
        for values in (target & decided, ~target & decided, target & ~decided, ~target & ~decided, (p - target) ** 2)
    )
    total = tp + fp + fn + tn
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, specificity = tp / (tp + fn), tn / (tn + fp)
        root = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return {
            "accuracy": (tp + tn) / total,
            "balanced_accuracy": (recall + specificity) / 2,
            # nothing decided for: nothing was right
            "precision": np.where(tp + fp > 0, tp / (tp + fp), np.where(tp + fn > 0, 0.0, np.nan)),
            "recall": recall,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "mcc": np.where(root > 0, (tp * tn - fp * fn) / root, 0.0),
            "pr_auc": _average_precision(p, target, unit, counts),
            "brier": squares / total,
            "ece": _ece(p, target, unit, counts) / total,
        }


def balanced_only(p: F64, label: Labels, unit: Labels, counts: F64) -> dict[str, F64]:
    """Compute balanced accuracy alone, as ``scores`` does."""
    right = (p > 0.5) == (label == 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [_sums(right & (label == k), unit, counts) / _sums(label == k, unit, counts) for k in (0, 1)]
    return {"balanced_accuracy": (shares[0] + shares[1]) / 2}


def confusion(p: F64, label: Labels) -> Labels:
    """Count rows by true class (first axis) and decided class, shape (2, 2)."""
    found = np.zeros((2, 2), np.int64)
    np.add.at(found, (label, (p > 0.5).astype(np.int64)), 1)
    return found


def reliability(p: F64, label: Labels) -> list[tuple[float, float, int]]:
    """Give mean probability, share of class 1 and rows of every bin of equal mass."""
    bins = _bins(p)
    return [(float(p[own].mean()), float((label[own] == 1).mean()), int(own.sum()))
            for k in range(int(bins.max()) + 1) if (own := bins == k).any()]  # fmt: skip


def _sums(values: NDArray[Any], unit: Labels, counts: F64) -> F64:
    return counts @ np.bincount(unit, weights=values, minlength=counts.shape[1])


def _spread(column: Labels, values: NDArray[Any], unit: Labels, counts: F64) -> F64:
    # sums per column in every draw, shape (n_draws, n_columns); most units hold few of the columns
    shape = (int(column.max()) + 1, counts.shape[1])
    return np.asarray(csr_array((values.astype(np.float64), (column, unit)), shape=shape) @ counts.T).T


def _average_precision(p: F64, target: NDArray[np.bool_], unit: Labels, counts: F64) -> F64:
    # columns from the most probable value down; equal values fall together
    values, inverse = np.unique(p, return_inverse=True)
    column = len(values) - 1 - inverse
    seen = np.cumsum(_spread(column, np.ones(len(p)), unit, counts), axis=1)
    found = _spread(column, target, unit, counts)
    right = np.cumsum(found, axis=1)
    precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (found * precision).sum(axis=1) / right[:, -1]


def _ece(p: F64, target: NDArray[np.bool_], unit: Labels, counts: F64) -> F64:
    return np.abs(_spread(_bins(p), p - target, unit, counts)).sum(axis=1)


def _bins(p: F64) -> Labels:
    # equal values share a bin, so that the order of rows does not matter
    edges = np.quantile(p, np.arange(1, ECE_BINS) / ECE_BINS)
    return np.unique(np.searchsorted(edges, p, side="left"), return_inverse=True)[1].astype(np.int64)
