"""Refit the weights of a model-free score to a participant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.decode.logistic import fit_logistic
from streamer.decode.model_card import ModelCard, Pattern
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.decode.score_terms import ScoreTerms
from streamer.messages import F64
from streamer.session_card.labelled_run import LabelledRun, LogOdds


@dataclass(frozen=True)
class ScoreFit:
    """A score that was refitted."""

    spec: ScoreSpec
    dropped: tuple[str, ...]
    """Terms that were left out, each with its reason."""


def score_log_odds(card: ModelCard, spec: ScoreSpec) -> LogOdds:
    """Give the log-odds that a card's score has with other weights."""
    terms = ScoreTerms(card.model_copy(update={"score": spec}))

    def log_odds(run: LabelledRun, pattern: Pattern) -> F64:
        return terms.log_odds(terms.eeg(run.eeg), terms.bold(run.bold), pattern)

    return log_odds


def fit_score(card: ModelCard, run: LabelledRun) -> ScoreFit | None:
    """Fit slopes, centres and intercept by logistic regression on the terms of the windows that hold all modalities.

    A term whose slope comes out with the other sign than the settings give it is dropped: on so few blocks that is
    chance or an artefact, and neurofeedback on it would train the opposite.

    Parameters
    ----------
    card : ModelCard
        Of kind score, with standard deviations for its regions.
    run : LabelledRun

    Returns
    -------
    ScoreFit or None
        None where no term has the sign that is expected, or windows of both classes are not there.
    """
    spec = card.score
    if spec is None or not run.patterns:
        return None
    base = spec.model_copy(
        update={
            "eeg": tuple(term.model_copy(update={"centre": 0.0}) for term in spec.eeg),
            "bold": tuple(term.model_copy(update={"centre": 0.0}) for term in spec.bold),
        }
    )
    terms = ScoreTerms(card.model_copy(update={"score": base}))
    rows = run.rows(run.patterns[0])
    part, weight = run.of(rows), run.weights(rows)[rows]
    x = np.column_stack([terms.eeg(part.eeg), terms.bold(part.bold)])
    centre = weight @ x / weight.sum()
    x = np.clip(x - centre, -base.limit_sd, base.limit_sd)
    every = (*base.eeg, *base.bold)
    kept = list(range(len(every)))
    dropped: list[str] = []
    while kept:
        slopes, intercept = fit_logistic(x[:, kept], part.target, weight)
        wrong = [k for k, slope in zip(kept, slopes, strict=True) if slope * terms.weights[k] <= 0]
        if not wrong:
            break
        sd = np.sqrt(weight @ np.square(x) / weight.sum())
        worst = max(wrong, key=lambda k: abs(float(slopes[kept.index(k)] * sd[k])))
        slope = slopes[kept.index(worst)]
        dropped.append(f"{_named(every[worst])} dropped: its slope is {slope:+.2f}, expected the other sign")
        kept.remove(worst)
    else:
        return None
    fitted = {
        k: every[k].model_copy(update={"weight": round(float(slope), 4), "centre": round(float(centre[k]), 4)})
        for k, slope in zip(kept, slopes, strict=True)
    }
    n_eeg = len(base.eeg)
    update = {
        "eeg": tuple(term for k, term in fitted.items() if k < n_eeg),
        "bold": tuple(term for k, term in fitted.items() if k >= n_eeg),
        "intercept": round(intercept, 4),
    }
    return ScoreFit(base.model_copy(update=update), tuple(dropped))


def _named(term: EegTerm | BoldTerm) -> str:
    if isinstance(term, EegTerm):
        return f"{term.band} of {', '.join(term.channels[:4])}{' …' if len(term.channels) > 4 else ''}"
    return f"BOLD of {', '.join(term.regions[:4])}{' …' if len(term.regions) > 4 else ''}"
