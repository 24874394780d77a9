"""Fit the head of a network that is there already to a participant: how sure it is, and where its even odds lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.decode.logistic import fit_shift
from streamer.decode.model_card import ModelCard, Pattern
from streamer.messages import F64, Prediction, Window
from streamer.session_card.labelled_run import LabelledRun, LogOdds, held_out

_LEAST = 1e-5


@dataclass(frozen=True)
class Network:
    """A network that fits the session."""

    card: ModelCard
    ask: Callable[[Window], Prediction]
    graphs: Mapping[str, bytes]
    """Bytes of its files, by name."""


def network_log_odds(network: Network, run: LabelledRun, patterns: Sequence[Pattern]) -> dict[Pattern, F64]:
    """Ask a network about every window, with one modality masked where the set of modalities wants it.

    Returns
    -------
    dict
        Log-odds of the target as the card's temperatures stand, shape (n,); NaN where the window lacks what is needed.
    """
    target = network.card.classes.index(run.classes[1])
    found: dict[Pattern, F64] = {}
    for pattern in patterns:
        values = np.full(len(run), np.nan)
        for row in np.flatnonzero(run.rows(pattern)):
            window = run.windows[row]
            masked = replace(
                window,
                eeg_valid=window.eeg_valid and pattern != "bold",
                bold_valid=window.bold_valid and pattern != "eeg",
            )
            p = float(np.clip(network.ask(masked).probabilities[target], _LEAST, 1.0 - _LEAST))
            values[row] = np.log(p / (1.0 - p))
        found[pattern] = values
    return found


def shifts(run: LabelledRun, log_odds: Mapping[Pattern, F64]) -> dict[Pattern, float]:
    """Find what has to be added to the log-odds of the target, per set of modalities.

    Parameters
    ----------
    run : LabelledRun
    log_odds : mapping
        Shape (n,) each; NaN where the window lacks what is needed.
    """
    found: dict[Pattern, float] = {}
    for pattern, values in log_odds.items():
        rows = np.isfinite(values)
        if run.target[rows].any() and (~run.target)[rows].any():
            found[pattern] = fit_shift(values[rows], run.target[rows], run.weights(rows)[rows])
    return found


def held_out_head(run: LabelledRun, log_odds: Mapping[Pattern, F64]) -> dict[Pattern, F64]:
    """Give log-odds as they are after shifts that were fitted without the window's block; NaN where there is none."""
    row_of = {window.seq: row for row, window in enumerate(run.windows)}

    def part_of(part: LabelledRun, values: F64) -> F64:
        return values[[row_of[window.seq] for window in part.windows]]

    def fit(part: LabelledRun, patterns: Sequence[Pattern]) -> LogOdds | None:
        found = shifts(part, {pattern: part_of(part, log_odds[pattern]) for pattern in patterns})
        if set(found) != set(patterns):
            return None
        return lambda other, pattern: part_of(other, log_odds[pattern]) + found[pattern]

    return held_out(run, fit, tuple(log_odds))
