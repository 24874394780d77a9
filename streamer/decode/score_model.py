"""Serve a model-free score: weighted log-odds of band power and region signals, of any montage, without training.

A modality that is not admitted leaves its terms out, so that the log-odds shrink to what the other one says. Where the
card has no standard deviations of the regions (no calibration run), they and the mean come from the volumes of the
session so far; until that is known the BOLD does not count, and the prediction says ``WARMING``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamer.decode.baseline import RunningBaseline
from streamer.decode.card_file import LoadedCard
from streamer.decode.judge import Judge
from streamer.decode.model_card import ModelCard
from streamer.decode.score_terms import ScoreTerms
from streamer.messages import F64, Flag, Prediction, Window

MIN_VOLUMES = 20
"""Volumes of the session's own past before its BOLD counts without a calibration."""
LEAST_SD = 0.05
"""%: a region that hardly varied so far must not turn noise into certainty."""
_SAME_S = 0.05
"""Ages on a float axis tell the same volume's time to this, s."""


class ScoreModel:
    """Score windows as a card says.

    Parameters
    ----------
    loaded : LoadedCard
        Of kind score.

    Raises
    ------
    ModelError
        The card is of another kind, or names what its inputs do not hold.
    """

    def __init__(self, loaded: LoadedCard) -> None:
        self._terms = ScoreTerms(loaded.card)
        self._judge = Judge(loaded)
        regions = loaded.card.n_regions
        self._own = RunningBaseline(regions) if regions and self._terms.sd is None else None
        self._last_volume = -np.inf

    @property
    def card(self) -> ModelCard:
        """What it takes and gives."""
        return self._judge.card

    @property
    def name(self) -> str:
        """``name@sha256`` of its card (first 12 hex digits)."""
        return self._judge.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The other class and the target."""
        return self.card.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing falls back."""
        return ()

    @property
    def unusable(self) -> int:
        """Windows so far with a number that was not finite."""
        return self._judge.unusable

    @property
    def provider(self) -> str:
        """The processor: there is no graph."""
        return "CPUExecutionProvider"

    def warm_up(self) -> None:
        """Nothing is set up lazily."""

    def __call__(self, window: Window) -> Prediction:
        """Score a window.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card.
        """
        admitted = self._judge.admit(window)
        mean = sd = None
        if self._own is not None and admitted.bold:
            self._learn(window)
            if self._own.n < MIN_VOLUMES:
                admitted = replace(admitted, bold=False, flags=admitted.flags | Flag.WARMING | Flag.UNCALIBRATED)
            else:
                past = self._own.freeze()
                mean, sd = past.mean, np.maximum(past.sd, LEAST_SD)
                admitted = replace(admitted, flags=admitted.flags | Flag.UNCALIBRATED)
        if admitted.pattern is None:
            return self._judge.predict(window, admitted, None)
        none = np.empty((1, 0))
        eeg = self._terms.eeg(window.eeg[None]) if admitted.eeg else none
        bold = self._terms.bold(window.bold[None], mean, sd) if admitted.bold else none
        parts = [self._terms.log_odds(eeg, bold, only) for only in ("eeg", "bold") if getattr(admitted, only)]
        says = [abs(float(part[0]) - self._terms.spec.intercept) for part in parts]
        total = self._terms.log_odds(eeg, bold, admitted.pattern)
        return self._judge.predict(window, admitted, _logits(total), _shares(admitted.eeg, admitted.bold, says))

    def aside(self, window: Window) -> Prediction:
        """Score a window that was scored before: its volume teaches nothing again."""
        return self(window)

    def _learn(self, window: Window) -> None:
        acquired = window.end - window.age_bold
        if self._own is not None and acquired > self._last_volume + _SAME_S:
            self._last_volume = acquired
            if not window.flags & Flag.MOTION:
                self._own.add(window.bold[-1].astype(np.float64))


def _logits(log_odds: F64) -> F64:
    return np.column_stack([-log_odds / 2, log_odds / 2])


def _shares(has_eeg: bool, has_bold: bool, says: list[float]) -> tuple[float, float]:
    """Split attention by how much each modality's terms say, for or against."""
    total = sum(says)
    if not total > 0:
        return 0.0, 0.0
    eeg = says[0] / total if has_eeg else 0.0
    return eeg, says[-1] / total if has_bold else 0.0
