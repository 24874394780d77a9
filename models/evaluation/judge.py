"""From probabilities to a judgement: scores with intervals, chance, gates, differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from models.dataset import UNLABELLED, WindowSet
from models.evaluation.blocks import Decided, blocks_of, decide_blocks, share_of_blocks
from models.evaluation.contribution import Contribution, contribution
from models.evaluation.doubt import DoubtScore, score_doubt
from models.evaluation.learning import Curve
from models.evaluation.metrics import METRICS, confusion, reliability
from models.evaluation.predict import Predicted, modalities_of
from models.evaluation.resample import ENOUGH_SUBJECTS, Estimate, Rows, Unit, bootstrap, draw, estimate, permutation_p
from models.evaluation.splits import people, runs
from models.patterns import held
from streamer.decode.model_card import Pattern
from streamer.errors import ModelError

GATES = {"precision": 0.80, "recall": 0.80, "f1": 0.75}
"""What a model must surpass, with the lower end of its interval."""


@dataclass(frozen=True)
class Part:
    """How a model does on one part that was held out."""

    name: str
    accuracy: float
    n_windows: int
    n_blocks: int
    n_correct_blocks: int


@dataclass(frozen=True)
class Judged:
    """One model."""

    name: str
    modalities: Pattern
    trained_on: str
    windows: dict[str, Estimate]
    """Per metric, over windows."""
    block_accuracy: Estimate
    """Share of blocks decided rightly, each by its mean probability after the first 4 s."""
    p_value: float
    """Of balanced accuracy over windows, labels of blocks permuted within runs."""
    gates: dict[str, bool]
    confusion: NDArray[np.int64]
    """Windows by true class and decided class."""
    reliability: list[tuple[float, float, int]]
    parts: tuple[Part, ...]
    contribution: Contribution | None
    """None for a model of one modality."""
    doubt: tuple[DoubtScore, ...]
    """Per set of modalities; empty for a model that decides every window."""

    @property
    def passed(self) -> bool:
        """Whether all gates are passed."""
        return all(self.gates.values())


@dataclass(frozen=True)
class Difference:
    """Of two models on the same windows and the same draws."""

    first: str
    second: str
    accuracy: Estimate
    balanced_accuracy: Estimate


@dataclass(frozen=True)
class Judgement:
    """All models on one set of windows."""

    classes: tuple[str, ...]
    modalities: Pattern
    """Of the data."""
    people: tuple[str, ...]
    unit: Unit
    """What the intervals draw anew."""
    n_units: int
    n_windows: int
    n_blocks: int
    chance: float
    """Share of windows of the commonest class."""
    block_threshold: float
    """Accuracy over blocks that guessing reaches with probability below 0.05."""
    models: tuple[Judged, ...]
    differences: tuple[Difference, ...]
    """Of the first model and every other."""
    same_training: bool
    """Whether all models were fitted on the same data: only then is a difference one of the models."""
    curves: tuple[Curve, ...] = ()
    """Learning curves, where they were asked for."""

    @property
    def averaging(self) -> Literal["target", "macro"]:
        """Whose precision, recall, F1 and areas are given: the second class's of two, else the mean over classes."""
        return "target" if len(self.classes) == 2 else "macro"

    @property
    def verdict(self) -> str:
        """Whether the first model earns its place beside the best other."""
        if not self.differences:
            return f"{self.models[0].name} was judged without a rival"
        best = max(self.models[1:], key=lambda m: m.windows["accuracy"].value)
        gain = next(d.accuracy for d in self.differences if d.second == best.name)
        first = self.models[0].name
        if gain.low > 0:
            found = f"{first} is better than the best rival, {best.name}: {gain} in accuracy"
        elif gain.high < 0:
            found = f"{first} is worse than the best rival, {best.name}: {gain} in accuracy"
        else:
            found = f"{first} is not shown to be better than the best rival, {best.name}: {gain} in accuracy"
        return found if self.same_training else f"{found}; but they were not fitted on the same data"


