"""What a model says of windows that it was not fitted on: as they are, by one modality alone, and with one shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from models.baselines import Pattern, Rival, select
from models.dataset import WindowSet
from models.evaluation.splits import Fold
from streamer.messages import F64

SHUFFLES = 3
"""Times that a modality is shuffled among a subject's windows."""


class Model(Protocol):
    """What can be judged."""

    @property
    def name(self) -> str: ...

    @property
    def modalities(self) -> str: ...

    def predict_proba(self, windows: WindowSet) -> F64: ...


@dataclass(frozen=True)
class Predicted:
    """Probabilities of class 1, shape (n,) each; NaN for windows that no fold holds out."""

    name: str
    modalities: str
    as_is: F64
    eeg: F64 | None = None
    """With EEG alone; None where the model knows one modality only."""
    bold: F64 | None = None
    shuffled_eeg: tuple[F64, ...] = ()
    """With the EEG of other windows of the subject."""
    shuffled_bold: tuple[F64, ...] = ()


def masked(windows: WindowSet, keep: Pattern) -> WindowSet:
    """Take a modality away, as the loop does when its data is missing."""
    if keep == "both":
        return windows
    column = 1 if keep == "eeg" else 0
    age, valid = windows.age.copy(), windows.valid.copy()
    age[:, column] = valid[:, column] = 0
    gone = "bold" if keep == "eeg" else "eeg"
    return replace(windows, age=age, valid=valid, **{gone: np.zeros_like(getattr(windows, gone))})


def shuffled(windows: WindowSet, modality: Pattern, seed: int) -> WindowSet:
    """Give every window this modality's data of another window of its subject."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(windows))
    for subject in windows.subjects:
        rows = np.flatnonzero(windows.subject == subject)
        order[rows] = rng.permutation(rows)
    column = 0 if modality == "eeg" else 1
    age, valid = windows.age.copy(), windows.valid.copy()
    age[:, column], valid[:, column] = windows.age[order, column], windows.valid[order, column]
    return replace(windows, age=age, valid=valid, **{modality: getattr(windows, modality)[order]})


def predict(model: Model, windows: WindowSet, seed: int = 0) -> Predicted:
    """Ask a fitted model everything that the report needs."""

    def ask(given: WindowSet) -> F64:
        return model.predict_proba(given)[:, 1]

    if model.modalities != "both":
        return Predicted(model.name, model.modalities, ask(windows))
    seeds = range(seed, seed + SHUFFLES)
    return Predicted(
        model.name,
        model.modalities,
        ask(windows),
        ask(masked(windows, "eeg")),
        ask(masked(windows, "bold")),
        tuple(ask(shuffled(windows, "eeg", k)) for k in seeds),
        tuple(ask(shuffled(windows, "bold", k)) for k in seeds),
    )


def predict_folds(
    make: Callable[[], Sequence[Rival]], windows: WindowSet, folds: Sequence[Fold], tell: Callable[[float], None]
) -> list[Predicted]:
    """Fit every rival in every fold, and ask it of the windows held out there."""
    parts: list[list[Predicted]] = []
    for number, fold in enumerate(folds):
        training, test = select(windows, fold.train), select(windows, fold.test)
        parts.append(fit_predict(make(), training, test))
        tell((number + 1) / len(folds))
    return [_stitched([part[k] for part in parts], folds, len(windows)) for k in range(len(parts[0]))]


def fit_predict(models: Sequence[Rival], training: WindowSet, test: WindowSet) -> list[Predicted]:
    """Fit rivals to some windows, and ask them of others."""
    found: list[Predicted] = []
    for model in models:
        model.fit(training)
        found.append(predict(model, test))
    return found


def _stitched(parts: Sequence[Predicted], folds: Sequence[Fold], n: int) -> Predicted:
    def put(values: Sequence[F64 | None]) -> F64 | None:
        if values[0] is None:
            return None
        whole = np.full(n, np.nan)
        for fold, value in zip(folds, values, strict=True):
            whole[fold.test] = value
        return whole

    first = parts[0]
    as_is = put([part.as_is for part in parts])
    assert as_is is not None
    repeats = range(len(first.shuffled_eeg))
    eeg = [put([part.shuffled_eeg[k] for part in parts]) for k in repeats]
    bold = [put([part.shuffled_bold[k] for part in parts]) for k in repeats]
    return Predicted(
        first.name,
        first.modalities,
        as_is,
        put([part.eeg for part in parts]),
        put([part.bold for part in parts]),
        tuple(p for p in eeg if p is not None),
        tuple(p for p in bold if p is not None),
    )
