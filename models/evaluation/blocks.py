"""Blocks: which one a window ends in, and what is decided of each.

The unit of evidence is a block of one state; its decision is the mean probability of its windows once the windows no
longer hold the state before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset import WindowSet
from models.evaluation.resample import Estimate, Rows, estimate
from streamer.decode.scores import wilson_interval
from streamer.messages import F64

SKIP_S = 4.0
"""Settling time after a block's onset that is not judged, s, unless the block is over by then."""


@dataclass(frozen=True)
class Decided:
    """Blocks with a decision.

    Parameters
    ----------
    at : ndarray, int64, shape (m,)
        Places in ``WindowSet.blocks``.
    p : ndarray, float64, shape (m, n_classes)
        Mean probability over the block's windows.
    label : ndarray, int64, shape (m,)
        Index of the true class.
    """

    at: NDArray[np.int64]
    p: F64
    label: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, shape (m,)."""
        return self.p.argmax(axis=1) == self.label


def blocks_of(windows: WindowSet) -> NDArray[np.int64]:
    """Give the place in ``windows.blocks`` of each window's block, shape (n,); -1 where it ends in none."""
    found = np.full(len(windows), -1, np.int64)
    for subject in windows.subjects:
        rows = np.flatnonzero(windows.subject == subject)
        time = windows.time[rows]
        for k, block in enumerate(windows.blocks):
            if block.subject == subject and block.label in windows.classes:
                since = time - block.onset_s
                found[rows[(since >= 0) & (since < block.duration_s)]] = k
    return found


def decide_blocks(windows: WindowSet, p: F64, block: NDArray[np.int64], skip_s: float = SKIP_S) -> Decided:
    """Decide every block that holds a judged window.

    Parameters
    ----------
    windows : WindowSet
    p : ndarray, shape (n, n_classes)
        NaN where there is nothing to judge by: such windows are passed over.
    block : ndarray, int64, shape (n,)
        As ``blocks_of`` gives it.
    skip_s : float
        Windows that end earlier in their block are passed over, s, where later ones are there.
    """
    onset = np.array([b.onset_s for b in windows.blocks] or [0.0])
    usable = (block >= 0) & np.isfinite(p).all(axis=1)
    late = usable & (windows.time >= onset[block] + skip_s)
    only_early = ~np.isin(block, np.unique(block[late]))
    rows = np.flatnonzero(late | (usable & only_early))
    at, inverse, size = np.unique(block[rows], return_inverse=True, return_counts=True)
    mean = np.zeros((len(at), p.shape[1]))
    np.add.at(mean, inverse, p[rows])
    label = np.array([windows.classes.index(windows.blocks[k].label) for k in at], np.int64)
    return Decided(at.astype(np.int64), mean / size[:, None], label)


def share_of_blocks(
    right: NDArray[np.bool_], at: NDArray[np.int64], rows: Rows, block: NDArray[np.int64], counts: F64
) -> Estimate:
    """Give a share of blocks with its interval: Wilson's where blocks are drawn, else over the drawn units.

    Parameters
    ----------
    right : ndarray, bool, shape (m,)
    at : ndarray, int64, shape (m,)
        The blocks' places in ``WindowSet.blocks``.
    rows : Rows
        Of the judged windows.
    block : ndarray, int64, shape (n,)
        Of the judged windows, as ``blocks_of`` gives it.
    counts : ndarray, shape (1 + draws, n_units)
        As ``draw`` gives them.
    """
    if not len(right):
        return Estimate(np.nan, np.nan, np.nan)
    if rows.unit == "block":
        low, high = wilson_interval(int(right.sum()), len(right))
        return Estimate(float(right.mean()), low, high)
    held, first = np.unique(block, return_index=True)
    weights = counts[:, rows.drawn[first[np.searchsorted(held, at)]]]
    with np.errstate(invalid="ignore", divide="ignore"):
        return estimate(weights @ right / weights.sum(axis=1))
