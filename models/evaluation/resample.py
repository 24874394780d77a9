"""Intervals, chance and differences: what is drawn anew are blocks, runs or subjects, never windows.

Windows of a block overlap and share their noise; drawn one by one they would feign certainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import scores
from streamer.messages import F64

DRAWS = 1000
PERMUTATIONS = 999
ENOUGH_SUBJECTS = 6
"""With fewer, drawing whole subjects anew says little: blocks are drawn, and the interval speaks for these subjects."""
_PIECE = 200

Unit = Literal["block", "run", "subject"]
Score = Callable[[F64, NDArray[np.int64], NDArray[np.int64], F64], dict[str, F64]]
"""As ``metrics.scores``."""


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Rows:
    """What is judged, and what is drawn anew.

    Parameters
    ----------
    label : ndarray, int64, shape (n,)
        Index of the true class.
    block : ndarray, int64, shape (n,)
        Number of the row's block.
    within : ndarray, str, shape (n,)
        Run that labels of blocks may be permuted within.
    drawn : ndarray, int64, shape (n,)
        Number of the unit that a bootstrap draws.
    unit : str
        What that unit is.
    """

    label: NDArray[np.int64]
    block: NDArray[np.int64]
    within: NDArray[np.str_]
    drawn: NDArray[np.int64]
    unit: Unit


def draw(rows: Rows, draws: int = DRAWS, seed: int = 0) -> F64:
    """Draw units with replacement, blocks within their class: the paradigm fixes how many there are of each.

    Returns
    -------
    counts : ndarray, shape (1 + draws, n_units)
        How often each unit was drawn; the first row is the sample as it is.
    """
    rng = np.random.default_rng(seed)
    n_units = int(rows.drawn.max()) + 1
    first = np.unique(rows.drawn, return_index=True)[1]
    stratum = rows.label[first] if rows.unit == "block" else np.zeros(n_units, np.int64)
    counts = np.ones((1 + draws, n_units))
    for each in np.unique(stratum):
        own = np.flatnonzero(stratum == each)
        counts[1:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
    return counts


def bootstrap(
    rows: Rows, probabilities: Sequence[F64], seed: int = 0, score: Score = scores, draws: int = DRAWS
) -> list[dict[str, F64]]:
    """Score several models on the same draws of units.

    Parameters
    ----------
    rows : Rows
    probabilities : sequence of ndarray, shape (n, n_classes)
        One per model.
    seed : int
    score : callable
        Takes probabilities, labels, units and counts.
    draws : int

    Returns
    -------
    scores : list of dict of ndarray, shape (1 + draws,)
        Per model; the first entry is the estimate on the rows as they are.
    """
    counts = draw(rows, draws, seed)
    parts: list[list[dict[str, F64]]] = [[] for _ in probabilities]
    for start in range(0, len(counts), _PIECE):
        piece = counts[start : start + _PIECE]
        for k, p in enumerate(probabilities):
            parts[k].append(score(p, rows.label, rows.drawn, piece))
    return [{name: np.concatenate([part[name] for part in own]) for name in own[0]} for own in parts]


def estimate(values: F64) -> Estimate:
    """Give the first value, and the percentile interval of the others; draws without a value are passed over."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


def ratio(rows: Rows, part: NDArray[Any], whole: NDArray[Any], seed: int = 0) -> Estimate:
    """Give the sum of ``part`` over that of ``whole``, shape (n,) each, with its interval over drawn units."""
    counts = draw(rows, seed=seed)
    n_units = counts.shape[1]
    above, below = (counts @ np.bincount(rows.drawn, weights=each, minlength=n_units) for each in (part, whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        return estimate(above / below)


def permutation_p(rows: Rows, p: F64, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Test balanced accuracy against labels of whole blocks permuted within their runs.

    Parameters
    ----------
    rows : Rows
    p : ndarray, shape (n, n_classes)
    permutations, seed : int

    Returns
    -------
    p : float
        (1 + permutations at least as good) / (1 + permutations).
    """
    rng = np.random.default_rng(seed)
    n_blocks = int(rows.block.max()) + 1
    first = np.unique(rows.block, return_index=True)[1]
    label, within = rows.label[first], rows.within[first]
    decided = np.zeros((n_blocks, p.shape[1]))
    np.add.at(decided, (rows.block, p.argmax(axis=1)), 1)
    size = decided.sum(axis=1)
    labels = np.repeat(label[None], 1 + permutations, axis=0)
    for name in np.unique(within):
        group = np.flatnonzero(within == name)
        labels[1:, group] = rng.permuted(labels[1:, group], axis=1)
    recalls = [((labels == k) @ decided[:, k]) / ((labels == k) @ size) for k in np.unique(label)]
    reached = np.mean(recalls, axis=0)
    return (1 + int((reached[1:] >= reached[0] - 1e-12).sum())) / (1 + permutations)
