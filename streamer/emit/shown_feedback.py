"""Continuous feedback as it was displayed, on a regular grid: the content of a BIDS ``_stim.tsv.gz``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamer.formats.bids import sidecar
from streamer.messages import F64, Score

LONGEST_S = 172800.0
"""No session goes on for longer, s: beyond it the clock was set, and a grid would say nothing."""
_ROWS = 4096
_PLAIN = {
    "level": "What the participant was shown; n/a where the display had nothing to show and was neutral by itself",
    "neutral": "1 where the level is the neutral one, since nothing counted: stale or vetoed data, or stopped; else 0",
    "threshold": "Level from which on a reward began",
}


@dataclass(frozen=True)
class ShownFeedback:
    """What was shown, sample by sample."""

    start: float
    """Session time of the first sample, s."""
    sfreq: float
    """Hz."""
    columns: tuple[str, ...]
    data: F64
    """Shape (n_samples, n_columns); NaN where nothing was shown."""
    axes: Mapping[str, str]
    """Column of each further axis, to its name."""

    def rows(self) -> Iterator[str]:
        """Give the table's text, some thousand lines at a time, without a header."""
        for first in range(0, len(self.data), _ROWS):
            lines = ("\t".join(_cell(value) for value in row) for row in self.data[first : first + _ROWS].tolist())
            yield "".join(f"{line}\n" for line in lines)

    def sidecar(self, begins: float, later_ms: Mapping[str, float] | None = None) -> str:
        """Write its JSON.

        Parameters
        ----------
        begins : float
            Session time at which the data beside it begins, s.
        later_ms : mapping, optional
            How much later than the time that it speaks of a score was known, ms: p50 and p99.
        """
        about: dict[str, Any] = {name: {"Description": text} for name, text in _PLAIN.items()}
        about |= {column: {"Description": f"Level of the axis {name}, 0 to 1"} for column, name in self.axes.items()}
        later = None if later_ms is None else {key: value / 1e3 for key, value in later_ms.items()}
        return sidecar(
            {
                "SamplingFrequency": self.sfreq,
                "StartTime": round(self.start - begins, 7),
                "Columns": list(self.columns),
                "Description": "Neurofeedback as displayed. A sample stands at the time of the EEG and BOLD that it "
                "speaks of; it was known so much later as DecisionDelay says (s), and shown when the display drew next",
                "DecisionDelay": later,
                **{name: about[name] for name in self.columns},
            }
        )


def shown_feedback(scores: Sequence[Score], sfreq: float) -> ShownFeedback | None:
    """Put scores on a grid: each is held until the next, and until it expires at most.

    Parameters
    ----------
    scores : sequence of Score
    sfreq : float
        Decisions per second, Hz.

    Returns
    -------
    ShownFeedback or None
        None without scores, and where their times cannot be those of one session.
    """
    if not scores:
        return None
    ordered = sorted(scores, key=lambda score: score.about)
    about = np.array([score.about for score in ordered])
    if not about[-1] - about[0] <= LONGEST_S:
        return None
    names = sorted({name for score in ordered for name in score.axes})
    axes = _columns(names)
    values = np.array(
        [
            (s.level, float(s.neutral), s.threshold, *(s.axes.get(name, math.nan) for name in names), s.expires)
            for s in ordered
        ]
    )
    times = about[0] + np.arange(math.floor((about[-1] - about[0]) * sfreq + 0.5) + 1) / sfreq
    # decisions lie on the grid but for the rounding of their clock
    newest = np.searchsorted(about, times + 0.5 / sfreq, "right") - 1
    data = values[newest, :-1]
    data[times > values[newest, -1]] = math.nan
    return ShownFeedback(float(about[0]), sfreq, (*_PLAIN, *axes), data, axes)


def _columns(names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        plain = "axis_" + (re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "other")
        while plain in found:
            plain += "_"
        found[plain] = name
    return found


def _cell(value: float) -> str:
    return f"{value:.5f}".rstrip("0").rstrip(".") if math.isfinite(value) else "n/a"
