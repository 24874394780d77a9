"""What every served model does with a window before it scores it, and with the scores after.

A modality that is masked, too old for the card, or not finite is not admitted, and the prediction carries ``NO_EEG`` or
``NO_BOLD``. With nothing left to judge by, or with scores that are not finite, the classes are equally likely, the
uncertainty is 1 and the model abstains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.decode.card_file import LoadedCard
from streamer.decode.conformal import candidates as possible
from streamer.decode.model_card import Pattern, Temperatures
from streamer.errors import ModelError
from streamer.messages import F32, F64, Array, Flag, Prediction, SessionTime, Window

QUANTUM_DIGITS = 5
"""Decimal digits that a prediction keeps: below them processors differ."""
_NAMES = ("eeg", "bold")


@dataclass(frozen=True, slots=True)
class Admitted:
    """What of a window a model may look at."""

    eeg: bool
    """The EEG: its band power, where the card takes it."""
    bold: bool
    tangent: bool = False
    """The EEG's covariance as a tangent vector; never without ``eeg``."""
    flags: Flag = Flag.NONE
    """Why something is not admitted, beyond the window's own flags."""

    @property
    def pattern(self) -> Pattern | None:
        """The set of modalities; None for neither."""
        if self.eeg and self.bold:
            return "both"
        return "eeg" if self.eeg else "bold" if self.bold else None


class Judge:
    """Admit modalities, and turn scores into a prediction.

    Parameters
    ----------
    loaded : LoadedCard
    """

    def __init__(self, loaded: LoadedCard) -> None:
        card = loaded.card
        self.card = card
        self.name = f"{card.name}@{loaded.sha256[:12]}"
        self.unusable = 0
        """Windows so far with a number that was not finite, in the input or in the model's output."""
        self._takes_eeg = card.eeg is not None or card.tangent is not None
        self._takes_bold = card.bold is not None
        self._eeg = None if card.eeg is None else (card.eeg.n_steps, card.n_eeg_features)
        self._bold = None if card.bold is None else (card.bold.n_steps, card.n_regions)
        self._tangent = None if card.tangent is None else (card.tangent.width,)

    def admit(self, window: Window) -> Admitted:
        """Say what of a window counts.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card.
        """
        self._check(window)
        limits = self.card.limits
        flags = Flag.NONE
        eeg = bold = tangent = False
        if self._takes_eeg and window.eeg_valid:
            if not window.age_eeg <= limits.age_eeg_max_s + window.hold_eeg:
                flags |= Flag.STALE
            else:
                eeg = self._eeg is None or self._finite(window.eeg)
        if eeg and self._tangent is not None and window.tangent.size:
            tangent = self._finite(window.tangent)
        if self._takes_bold and window.bold_valid:
            if not window.age_bold <= limits.age_bold_max_s:
                flags |= Flag.STALE
            else:
                bold = self._finite(window.bold)
        return Admitted(eeg, bold, tangent, flags)

    def predict(
        self, window: Window, admitted: Admitted, logits: Array | None, attention: Sequence[float] = (0.0, 0.0)
    ) -> Prediction:
        """Turn scores into a prediction.

        Parameters
        ----------
        window : Window
        admitted : Admitted
            What was looked at: a model that leaves out what it may look at says so here.
        logits : array, shape (n_members, n_classes), or None
            Scores before temperature and softmax, of one member or several; None for no judgement.
        attention : sequence of float
            Weight of EEG and BOLD.
        """
        card = self.card
        flags = window.flags | admitted.flags
        pattern = admitted.pattern
        members: F64 | None = None
        if logits is not None and pattern is not None:
            if np.isfinite(logits).all() and np.isfinite(attention).all():
                scaled = np.asarray(logits, np.float64) / temperature(card.temperature, pattern)
                members = softmax(scaled + np.array(card.bias.get(pattern, 0.0)))
            else:
                self.unusable += 1
                flags |= (Flag.NO_EEG if self._takes_eeg else Flag.NONE) | (
                    Flag.NO_BOLD if self._takes_bold else Flag.NONE
                )
        flags |= Flag.NO_EEG if self._takes_eeg and not admitted.eeg else Flag.NONE
        flags |= Flag.NO_BOLD if self._takes_bold and not admitted.bold else Flag.NONE
        if members is None:
            pattern, attention = None, (0.0, 0.0)
            members = np.full((1, len(card.classes)), 1.0 / len(card.classes))
        probabilities = quantised(members.mean(axis=0).tolist())
        split = disagreement(members)
        candidates = self._candidates(pattern, probabilities)
        if self._abstains(pattern, split, candidates):
            flags |= Flag.ABSTAINED
        return Prediction(
            seq=window.seq,
            model=self.name,
            classes=card.classes,
            probabilities=probabilities,
            uncertainty=normalised_entropy(probabilities),
            attention={name: round(float(w), QUANTUM_DIGITS) for name, w in zip(_NAMES, attention, strict=True)},
            about=SessionTime(window.end),
            age_eeg=window.age_eeg,
            age_bold=window.age_bold,
            flags=flags,
            hold_eeg=window.hold_eeg,
            disagreement=split,
            candidates=candidates,
        )

    def _check(self, window: Window) -> None:
        tangent = self._tangent if window.tangent.size else None
        for what, given, expected in (
            ("EEG", window.eeg.shape, self._eeg),
            ("BOLD", window.bold.shape, self._bold),
            ("tangent vector", window.tangent.shape, tangent),
        ):
            if expected is not None and given != expected:
                raise ModelError(f"window {window.seq}: {what} has shape {given}, model {self.name} takes {expected}")

    def _finite(self, data: F32) -> bool:
        if np.isfinite(data).all():
            return True
        self.unusable += 1
        return False

    def _candidates(self, pattern: Pattern | None, probabilities: Sequence[float]) -> tuple[str, ...] | None:
        quantile = self.card.doubt.quantile
        if pattern is None:
            # nothing is known, so nothing is ruled out
            return self.card.classes if quantile else None
        if pattern not in quantile:
            return None
        there = possible(np.asarray(probabilities), quantile[pattern])
        return tuple(name for name, is_there in zip(self.card.classes, there, strict=True) if is_there)

    def _abstains(self, pattern: Pattern | None, split: float, candidates: tuple[str, ...] | None) -> bool:
        limit = self.card.doubt.disagreement_max
        undecided = candidates is not None and len(candidates) != 1
        return pattern is None or undecided or (limit is not None and split > limit)