def judge(
    windows: WindowSet,
    predictions: Sequence[Predicted],
    parts: NDArray[np.str_] | None = None,
    trained_on: Sequence[str] = (),
    unit: Unit | None = None,
    seed: int = 0,
    *,
    same_training: bool = True,
) -> Judgement:
    """Judge models on the same windows.

    Parameters
    ----------
    windows : WindowSet
    predictions : sequence of Predicted
        The first is compared with every other.
    parts : ndarray of str, shape (n,), optional
        What each window was held out with; by default its person.
    trained_on : sequence of str, optional
        In words, per model.
    unit : str, optional
        What the intervals draw anew: block, run or subject; by default subjects when there are enough, else blocks.
    seed : int
    same_training : bool
        Whether all models were fitted on the same data.

    Raises
    ------
    ModelError
        No window can be judged, or a class is missing.
    """
    who = people(windows)
    unit = unit or ("subject" if len(set(who.tolist())) >= ENOUGH_SUBJECTS else "block")
    names = parts if parts is not None else who
    told = list(trained_on) or [""] * len(predictions)
    block = blocks_of(windows)
    kept = (block >= 0) & (windows.label != UNLABELLED) & (windows.valid.max(axis=1) > 0)
    for each in predictions:
        kept &= np.isfinite(each.as_is).all(axis=1)
    index = np.flatnonzero(kept)
    rows = rows_of(windows, index, block, unit)
    absent = [name for k, name in enumerate(windows.classes) if not (rows.label == k).any()]
    if absent:
        raise ModelError(f"no window of {', '.join(absent)} to judge on: expected every class")
    by_window = bootstrap(rows, [each.as_is[index] for each in predictions], seed=seed)
    counts = draw(rows, seed=seed)
    judged: list[Judged] = []
    for each, drawn, words in zip(predictions, by_window, told, strict=True):
        decided = decide_blocks(windows, np.where(kept[:, None], each.as_is, np.nan), block)
        found = {name: estimate(drawn[name]) for name in METRICS}
        p = each.as_is[index]
        right = p.argmax(axis=1) == rows.label
        judged.append(
            Judged(
                name=each.name,
                modalities=each.modalities,
                trained_on=words,
                windows=found,
                block_accuracy=share_of_blocks(decided.right, decided.at, rows, block[index], counts),
                p_value=permutation_p(rows, p, seed=seed),
                gates={name: bool(found[name].low > bar) for name, bar in GATES.items()},
                confusion=confusion(p, rows.label),
                reliability=reliability(p, rows.label),
                parts=tuple(_part(str(n), names[index], right, block[index], decided) for n in np.unique(names[index])),
                contribution=_contribution(windows, each, kept, block, unit, seed),
                doubt=_doubt(windows, each, kept, block, unit, seed),
            )
        )
    differences = tuple(
        Difference(
            predictions[0].name,
            other.name,
            estimate(by_window[0]["accuracy"] - drawn["accuracy"]),
            estimate(by_window[0]["balanced_accuracy"] - drawn["balanced_accuracy"]),
        )
        for other, drawn in zip(predictions[1:], by_window[1:], strict=True)
    )
    n_blocks = int(rows.block.max()) + 1
    first = np.unique(rows.block, return_index=True)[1]
    return Judgement(
        classes=windows.classes,
        modalities=modalities_of(windows),
        people=tuple(sorted(set(who.tolist()))),
        unit=unit,
        n_units=int(rows.drawn.max()) + 1,
        n_windows=len(index),
        n_blocks=n_blocks,
        chance=_commonest(rows.label),
        block_threshold=float(binom.isf(0.05, n_blocks, _commonest(rows.label[first])) + 1) / n_blocks,
        models=tuple(judged),
        differences=differences,
        same_training=same_training,
    )


def rows_of(windows: WindowSet, index: NDArray[np.int64], block: NDArray[np.int64], unit: Unit) -> Rows:
    """Number blocks and drawn units of some windows."""
    if not len(index):
        raise ModelError("no labelled window with a modality to judge on")
    run = runs(windows)[index]
    drawn = {"block": block[index], "run": run, "subject": people(windows)[index]}[unit]
    return Rows(
        windows.label[index],
        np.unique(block[index], return_inverse=True)[1].astype(np.int64),
        run,
        np.unique(drawn, return_inverse=True)[1].astype(np.int64),
        unit,
    )


def _contribution(
    windows: WindowSet, each: Predicted, kept: NDArray[np.bool_], block: NDArray[np.int64], unit: Unit, seed: int
) -> Contribution | None:
    index = np.flatnonzero(kept & held(windows, "both"))
    if each.eeg is None or each.bold is None or len(np.unique(windows.label[index])) < len(windows.classes):
        return None
    return contribution(rows_of(windows, index, block, unit), each, index, seed)


def _doubt(
    windows: WindowSet, each: Predicted, kept: NDArray[np.bool_], block: NDArray[np.int64], unit: Unit, seed: int
) -> tuple[DoubtScore, ...]:
    found: list[DoubtScore] = []
    for pattern, asked in each.doubt.items():
        index = np.flatnonzero(kept & held(windows, pattern))
        if len(index):
            found.append(score_doubt(pattern, rows_of(windows, index, block, unit), asked, index, seed))
    return tuple(found)


def _part(
    name: str, names: NDArray[np.str_], right: NDArray[np.bool_], block: NDArray[np.int64], decided: Decided
) -> Part:
    own = names == name
    # a part holds whole blocks
    inside = np.isin(decided.at, block[own])
    return Part(name, float(right[own].mean()), int(own.sum()), int(inside.sum()), int(decided.right[inside].sum()))


def _commonest(label: NDArray[np.int64]) -> float:
    return float(np.bincount(label).max() / len(label))
