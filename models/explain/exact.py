"""What each input adds, exactly: models whose log-odds are a sum need no estimate.

A contribution is weight × (input − baseline), the baseline being zero, where the participant's calibration lies; all
contributions add up to the change of the log-odds. A score's term is held within a limit: where it is, what is left of
it is shared by its inputs in proportion, as on the straight path from the baseline (Sundararajan 2017,
arXiv:1703.01365).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.linear import LinearMap, shapes_of, slopes, with_all
from models.explain.network import Modality, present
from streamer.decode.judge import temperature
from streamer.decode.model_card import ModelCard, Pattern
from streamer.decode.score_terms import ScoreTerms
from streamer.errors import ModelError, UsageError
from streamer.messages import F32, F64

_STEP = 2.0**-10
"""So little does not reach a limit."""
_NEAR = 1e-9
"""Standard deviations: a term that moved less counts as one that is not held."""


def is_additive(card: ModelCard) -> bool:
    """Whether what a card's model adds up can be told exactly: a linear card's, and a score's with known deviations."""
    if card.score is not None:
        return card.bold is None or bool(card.score.region_sd)
    return card.kind == "linear"


def exact(model: LinearMap | ScoreParts, windows: WindowSet, target: int) -> Attribution:
    """Attribute the log-odds of a class; with more than two classes the margin over the others' mean.

    Parameters
    ----------
    model : LinearMap or ScoreParts
    windows : WindowSet
        Those without a tangent vector are left out where there are any with one.
    target : int
        Index of the class.

    Returns
    -------
    Attribution
        ``covariance``: mean size of what the tangent vector adds, where there is one.
    """
    held = with_all(windows)
    found = model.contributions(held, target) if isinstance(model, ScoreParts) else _of_map(model, held, target)
    facts: dict[str, float] = {}
    if "tangent" in shapes_of(held) and isinstance(model, LinearMap):
        facts["covariance"] = float(np.abs(held.tangent @ model.weights("tangent", target)).mean())
    return Attribution(
        "exact",
        {name: part.sum(axis=(1, 2)) for name, part in found.items()},
        {name: np.abs(part).mean(axis=0) for name, part in found.items()},
        facts,
        held,
    )


def _of_map(model: LinearMap, windows: WindowSet, target: int) -> dict[Modality, F64]:
    return {name: getattr(windows, name).astype(np.float64) * model.weights(name, target) for name in present(windows)}


class ScoreParts:
    """The terms of a score card by input.

    Parameters
    ----------
    card : ModelCard
        Of kind score.

    Raises
    ------
    UsageError
        The card has no standard deviations of the regions: what a region adds then changes in the course of a session.
    """

    def __init__(self, card: ModelCard) -> None:
        self._terms = ScoreTerms(card)
        if not is_additive(card):
            raise UsageError(
                f"{card.name} measures the regions against the run's own past: expected standard deviations, as "
                "streamer calibrate writes them, or --method perturbation"
            )
        spec = self._terms.spec
        centred = spec.model_copy(
            update={
                name: tuple(term.model_copy(update={"centre": 0.0}) for term in getattr(spec, name))
                for name in ("eeg", "bold")
            }
        )
        # without a centre a small input is far from the limit: this is the terms' linear part
        self._free = ScoreTerms(card.model_copy(update={"score": centred}))
        both = card.eeg is not None and card.bold is not None
        pattern: Pattern = "both" if both else "eeg" if card.eeg is not None else "bold"
        self._divide = temperature(card.temperature, pattern)
        self._n = {"eeg": self._terms.n_eeg, "bold": self._terms.n_bold}

    def contributions(self, windows: WindowSet, target: int) -> dict[Modality, F64]:
        """What each input adds to the log-odds of a class, shape (n, n_steps, n_features) per modality."""
        sign = (1.0 if target == 1 else -1.0) / self._divide
        found: dict[Modality, F64] = {}
        for name in present(windows):
            data: F32 = getattr(windows, name)
            weights = self._weights(name)
            size = data[0].size
            linear = slopes(partial(self._ask, self._free, name), data.shape[1:], _STEP)
            moved = data.reshape(len(data), size).astype(np.float64) @ linear
            change = self._ask(self._terms, name, data) - self._ask(self._terms, name, data[:1] * 0)
            free = np.abs(moved) > _NEAR
            slope = np.where(free, change / np.where(free, moved, 1.0), 0.0) * weights
            each = (slope @ linear.T).reshape(data.shape) * data
            found[name] = sign * each
        if not found:
            raise ModelError("windows hold neither EEG nor BOLD: nothing to explain")
        return found

    def _weights(self, name: Modality) -> F64:
        first = 0 if name == "eeg" else self._n["eeg"]
        return self._terms.weights[first : first + self._n[name]]

    @staticmethod
    def _ask(terms: ScoreTerms, name: Modality, data: F32) -> F64:
        return terms.eeg(data) if name == "eeg" else terms.bold(data)
