"""Maps as pictures (PNG): channel group × band, region × lag, the course over time, and whether they were validated."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.explain.maps import BoldMap, EegMap, View, bold_map, eeg_map
from models.explain.run import Explanation
from streamer.messages import F64

_GREEN, _RED = "#12692f", "#a3261b"
_NAMES_MAX = 32
"""More regions than this (cells of a volume) are not named."""
_WORDS: dict[View, str] = {
    "pattern": "correlation with the evidence, multiples of chance",
    "dependence": "change of the log-odds",
}


def picture(explanation: Explanation, kind: View) -> bytes:
    """Draw one view as PNG.

    Parameters
    ----------
    explanation : Explanation
    kind : str
        The view.
    """
    relevance, axes = explanation.maps[kind], explanation.axes
    eeg = eeg_map(relevance["eeg"], axes) if "eeg" in relevance else None
    bold = bold_map(relevance["bold"], axes) if "bold" in relevance else None
    shown = [part for part in (eeg, bold) if part is not None]
    figure = Figure(figsize=(5.4 * len(shown), 7.0), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    cells: Any = figure.subplots(2, len(shown), squeeze=False, height_ratios=(1.5, 1.0))
    for column, part in enumerate(shown):
        above, below = cells[0, column], cells[1, column]
        if isinstance(part, EegMap):
            _eeg(figure, above, below, part, kind)
        else:
            _bold(figure, above, below, part, kind)
    passed = not explanation.problems(kind)
    title = f"{explanation.card.name}: {explanation.target} · {explanation.method} · {kind}"
    figure.suptitle(f"{title}\n{badge(explanation, kind)}", color=_GREEN if passed else _RED, fontsize=11)
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def badge(explanation: Explanation, kind: View) -> str:
    """Say in a line whether a view was validated, and by what figures."""
    if explanation.problems(kind):
        return "NOT VALIDATED"
    scores = [found.auroc for check in explanation.checks[kind] for found in check.found.values()]
    chance = [
        score for check in explanation.checks[kind] for score in (*check.random.values(), *check.permuted.values())
    ]
    reach = "method and model" if explanation.model_checked else "method only: no data with a known truth was given"
    least = f"AUROC {min(scores):.2f} or more in the planted place"
    return f"validated ({reach}): {least}, {max(chance):.2f} at most by chance" if chance else f"validated: {least}"


def _eeg(figure: Figure, above: Any, below: Any, part: EegMap, kind: View) -> None:
    _heat(figure, above, part.group_band, part.groups, part.bands, kind)
    above.set_title("EEG: channel group × band (mean over channels and time)", fontsize=9)
    for band, course in zip(part.bands, part.band_time, strict=True):
        below.plot(-part.lag_s, course, label=band)
    below.set_xlabel("time before the window's end, s")
    below.set_ylabel("mean size over channels")
    below.set_ylim(bottom=0)
    below.legend(fontsize=8, frameon=False)


def _bold(figure: Figure, above: Any, below: Any, part: BoldMap, kind: View) -> None:
    named = len(part.regions) <= _NAMES_MAX
    lags = [f"{0.0 - lag:g}" if k % 3 == 0 else "" for k, lag in enumerate(part.lag_s)]
    _heat(figure, above, part.region_time, part.regions if named else (), lags, kind)
    above.set_title("BOLD: region × lag (s before the newest volume)", fontsize=9)
    size = np.abs(part.region_time)
    if named and len(part.regions) <= 10:
        for region, course in zip(part.regions, size, strict=True):
            below.plot(-part.lag_s, course, label=region)
        below.legend(fontsize=8, frameon=False)
    else:
        below.plot(-part.lag_s, size.mean(axis=0))
    below.set_xlabel("time before the newest volume, s")
    below.set_ylabel("size")
    below.set_ylim(bottom=0)


def _heat(figure: Figure, cell: Any, values: F64, rows: tuple[str, ...], columns: Any, kind: View) -> None:
    limit = max(float(np.abs(values).max()), 1e-12)
    colours, low = ("RdBu_r", -limit) if kind == "pattern" else ("viridis", 0.0)
    drawn = cell.imshow(values, cmap=colours, vmin=low, vmax=limit, aspect="auto", interpolation="nearest")
    cell.set_xticks(range(len(columns)), columns)
    cell.set_yticks(range(len(rows)), rows)
    figure.colorbar(drawn, ax=cell, label=_WORDS[kind], shrink=0.9)