def softmax(logits: F64) -> F64:
    """Turn scores into probabilities along the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def temperature(temperatures: Temperatures, pattern: Pattern) -> float:
    """Give the temperature of a set of modalities."""
    match pattern:
        case "both":
            return temperatures.both
        case "eeg":
            return temperatures.eeg
        case "bold":
            return temperatures.bold


def disagreement(members: F64) -> float:
    """Mutual information of class and member (Houlsby 2011, arXiv:1112.5745), nats, rounded to 1e-5.

    Parameters
    ----------
    members : ndarray, float64, shape (n_members, n_classes)
        Probabilities.
    """
    if len(members) == 1:
        return 0.0
    split = _entropy(members.mean(axis=0).tolist()) - math.fsum(_entropy(p) for p in members.tolist()) / len(members)
    return max(0.0, round(split, QUANTUM_DIGITS))


def quantised(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Round to 1e-5 such that the sum stays 1: the largest takes the remainder."""
    rounded = [round(p, QUANTUM_DIGITS) for p in probabilities]
    largest = rounded.index(max(rounded))
    rounded[largest] = round(1.0 - math.fsum(rounded[:largest] + rounded[largest + 1 :]), QUANTUM_DIGITS)
    return tuple(rounded)


def normalised_entropy(probabilities: Sequence[float]) -> float:
    """Entropy over its maximum, 0..1, rounded to 1e-5."""
    return min(1.0, round(_entropy(probabilities) / math.log(len(probabilities)), QUANTUM_DIGITS))


def _entropy(probabilities: Sequence[float]) -> float:
    return abs(math.fsum(p * math.log(p) for p in probabilities if p > 0))
