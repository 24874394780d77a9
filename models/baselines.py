"""Simple rivals of the network, fitted on the same windows: what a learned fusion has to beat.

Every rival is linear in named features of a window (``streamer/decode/window_features.py``). Its one setting, and the
calibration that makes its scores probabilities, come from windows of people (or runs, or stretches of a run) that the
scored fit had not seen. Which rivals there are depends on what the windows hold.
"""

from __future__ import annotations

from models.dataset import WindowSet
from models.rivals.fit import Part, SharedPart
from models.rivals.learners import discriminant, logistic, support_vectors
from models.rivals.rival import Rival
from models.rivals.shared_directions import Find, along, canonical_correlation, partial_least_squares
from streamer.decode.model_card import Pattern

__all__ = ["Pattern", "Rival", "rivals"]

_SHARES = (0.01, 0.1, 0.5, 0.9)
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
_SVM_STRENGTHS = (1e-3, 1e-2)
_PAIRS = (2.0, 6.0, 12.0, 24.0)


def rivals(windows: WindowSet) -> tuple[Rival, ...]:
    """Make all rivals that such windows allow, not fitted.

    Parameters
    ----------
    windows : WindowSet
        Only their shapes count: a modality of zero width does not exist.
    """
    has_eeg, has_bold, has_tangent = (values.shape[-1] > 0 for values in (windows.eeg, windows.bold, windows.tangent))
    power, steps, tangent = _alone("eeg_mean", "eeg"), _alone("eeg_steps", "eeg"), _alone("tangent", "eeg")
    regions = _alone("bold_steps", "bold")
    found: list[Rival] = []
    if has_eeg:
        found.append(Rival("band power + LDA", {"eeg": power}))
        found.append(Rival("EEG steps + LDA", {"eeg": steps}))
    if has_tangent:
        found.append(Rival("tangent space + LDA", {"eeg": tangent}))
        found.append(
            Rival("tangent space + logistic regression", {"eeg": Part(("tangent",), logistic, _STRENGTHS, "eeg")})
        )
    if has_bold:
        found.append(Rival("regions + LDA", {"bold": regions}))
        found.append(Rival("regions + SVM", {"bold": Part(("bold_steps",), support_vectors, _SVM_STRENGTHS, "bold")}))
    if has_eeg and has_bold:
        found.append(Rival("concatenated + logistic regression", _concatenated()))
        found.append(Rival("PLS + LDA", _paired(partial_least_squares, _PAIRS)))
        found.append(Rival("CCA + LDA", _paired(canonical_correlation, _SHARES)))
        found.append(Rival("late fusion of log-odds", {"eeg": power, "bold": regions}, add=True))
        found.append(Rival("late fusion of log-odds, EEG steps", {"eeg": steps, "bold": regions}, add=True))
    if has_tangent and has_bold:
        found.append(Rival("late fusion of log-odds, tangent space", {"eeg": tangent, "bold": regions}, add=True))
    return tuple(found)


def _alone(feature: str, modality: Pattern) -> SharedPart:
    return SharedPart(Part((feature,), discriminant, _SHARES, modality))


def _concatenated() -> dict[Pattern, Part | SharedPart]:
    return {
        "both": Part(("eeg_mean", "bold_steps"), logistic, _STRENGTHS, "both"),
        "eeg": Part(("eeg_mean",), logistic, _STRENGTHS, "eeg"),
        "bold": Part(("bold_steps",), logistic, _STRENGTHS, "bold"),
    }


def _paired(find: Find, settings: tuple[float, ...]) -> dict[Pattern, Part | SharedPart]:
    both = ("eeg_mean", "bold_steps")
    served: dict[Pattern, tuple[str, ...]] = {"both": both, "eeg": both[:1], "bold": both[1:]}
    return {side: Part(names, along(find, side), settings, "both", both) for side, names in served.items()}
