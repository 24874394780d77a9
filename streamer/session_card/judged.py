"""How well a fit does on blocks that it was not fitted on: temperature, doubt, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from streamer.decode.conformal import block_coverage, block_quantile
from streamer.decode.logistic import fit_slope
from streamer.decode.model_card import PATTERNS, CardScore, Doubt, Pattern, Temperatures
from streamer.decode.scores import Z95, score_blocks, wilson_interval
from streamer.messages import F64
from streamer.session_card.labelled_run import SKIP_S, Fitter, LabelledRun, Rows, held_out

ALPHA = 0.1
"""Share of blocks whose true class may be missing among the candidates."""
ALPHA_CHANCE = 0.05
PERMUTATIONS = 119
_ENOUGH = 12
"""So many that do as well settle it: it is chance (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301)."""
_PER_BLOCK = 4
"""Windows of a block that the permutations are made with: more would say the same again."""
_IN_WORDS: dict[Pattern, str] = {"both": "EEG and BOLD", "eeg": "EEG alone", "bold": "BOLD alone"}


@dataclass(frozen=True)
class Judged:
    """What a fit is worth."""

    slope: dict[Pattern, float]
    """Factor of the log-odds, per set of modalities: one over the temperature."""
    doubt: Doubt
    scores: dict[Pattern, CardScore]
    probability: F64
    """Of the target, per window, by the richest set of modalities; NaN where nothing was judged."""
    brier: float
    """Mean square error of ``probability``, every block counting as one."""
    p: float | None = None
    """Of as good a fit to labels that were dealt out anew; None where nothing was fitted."""

    @property
    def pattern(self) -> Pattern | None:
        """The richest set of modalities that was judged; None where no block could be."""
        return next((pattern for pattern in PATTERNS if pattern in self.scores), None)

    @property
    def main(self) -> CardScore | None:
        """The score with that set of modalities."""
        return None if self.pattern is None else self.scores[self.pattern]

    def temperatures(self, before: Temperatures | None = None) -> Temperatures:
        """Give the temperatures of a card, or those that take the place of the ones that were there before."""
        old = before or Temperatures()
        return Temperatures(
            both=round(old.both / self.slope.get("both", 1.0), 6),
            eeg=round(old.eeg / self.slope.get("eeg", 1.0), 6),
            bold=round(old.bold / self.slope.get("bold", 1.0), 6),
        )

    def above_chance(self, tried: int = 1) -> bool:
        """Say whether it is better than chance, at 5 % over all fits that it was the best of (Bonferroni).

        The interval must lie above chance and, because blocks that are judged by fits on each other's data are not
        independent, labels that are dealt out anew must hardly ever do as well.
        """
        score = self.main
        if score is None or (self.p is not None and self.p > ALPHA_CHANCE / tried):
            return False
        z = Z95 if tried == 1 else NormalDist().inv_cdf(1.0 - ALPHA_CHANCE / 2 / tried)
        n_correct = round(score.block_accuracy * score.n_blocks)
        return wilson_interval(n_correct, score.n_blocks, z)[0] > score.chance

    def sentence(self) -> str:
        """Say plainly what it is worth."""
        pattern = self.pattern
        if pattern is None:
            return "not scored: too few labelled blocks, far enough apart, to hold any out"
        score = self.scores[pattern]
        low, high = score.block_ci95
        found = (
            f"{100 * score.block_accuracy:.0f} % of {score.n_blocks} blocks that it was not fitted on are right with "
            f"{_IN_WORDS[pattern]} (95 % interval {100 * low:.0f} to {100 * high:.0f} %, chance "
            f"{100 * score.chance:.0f} %)"
        )
        if self.p is not None:
            found += f", p = {self.p:.3f} by permutation of the blocks' labels"
        return f"{found}: {'above chance' if self.above_chance() else 'not above chance'}"


def judge(run: LabelledRun, log_odds: Mapping[Pattern, F64], *, as_is: bool = False) -> Judged:
    """Judge log-odds of windows.

    Parameters
    ----------
    run : LabelledRun
    log_odds : mapping
        Per set of modalities, shape (n,), by fits that had not seen the window's block; NaN where there is none.
    as_is : bool
        Leave the temperatures at 1.
    """
    slope: dict[Pattern, float] = {}
    quantile: dict[Pattern, float] = {}
    coverage: dict[Pattern, float] = {}
    scores: dict[Pattern, CardScore] = {}
    probability = np.full(len(run), np.nan)
    n_doubt = 0
    for pattern in reversed(PATTERNS):
        values = log_odds.get(pattern)
        rows = np.zeros(len(run), bool) if values is None else np.isfinite(values)
        if values is None or not (run.target[rows].any() and (~run.target)[rows].any()):
            continue
        weight = run.weights(rows)
        slope[pattern] = 1.0 if as_is else fit_slope(values[rows], run.target[rows], weight[rows])
        p = np.full(len(run), np.nan)
        p[rows] = 0.5 * (1.0 + np.tanh(0.5 * slope[pattern] * values[rows]))
        scores[pattern] = _score(run, p, rows)
        found = _doubt(run, p, rows)
        if found is not None:
            quantile[pattern], coverage[pattern] = found
            n_doubt = scores[pattern].n_blocks
        probability = p
    seen = np.isfinite(probability)
    error = np.square(probability - run.target)[seen]
    weight = run.weights(seen)[seen]
    return Judged(
        slope,
        Doubt(alpha=ALPHA, quantile=quantile, coverage=coverage, n_blocks=n_doubt),
        scores,
        probability,
        float(weight @ error / weight.sum()) if seen.any() else 1.0,
    )


def permutation_p(run: LabelledRun, fit: Fitter, n: int = PERMUTATIONS) -> float | None:
    """Compare a fit, held out block by block, with the same fit to labels that are dealt out anew among the blocks.

    Returns
    -------
    float or None
        (1 + how many do as well) / (n + 1), or the share that does as well, where that settles it earlier; None where
        no block can be held out.

    References
    ----------
    Noirhomme 2014, doi:10.1016/j.nicl.2014.04.004: why the binomial interval alone is too narrow.
    """
    if not run.patterns:
        return None
    pattern = run.patterns[0]
    thin = run.thinned(pattern, _PER_BLOCK)
    rng = np.random.default_rng(0)

    def accuracy(part: LabelledRun) -> float | None:
        log_odds = held_out(part, fit, (pattern,))[pattern]
        weight = part.weights(np.isfinite(log_odds))
        if not weight.any():
            return None
        share = np.bincount(part.block, weight * np.where(np.isfinite(log_odds), np.tanh(log_odds / 2), 0.0))
        judged, first = np.unique(part.block[weight > 0], return_index=True)
        right = (share[judged] > 0) == part.target[weight > 0][first]
        return float(right.mean())

    own = accuracy(thin)
    if own is None:
        return None
    as_good = 0
    for made in range(1, n + 1):
        other = accuracy(thin.shuffled(rng))
        as_good += other is not None and other >= own
        if as_good == _ENOUGH:
            return _ENOUGH / made
    return (1 + as_good) / (n + 1)


def _score(run: LabelledRun, p: F64, rows: Rows) -> CardScore:
    blocks = score_blocks(run.time[rows], p[rows], run.blocks, run.classes, SKIP_S)
    return CardScore(
        window_accuracy=round(float(((p > 0.5) == run.target)[rows].mean()), 4),
        block_accuracy=blocks.accuracy,
        block_ci95=blocks.ci95,
        n_blocks=blocks.n_blocks,
        chance=blocks.chance,
    )


def _doubt(run: LabelledRun, p: F64, rows: Rows) -> tuple[float, float] | None:
    """Quantile of the sets of candidates, and their coverage on blocks held out once more; None with too few blocks."""
    p_true, block = np.where(run.target, p, 1.0 - p)[rows], run.block[rows]
    quantile = block_quantile(p_true, block, ALPHA)
    if quantile >= 1.0:
        # every class would always be a candidate
        return None
    covered = [
        block_coverage(p_true[mine], block[mine], block_quantile(p_true[~mine], block[~mine], ALPHA))
        for mine in (block == number for number in np.unique(block))
    ]
    return quantile, round(float(np.mean(covered)), 4)
