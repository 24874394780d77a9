"""What either modality contributes, and whether fusing them adds anything over the better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import balanced_only
from models.evaluation.predict import Predicted
from models.evaluation.resample import Estimate, Rows, bootstrap, estimate
from streamer.messages import F64

WORTHWHILE = 0.01
"""Gain in balanced accuracy from which a second modality is worth having, sure or not."""
_NAMES = {"eeg": "EEG", "bold": "BOLD"}


@dataclass(frozen=True)
class Contribution:
    """In balanced accuracy, over windows that hold both modalities."""

    n_windows: int
    chance: float
    """Balanced accuracy of a model that sees nothing."""
    both: Estimate
    alone: dict[str, Estimate]
    """By ``eeg`` or ``bold`` alone."""
    shapley: dict[str, Estimate]
    """Mean gain from adding the modality, over both orders; the two sum to ``both`` less chance."""
    permutation_drop: dict[str, Estimate]
    """Loss when the modality's data comes from other windows of the subject."""
    best_single: str
    gain: Estimate
    """Both less the better single one."""

    @property
    def kind(self) -> Literal["complementary", "redundant", "useless"]:
        """What the weaker modality is beside the better one."""
        if self.gain.low > 0 and self.gain.value >= WORTHWHILE:
            return "complementary"
        return "redundant" if self.alone[self._weaker].low > self.chance else "useless"

    @property
    def harms(self) -> bool:
        """Whether the model does worse with both than with the better one alone."""
        return self.gain.high < 0

    @property
    def sentence(self) -> str:
        """What that means, in words."""
        better, weaker = _NAMES[self.best_single], _NAMES[self._weaker]
        by = f"{self.gain.value:+.3f} ({self.gain.low:+.3f} to {self.gain.high:+.3f}) in balanced accuracy"
        if self.kind == "complementary":
            return f"fusing adds to {better} alone: {by}"
        alone = {"redundant": "above chance, but seems redundant", "useless": "not above chance"}[self.kind]
        nothing = "next to nothing" if self.gain.low > 0 else "nothing"
        harm = ", it even takes from it" if self.harms else ""
        return f"fusing adds {nothing} to {better} alone{harm}: {by}; {weaker} alone is {alone}"

    @property
    def _weaker(self) -> str:
        return "bold" if self.best_single == "eeg" else "eeg"


def contribution(rows: Rows, predicted: Predicted, index: NDArray[np.int64], seed: int = 0) -> Contribution:
    """Work out a model's contributions.

    Parameters
    ----------
    rows : Rows
        Of the windows at ``index``.
    predicted : Predicted
        Of a model of both modalities.
    index : ndarray, int64
        Windows that hold both.
    seed : int
        Of the bootstrap.

    References
    ----------
    Shapley 1953, doi:10.1515/9781400881970-018; Breiman 2001, doi:10.1023/A:1010933404324 (permutation drop)
    """
    if predicted.eeg is None or predicted.bold is None:
        raise ValueError(f"{predicted.name} was not asked by single modalities")
    asked = [predicted.as_is, predicted.eeg, predicted.bold, *predicted.shuffled_eeg, *predicted.shuffled_bold]
    chance = 1 / predicted.as_is.shape[1]
    drawn = [each["balanced_accuracy"] for each in bootstrap(rows, [p[index] for p in asked], seed, balanced_only)]
    both, eeg, bold = drawn[:3]
    first = 3 + len(predicted.shuffled_eeg)
    best, best_name = (eeg, "eeg") if eeg[0] >= bold[0] else (bold, "bold")
    drops = {"eeg": drawn[3:first], "bold": drawn[first:]}
    return Contribution(
        n_windows=len(index),
        chance=chance,
        both=estimate(both),
        alone={"eeg": estimate(eeg), "bold": estimate(bold)},
        shapley={
            "eeg": estimate(_shapley(both, eeg, bold, chance)),
            "bold": estimate(_shapley(both, bold, eeg, chance)),
        },
        permutation_drop={name: estimate(both - np.mean(values, axis=0)) for name, values in drops.items()},
        best_single=best_name,
        gain=estimate(both - best),
    )


def _shapley(both: F64, own: F64, other: F64, chance: float) -> F64:
    return ((own - chance) + (both - other)) / 2
