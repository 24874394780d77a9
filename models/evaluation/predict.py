"""What a model says of windows that it was not fitted on: as they are, by one modality alone, and with one shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.splits import Fold
from streamer.decode.model_card import PATTERNS, Pattern
from streamer.messages import F64

SHUFFLES = 3
"""Times that a modality is shuffled among a subject's windows."""


class Model(Protocol):
    """What can be judged."""

    @property
    def name(self) -> str: ...

    @property
    def modalities(self) -> Pattern: ...

    def predict_proba(self, windows: WindowSet) -> F64: ...


class Fitted(Model, Protocol):
    """What can be fitted, too."""

    def fit(self, windows: WindowSet) -> None: ...


@dataclass(frozen=True)
class Asked:
    """What a model said of n windows."""

    p: F64
    """Probabilities, shape (n, n_classes)."""
    candidates: NDArray[np.bool_] | None = None
    """Classes that it cannot rule out, shape (n, n_classes); None where it was not calibrated for that."""
    abstained: NDArray[np.bool_] | None = None
    """Windows that it does not decide, shape (n,); None for a model that decides every one."""


@runtime_checkable
class Doubting(Protocol):
    """A model that also says when it does not know."""

    def ask(self, windows: WindowSet) -> Asked: ...


@dataclass(frozen=True)
class Predicted:
    """Probabilities, shape (n, n_classes) each; NaN for windows that no fold holds out."""

    name: str
    modalities: Pattern
    as_is: F64
    eeg: F64 | None = None
    """With EEG alone; None where the model or the data knows one modality only."""
    bold: F64 | None = None
    shuffled_eeg: tuple[F64, ...] = ()
    """With the EEG of other windows of the subject."""
    shuffled_bold: tuple[F64, ...] = ()
    doubt: dict[Pattern, Asked] = field(default_factory=dict[Pattern, Asked])
    """By the modalities that windows were reduced to; empty for a model that decides every window."""


def modalities_of(windows: WindowSet) -> Pattern:
    """Say which modalities a data set has."""
    if not windows.bold.shape[2]:
        return "eeg"
    has_eeg = windows.eeg.shape[2] or windows.tangent.shape[1]
    return "both" if has_eeg else "bold"


def masked(windows: WindowSet, keep: Pattern) -> WindowSet:
    """Take a modality away, as the loop does when its data is missing."""
    if keep == "both":
        return windows
    column = 1 if keep == "eeg" else 0
    age, valid = windows.age.copy(), windows.valid.copy()
    age[:, column] = valid[:, column] = 0
    if keep == "eeg":
        return replace(windows, age=age, valid=valid, bold=np.zeros_like(windows.bold))
    tangent = np.full_like(windows.tangent, np.nan)
    return replace(windows, age=age, valid=valid, eeg=np.zeros_like(windows.eeg), tangent=tangent)


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
    if modality == "bold":
        return replace(windows, age=age, valid=valid, bold=windows.bold[order])
    return replace(windows, age=age, valid=valid, eeg=windows.eeg[order], tangent=windows.tangent[order])


def predict(
    model: Model, windows: WindowSet, seed: int = 0, tell: Callable[[float], None] = lambda _: None
) -> Predicted:
    """Ask a fitted model everything that the report needs; ``tell`` takes the fraction done."""
    doubt: dict[Pattern, Asked] = {}

    def ask(pattern: Pattern) -> F64:
        given = masked(windows, pattern)
        if not isinstance(model, Doubting):
            return model.predict_proba(given)
        asked = model.ask(given)
        if asked.abstained is not None:
            doubt[pattern] = asked
        return asked.p

    by = model.modalities if modalities_of(windows) == "both" else modalities_of(windows)
    if by != "both":
        # what the windows hold besides cannot matter
        as_is = ask("both")
        return Predicted(model.name, by, as_is, doubt={by: doubt["both"]} if doubt else {})
    found: dict[Pattern, F64] = {}
    without: dict[Pattern, list[F64]] = {"eeg": [], "bold": []}
    for number, pattern in enumerate(PATTERNS):
        found[pattern] = ask(pattern)
        tell((number + 1) / (3 + 2 * SHUFFLES))
    for number in range(SHUFFLES):
        for place, modality in enumerate(without):
            without[modality].append(model.predict_proba(shuffled(windows, modality, seed + number)))
            tell((4 + 2 * number + place) / (3 + 2 * SHUFFLES))
    return Predicted(
        model.name,
        "both",
        found["both"],
        found["eeg"],
        found["bold"],
        tuple(without["eeg"]),
        tuple(without["bold"]),
        doubt,
    )


def predict_folds(
    make: Callable[[], Sequence[Fitted]], windows: WindowSet, folds: Sequence[Fold], tell: Callable[[float], None]
) -> list[Predicted]:
    """Fit every rival in every fold, and ask it of the windows held out there."""
    parts: list[list[Predicted]] = []
    for number, fold in enumerate(folds):
        parts.append(fit_predict(make(), windows.rows(fold.train), windows.rows(fold.test)))
        tell((number + 1) / len(folds))
    return [_stitched([part[k] for part in parts], folds, windows) for k in range(len(parts[0]))]


def fit_predict(models: Sequence[Fitted], training: WindowSet, test: WindowSet) -> list[Predicted]:
    """Fit rivals to some windows, and ask them of others."""
    found: list[Predicted] = []
    for model in models:
        model.fit(training)
        found.append(predict(model, test))
    return found


def _stitched(parts: Sequence[Predicted], folds: Sequence[Fold], windows: WindowSet) -> Predicted:
    shape = len(windows), len(windows.classes)

    def put(values: Sequence[F64]) -> F64:
        whole = np.full(shape, np.nan)
        for fold, value in zip(folds, values, strict=True):
            whole[fold.test] = value
        return whole

    def put_some(values: Sequence[F64 | None]) -> F64 | None:
        there = [value for value in values if value is not None]
        return put(there) if len(there) == len(folds) else None

    first = parts[0]
    repeats = range(len(first.shuffled_eeg))
    return Predicted(
        first.name,
        first.modalities,
        put([part.as_is for part in parts]),
        put_some([part.eeg for part in parts]),
        put_some([part.bold for part in parts]),
        tuple(put([part.shuffled_eeg[k] for part in parts]) for k in repeats),
        tuple(put([part.shuffled_bold[k] for part in parts]) for k in repeats),
    )
