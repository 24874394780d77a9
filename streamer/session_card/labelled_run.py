"""The labelled windows of a participant's calibration run, and its blocks held out one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.decode.model_card import PATTERNS, Pattern
from streamer.decode.scores import BlockEvent
from streamer.messages import F32, F64, Flag, Window

SKIP_S = 4.0
"""After a block's onset its windows still hold the state before, s."""
HRF_S = 16.0
"""How long a state shows in the BOLD after its end, s."""
MIN_TRAIN_BLOCKS = 2
"""Of each class, that a fit needs at least."""
_NOT_LEARNED = Flag.WARMING | Flag.GAP | Flag.CLOCK_STEP | Flag.MOTION

LogOdds = Callable[["LabelledRun", Pattern], F64]
"""What a fit gives: log-odds of the target for every window of a run, judged by a set of modalities."""
Fitter = Callable[["LabelledRun", Sequence[Pattern]], LogOdds | None]
"""Fits what the sets of modalities need; None where there is nothing to go by."""
Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledRun:
    """Windows that lie in a block of one of two states.

    Parameters
    ----------
    windows : tuple of Window
        Oldest first.
    eeg : ndarray, float32, shape (n, n_steps, n_features)
    bold : ndarray, float32, shape (n, n_steps, n_regions)
    tangent : ndarray, float32, shape (n, k)
        k is 0 unless nearly every window has one; NaN where it has none.
    has : ndarray, bool, shape (n, 2)
        Whether EEG (with its tangent vector, where there are some) and BOLD count.
    time : ndarray, shape (n,)
        End of each window on the recording's axis, s.
    block : ndarray, int64, shape (n,)
        Place in ``blocks``.
    target : ndarray, bool, shape (n,)
        Whether the block's state is the target.
    blocks : tuple of BlockEvent
    classes : tuple of str
        The other class and the target.
    reach_s : float
        How far back a window sees, s.
    """

    windows: tuple[Window, ...]
    eeg: F32
    bold: F32
    tangent: F32
    has: Rows
    time: F64
    block: NDArray[np.int64]
    target: Rows
    blocks: tuple[BlockEvent, ...]
    classes: tuple[str, str]
    reach_s: float

    def __len__(self) -> int:
        return len(self.windows)

    def rows(self, pattern: Pattern) -> Rows:
        """Say which windows hold what a set of modalities needs, shape (n,)."""
        eeg, bold = self.has[:, 0], self.has[:, 1]
        return eeg & bold if pattern == "both" else eeg if pattern == "eeg" else bold

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """Sets of modalities that windows of both classes hold, the richest first."""
        return tuple(p for p in PATTERNS if self.target[self.rows(p)].any() and (~self.target)[self.rows(p)].any())

    def thinned(self, pattern: Pattern, per_block: int) -> LabelledRun:
        """Take at most so many windows of each block that hold what a set of modalities needs, evenly spread."""
        rows = np.zeros(len(self), bool)
        for number in np.unique(self.block):
            inside = np.flatnonzero(self.rows(pattern) & (self.block == number))
            rows[inside[:: max(1, -(-len(inside) // per_block))]] = True
        return self.of(rows)

    def shuffled(self, rng: np.random.Generator) -> LabelledRun:
        """Deal the blocks' labels out anew."""
        labels = rng.permutation([block.label for block in self.blocks])
        target = labels == self.classes[1]
        return replace(self, target=target[self.block])

    def of(self, rows: Rows) -> LabelledRun:
        """Take some windows; the blocks stay as they are counted."""
        names = ("eeg", "bold", "tangent", "has", "time", "block", "target")
        chosen = tuple(window for window, take in zip(self.windows, rows, strict=True) if take)
        return replace(self, windows=chosen, **{name: getattr(self, name)[rows] for name in names})

    def weights(self, rows: Rows) -> F64:
        """Let every block count as one, and both classes as much: shape (n,), 0 outside ``rows``."""
        weight = np.zeros(len(self))
        for number in np.unique(self.block[rows]):
            inside = rows & (self.block == number)
            weight[inside] = 1.0 / inside.sum()
        n_blocks = weight.sum()
        for inside in (rows & self.target, rows & ~self.target):
            if weight[inside].sum() > 0:
                weight[inside] *= 0.5 * n_blocks / weight[inside].sum()
        return weight


def label_windows(
    windows: Sequence[Window], events: Sequence[BlockEvent], classes: tuple[str, str], reach_s: float
) -> LabelledRun:
    """Keep the windows that lie in a block of one of two classes, past its onset by ``SKIP_S``.

    Parameters
    ----------
    windows : sequence of Window
        Of a replay: session time is the recording's own axis. Not empty.
    events : sequence of BlockEvent
        Those of other labels are passed over.
    classes : tuple of str
        The other class and the target.
    reach_s : float
        How far back a window sees, s.
    """
    blocks = tuple(sorted((e for e in events if e.label in classes), key=lambda e: e.onset_s))
    kept: list[tuple[Window, int]] = []
    for window in windows:
        if window.flags & _NOT_LEARNED or not (window.eeg_valid or window.bold_valid):
            continue
        for number, block in enumerate(blocks):
            if block.onset_s + SKIP_S <= window.end < block.onset_s + block.duration_s:
                kept.append((window, number))
                break
    chosen = tuple(window for window, _ in kept)
    like = windows[0]
    n_tangent = max((w.tangent.size for w in chosen), default=0)
    found = [w.tangent if w.tangent.size else np.full(n_tangent, np.nan, np.float32) for w in chosen]
    tangent = np.array(found, np.float32).reshape(len(chosen), n_tangent)
    whole = np.isfinite(tangent).all(axis=1)
    if not n_tangent or whole.mean() < 0.9:
        tangent, whole = np.empty((len(chosen), 0), np.float32), np.ones(len(chosen), dtype=bool)
    block = np.array([number for _, number in kept], np.int64)
    return LabelledRun(
        chosen,
        np.array([w.eeg for w in chosen], np.float32).reshape(len(chosen), *like.eeg.shape),
        np.array([w.bold for w in chosen], np.float32).reshape(len(chosen), *like.bold.shape),
        tangent,
        np.array([(w.eeg_valid, w.bold_valid) for w in chosen], bool).reshape(-1, 2)
        & np.stack([whole, np.ones_like(whole)], axis=1),
        np.array([float(w.end) for w in chosen]),
        block,
        np.array([blocks[number].label == classes[1] for number in block], bool),
        blocks,
        classes,
        reach_s,
    )


def held_out(run: LabelledRun, fit: Fitter, patterns: Sequence[Pattern]) -> dict[Pattern, F64]:
    """Judge every block by a fit on blocks that lie further away than the haemodynamic response and a window.

    Returns
    -------
    dict
        Per set of modalities the log-odds of every window, shape (n,); NaN for a block without enough blocks of both
        classes to fit on. Where a fit finds nothing to go by they are 0.
    """
    found: dict[Pattern, F64] = {pattern: np.full(len(run), np.nan) for pattern in patterns}
    for train, test in _folds(run):
        made = fit(run.of(train), patterns)
        left = run.of(test)
        for pattern in patterns:
            found[pattern][test] = 0.0 if made is None else made(left, pattern)
    return {pattern: np.where(run.rows(pattern), values, np.nan) for pattern, values in found.items()}


def _folds(run: LabelledRun) -> Iterator[tuple[Rows, Rows]]:
    gap = HRF_S + run.reach_s
    for number in np.unique(run.block):
        test = run.block == number
        start, end = run.time[test].min(), run.time[test].max()
        train = (run.time <= start - gap) | (run.time >= end + gap)
        each = [len(np.unique(run.block[train & (run.target == target)])) for target in (False, True)]
        if min(each) >= MIN_TRAIN_BLOCKS:
            yield train, test
