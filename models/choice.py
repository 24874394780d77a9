"""The rule: a network is the default only where it is shown to be better than the best simple rival.

The best rival is chosen on the validation people and the difference is judged on the test people: chosen on the people
that it is judged on, the best of several would look better than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset import UNLABELLED, WindowSet
from models.evaluation.blocks import blocks_of
from models.evaluation.judge import rows_of
from models.evaluation.metrics import balanced_only
from models.evaluation.predict import Model
from models.evaluation.resample import ENOUGH_SUBJECTS, Estimate, Unit, bootstrap, estimate
from models.evaluation.splits import people
from streamer.errors import ModelError
from streamer.messages import F64


@dataclass(frozen=True)
class Gain:
    """Of the network over a rival, in balanced accuracy on the same windows and the same draws."""

    difference: Estimate
    unit: Unit
    """What was drawn anew."""
    n_units: int

    @property
    def earned(self) -> bool:
        """Whether the whole 95 % interval lies above 0."""
        return bool(self.difference.low > 0)


def best_of(models: Sequence[Model], validation: WindowSet) -> str:
    """Name the model of the highest balanced accuracy on labelled windows; the first of several equal ones.

    Raises
    ------
    ModelError
        There is no model, or no window to choose by.
    """
    windows = validation.rows(_judged(validation))
    if not models or not len(windows):
        raise ModelError(f"{len(models)} rivals and {len(windows)} validation windows to choose the best by")
    unit, once = np.zeros(len(windows), np.int64), np.ones((1, 1))
    found: dict[str, float] = {}
    for model in models:
        p = model.predict_proba(windows)
        found[model.name] = float(balanced_only(p, windows.label, unit, once)["balanced_accuracy"][0])
    return max(found, key=lambda name: found[name])


def gain_over(windows: WindowSet, network: F64, rival: F64, seed: int = 0) -> Gain:
    """Compare two models on windows that neither has seen.

    Parameters
    ----------
    windows : WindowSet
    network, rival : ndarray, shape (n, n_classes)
        Probabilities; NaN for windows that were not held out.
    seed : int
        Of the draws.
    """
    there = np.isfinite(network).all(axis=1) & np.isfinite(rival).all(axis=1)
    index = np.flatnonzero(_judged(windows) & there)
    # as in the report
    unit: Unit = "subject" if len(set(people(windows)[index].tolist())) >= ENOUGH_SUBJECTS else "block"
    rows = rows_of(windows, index, blocks_of(windows), unit)
    first, second = bootstrap(rows, [network[index], rival[index]], seed, balanced_only)
    difference = estimate(first["balanced_accuracy"] - second["balanced_accuracy"])
    return Gain(difference, unit, int(rows.drawn.max()) + 1)


def verdict(gain: Gain, rivals: Sequence[str], judged_on: str) -> str:
    """Say what the rule came to, in a sentence for the cards.

    Parameters
    ----------
    gain : Gain
    rivals : sequence of str
        The best on the validation data, of each fold.
    judged_on : str
        Whose windows, in words.
    """
    d = gain.difference
    names = ", ".join(dict.fromkeys(rivals))
    over = (
        f"{d.value:+.4f} ({d.low:+.4f} to {d.high:+.4f}) in balanced accuracy on {judged_on}, 95 % interval over "
        f"{gain.n_units} {gain.unit}s"
    )
    than = f"than the rival that did best in validation ({names}): {over}"
    if gain.earned:
        return f"The network is better {than}; so the network is the default."
    if d.high < 0:
        return f"The network is worse {than}; so the rival is the default."
    return f"The network is not shown to be better {than}; so the rival is the default."


def _judged(windows: WindowSet) -> NDArray[np.bool_]:
    some = windows.valid.max(axis=1) > 0
    return (windows.label != UNLABELLED) & some & (blocks_of(windows) >= 0)
