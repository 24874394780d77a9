"""The planted-truth check: a map is shown only where the same map finds what was planted, and nothing without it.

Two rounds. A network of the model's own shape is trained on windows with a planted effect: this checks method and
view. Where the data comes with its truth (a simulated session), the model itself is checked on it. In both the map has
to lie in the planted place, and that of networks that know nothing (drawn weights, permuted labels) must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn

from models.dataset import WindowSet
from models.explain.attribution import Attribution
from models.explain.linear import LinearMap
from models.explain.maps import Relevance, View, per_feature, view, views
from models.explain.network import logits_of, member_of, randomised
from models.explain.truth import Truth
from streamer.messages import F64

AUROC_MIN = 0.85
"""Of the map against the planted place."""
AUROC_KNOWS_NOTHING = 0.6
"""At most, on average over networks with drawn weights, and with permuted labels."""
RANDOM = 24
"""Networks with drawn weights that a map is compared with."""
YARDSTICKS = 16
"""Others, that a pattern is measured by."""
MORE_OF_MAPS = 8
"""Times as many of linear maps: a drawn one finds all or nothing of the few smooth directions, and costs little."""
_STEPS, _BATCH, _RATE = 160, 128, 4e-3

Explain = Callable[[Any, WindowSet], Attribution]
"""A method: a network and windows to an attribution."""


@dataclass(frozen=True)
class Found:
    """How well one map fits the truth, for one modality."""

    auroc: float
    """Of the map's size against the planted place; NaN when all or nothing is planted."""
    mass: float
    """Share of the map's size that lies in the planted place."""
    area: float
    """Share of the inputs that are the planted place: what an even map's mass would be."""


@dataclass(frozen=True)
class Check:
    """One round of the check, of one view."""

    name: str
    truth: str
    found: dict[str, Found]
    random: dict[str, float]
    """Mean AUROC of networks with drawn weights, per modality; empty where none can be drawn."""
    permuted: dict[str, float]
    """Mean AUROC of networks trained on permuted labels; empty where none was trained."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it must be; none when the check is passed."""
        wrong: list[str] = [] if self.found else ["the map says nothing of what was planted"]
        for modality, found in self.found.items():
            if not found.auroc >= AUROC_MIN:
                wrong.append(f"{modality} AUROC {found.auroc:.2f} in the planted place, expected {AUROC_MIN:g} or more")
            if not found.mass > found.area:
                wrong.append(f"{modality} mass {found.mass:.2f} in the planted place, an even map has {found.area:.2f}")
        for what, scores in (("drawn weights", self.random), ("permuted labels", self.permuted)):
            wrong += [
                f"{modality} AUROC {score:.2f} with {what}, expected {AUROC_KNOWS_NOTHING:g} or less"
                for modality, score in scores.items()
                if not score <= AUROC_KNOWS_NOTHING
            ]
        return tuple(f"{self.name}: {problem}" for problem in wrong)


def compare(relevance: Relevance, truth: Truth) -> dict[str, Found]:
    """Hold a map against the truth; modalities that either says nothing of are left out."""
    found: dict[str, Found] = {}
    for modality, where in truth.where.items():
        if modality not in relevance:
            continue
        size = np.abs(relevance[modality]) if where.ndim == 2 else per_feature(relevance[modality])
        sure = np.isfinite(where)
        planted, size = where[sure] > 0, size[sure]
        if planted.all() or not planted.any():
            continue
        found[modality] = Found(
            float(roc_auc_score(planted, size)),
            float(size[planted].sum() / max(size.sum(), 1e-300)),
            float(planted.mean()),
        )
    return found


def check_network(
    name: str,
    network: nn.Module,
    windows: WindowSet,
    truth: Truth,
    explain: Explain,
    seed: int,
    others: Sequence[nn.Module] = (),
) -> dict[View, Check]:
    """Check a network on windows whose truth is known.

    Parameters
    ----------
    name : str
        Of the round.
    network : nn.Module
    windows : WindowSet
    truth : Truth
    explain : callable
    seed : int
        Of the drawn weights.
    others : sequence of nn.Module
        Networks that were trained on permuted labels.

    Returns
    -------
    dict of str to Check
        Per view.
    """
    # one member knows as little as several, and is asked faster
    one = member_of(network)
    chance = by_chance(one, windows, explain, seed)
    own = views(explain(network, windows), windows, chance)
    blind = [randomised(one, seed + k) for k in range(RANDOM * _times(one))]
    drawn, permuted = ([views(explain(each, windows), windows, chance) for each in which] for which in (blind, others))
    found: dict[View, Check] = {}
    for kind, relevance in own.items():
        knows_nothing = [_mean(maps, kind, truth) for maps in (drawn, permuted)]
        found[kind] = Check(name, truth.origin, compare(relevance, truth), *knows_nothing)
    return found


