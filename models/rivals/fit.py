"""Fit one part of a rival: its setting and its calibration come from windows held out within the training ones."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold

from models.dataset import WindowSet
from models.evaluation.splits import people, runs, split
from models.rivals.affine import Affine, Learn
from models.rivals.calibration import fit_calibration, log_loss
from streamer.decode.model_card import Pattern
from streamer.decode.window_features import features_of, sources
from streamer.errors import ModelError, UsageError
from streamer.messages import F32, F64, Array

INNER_FOLDS = 4
"""Within the training windows."""
N_EXAMPLES = 64
"""Training windows whose features are kept to check a graph with."""


@dataclass(frozen=True)
class Part:
    """One fit of a rival."""

    features: tuple[str, ...]
    """What it judges by: names in ``streamer/decode/window_features.py``."""
    learn: Learn
    settings: tuple[float, ...]
    """Values of its one setting to choose from; a middle one where nothing can be held out."""
    fit_on: Pattern
    """What a window must hold to be fitted on."""
    learn_from: tuple[str, ...] = ()
    """What it learns from, where that is more than ``features``."""


@dataclass(frozen=True)
class FittedPart:
    """What came of it."""

    features: tuple[str, ...]
    logits: Affine
    """Their softmax is a calibrated probability."""
    setting: float
    """The value that was chosen."""
    examples: F32
    """Features of some training windows, shape (n_examples, n)."""
    unseen: F64
    """Log probabilities of the trainable windows by fits that had not seen them, shape (n_trainable, n_classes); NaN
    for those that it cannot judge or that were never held out."""


def fit_part(part: Part, windows: WindowSet, name: str) -> FittedPart:
    """Fit to the settled, labelled windows.

    The setting with the least log loss on the inner held-out windows is taken, after calibration on the same: windows
    of other people where there are several, else of other runs, else of another stretch of the run behind a gap.

    Parameters
    ----------
    part : Part
    windows : WindowSet
    name : str
        Of the rival, for errors.

    Raises
    ------
    ModelError
        Windows of a class are missing.
    """
    names = part.learn_from or part.features
    windows = windows.trainable()
    rows = np.flatnonzero(usable(windows, part.fit_on, names))
    of_all = np.full((len(windows), len(windows.classes)), np.nan)
    windows = windows.rows(rows)
    n_classes, label = len(windows.classes), windows.label
    absent = [windows.classes[k] for k in range(n_classes) if not (label == k).any()]
    if absent:
        raise ModelError(
            f"{name}: no window of {', '.join(absent)} that holds {part.fit_on} to fit on: "
            f"expected all of {', '.join(windows.classes)}"
        )
    blocks = [_features(windows, (each,)) for each in names]
    served = _features(windows, part.features)
    folds = [
        (train, test) for train, test in _inner(windows) if len(test) and len(np.unique(label[train])) == n_classes
    ]
    held = np.concatenate([test for _, test in folds]) if folds else np.empty(0, np.int64)
    truth = label[held]
    setting, slope, bias = part.settings[len(part.settings) // 2], 1.0, np.zeros(n_classes)
    if len(np.unique(truth)) == n_classes:
        maps = [
            part.learn([block[train] for block in blocks], label[train], n_classes, part.settings) for train, _ in folds
        ]
        least = np.inf
        for k, value in enumerate(part.settings):
            unseen = np.concatenate([found[k](served[test]) for found, (_, test) in zip(maps, folds, strict=True)])
            tried = fit_calibration(unseen, truth)
            loss = log_loss(tried[0] * unseen + tried[1], truth)
            if loss < least:
                least, setting, (slope, bias) = loss, value, tried
                of_all[rows[held]] = log_softmax(slope * unseen + bias, axis=1)
    logits = part.learn(blocks, label, n_classes, (setting,))[0].calibrated(slope, bias)
    shown = np.unique(np.linspace(0, len(served) - 1, N_EXAMPLES).round().astype(np.int64))
    return FittedPart(part.features, logits, setting, served[shown], of_all)


class SharedPart:
    """A part that several rivals have: fitted once to the same windows.

    Parameters
    ----------
    part : Part
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._windows: weakref.ref[WindowSet] | None = None
        self._fitted: FittedPart | None = None

    def fit(self, windows: WindowSet, name: str) -> FittedPart:
        """Fit as ``fit_part`` does, unless that was done just before."""
        if self._fitted is None or self._windows is None or self._windows() is not windows:
            self._fitted, self._windows = fit_part(self._part, windows, name), weakref.ref(windows)
        return self._fitted


def holds(windows: WindowSet, pattern: Pattern) -> NDArray[np.bool_]:
    """Say which windows hold at least these modalities, shape (n,)."""
    there = windows.valid > 0
    return {"both": there[:, 0] & there[:, 1], "eeg": there[:, 0], "bold": there[:, 1]}[pattern]


def usable(windows: WindowSet, pattern: Pattern, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Say which windows hold these modalities, and numbers only in what these features are made of, shape (n,)."""
    rows = holds(windows, pattern)
    for source in sources(names):
        values: Array = getattr(windows, source)
        rows &= np.isfinite(values.reshape(len(values), -1).sum(axis=1)) if values.size else False
    return rows


def _features(windows: WindowSet, names: tuple[str, ...]) -> F32:
    return features_of(names, windows.eeg, windows.bold, windows.tangent)


def _inner(windows: WindowSet) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for names in (people(windows), runs(windows)):
        n = len(set(names.tolist()))
        if n > 1:
            return list(GroupKFold(min(INNER_FOLDS, n)).split(names[:, None], groups=names))
    try:
        return [(fold.train, fold.test) for fold in split(windows, "blocked", n_folds=INNER_FOLDS)]
    except UsageError:
        return []
