"""What a stage of the loop may take, and whether it does: no Qt, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """What a stage may take, ms; None where nothing is asked of it."""

    p50: float | None
    p99: float | None


STAGES = {
    "eeg_transport": "EEG to loop",
    "align": "time alignment",
    "clean_eeg": "EEG cleaning",
    "features": "band power",
    "window": "window",
    "model": "model",
    "decide": "decision rule",
    "loop_lag": "loop behind its beat",
    "sample_to_decision": "EEG to decision",
    "sample_to_trigger": "EEG to trigger",
    "volume_to_frame": "volume to BOLD",
}
"""Names of the loop's stages in plain words."""

_TRANSPORT = Budget(5.0, 12.0)
"""From the last sample of a window to the decision in a client's hands: no part of the way may take more."""
_CHUNK = Budget(None, 5.0)
"""Processing of a chunk of 20 ms."""
_MODEL = Budget(None, 3.0)
"""A window on one core."""


def budgets(declared_s: float = 0.0, tr_s: float | None = None) -> dict[str, Budget]:
    """Give the budgets of a session's stages.

    Parameters
    ----------
    declared_s : float
        Delay of the filters and hold of the cleaning: decisions speak of a time that lies so far back on purpose, s.
    tr_s : float or None
        Time between volumes: half of it is for the usual volume, the scanner's export included, the whole for the
        slowest, after which the next volume is there; None leaves volumes without a budget.
    """
    late = 1e3 * declared_s if math.isfinite(declared_s) else 0.0
    made = {
        "eeg_transport": _TRANSPORT,
        "clean_eeg": _CHUNK,
        "model": _MODEL,
        "sample_to_decision": Budget(5.0 + late, 12.0 + late),
        "sample_to_trigger": Budget(None, 10.0 + late),
    }
    if tr_s is not None and tr_s > 0:
        made["volume_to_frame"] = Budget(500.0 * tr_s, 1000.0 * tr_s)
    return made


@dataclass(frozen=True, slots=True)
class Judged:
    """A stage's figures beside its budget."""

    stage: str
    p50: float
    p99: float
    """ms; NaN where unknown."""
    budget: Budget

    @property
    def shares(self) -> tuple[float, float]:
        """p50 and p99 as shares of the budget's p99; NaN without one."""
        whole = self.budget.p99 or math.nan
        return self.p50 / whole, self.p99 / whole

    @property
    def over(self) -> bool:
        """Whether one of them is above what it may be."""
        return any(
            limit is not None and value > limit
            for value, limit in ((self.p50, self.budget.p50), (self.p99, self.budget.p99))
        )


def judge(stage: str, values: Sequence[float], known: dict[str, Budget]) -> Judged:
    """Put p50 and p99 of a stage (ms, the first two of ``values``) beside its budget."""
    p50, p99 = [*values, math.nan, math.nan][:2]
    return Judged(stage, p50, p99, known.get(stage, Budget(None, None)))
