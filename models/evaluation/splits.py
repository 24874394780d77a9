"""Splits without leaks: whole subjects, sessions or runs are held out, or stretches of a run behind a gap.

A subject's name may hold its session, as in ``sub-01/ses-02``: what stands before the stroke is the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.subjects import APART_S
from streamer.errors import ModelError, UsageError

Hold = Literal["subject", "session", "run", "blocked"]
HOLDS: tuple[Hold, ...] = get_args(Hold)
"""What may be held out, the most credible first."""
HRF_S = 16.0
"""How long a state shows in the BOLD after its end, s."""
MIN_GAP_S = 20.0
"""Least distance of training from test windows within a run, s."""


@dataclass(frozen=True)
class Fold:
    """One part held out."""

    name: str
    train: NDArray[np.int64]
    """Rows to fit on."""
    test: NDArray[np.int64]
    """Rows to judge on."""


def people(windows: WindowSet) -> NDArray[np.str_]:
    """Name the person of every window, shape (n,)."""
    return np.array([person(str(name)) for name in windows.subject])


def person(subject: str) -> str:
    """Name the person of a subject that may hold its session."""
    return subject.partition("/")[0]


def runs(windows: WindowSet) -> NDArray[np.str_]:
    """Name the run of every window, shape (n,): runs of a subject stand ``APART_S`` or more apart on its time axis."""
    found = np.empty(len(windows), dtype=object)
    for subject in windows.subjects:
        rows = np.flatnonzero(windows.subject == subject)
        order = rows[np.argsort(windows.time[rows], kind="stable")]
        # blocks count too: a long stretch of masked windows within a block ends no run
        spans = [(float(t), float(t)) for t in windows.time[order]]
        spans += [(b.onset_s, b.onset_s + b.duration_s) for b in windows.blocks if b.subject == subject]
        starts, reached = list[float](), -np.inf
        for start, end in sorted(spans):
            if start - reached >= APART_S:
                starts.append(start)
            reached = max(reached, end)
        number = np.searchsorted(starts, windows.time[order], side="right")
        found[order] = [f"{subject} run {k}" for k in number]
    return found.astype(np.str_)


def split(windows: WindowSet, hold: str, gap_s: float = HRF_S + MIN_GAP_S, n_folds: int = 5) -> tuple[Fold, ...]:
    """Split windows into folds.

    Parameters
    ----------
    windows : WindowSet
    hold : str
        ``subject``, ``session`` or ``run``: each in turn is held out; ``blocked``: a run is cut into stretches of whole
        blocks and each in turn is held out, with a gap on both sides.
    gap_s : float
        blocked: training windows less than this from a held-out window are left out, s.
    n_folds : int
        blocked: stretches per run.

    Raises
    ------
    UsageError
        The split is a shuffled one or unknown, the gap is too short, or there is too little to hold out.
    """
    if hold in {"shuffled", "kfold", "k-fold", "random", "stratified"}:
        raise UsageError(
            f"split {hold}: refused, windows of one block overlap and share their noise, so that shuffled folds "
            f"test on what they were trained on: expected {', '.join(HOLDS)}"
        )
    if hold not in HOLDS:
        raise UsageError(f"split {hold}: expected {', '.join(HOLDS)}")
    if hold == "blocked":
        folds = _blocked(windows, gap_s, n_folds)
    else:
        names = {"subject": people, "session": lambda w: w.subject, "run": runs}[hold](windows)
        folds = [
            Fold(str(name), np.flatnonzero(names != name), np.flatnonzero(names == name))
            for name in sorted(set(names.tolist()))
        ]
    if len(folds) < 2:
        raise UsageError(f"split by {hold}: {len(folds)} to hold out, expected at least 2; blocked needs one run only")
    return tuple(folds)


def refuse_copies(windows: WindowSet, folds: Sequence[Fold]) -> None:
    """Refuse folds that test on what they were trained on: windows with the same data, under whatever name.

    Raises
    ------
    ModelError
        A recording stands in the data twice.
    """
    # zeros name no recording
    there = (windows.valid.max(axis=1) > 0) & (windows.eeg.any(axis=(1, 2)) | windows.bold.any(axis=(1, 2)))
    own = np.array([hash((windows.eeg[k].tobytes(), windows.bold[k].tobytes())) for k in range(len(windows))])
    for fold in folds:
        train, test = fold.train[there[fold.train]], fold.test[there[fold.test]]
        twice = test[np.isin(own[test], own[train])]
        if len(twice):
            first = int(twice[0])
            other = int(train[own[train] == own[first]][0])
            raise ModelError(
                f"{len(twice)} windows of {fold.name} are held out and trained on: {windows.subject[first]} at "
                f"{windows.time[first]:.1f} s holds the same data as {windows.subject[other]} at "
                f"{windows.time[other]:.1f} s; expected recordings that stand in the data once"
            )


def _blocked(windows: WindowSet, gap_s: float, n_folds: int) -> list[Fold]:
    if gap_s < MIN_GAP_S:
        raise UsageError(
            f"gap of {gap_s:g} s between training and test: expected {MIN_GAP_S:g} s or more, as the BOLD response and "
            "the window reach over a shorter one"
        )
    if n_folds < 2:
        raise UsageError(f"{n_folds} stretch(es) per run: expected at least 2")
    names = runs(windows)
    part = np.zeros(len(windows), np.int64)
    for name in sorted(set(names.tolist())):
        rows = np.flatnonzero(names == name)
        part[rows] = _stretches(windows, rows, n_folds)
    folds: list[Fold] = []
    for k in range(n_folds):
        test = np.flatnonzero(part == k)
        near = np.zeros(len(windows), np.bool_)
        for name in sorted(set(names[test].tolist())):
            own = names == name
            held = windows.time[own & (part == k)]
            near |= own & (windows.time > held.min() - gap_s) & (windows.time < held.max() + gap_s)
        train = np.flatnonzero(~near)
        if len(test) and len(train):
            folds.append(Fold(f"stretch {k + 1}", train, test))
    return folds


def _stretches(windows: WindowSet, rows: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    subject, time = str(windows.subject[rows[0]]), windows.time[rows]
    onsets = sorted(
        b.onset_s
        for b in windows.blocks
        if b.subject == subject and b.onset_s <= time.max() and b.onset_s + b.duration_s > time.min()
    )
    if len(onsets) < n_folds:
        raise UsageError(f"{len(onsets)} blocks in a run of {subject}: expected at least {n_folds}, one per stretch")
    # cut where a block begins
    cuts = [onsets[round(k * len(onsets) / n_folds)] for k in range(1, n_folds)]
    return np.searchsorted(cuts, time, side="right")
