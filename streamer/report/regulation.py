"""How well the participant regulated: block by block, over the run, and at the task against rest.

Scores that were vetoed, stale or stopped count for nothing. In a session whose condition is sealed only what was shown
is counted, and nothing is compared: the comparison would tell the condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import stats

from streamer.messages import F64, Flag, Score
from streamer.report.gather import Block, Facts

SEGMENT_S = 30.0
"""Where nobody told the task's blocks, the run is cut into pieces of this length, s."""
FEWEST = 5
"""Scores that a block needs to be counted."""
LEARNING_BLOCKS = 3
"""Blocks that a trend needs."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The scores that count."""

    times: F64
    """Session time, s, shape (n,)."""
    level: F64
    """0..1."""
    threshold: F64
    """In force at that time, 0..1."""
    own: bool
    """The participant's own score, not merely what was shown."""


@dataclass(frozen=True, slots=True)
class BlockScore:
    """One block."""

    start: float
    """Session time, s."""
    stop: float
    label: str
    """Empty for a piece of a run whose blocks are not known."""
    n: int
    """Scores that count."""
    mean: float
    """Of the level, 0..1; NaN with too few."""
    above: float
    """Share at or above the threshold, 0..1; NaN with too few."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Regulation:
    """How well the participant regulated."""

    blocks: tuple[BlockScore, ...]
    above: float
    """Share of all counted scores at or above the threshold; NaN without any."""
    n: int
    """Scores that count."""
    n_all: int
    own: bool
    learning: Estimate | None = None
    """Slope of the blocks' mean level per minute (Theil-Sen); of the target's blocks where they are known."""
    contrast: Estimate | None = None
    """Mean level of the target's blocks less that of the others (Welch)."""


def counted(facts: Facts) -> Counted:
    """Give the scores that count."""
    scores, hidden = facts.feedback.scores, facts.blinding.hidden
    # without its settings nobody knows whether a session had sham
    own = not hidden and (facts.header is not None or facts.config is not None)
    veto = Flag.NONE if facts.config is None else facts.config.decision.veto_flags()
    # what is shown of a block comes after it: the score that went on beside it is what was regulated
    blockwise = facts.config is not None and facts.config.decision.mode == "intermittent"
    kept: list[Score] = []
    for score in scores:
        clean = not score.flags & veto if own and blockwise else not score.neutral
        if clean and (math.isfinite(score.actual) or not own):
            kept.append(score)
    levels = np.array([score.actual if own else score.level for score in kept])
    return Counted(
        np.array([score.about for score in kept], np.float64), levels, np.array([s.threshold for s in kept]), own
    )


def regulation(facts: Facts) -> Regulation:
    """Sum up a session; blocks are pieces of 30 s where nobody told them."""
    found = counted(facts)
    above = found.level >= found.threshold
    blocks = tuple(_block(block, found, above) for block in facts.blocks or _pieces(found.times))
    n = len(found.level)
    whole = Regulation(blocks, float(above.mean()) if n else math.nan, n, len(facts.feedback.scores), found.own)
    if facts.blinding.hidden:
        return whole
    target = "" if facts.config is None else facts.config.decision.target
    usable = [block for block in blocks if math.isfinite(block.mean)]
    aimed = [block for block in usable if block.label == target]
    other = [block for block in usable if block.label not in {target, ""}]
    learning = _trend(aimed or [block for block in usable if not block.label])
    contrast = _difference([b.mean for b in aimed], [b.mean for b in other])
    return Regulation(blocks, whole.above, n, whole.n_all, whole.own, learning, contrast)


def _pieces(times: F64) -> list[Block]:
    if not len(times):
        return []
    starts = np.arange(times[0], times[-1], SEGMENT_S) if times[-1] - times[0] < 1e6 else times[:0]
    return [Block(float(start), float(start) + SEGMENT_S, "") for start in starts]


def _block(block: Block, found: Counted, above: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> BlockScore:
    inside = (found.times >= block.start) & (found.times < block.stop)
    n = int(inside.sum())
    if n < FEWEST:
        return BlockScore(block.start, block.stop, block.label, n, math.nan, math.nan)
    mean, share = float(found.level[inside].mean()), float(above[inside].mean())
    return BlockScore(block.start, block.stop, block.label, n, mean, share)


def _trend(blocks: Sequence[BlockScore]) -> Estimate | None:
    if len(blocks) < LEARNING_BLOCKS:
        return None
    minutes = np.array([0.5 * (block.start + block.stop) for block in blocks]) / 60.0
    found = cast("tuple[float, ...]", stats.theilslopes([block.mean for block in blocks], minutes, 0.95))
    slope, _, low, high = (float(value) for value in found)
    return Estimate(slope, low, high)


def _difference(task: Sequence[float], other: Sequence[float]) -> Estimate | None:
    """Welch's interval, by hand: scipy's test warns of blocks that are all alike."""
    if min(len(task), len(other)) < 2:
        return None
    parts = [float(np.var(each, ddof=1)) / len(each) for each in (task, other)]
    spread = sum(parts)
    if spread <= 0.0:
        return None
    freedom = spread**2 / sum(v**2 / (len(each) - 1) for v, each in zip(parts, (task, other), strict=True))
    value, reach = float(np.mean(task) - np.mean(other)), float(stats.t.ppf(0.975, freedom)) * math.sqrt(spread)
    return Estimate(value, value - reach, value + reach)
