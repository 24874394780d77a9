"""Whether a model knows when it does not know: coverage of its candidates, and what is left when it abstains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predict import Asked
from models.evaluation.resample import Estimate, Rows, ratio
from streamer.decode.model_card import Pattern


@dataclass(frozen=True)
class DoubtScore:
    """For one set of modalities."""

    pattern: Pattern
    n_windows: int
    coverage_windows: Estimate | None
    """Share of windows whose true class was among the candidates; None where the model gives no candidates."""
    coverage_blocks: Estimate | None
    """Mean over blocks of that share: every block counts once."""
    n_candidates: Estimate | None
    """Mean number of candidates of a window."""
    abstained: Estimate
    """Share of windows."""
    accuracy: Estimate
    """Over all windows."""
    accuracy_answered: Estimate
    """Over the windows that it did not abstain from; NaN when there is none."""


def score_doubt(pattern: Pattern, rows: Rows, asked: Asked, index: NDArray[np.int64], seed: int = 0) -> DoubtScore:
    """Judge a model's doubt.

    Parameters
    ----------
    pattern : str
        What the windows were reduced to.
    rows : Rows
        Of the windows at ``index``.
    asked : Asked
        With ``abstained``.
    index : ndarray, int64
        Windows that hold the modalities.
    seed : int
        Of the bootstrap.
    """
    if asked.abstained is None:
        raise ValueError("the model was not asked whether it abstains")
    every, label = np.ones(len(index)), rows.label
    once = 1.0 / np.bincount(rows.block)[rows.block]
    right = asked.p[index].argmax(axis=1) == label
    answered = ~asked.abstained[index]
    covered = size = None
    if asked.candidates is not None:
        sets = asked.candidates[index]
        covered, size = sets[np.arange(len(index)), label], sets.sum(axis=1)
    return DoubtScore(
        pattern=pattern,
        n_windows=len(index),
        coverage_windows=None if covered is None else ratio(rows, covered, every, seed),
        coverage_blocks=None if covered is None else ratio(rows, covered * once, once, seed),
        n_candidates=None if size is None else ratio(rows, size, every, seed),
        abstained=ratio(rows, ~answered, every, seed),
        accuracy=ratio(rows, right, every, seed),
        accuracy_answered=ratio(rows, right & answered, answered, seed),
    )
