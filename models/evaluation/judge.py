"""From probabilities to a judgement: scores with intervals, chance, gates, differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from models.dataset import UNLABELLED, WindowSet
from models.evaluation.contribution import Contribution, contribution
from models.evaluation.metrics import METRICS, confusion, reliability
from models.evaluation.predict import Predicted
from models.evaluation.resample import ENOUGH_SUBJECTS, Estimate, Rows, Unit, bootstrap, draw, estimate, permutation_p
from models.evaluation.splits import people, runs
from streamer.decode.scores import BlockScore, score_blocks, wilson_interval
from streamer.errors import ModelError
from streamer.messages import F64

BlockKey = tuple[str, float]
"""Subject and onset (s) of a block."""
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
    modalities: str
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

    classes: tuple[str, str]
    people: tuple[str, ...]
    unit: Unit
    """What the intervals draw anew."""
    n_units: int
    n_windows: int
    n_blocks: int
    chance: float
    """Share of windows of the commoner class."""
    block_threshold: float
    """Accuracy over blocks that guessing reaches with probability below 0.05."""
    models: tuple[Judged, ...]
    differences: tuple[Difference, ...]
    """Of the first model and every other."""
    same_training: bool
    """Whether all models were fitted on the same data: only then is a difference one of the models."""

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
        No window can be judged, or one class is missing.
    """
    who = people(windows)
    unit = unit or ("subject" if len(set(who.tolist())) >= ENOUGH_SUBJECTS else "block")
    names = parts if parts is not None else who
    told = list(trained_on) or [""] * len(predictions)
    block = blocks_of(windows)
    kept = (block >= 0) & (windows.label != UNLABELLED) & (windows.valid.max(axis=1) > 0)
    for each in predictions:
        kept &= np.isfinite(each.as_is)
    index = np.flatnonzero(kept)
    rows = rows_of(windows, index, block, unit)
    absent = [name for k, name in enumerate(windows.classes) if not (rows.label == k).any()]
    if absent:
        raise ModelError(f"no window of {', '.join(absent)} to judge on: expected both classes")
    by_window = bootstrap(rows, [each.as_is[index] for each in predictions], seed=seed)
    complete = np.flatnonzero(kept & (windows.valid > 0).all(axis=1))
    unit_of: dict[BlockKey, int] = {}
    for k, drawn_unit in zip(block[index], rows.drawn, strict=True):
        unit_of[windows.blocks[k].subject, windows.blocks[k].onset_s] = int(drawn_unit)
    judged: list[Judged] = []
    for each, drawn, words in zip(predictions, by_window, told, strict=True):
        scored = _blocks(windows, np.where(kept, each.as_is, np.nan))
        found = {name: estimate(drawn[name]) for name in METRICS}
        p = each.as_is[index]
        judged.append(
            Judged(
                name=each.name,
                modalities=each.modalities,
                trained_on=words,
                windows=found,
                block_accuracy=_block_accuracy(scored, rows, unit_of),
                p_value=permutation_p(rows, p, seed=seed),
                gates={name: bool(found[name].low > bar) for name, bar in GATES.items()},
                confusion=confusion(p, rows.label),
                reliability=reliability(p, rows.label),
                parts=tuple(_part(str(n), names, windows, index, p, block, scored) for n in np.unique(names[index])),
                contribution=_contribution(windows, each, complete, block, unit, seed),
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
    share = float((rows.label == 1).mean())
    guess = _commoner(rows)
    return Judgement(
        classes=windows.classes,
        people=tuple(sorted(set(who.tolist()))),
        unit=unit,
        n_units=int(rows.drawn.max()) + 1,
        n_windows=len(index),
        n_blocks=n_blocks,
        chance=max(share, 1 - share),
        block_threshold=float(binom.isf(0.05, n_blocks, guess) + 1) / n_blocks,
        models=tuple(judged),
        differences=differences,
        same_training=same_training,
    )


def blocks_of(windows: WindowSet) -> NDArray[np.int64]:
    """Give the place in ``windows.blocks`` of each window's block, shape (n,); -1 where it ends in none."""
    found = np.full(len(windows), -1, np.int64)
    for k, block in enumerate(windows.blocks):
        since = windows.time - block.onset_s
        found[(windows.subject == block.subject) & (since >= 0) & (since < block.duration_s)] = k
    return found


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
    windows: WindowSet, each: Predicted, index: NDArray[np.int64], block: NDArray[np.int64], unit: Unit, seed: int
) -> Contribution | None:
    if each.modalities != "both" or not len(index) or len(np.unique(windows.label[index])) < 2:
        return None
    return contribution(rows_of(windows, index, block, unit), each, index, seed)


def _blocks(windows: WindowSet, p: F64) -> dict[str, tuple[BlockScore, ...]]:
    found: dict[str, tuple[BlockScore, ...]] = {}
    for subject in windows.subjects:
        own = windows.subject == subject
        blocks = [block for block in windows.blocks if block.subject == subject]
        found[subject] = score_blocks(windows.time[own], p[own], blocks, windows.classes).blocks
    return found


def _block_accuracy(scored: dict[str, tuple[BlockScore, ...]], rows: Rows, unit_of: dict[BlockKey, int]) -> Estimate:
    every = [(subject, block) for subject, blocks in scored.items() for block in blocks]
    right = np.array([block.correct for _, block in every], np.float64)
    if not len(right):
        return Estimate(np.nan, np.nan, np.nan)
    if rows.unit == "block":
        low, high = wilson_interval(int(right.sum()), len(right))
        return Estimate(float(right.mean()), low, high)
    unit = np.array([unit_of[subject, block.onset_s] for subject, block in every])
    weights = draw(rows)[:, unit]
    return estimate(weights @ right / weights.sum(axis=1))


def _part(
    name: str,
    names: NDArray[np.str_],
    windows: WindowSet,
    index: NDArray[np.int64],
    p: F64,
    block: NDArray[np.int64],
    scored: dict[str, tuple[BlockScore, ...]],
) -> Part:
    own = names[index] == name
    right = (p > 0.5) == (windows.label[index] == 1)
    # a part holds whole blocks
    held = {(windows.blocks[k].subject, windows.blocks[k].onset_s) for k in np.unique(block[index][own])}
    decided = [b for subject, blocks in scored.items() for b in blocks if (subject, b.onset_s) in held]
    return Part(name, float(right[own].mean()), int(own.sum()), len(decided), sum(b.correct for b in decided))


def _commoner(rows: Rows) -> float:
    first = np.unique(rows.block, return_index=True)[1]
    share = float((rows.label[first] == 1).mean())
    return max(share, 1 - share)
