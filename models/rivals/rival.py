"""A linear classifier of windows, with a fit for each set of modalities that it can judge by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from models.dataset import WindowSet
from models.rivals.calibration import fit_temperature
from models.rivals.fit import FittedPart, Part, SharedPart, usable
from streamer.decode.model_card import PATTERNS, Pattern
from streamer.decode.window_features import features_of
from streamer.errors import ModelError
from streamer.messages import F64


class Rival:
    """A linear classifier of windows.

    A modality that is missing leaves the rival to its fit for what is there; with nothing there that it can judge by,
    the classes are equally likely.

    Parameters
    ----------
    name : str
    parts : mapping of pattern to Part or SharedPart
        The fit for each set of modalities that it can judge by.
    add : bool
        Judge both modalities by the sum of the single ones' log-odds, over a temperature: what both say is not
        independent.
    """

    def __init__(self, name: str, parts: Mapping[Pattern, Part | SharedPart], *, add: bool = False) -> None:
        self.name = name
        self.modalities: Pattern = "both" if add or "both" in parts else next(iter(parts))
        self.add = add
        self._parts: dict[Pattern, SharedPart] = {
            pattern: part if isinstance(part, SharedPart) else SharedPart(part) for pattern, part in parts.items()
        }
        self._fitted: dict[Pattern, FittedPart] = {}
        self._log_prior = np.empty(0)
        self._temperature = 1.0
        self._classes: tuple[str, ...] = ()

    def fit(self, windows: WindowSet) -> None:
        """Fit to the settled, labelled windows.

        Raises
        ------
        ModelError
            Windows of a class are missing.
        """
        self._classes = windows.classes
        self._fitted = {pattern: part.fit(windows, self.name) for pattern, part in self._parts.items()}
        label = windows.trainable().label
        counts = np.bincount(label, minlength=len(windows.classes))
        self._log_prior = np.log(counts / counts.sum())
        self._temperature = self._fit_temperature(label) if self.add else 1.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it was fitted on."""
        return self._classes

    @property
    def fitted(self) -> Mapping[Pattern, FittedPart]:
        """The fits.

        Raises
        ------
        ModelError
            There is none yet.
        """
        if not self._fitted:
            raise ModelError(f"{self.name}: not fitted yet")
        return self._fitted

    @property
    def log_prior(self) -> F64:
        """Log of the share of each class in training, shape (n_classes,)."""
        return self._log_prior

    @property
    def temperature(self) -> float:
        """What the sum of both modalities' log-odds is divided by; 1 where nothing is added."""
        return self._temperature

    def predict_proba(self, windows: WindowSet) -> F64:
        """Give probabilities, shape (n, n_classes).

        Raises
        ------
        ModelError
            It was not fitted, or to other classes.
        """
        fitted = self.fitted
        if windows.classes != self._classes:
            given = ", ".join(windows.classes)
            raise ModelError(f"{self.name}: windows of {given}: expected {', '.join(self._classes)}")
        logits = np.zeros((len(windows), len(self._classes)))
        judged = np.zeros(len(windows), np.int64)
        for pattern in PATTERNS:
            if pattern in fitted:
                part = fitted[pattern]
                rows = usable(windows, pattern, part.features)
                if not self.add:
                    # the richest pattern is asked first, and decides
                    rows &= judged == 0
                logits[rows] += self._log_p(part, windows, rows)
                judged[rows] += 1
        # either modality's odds hold the prior: together they must hold it once
        added = judged > 1
        logits[added] = (logits[added] - self._log_prior) / self._temperature
        return softmax(logits, axis=1)

    def _fit_temperature(self, label: NDArray[np.int64]) -> float:
        unseen = self._fitted["eeg"].unseen + self._fitted["bold"].unseen - self._log_prior
        rows = np.isfinite(unseen).all(axis=1)
        return fit_temperature(unseen[rows], label[rows]) if rows.any() else 1.0

    @staticmethod
    def _log_p(part: FittedPart, windows: WindowSet, rows: NDArray[np.bool_]) -> F64:
        features = features_of(part.features, windows.eeg[rows], windows.bold[rows], windows.tangent[rows])
        return log_softmax(part.logits(features), axis=1)