def by_chance(network: nn.Module, windows: WindowSet, explain: Explain, seed: int) -> Relevance:
    """Give the root mean square of the pattern of networks with drawn weights, per modality."""
    drawn = [randomised(network, seed + 10_000 + k) for k in range(YARDSTICKS * _times(network))]
    patterns = [view(explain(each, windows), windows, "pattern") for each in drawn]
    return {name: np.sqrt(np.mean([np.square(each[name]) for each in patterns], axis=0)) for name in patterns[0]}


def check_model(name: str, maps: Mapping[View, Relevance], truth: Truth) -> dict[View, Check]:
    """Check a model that has no weights to draw anew: only its own maps are held against the truth."""
    found: dict[View, Check] = {}
    for kind, relevance in maps.items():
        found[kind] = Check(name, truth.origin, compare(relevance, truth), {}, {})
    return found


def trained(network: nn.Module, windows: WindowSet, seed: int, *, permute: bool = False) -> nn.Module:
    """Train a copy of a network from drawn weights, a few seconds long.

    Parameters
    ----------
    network : nn.Module
        Gives the shape; left as it is.
    windows : WindowSet
    seed : int
    permute : bool
        Permute the labels first.
    """
    fresh = randomised(network, seed).train()
    generator = torch.Generator().manual_seed(seed)
    eeg, bold, age, valid = (torch.from_numpy(getattr(windows, name)) for name in ("eeg", "bold", "age", "valid"))
    label = torch.from_numpy(windows.label)
    if permute:
        label = label[torch.randperm(len(label), generator=generator)]
    # with either modality alone, too: else the easier one is learned and the other never looked at
    keeps = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    keeps = keeps[[int(k) for k in range(3) if bool((valid[:1] * keeps[k]).sum() > 0)]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optimiser = torch.optim.AdamW(fresh.parameters(), lr=_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_STEPS)
        for step in range(_STEPS):
            rows = torch.randint(len(label), (_BATCH,), generator=generator)
            logits = logits_of(fresh, eeg[rows], bold[rows], age[rows], valid[rows] * keeps[step % len(keeps)])
            loss = F.cross_entropy(logits.flatten(0, 1), label[rows].repeat_interleave(logits.shape[1]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return fresh.eval()


def cascade(
    network: nn.Module,
    windows: WindowSet,
    explain: Explain,
    seed: int,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
) -> dict[View, dict[float, float]]:
    """Draw weights anew from the output towards the input; give the rank correlation with the model's own map.

    Returns
    -------
    dict of str to dict of float to float
        Per view and share of the layers drawn anew: mean over modalities and three draws.
    """
    network = member_of(network)
    chance = by_chance(network, windows, explain, seed)
    own = views(explain(network, windows), windows, chance)
    found: dict[View, dict[float, float]] = {kind: {} for kind in own}
    for share in shares:
        blind = [randomised(network, seed + k, share) for k in range(3)]
        drawn = [views(explain(each, windows), windows, chance) for each in blind]
        for kind, maps in own.items():
            pairs = [(values, other[kind][name]) for other in drawn for name, values in maps.items()]
            found[kind][share] = float(np.mean([_rank_correlation(np.abs(a), np.abs(b)) for a, b in pairs]))
    return found


def _times(network: nn.Module) -> int:
    return MORE_OF_MAPS if isinstance(network, LinearMap) else 1


def _mean(maps: Sequence[dict[View, Relevance]], kind: View, truth: Truth) -> dict[str, float]:
    scores = [compare(each[kind], truth) for each in maps]
    names = scores[0] if scores else {}
    return {name: float(np.mean([score[name].auroc for score in scores])) for name in names}


def _rank_correlation(a: F64, b: F64) -> float:
    found: Any = spearmanr(a.ravel(), b.ravel())
    return float(found.statistic)
