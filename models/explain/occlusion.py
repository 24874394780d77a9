"""Whether the live explanation (``streamer/decode/relevance.py``) is to be believed for a model.

On sessions whose truth is known the mean drop of the winner's log-odds over windows has to be larger in size for the
parts that the effect was planted in than for those without it; that of models that know nothing (drawn weights,
permuted labels) must not. The sign is not judged: a model also takes planted parts to subtract what others share, and
the winner's log-odds rise without them. A score is a sum of its terms: there every drop is held against what its terms
add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import some
from models.explain.exact import ScoreParts
from models.explain.network import Modality, asker, member_of, randomised
from models.explain.perturb import log_odds
from models.explain.planted import AUROC_KNOWS_NOTHING, AUROC_MIN, RANDOM, trained
from models.explain.truth import Truth
from streamer.decode.model_card import ModelCard
from streamer.decode.relevance import Part, parts_of, without
from streamer.messages import F64

LIVE_WAY = "occlusion"
"""Name of the live explanation in a card."""
PERMUTED = 3
"""Models trained on permuted labels that a model is compared with."""
SCORE_GAP = 0.01
"""Log-odds that a drop may differ from what a score's terms add: probabilities are told to 1e-5."""
SCORE_SHARE = 0.95
"""Share of the windows in which every drop has to be so close: where a term is held at its limit, none can be."""
_DRAWN_WINDOWS = 96
_LEAST_PLANTED = 0.5

Ask = Callable[[WindowSet], F64]
"""Windows to probabilities, shape (n, n_classes)."""


@dataclass(frozen=True)
class LiveRound:
    """One subject."""

    truth: str
    auroc: float
    """Of the size of the mean drop per part against the planted parts, all on one scale as they are shown; NaN where
    all or nothing is planted."""
    apart: dict[Modality, float]
    """The same for each modality alone, where it has planted parts and others."""
    drawn: float
    """Mean AUROC of models with drawn weights."""
    permuted: float
    """Mean AUROC of models trained on permuted labels."""
    drops: dict[str, float]
    """Mean drop of the winner's log-odds per part."""
    planted: dict[str, float]
    """1 planted, 0 not, NaN neither, per part."""

    @property
    def against(self) -> tuple[str, ...]:
        """Planted parts without which the winner's log-odds rise: the model subtracts them from others."""
        return tuple(label for label, drop in self.drops.items() if drop < 0 and self.planted[label] == 1)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it must be."""
        found: list[str] = []
        if not self.auroc >= AUROC_MIN:
            found.append(f"AUROC {self.auroc:.2f} in the planted parts, expected {AUROC_MIN:g} or more")
        for what, score in (("drawn weights", self.drawn), ("permuted labels", self.permuted)):
            if not score <= AUROC_KNOWS_NOTHING:
                found.append(f"AUROC {score:.2f} with {what}, expected {AUROC_KNOWS_NOTHING:g} or less")
        return tuple(f"{self.truth}: {problem}" for problem in found)


@dataclass(frozen=True)
class LiveCheck:
    """Of every subject whose truth is known; or of a score, by its terms."""

    rounds: tuple[LiveRound, ...] = ()
    score_share: float | None = None
    """Share of the windows in which every part's drop is what its terms add; None for other models."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against believing the live map; none where it holds."""
        if self.score_share is not None:
            if self.score_share >= SCORE_SHARE:
                return ()
            share = f"{100 * self.score_share:.0f} % of the windows, expected {100 * SCORE_SHARE:g} % or more"
            return (f"the drops are what the terms add in {share}",)
        if not self.rounds:
            return ("no session with a known truth was given",)
        return tuple(problem for each in self.rounds for problem in each.problems)

    @property
    def sentence(self) -> str:
        """The figures in words, as a card tells them; empty where the check is not green."""
        if self.problems:
            return ""
        if self.score_share is not None:
            share = f"in {100 * self.score_share:.0f} % of the windows"
            return f"exact: a score is a sum of its terms, and each part's drop is what they add, {share}"
        drawn, permuted = (np.mean([getattr(each, name) for each in self.rounds]) for name in ("drawn", "permuted"))
        return (
            f"AUROC {np.mean([each.auroc for each in self.rounds]):.2f} in the planted parts of {len(self.rounds)} "
            f"simulated subject{'s' * (len(self.rounds) > 1)} (least {min(each.auroc for each in self.rounds):.2f}), "
            f"{drawn:.2f} with drawn weights, {permuted:.2f} with permuted labels"
        )


def parts_shown(card: ModelCard) -> tuple[Part, ...]:
    """The parts of a window that the live explanation of a card's model has."""
    eeg, bold = card.eeg, card.bold
    return parts_of(
        () if eeg is None else eeg.channels,
        () if eeg is None else tuple(eeg.bands),
        () if bold is None else bold.regions,
    )


