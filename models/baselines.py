"""Simple rivals of the network, fitted on the same windows: what a learned fusion has to beat.

Every rival is linear in few features. Its scores become probabilities by Platt's scaling on windows of subjects (or
stretches of a run) that the scored fit had not seen. A modality that is missing leaves the rival to its fit for what is
there; with nothing there the classes are equally likely. A Riemannian rival needs covariances of the raw EEG, which
windows do not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cross_decomposition import PLSSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from models.dataset import WindowSet
from models.evaluation.splits import people, split
from streamer.errors import ModelError, UsageError
from streamer.messages import F64

Pattern = Literal["both", "eeg", "bold"]
"""A set of modalities."""
INNER_FOLDS = 4
"""For calibration, within the training windows."""
PAIRS = 6
"""Pairs of directions that the partial least squares keep."""


@dataclass(frozen=True)
class Part:
    """One fit of a rival."""

    features: Callable[[WindowSet], F64]
    make: Callable[[], Any]
    """Makes an estimator of scikit-learn with ``fit`` and ``decision_function``."""
    fit_on: Pattern
    """What a window must hold to be fitted on."""


@dataclass(frozen=True)
class _Scorer:
    part: Part
    estimator: Any
    slope: float
    intercept: float

    def log_odds(self, windows: WindowSet) -> F64:
        return self.slope * self.estimator.decision_function(self.part.features(windows)) + self.intercept


class Rival:
    """A linear classifier of windows.

    Parameters
    ----------
    name : str
    parts : mapping of pattern to Part
        The fit for each set of modalities that it can judge by.
    add : bool
        Judge both modalities by the sum of the single ones' log-odds.
    """

    def __init__(self, name: str, parts: Mapping[Pattern, Part], *, add: bool = False) -> None:
        self.name = name
        self.modalities: Pattern = "both" if add or "both" in parts else next(iter(parts))
        self._parts = dict(parts)
        self._add = add
        self._scorers: dict[Pattern, _Scorer] = {}
        self._prior = 0.0

    def fit(self, windows: WindowSet) -> None:
        """Fit to the settled, labelled windows.

        Raises
        ------
        ModelError
            Windows of a class are missing.
        """
        usable = windows.trainable()
        self._prior = _log_odds_of(usable.label)
        self._scorers = {}
        for pattern, part in self._parts.items():
            chosen = select(usable, holds(usable, part.fit_on))
            absent = [name for k, name in enumerate(chosen.classes) if not (chosen.label == k).any()]
            if absent:
                raise ModelError(
                    f"{self.name}: no window of {', '.join(absent)} that holds {part.fit_on} to fit on: "
                    "expected both classes"
                )
            self._scorers[pattern] = _fit(part, chosen)

    def predict_proba(self, windows: WindowSet) -> F64:
        """Give probabilities, shape (n, 2)."""
        if not self._scorers:
            raise ModelError(f"{self.name}: not fitted yet")
        odds = np.zeros(len(windows))
        judged = np.zeros(len(windows), np.int64)
        for pattern in ("both", "eeg", "bold"):
            scorer = self._scorers.get(pattern)
            if scorer is None:
                continue
            rows = holds(windows, pattern)
            if not self._add:
                # the richest pattern is asked first, and decides
                rows &= judged == 0
            if rows.any():
                odds[rows] += scorer.log_odds(select(windows, rows))
                judged[rows] += 1
        # either modality's odds hold the prior: together they must hold it once
        odds -= self._prior * np.maximum(0, judged - 1)
        p = expit(odds)
        return np.column_stack([1 - p, p])


def rivals() -> tuple[Rival, ...]:
    """Make all rivals, not fitted."""
    eeg, bold = Part(band_power, _lda, "eeg"), Part(region_signals, _lda, "bold")
    joint = Part(concatenated, _logistic, "both")
    alone_eeg, alone_bold = Part(band_power, _logistic, "eeg"), Part(region_signals, _logistic, "bold")
    pairs: dict[Pattern, Part] = {
        "both": Part(_sides, lambda: make_pipeline(SharedDirections("both"), _lda()), "both"),
        "eeg": Part(_sides, lambda: make_pipeline(SharedDirections("eeg"), _lda()), "both"),
        "bold": Part(_sides, lambda: make_pipeline(SharedDirections("bold"), _lda()), "both"),
    }
    return (
        Rival("band power + LDA", {"eeg": eeg}),
        Rival("regions + LDA", {"bold": bold}),
        Rival("regions + SVM", {"bold": Part(region_signals, _svm, "bold")}),
        Rival("concatenated + logistic regression", {"both": joint, "eeg": alone_eeg, "bold": alone_bold}),
        Rival("PLS + LDA", pairs),
        Rival("late fusion of log-odds", {"eeg": eeg, "bold": bold}, add=True),
    )


def band_power(windows: WindowSet) -> F64:
    """Mean log band power over a window, shape (n, n_channels * n_bands)."""
    return windows.eeg.mean(axis=1, dtype=np.float64)


def region_signals(windows: WindowSet) -> F64:
    """Region signals at every lag, shape (n, bold_steps * n_regions)."""
    return windows.bold.reshape(len(windows), -1).astype(np.float64)


def concatenated(windows: WindowSet) -> F64:
    """Both, side by side."""
    return np.hstack([band_power(windows), region_signals(windows)])


def _sides(windows: WindowSet) -> Any:
    # two arrays of one length in one: scikit-learn indexes rows only
    found = np.empty((len(windows), 2), dtype=object)
    found[:, 0] = list(band_power(windows))
    found[:, 1] = list(region_signals(windows))
    return found


class SharedDirections(TransformerMixin, BaseEstimator):
    """Directions in which EEG and BOLD vary together: partial least squares, singular vectors of their covariance.

    Parameters
    ----------
    side : str
        Whose scores to give.

    References
    ----------
    Krishnan 2011, doi:10.1016/j.neuroimage.2010.07.034
    """

    def __init__(self, side: Pattern) -> None:
        self.side: Pattern = side

    def fit(self, X: Any, y: Any = None) -> SharedDirections:  # noqa: ARG002 - scikit-learn passes the labels
        """Find the directions; labels are not used."""
        first, second = np.stack(X[:, 0]), np.stack(X[:, 1])
        self.shared_ = PLSSVD(n_components=min(PAIRS, first.shape[1], second.shape[1])).fit(first, second)
        return self

    def transform(self, X: Any) -> F64:
        """Give the scores on the directions of the side, shape (n, n_pairs) or (n, 2 * n_pairs)."""
        first, second = self.shared_.transform(np.stack(X[:, 0]), np.stack(X[:, 1]))
        return {"eeg": first, "bold": second, "both": np.hstack([first, second])}[self.side]


def holds(windows: WindowSet, pattern: Pattern) -> NDArray[np.bool_]:
    """Say which windows hold at least these modalities, shape (n,)."""
    there = windows.valid > 0
    return {"both": there[:, 0] & there[:, 1], "eeg": there[:, 0], "bold": there[:, 1]}[pattern]


def select(windows: WindowSet, rows: NDArray[np.bool_] | NDArray[np.int64]) -> WindowSet:
    """Take some windows; blocks stay."""
    return replace(
        windows,
        eeg=windows.eeg[rows],
        bold=windows.bold[rows],
        age=windows.age[rows],
        valid=windows.valid[rows],
        label=windows.label[rows],
        settled=windows.settled[rows],
        subject=windows.subject[rows],
        time=windows.time[rows],
    )


def _fit(part: Part, windows: WindowSet) -> _Scorer:
    features, label = part.features(windows), windows.label
    unseen, truth = list[F64](), list[NDArray[np.int64]]()
    for train, test in _inner(windows):
        if len(np.unique(label[train])) == 2:
            unseen.append(part.make().fit(features[train], label[train]).decision_function(features[test]))
            truth.append(label[test])
    estimator = part.make().fit(features, label)
    if not truth or len(np.unique(np.concatenate(truth))) < 2:
        # too little to hold any of it out: scores stay log-odds as the estimator means them
        return _Scorer(part, estimator, 1.0, 0.0)
    platt = LogisticRegression(C=1e3).fit(np.concatenate(unseen)[:, None], np.concatenate(truth))
    slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if slope <= 0:
        # what was learned does not hold on unseen windows: nothing is said but how common the classes are
        slope, intercept = 0.0, _log_odds_of(label)
    return _Scorer(part, estimator, slope, intercept)


def _inner(windows: WindowSet) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    names = people(windows)
    n_people = len(set(names.tolist()))
    if n_people > 1:
        return list(GroupKFold(min(INNER_FOLDS, n_people)).split(names[:, None], groups=names))
    try:
        return [(fold.train, fold.test) for fold in split(windows, "blocked", n_folds=INNER_FOLDS)]
    except UsageError:
        return []


def _log_odds_of(label: NDArray[np.int64]) -> float:
    ones = float((label == 1).sum())
    return float(np.log((ones + 0.5) / (len(label) - ones + 0.5)))


def _lda() -> Any:
    return make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))


def _svm() -> Any:
    return make_pipeline(StandardScaler(), LinearSVC(C=0.01, dual="auto"))


def _logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
