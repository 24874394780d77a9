"""A card's model asked of many windows, by the very code that the loop asks it with."""

from __future__ import annotations

import math

import numpy as np

from models.dataset import WindowSet
from models.evaluation.predict import Asked
from models.evaluation.splits import person, runs
from streamer.decode.card_file import LoadedCard, fit_problems, sfreq_problems
from streamer.decode.load_model import load_model
from streamer.decode.model_card import Pattern
from streamer.errors import ModelError
from streamer.messages import F64, Flag, SessionTime, Window


class CardModel:
    """Judge windows by a model of any kind that was exported with its card.

    Parameters
    ----------
    loaded : LoadedCard

    Raises
    ------
    ModelError
        A graph was altered or is not what the card says.
    """

    def __init__(self, loaded: LoadedCard) -> None:
        # the processor's figures are those that every machine can give
        self._loaded = loaded
        self._model = load_model(loaded, "cpu")
        self._model.warm_up()
        self.card = loaded.card
        self.name = loaded.card.name

    @property
    def modalities(self) -> Pattern:
        """What the model judges by."""
        card = self.card
        if card.bold is None:
            return "eeg"
        return "bold" if card.eeg is None and card.tangent is None else "both"

    def check(self, windows: WindowSet) -> None:
        """Refuse windows that the model is not for, and subjects that it was trained on.

        Raises
        ------
        ModelError
            With every difference.
        """
        card = self.card
        # windows do not tell how their tangent vectors were made: the digest of the settings does
        tangent = card.tangent if windows.tangent.shape[1] else None
        cells = card.bold.cells if card.bold is not None else None
        problems = fit_problems(
            card, windows.inputs.channels, windows.inputs.regions, card.preprocessing, cells=cells, tangent=tangent
        )
        problems += sfreq_problems(card, windows.inputs.sfreq)
        shapes = (
            ("EEG", None if card.eeg is None else (card.eeg.n_steps, card.n_eeg_features), windows.eeg),
            ("BOLD", None if card.bold is None else (card.bold.n_steps, card.n_regions), windows.bold),
            ("tangent vectors", None if card.tangent is None else (card.tangent.width,), windows.tangent),
        )
        if not problems:
            problems += [
                f"{what} have the shape {values.shape[1:]}: expected {expected}"
                for what, expected, values in shapes
                if expected is not None and values.shape[1:] != expected
            ]
        if windows.classes != card.classes:
            problems.append(f"classes are {', '.join(windows.classes)}: expected {', '.join(card.classes)}")
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise ModelError(f"model {card.name} does not fit the windows:\n{lines}")
        # a session card is for the person it was made from
        name_of = str if card.calibration else person
        known = {name_of(name) for name in (*card.training.train, *card.training.validation)}
        seen = [name for name in windows.subjects if name_of(name) in known]
        if seen:
            raise ModelError(f"model {card.name} was trained on {', '.join(seen)}: expected subjects that it never saw")

    def predict_proba(self, windows: WindowSet) -> F64:
        """Give probabilities, shape (n, n_classes); equal ones where a window holds nothing."""
        return self.ask(windows).p

    def ask(self, windows: WindowSet) -> Asked:
        """Give probabilities, candidates and what is abstained from, as the loop has them: run by run, in order."""
        n, classes = len(windows), self.card.classes
        p = np.empty((n, len(classes)))
        sets = np.ones((n, len(classes)), np.bool_)
        abstained = np.zeros(n, np.bool_)
        told = False
        run = runs(windows)
        for name in np.unique(run):
            rows = np.flatnonzero(run == name)
            # a score may learn its baseline from the run so far
            model = load_model(self._loaded, "cpu") if self.card.kind == "score" else self._model
            for k in rows[np.argsort(windows.time[rows], kind="stable")]:
                said = model(_window(windows, k))
                p[k] = said.probabilities
                abstained[k] = bool(said.flags & Flag.ABSTAINED)
                if said.candidates is not None:
                    told = True
                    sets[k] = [each in said.candidates for each in classes]
        doubt = self.card.doubt
        doubts = bool(doubt.quantile) or doubt.disagreement_max is not None
        return Asked(p, sets if told else None, abstained if doubts else None)


def _window(windows: WindowSet, k: int) -> Window:
    age_eeg, age_bold = (float(age) for age in windows.age[k])
    has_eeg, has_bold = (bool(valid) for valid in windows.valid[k])
    tangent = windows.tangent[k]
    return Window(
        seq=int(k),
        start=SessionTime(float(windows.time[k])),
        end=SessionTime(float(windows.time[k])),
        eeg=windows.eeg[k],
        bold=windows.bold[k],
        age_eeg=age_eeg,
        age_bold=age_bold if has_bold else math.inf,
        eeg_valid=has_eeg,
        bold_valid=has_bold,
        # the EEG's age was judged when the window was cut, by what the cleaning holds back, which sets do not keep
        hold_eeg=age_eeg,
        tangent=tangent if np.isfinite(tangent).all() else tangent[:0],
    )