def mean_drops(ask: Ask, windows: WindowSet, parts: Sequence[Part]) -> F64:
    """Take parts away as the loop does; give the mean drop of the winner's log-odds, shape (n_parts,)."""
    return drops(ask, windows, parts).mean(axis=0)


def drops(ask: Ask, windows: WindowSet, parts: Sequence[Part]) -> F64:
    """Drop of the winner's log-odds, shape (n_windows, n_parts)."""
    whole = ask(windows)
    row, winner = np.arange(len(windows)), whole.argmax(axis=1)
    before = log_odds(whole[row, winner])
    found: list[F64] = []
    for part in parts:
        changed = without(part, windows.eeg, windows.bold, windows.tangent)
        found.append(before - log_odds(ask(replace(windows, **changed))[row, winner]))
    return np.stack(found, axis=1)


def planted_parts(truth: Truth, parts: Sequence[Part]) -> F64:
    """Say which parts the effect was planted in: 1, 0, or NaN where neither can be said, shape (n_parts,).

    A group of channels has it in a band where half of those that can be told have it, and has it not where none does
    and half can be told; a region has it where it has it at any lag, and has it not where no lag is in doubt.
    """
    found = np.full(len(parts), np.nan)
    for k, part in enumerate(parts):
        if part.whole or part.modality not in truth.where:
            continue
        where = truth.where[part.modality][..., part.features]
        sure = where[np.isfinite(where)]
        if part.modality == "bold":
            found[k] = 1.0 if (sure > 0).any() else 0.0 if len(sure) == where.size else np.nan
        elif 2 * len(sure) >= where.size:
            share = float((sure > 0).mean())
            found[k] = 1.0 if share >= _LEAST_PLANTED else 0.0 if share == 0 else np.nan
    return found


def check_live(
    card: ModelCard,
    ask: Ask,
    network: nn.Module,
    known: Mapping[str, tuple[WindowSet, Truth]],
    count: int,
    seed: int,
    tell: Callable[[float], None],
) -> LiveCheck:
    """Check the live explanation of a network or a linear model.

    Parameters
    ----------
    card : ModelCard
    ask : callable
        The model as it is served.
    network : nn.Module
        The same model, or one of its kind: its weights are drawn anew, and it is trained on permuted labels.
    known : mapping of str to (WindowSet, Truth)
        Per subject: all its windows, and what is known of it.
    count : int
        Windows of each subject to ask the model of.
    seed : int
    tell : callable
        Takes the fraction done.
    """
    parts, one = parts_shown(card), member_of(network)
    rounds: list[LiveRound] = []
    for k, (windows, truth) in enumerate(known.values()):
        tell(k / len(known))
        planted = planted_parts(truth, parts)
        own = mean_drops(ask, some(windows, count), parts)
        fewer = some(windows, _DRAWN_WINDOWS)
        blind = [randomised(one, seed + n) for n in range(RANDOM)]
        drilled = [trained(one, windows.trainable(), seed + n, permute=True) for n in range(PERMUTED)]
        drawn, permuted = (
            float(np.mean([_auroc(planted, mean_drops(asker(each), fewer, parts)) for each in which]))
            for which in (blind, drilled)
        )
        apart: dict[Modality, float] = {
            name: _auroc(planted, own, [part.modality == name for part in parts]) for name in truth.where
        }
        rounds.append(
            LiveRound(
                truth.origin,
                _auroc(planted, own),
                {name: score for name, score in apart.items() if np.isfinite(score)},
                drawn,
                permuted,
                {part.label: float(drop) for part, drop in zip(parts, own, strict=True)},
                {part.label: float(value) for part, value in zip(parts, planted, strict=True)},
            )
        )
    return LiveCheck(tuple(rounds))


def check_score(card: ModelCard, ask: Ask, windows: WindowSet) -> LiveCheck:
    """Hold the drops of a score against what its terms add.

    Raises
    ------
    UsageError
        What a region adds changes in the course of a session: the card has no standard deviations.
    """
    parts = parts_shown(card)
    added = ScoreParts(card).contributions(windows, 1)
    # for the winner
    sign = np.where(ask(windows).argmax(axis=1) == 1, 1.0, -1.0)
    expected = np.stack([added[part.modality][:, :, part.features].sum(axis=(1, 2)) for part in parts], axis=1)
    gap = np.abs(drops(ask, windows, parts) - sign[:, None] * expected)
    return LiveCheck(score_share=float((gap.max(axis=1) <= SCORE_GAP).mean()))


def _auroc(planted: F64, values: F64, among: Sequence[bool] | None = None) -> float:
    told = np.isfinite(planted) if among is None else np.isfinite(planted) & np.array(among)
    if len(np.unique(planted[told])) < 2:
        return float("nan")
    return float(roc_auc_score(planted[told] > 0, np.abs(values[told])))
