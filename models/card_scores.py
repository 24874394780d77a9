"""Scores as the card holds them: windows, and blocks with Wilson's interval, per set of modalities."""

from __future__ import annotations

import numpy as np

from models.dataset import UNLABELLED, WindowSet
from models.evaluation.blocks import blocks_of, decide_blocks
from models.evaluation.predict import Model
from models.patterns import occurring, reduced
from streamer.decode.model_card import CardScore, Pattern
from streamer.decode.scores import wilson_interval


def card_scores(model: Model, windows: WindowSet) -> dict[Pattern, CardScore]:
    """Score a model on windows that hold both modalities, and reduced to either.

    Parameters
    ----------
    model : Model
    windows : WindowSet
        Of people that neither training nor validation has seen.

    Returns
    -------
    scores : dict
        Without the patterns that no labelled window holds or that the model cannot judge by.
    """
    found: dict[Pattern, CardScore] = {}
    labelled = windows.rows(windows.label != UNLABELLED)
    for pattern in occurring(labelled):
        if model.modalities in {"both", pattern}:
            score = _score(model, reduced(labelled, pattern))
            if score is not None:
                found[pattern] = score
    return found


def _score(model: Model, windows: WindowSet) -> CardScore | None:
    if not len(windows):
        return None
    p = model.predict_proba(windows)
    decided = decide_blocks(windows, p, blocks_of(windows))
    n = len(decided.at)
    if not n:
        return None
    low, high = wilson_interval(int(decided.right.sum()), n)
    return CardScore(
        window_accuracy=round(float((p.argmax(axis=1) == windows.label).mean()), 4),
        block_accuracy=round(float(decided.right.mean()), 4),
        block_ci95=(round(low, 4), round(high, 4)),
        n_blocks=n,
        chance=round(float(np.bincount(decided.label).max() / n), 4),
    )
