"""When a model says that it does not know: candidates at a stated rate, and a limit to its members' disagreement.

The candidates are of split conformal prediction by blocks (``streamer/decode/conformal.py``). They are fitted on people
whom the weights have not seen, and the rate is then measured on yet others: blocks of one person are not exchangeable
with those of the next, so that the stated rate is a promise for people like those, and the measured one says how it
held.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.dataset import UNLABELLED, WindowSet
from models.evaluation.blocks import blocks_of
from models.evaluation.predict import Asked
from models.patterns import held, occurring, pattern_of, reduced
from streamer.decode.conformal import block_coverage, block_quantile, candidates
from streamer.decode.model_card import Doubt, Pattern
from streamer.messages import F64

ALPHA = 0.1
ENOUGH = 2.0
"""Blocks that may miss their true class at the stated rate: with fewer a quantile is the one worst window."""
DISAGREEING = 0.01
"""Share of validation windows whose members disagree too much."""
Proba = Callable[[WindowSet], F64]


def fit_doubt(
    proba: Proba, validation: WindowSet, disagreement: Callable[[WindowSet], F64] | None = None, alpha: float = ALPHA
) -> Doubt:
    """Fit quantiles per set of modalities, and the limit of disagreement.

    Parameters
    ----------
    proba : callable
        Gives a model's probabilities, shape (n, n_classes).
    validation : WindowSet
        Of people that the model's weights were not fitted on.
    disagreement : callable, optional
        Gives the disagreement of the model's members, nats, shape (n,).
    alpha : float
        Rate at which the true class may be missing.

    Returns
    -------
    doubt : Doubt
        Without a quantile where there are too few blocks: 19 are enough for a rate of 0.1.
    """
    windows = _judged(validation)
    quantile: dict[Pattern, float] = {}
    apart: list[F64] = []
    n_blocks = 0
    for pattern in occurring(windows):
        given = reduced(windows, pattern)
        block = blocks_of(given)
        n = len(np.unique(block))
        if (n + 1) * alpha >= ENOUGH:
            quantile[pattern] = block_quantile(_of_truth(proba(given), given), block, alpha)
            n_blocks = max(n_blocks, n)
        if disagreement is not None:
            apart.append(disagreement(given))
    limit = float(np.quantile(np.concatenate(apart), 1 - DISAGREEING)) if apart else 0.0
    return Doubt(alpha=alpha, quantile=quantile, n_blocks=n_blocks, disagreement_max=round(limit, 6) or None)


def measured(doubt: Doubt, proba: Proba, test: WindowSet) -> Doubt:
    """Note how often the true class was a candidate on people that nothing was fitted on."""
    windows = _judged(test)
    coverage: dict[Pattern, float] = {}
    for pattern in occurring(windows):
        if pattern in doubt.quantile:
            given = reduced(windows, pattern)
            found = block_coverage(_of_truth(proba(given), given), blocks_of(given), doubt.quantile[pattern])
            coverage[pattern] = round(found, 4)
    return doubt.model_copy(update={"coverage": coverage})


def doubted(doubt: Doubt, p: F64, windows: WindowSet, disagreement: F64 | None = None) -> Asked:
    """Say what cannot be ruled out and what is not decided, as the loop does.

    Parameters
    ----------
    doubt : Doubt
    p : ndarray, shape (n, n_classes)
    windows : WindowSet
    disagreement : ndarray, shape (n,), optional
        Of the members, nats.
    """
    if not doubt.quantile and doubt.disagreement_max is None:
        return Asked(p)
    sets = np.ones(p.shape, np.bool_)
    abstained = np.zeros(len(p), np.bool_)
    pattern = pattern_of(windows)
    for name, quantile in doubt.quantile.items():
        rows = pattern == name
        sets[rows] = candidates(p[rows], quantile)
        abstained[rows] = sets[rows].sum(axis=1) != 1
    if doubt.disagreement_max is not None and disagreement is not None:
        abstained |= disagreement > doubt.disagreement_max
    return Asked(p, sets if doubt.quantile else None, abstained)


def _judged(windows: WindowSet) -> WindowSet:
    any_held = held(windows, "eeg") | held(windows, "bold")
    return windows.rows((windows.label != UNLABELLED) & (blocks_of(windows) >= 0) & any_held)


def _of_truth(p: F64, windows: WindowSet) -> F64:
    return p[np.arange(len(p)), windows.label]
