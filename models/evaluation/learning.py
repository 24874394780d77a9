"""Learning curves: how well a model does with less to learn from.

Subsets are nested: the smaller one lies in the larger one, so that a curve shows what more data adds and not what other
data would. They are taken inside each fold's training part, and what was held out stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.blocks import blocks_of
from models.evaluation.metrics import balanced_only
from models.evaluation.predict import Fitted
from models.evaluation.resample import Estimate, Rows, bootstrap, estimate
from models.evaluation.splits import Fold, people
from streamer.errors import ModelError
from streamer.messages import F64

POINTS = 4
"""Sizes of training sets, at most; each half of the next."""
_DRAWS = 300


@dataclass(frozen=True)
class Point:
    """One size of the training set."""

    at: float
    """Subjects, blocks or epochs; a mean over the folds."""
    value: Estimate


@dataclass(frozen=True)
class Curve:
    """One model's scores against what it had to learn from."""

    model: str
    across: str
    """What the points count, in words: training subjects, say."""
    measure: str
    """What is scored, in words."""
    points: tuple[Point, ...]


def learning_curves(
    make: Callable[[], Sequence[Fitted]],
    windows: WindowSet,
    folds: Sequence[Fold],
    rows_of: Callable[[NDArray[np.int64]], Rows],
    seed: int,
    tell: Callable[[float], None],
) -> tuple[Curve, ...]:
    """Fit rivals to growing parts of every fold's training windows.

    Parameters
    ----------
    make : callable
        Makes the rivals, not fitted.
    windows : WindowSet
    folds : sequence of Fold
    rows_of : callable
        Gives blocks and drawn units of some windows.
    seed : int
        Of the order in which subjects or blocks are added.
    tell : callable
        Takes the fraction done.

    Notes
    -----
    Whole subjects are added where every fold has four or more to train on, else blocks, of all classes alike. A rival
    that cannot be fitted to a small part has no point there.
    """
    who, block = people(windows), blocks_of(windows)
    by_subject = all(len(set(who[fold.train].tolist())) >= 4 for fold in folds)
    orders = [_order(windows, fold, who, block, seed, by_subject=by_subject) for fold in folds]
    labelled = (block >= 0) & (windows.valid.max(axis=1) > 0)
    names = [model.name for model in make()]
    points: dict[str, list[Point]] = {name: [] for name in names}
    sizes = [_sizes(len(order), 1 if by_subject else len(windows.classes)) for order in orders]
    n_points = min(map(len, sizes))
    for step in range(-n_points, 0):
        found = {name: np.full((len(windows), len(windows.classes)), np.nan) for name in names}
        for number, (fold, order) in enumerate(zip(folds, orders, strict=True)):
            chosen = order[: sizes[number][step]]
            training = _part(windows, fold, chosen, who if by_subject else block)
            test = windows.rows(fold.test)
            for model in make():
                try:
                    model.fit(training)
                except ModelError:
                    continue
                found[model.name][fold.test] = model.predict_proba(test)
            tell((n_points + step + (number + 1) / len(folds)) / n_points)
        at = float(np.mean([size[step] for size in sizes]))
        held = np.zeros(len(windows), np.bool_)
        for fold in folds:
            held[fold.test] = True
        index = np.flatnonzero(labelled & held)
        rows = rows_of(index)
        for name, p in found.items():
            if np.isfinite(p[index]).all():
                points[name].append(Point(at, _balanced(rows, p[index], seed)))
    across = "training subjects" if by_subject else "training blocks"
    return tuple(Curve(name, across, "balanced accuracy", tuple(own)) for name, own in points.items() if len(own) > 1)


def epoch_curves(model: str, epochs: Sequence[tuple[int, float, float, float]]) -> tuple[Curve, ...]:
    """Turn a training's history into curves.

    Parameters
    ----------
    model : str
    epochs : sequence of tuple
        Number, training loss, validation loss and validation accuracy of each.
    """
    across = "epochs"
    measures = ((1, "training loss"), (2, "validation loss"), (3, "validation accuracy"))
    return tuple(
        Curve(model, across, measure, tuple(Point(e[0], Estimate(float(e[k]), np.nan, np.nan)) for e in epochs))
        for k, measure in measures
        if len(epochs) > 1
    )


def _balanced(rows: Rows, p: F64, seed: int) -> Estimate:
    return estimate(bootstrap(rows, [p], seed, balanced_only, _DRAWS)[0]["balanced_accuracy"])


def _sizes(n: int, least: int) -> list[int]:
    # each half of the next
    found = {max(least, round(n / 2**k)) for k in range(POINTS)}
    return sorted(found)


def _part(windows: WindowSet, fold: Fold, chosen: Sequence[object], key: NDArray[np.generic]) -> WindowSet:
    rows = fold.train[np.isin(key[fold.train], np.array(chosen))]
    part = windows.rows(rows)
    kept = set(np.unique(blocks_of(part)).tolist())
    return replace(part, blocks=tuple(b for k, b in enumerate(windows.blocks) if k in kept))


def _order(
    windows: WindowSet, fold: Fold, who: NDArray[np.str_], block: NDArray[np.int64], seed: int, *, by_subject: bool
) -> list[object]:
    rng = np.random.default_rng(seed)
    if by_subject:
        return list(rng.permutation(np.unique(who[fold.train])))
    numbers = np.unique(block[fold.train])
    numbers = rng.permutation(numbers[numbers >= 0])
    # one of each class after the other, as long as there are some
    taken: dict[str, int] = {}
    rank: list[tuple[int, int]] = []
    for place, number in enumerate(numbers):
        label = windows.blocks[number].label
        taken[label] = taken.get(label, 0) + 1
        rank.append((taken[label], place))
    return [numbers[place] for _, place in sorted(rank)]
