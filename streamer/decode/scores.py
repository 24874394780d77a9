"""Scores per block: the unit of evidence is a block of one state, not a window.

Windows of one block overlap and share their noise; counted one by one they feign certainty. A block's decision is the
mean probability of its windows after a settling time, and the interval is Wilson's for a proportion of blocks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamer.messages import F64, Flag, Prediction

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class BlockEvent(Protocol):
    """A stretch of one state."""

    @property
    def onset_s(self) -> float: ...

    @property
    def duration_s(self) -> float: ...

    @property
    def label(self) -> str: ...


@dataclass(frozen=True, slots=True)
class BlockScore:
    """What was decided of one block."""

    onset_s: float
    """On the recording's axis, s."""
    duration_s: float
    label: str
    """The true state."""
    decision: str | None
    """The state decided for; None when no window fell into the block."""
    mean_probability: float | None
    """Of the target class, over the windows of the block."""
    n_windows: int

    @property
    def correct(self) -> bool:
        """Whether the decision is the true state."""
        return self.decision == self.label


@dataclass(frozen=True, slots=True)
class BlockScores:
    """Accuracy over blocks."""

    blocks: tuple[BlockScore, ...]
    """Blocks with a decision."""
    excluded: tuple[BlockScore, ...]
    """Blocks without one: they count neither as right nor as wrong."""
    n_correct: int
    accuracy: float
    """Share of correct blocks; NaN without any."""
    ci95: tuple[float, float]
    """Wilson interval of ``accuracy``."""
    chance: float
    """Share of the commonest label: what constant guessing reaches."""

    @property
    def n_blocks(self) -> int:
        """Blocks that were scored."""
        return len(self.blocks)


def wilson_interval(n_correct: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Give Wilson's interval for a proportion.

    Parameters
    ----------
    n_correct, n : int
        Successes and trials; without trials the interval is (0, 1).
    z : float
        Quantile of the normal distribution.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953
    """
    if not 0 <= n_correct <= n:
        raise ValueError(f"{n_correct} correct of {n}: expected 0 <= correct <= trials")
    if n == 0:
        return 0.0, 1.0
    p = n_correct / n
    denominator = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / denominator
    half = z / denominator * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # the ends are exact at 0 and n; rounding must not push them outside
    low = 0.0 if n_correct == 0 else max(0.0, centre - half)
    high = 1.0 if n_correct == n else min(1.0, centre + half)
    return low, high


def score_blocks(
    times: Sequence[float] | F64,
    probabilities: Sequence[float] | F64,
    blocks: Iterable[BlockEvent],
    classes: tuple[str, str] = ("rest", "task"),
    skip_s: float = 4.0,
) -> BlockScores:
    """Score decisions per block.

    Parameters
    ----------
    times : array, shape (n_windows,)
        The time each probability speaks of, s, on the axis of the blocks' onsets.
    probabilities : array, shape (n_windows,)
        Of the second class; NaN where there was nothing to judge by.
    blocks : iterable of BlockEvent
        Blocks with a label that is not in ``classes`` are passed over.
    classes : tuple of str
        The other class and the target class.
    skip_s : float
        Settling time after a block's onset that is not scored, s: the window still holds the state before.

    Raises
    ------
    ValueError
        ``times`` and ``probabilities`` differ in length.
    """
    at = np.asarray(times, dtype=np.float64)
    p = np.asarray(probabilities, dtype=np.float64)
    if at.shape != p.shape or at.ndim != 1:
        raise ValueError(f"times {at.shape} and probabilities {p.shape}: expected two equal vectors")
    usable = np.isfinite(p) & np.isfinite(at)
    scored: list[BlockScore] = []
    excluded: list[BlockScore] = []
    for block in blocks:
        if block.label not in classes:
            continue
        inside = usable & (at >= block.onset_s + skip_s) & (at < block.onset_s + block.duration_s)
        n = int(inside.sum())
        mean = float(p[inside].mean()) if n else None
        decision = None if mean is None else classes[int(mean > 0.5)]
        entry = BlockScore(block.onset_s, block.duration_s, block.label, decision, mean, n)
        (excluded if decision is None else scored).append(entry)
    return summarise(scored, excluded)


def summarise(scored: Sequence[BlockScore], excluded: Sequence[BlockScore] = ()) -> BlockScores:
    """Sum blocks up, also of several runs together."""
    n = len(scored)
    n_correct = sum(block.correct for block in scored)
    counts = Counter(block.label for block in scored)
    return BlockScores(
        blocks=tuple(scored),
        excluded=tuple(excluded),
        n_correct=n_correct,
        accuracy=n_correct / n if n else math.nan,
        ci95=wilson_interval(n_correct, n),
        chance=max(counts.values()) / n if n else math.nan,
    )


def score_predictions(
    predictions: Iterable[Prediction],
    blocks: Iterable[BlockEvent],
    t0: float,
    target: str = "task",
    skip_s: float = 4.0,
) -> BlockScores:
    """Score a run's predictions; those that had neither modality are left out.

    Parameters
    ----------
    predictions : iterable of Prediction
    blocks : iterable of BlockEvent
    t0 : float
        Session time of the recording's first EEG sample, s: the blocks' onsets count from it.
    target : str
        The class whose mean probability decides.
    skip_s : float
        See ``score_blocks``.
    """
    nothing = Flag.NO_EEG | Flag.NO_BOLD
    times: list[float] = []
    p: list[float] = []
    other = "rest"
    for prediction in predictions:
        if prediction.flags & nothing == nothing:
            continue
        index = prediction.classes.index(target)
        other = prediction.classes[1 - index]
        times.append(prediction.about - t0)
        p.append(prediction.probabilities[index])
    return score_blocks(times, p, blocks, (other, target), skip_s)
