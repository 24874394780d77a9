"""Fit a small classifier to a participant: shrinkage LDA on band power, tangent vector and region signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.decode.model_card import Pattern
from streamer.decode.shrinkage_lda import fit_lda
from streamer.decode.window_features import features_of
from streamer.formats.affine_graph import affine_graph
from streamer.messages import F32, F64
from streamer.session_card.labelled_run import LabelledRun, LogOdds


def feature_names(run: LabelledRun, pattern: Pattern) -> tuple[str, ...]:
    """Name the features of a set of modalities, as ``decode/window_features.py`` has them."""
    eeg = ("eeg_mean", "tangent") if run.tangent.shape[1] else ("eeg_mean",)
    bold = ("bold_newest",)
    return (*eeg, *bold) if pattern == "both" else eeg if pattern == "eeg" else bold


def fit_linear(run: LabelledRun, patterns: Sequence[Pattern]) -> dict[Pattern, tuple[F64, float]]:
    """Fit log-odds for sets of modalities, as far as the run's windows hold them: slopes, shape (n,), and intercept."""
    found: dict[Pattern, tuple[F64, float]] = {}
    there = run.patterns
    for pattern in patterns:
        if pattern not in there:
            continue
        rows = run.rows(pattern)
        x = _features(run, pattern)[rows].astype(np.float64)
        # windows overlap: what is independent is the time that they cover, in lengths of their EEG
        covered = sum(float(np.ptp(run.time[rows & (run.block == k)])) for k in np.unique(run.block[rows]))
        independent = covered / float(run.windows[0].end - run.windows[0].start)
        found[pattern] = fit_lda(x, run.target[rows], run.weights(rows)[rows], max(2.0, independent))
    return found


def linear_log_odds(run: LabelledRun, patterns: Sequence[Pattern]) -> LogOdds | None:
    """Fit, and give the log-odds; 0 for a set of modalities that there was nothing to fit on."""
    parts = fit_linear(run, patterns)
    if not parts:
        return None

    def log_odds(other: LabelledRun, pattern: Pattern) -> F64:
        if pattern not in parts:
            return np.zeros(len(other))
        slopes, intercept = parts[pattern]
        return _features(other, pattern) @ slopes + intercept

    return log_odds


def linear_graph(slopes: F64, intercept: float) -> bytes:
    """Write log-odds as a graph of the logits of the other class and the target."""
    half = np.array([-0.5, 0.5])
    return affine_graph((slopes[:, None] * half).astype(np.float32), (intercept * half).astype(np.float32))


def _features(run: LabelledRun, pattern: Pattern) -> F32:
    return features_of(feature_names(run, pattern), run.eeg, run.bold, run.tangent)
