"""Who trains, who stops the training and sets its calibration, who only judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.splits import HOLDS, HRF_S, MIN_GAP_S, Fold, Hold, people, runs, split
from streamer.errors import UsageError

Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
HELD_OUT = 0.2
"""Share of the names for validation, and again for the test; at least one each."""
N_STRETCHES = 5
_NAMES: dict[Hold, Callable[[WindowSet], NDArray[np.str_]]] = {
    "subject": people,
    "session": lambda windows: windows.subject,
    "run": runs,
}


@dataclass(frozen=True)
class Parts:
    """Rows of a window set, and who they are of."""

    hold: Hold
    """What is held out."""
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    names: Names
    """Of training, validation and test: people, sessions, runs or stretches."""


def split_names(names: Sequence[str]) -> Names:
    """Split names for training, validation and test: the last are for the test, those before for validation.

    Raises
    ------
    UsageError
        There are fewer than three, or one stands twice.
    """
    if len(names) < 3:
        raise UsageError(f"{len(names)} to train on: expected at least 3 (training, validation, test)")
    if len(set(names)) != len(names):
        raise UsageError(f"a name stands twice among {', '.join(names)}")
    held = max(1, round(HELD_OUT * len(names)))
    if len(names) - 2 * held < 1:
        held = 1
    return tuple(names[: -2 * held]), tuple(names[-2 * held : -held]), tuple(names[-held:])


def part(windows: WindowSet, hold: Hold | None = None, gap_s: float = HRF_S + MIN_GAP_S) -> Parts:
    """Split a window set.

    Parameters
    ----------
    windows : WindowSet
    hold : str, optional
        What is held out; by default the most credible that there are three of: subjects, sessions, runs, else
        stretches of the runs.
    gap_s : float
        blocked: distance of either part from the next, s.

    Raises
    ------
    UsageError
        There are too few to hold out.
    """
    chosen = hold if hold is not None else _most_credible(windows)
    if chosen == "blocked":
        folds = split(windows, "blocked", gap_s, N_STRETCHES)
        return _of_stretches(folds, len(folds) - 1, len(folds) - 2)
    of = _NAMES[chosen](windows)
    return _by_names(chosen, of, split_names(_in_order(of)))


def rotations(windows: WindowSet, n: int, hold: Hold | None = None, gap_s: float = HRF_S + MIN_GAP_S) -> list[Parts]:
    """Split a window set ``n`` times, so that everyone is in one test; the part after it is for validation.

    Raises
    ------
    UsageError
        There are fewer to hold out than ``n``, or ``n`` is less than 3.
    """
    chosen = hold if hold is not None else _most_credible(windows)
    if n < 3:
        raise UsageError(f"{n} folds: expected at least 3 (training, validation, test)")
    if chosen == "blocked":
        folds = split(windows, "blocked", gap_s, n)
        return [_of_stretches(folds, k, (k + 1) % len(folds)) for k in range(len(folds))]
    of = _NAMES[chosen](windows)
    names = _in_order(of)
    if len(names) < n:
        raise UsageError(f"{n} folds by {chosen}: there are {len(names)}, expected as many or more")
    groups = [tuple(str(name) for name in group) for group in np.array_split(names, n)]
    found: list[Parts] = []
    for k, test in enumerate(groups):
        validation = groups[(k + 1) % n]
        train = tuple(name for name in names if name not in {*test, *validation})
        found.append(_by_names(chosen, of, (train, validation, test)))
    return found


def _most_credible(windows: WindowSet) -> Hold:
    for hold in HOLDS:
        if hold in _NAMES and len(_in_order(_NAMES[hold](windows))) >= 3:
            return hold
    return "blocked"


def _by_names(hold: Hold, of: NDArray[np.str_], names: Names) -> Parts:
    train, validation, test = (np.flatnonzero(np.isin(of, own)) for own in names)
    return Parts(hold, train, validation, test, names)


def _of_stretches(folds: Sequence[Fold], test: int, validation: int) -> Parts:
    judged, stops = folds[test], folds[validation]
    # a gap lies between all three
    train = np.intersect1d(judged.train, stops.train)
    held = np.intersect1d(stops.test, judged.train)
    others = tuple(fold.name for k, fold in enumerate(folds) if k not in {test, validation})
    if not len(train) or not len(held):
        raise UsageError("the runs are too short for three stretches with gaps between them: more blocks are needed")
    return Parts("blocked", train, held, judged.test, (others, (stops.name,), (judged.name,)))


def _in_order(names: NDArray[np.str_]) -> list[str]:
    return list(dict.fromkeys(names.tolist()))
