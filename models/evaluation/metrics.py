"""Scores of class probabilities, for many weightings of the same windows at once.

A bootstrap draws blocks, and a block drawn twice weighs twice: estimate and interval come from one and the same code.
With two classes the second is the target, and precision, recall and the like are its; with more they are means over
the classes, each against all others (macro).
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
    "roc_auc",
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
    p : ndarray, shape (n, n_classes)
        Probabilities; the most probable class is decided for.
    label : ndarray, shape (n,)
        Index of the true class.
    unit : ndarray, shape (n,)
        Number of the unit that the row belongs to.
    counts : ndarray, shape (n_draws, n_units)
        How often each unit counts.

    Returns
    -------
    scores : dict of ndarray, shape (n_draws,)
        NaN where a metric has nothing to go by: no row of a class for its recall, say. The Brier score is the squared
        distance of the probabilities from the truth: summed over the classes, with two of the target's alone.

    References
    ----------
    Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006 (MCC of several classes); Fawcett 2006,
    doi:10.1016/j.patrec.2005.10.010 (ROC); Brier 1950, doi:10.1175/1520-0493(1950)078 (Brier); Naeini 2015,
    doi:10.1609/aaai.v29i1.9602 (ECE). PR-AUC is the average precision.
    """
    k = p.shape[1]
    table = _confusions(p, label, unit, counts)
    true, decided, right = table.sum(axis=2), table.sum(axis=1), np.diagonal(table, axis1=1, axis2=2)
    total = true.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / true
        # nothing decided for: nothing was right
        precision = np.where(decided > 0, right / decided, np.where(true > 0, 0.0, np.nan))
        f1 = 2 * right / (true + decided)
        top = right.sum(axis=1) * total - (true * decided).sum(axis=1)
        root = np.sqrt((total**2 - (decided**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
        # each class against all others; with two classes the target alone
        chosen = range(k) if k > 2 else (1,)
        roc, pr = np.mean([_areas(p[:, c], label == c, unit, counts) for c in chosen], axis=0)
        squares = sum(_sums((p[:, c] - (label == c)) ** 2, unit, counts) for c in chosen)
        said, truth = calibrated_on(p, label)
        return {
            "accuracy": right.sum(axis=1) / total,
            "balanced_accuracy": recall.mean(axis=1),
            "precision": _target_or_mean(precision),
            "recall": _target_or_mean(recall),
            "f1": _target_or_mean(f1),
            "mcc": np.where(root > 0, top / root, 0.0),
            "roc_auc": roc,
            "pr_auc": pr,
            "brier": squares / total,
            "ece": np.abs(_spread(_bins(said), said - truth, unit, counts)).sum(axis=1) / total,
        }


def balanced_only(p: F64, label: Labels, unit: Labels, counts: F64) -> dict[str, F64]:
    """Compute balanced accuracy alone, as ``scores`` does."""
    right = p.argmax(axis=1) == label
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            _sums(right & (label == k), unit, counts) / _sums(label == k, unit, counts) for k in range(p.shape[1])
        ]
    return {"balanced_accuracy": np.mean(shares, axis=0)}


def confusion(p: F64, label: Labels) -> Labels:
    """Count rows by true class (first axis) and decided class, shape (n_classes, n_classes)."""
    found = np.zeros((p.shape[1], p.shape[1]), np.int64)
    np.add.at(found, (label, p.argmax(axis=1)), 1)
    return found


def reliability(p: F64, label: Labels) -> list[tuple[float, float, int]]:
    """Give mean probability, share that it came true, and rows of every bin of equal mass."""
    said, truth = calibrated_on(p, label)
    bins = _bins(said)
    return [(float(said[own].mean()), float(truth[own].mean()), int(own.sum()))
            for k in range(int(bins.max()) + 1) if (own := bins == k).any()]  # fmt: skip


def calibrated_on(p: F64, label: Labels) -> tuple[F64, NDArray[np.bool_]]:
    """Give the probability that calibration is judged by, and whether it came true, shape (n,) each.

    Of two classes it is the target's, of more the most probable one's.
    """
    if p.shape[1] == 2:
        return p[:, 1], label == 1
    return p.max(axis=1), p.argmax(axis=1) == label


def _target_or_mean(values: F64) -> F64:
    return values[:, 1] if values.shape[1] == 2 else values.mean(axis=1)


def _confusions(p: F64, label: Labels, unit: Labels, counts: F64) -> F64:
    k = p.shape[1]
    table = _spread(label * k + p.argmax(axis=1), np.ones(len(p)), unit, counts, k * k)
    return table.reshape(-1, k, k)


def _sums(values: NDArray[Any], unit: Labels, counts: F64) -> F64:
    return counts @ np.bincount(unit, weights=values, minlength=counts.shape[1])


def _spread(column: Labels, values: NDArray[Any], unit: Labels, counts: F64, n_columns: int = 0) -> F64:
    # sums per column in every draw, shape (n_draws, n_columns); most units hold few of the columns
    shape = (n_columns or int(column.max()) + 1, counts.shape[1])
    return np.asarray(csr_array((values.astype(np.float64), (column, unit)), shape=shape) @ counts.T).T


def _areas(p: F64, target: NDArray[np.bool_], unit: Labels, counts: F64) -> tuple[F64, F64]:
    # columns from the most probable value down; equal values fall together
    values, inverse = np.unique(p, return_inverse=True)
    column = len(values) - 1 - inverse
    hits = _spread(column, target, unit, counts)
    misses = _spread(column, ~target, unit, counts)
    right, wrong = np.cumsum(hits, axis=1), np.cumsum(misses, axis=1)
    seen = right + wrong
    precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
    pairs = right[:, -1] * wrong[:, -1]
    # a hit counts against every miss that is less probable, and half against one of the same probability
    return (hits * (wrong[:, -1:] - wrong + misses / 2)).sum(axis=1) / pairs, (hits * precision).sum(axis=1) / right[
        :, -1
    ]


def _bins(p: F64) -> Labels:
    # equal values share a bin, so that the order of rows does not matter
    edges = np.quantile(p, np.arange(1, ECE_BINS) / ECE_BINS)
    return np.unique(np.searchsorted(edges, p, side="left"), return_inverse=True)[1].astype(np.int64)
