"""The whole way to a map: card, data, method, the planted-truth check, views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from models.checkpoint import load_ensemble
from models.dataset import WindowSet, joined
from models.evaluation.card_model import CardModel
from models.explain.attribution import Attribution, some
from models.explain.disputed import gradcam, lrp
from models.explain.exact import ScoreParts, exact, is_additive
from models.explain.integrated import integrated
from models.explain.linear import LinearMap, map_of, shapes_of, with_all
from models.explain.maps import VIEWS, Axes, Relevance, View, views
from models.explain.network import Modality, asker, attention_of, member_of
from models.explain.occlusion import LiveCheck, check_live, check_score
from models.explain.perturb import perturb
from models.explain.planted import Check, Explain, by_chance, cascade, check_model, check_network, trained
from models.explain.smoothgrad import smoothgrad
from models.explain.truth import Truth, plant, shape_of, truth_of_run
from models.fusion import FusionNetwork
from models.graphs.publish import checkpoint_of, verify_model
from models.network.settings import FusionSettings
from models.sources import find_runs
from models.subject_files import sources
from models.subjects import read_subject, simulate_subject, simulated_seeds
from streamer.config import Config
from streamer.decode.card_file import LoadedCard
from streamer.decode.model_card import ModelCard
from streamer.errors import ModelError, UsageError

Method = Literal["smoothgrad", "integrated", "perturbation", "exact", "gradcam", "lrp"]
DISPUTED: tuple[Method, ...] = ("gradcam", "lrp")
Tell = Callable[[str, float], None]
_LEAST_WINDOWS = 32
_PLANTED = 1600
# what a method can be asked of in seconds
_WINDOWS: Mapping[Method, int] = {"integrated": 96, "perturbation": 96}
_PERMUTED = 3


@dataclass(frozen=True)
class Request:
    """What to explain, on what."""

    card: Path
    datasets: tuple[str, ...] = ()
    """Sessions or windows (.npz), each with a name before ``=`` where the file's own does not do."""
    simulated: int = 0
    """Subjects to simulate besides: their truth is known."""
    method: Method | None = None
    """None: SmoothGrad for a network, exact for a model whose log-odds are a sum, perturbation for others."""
    target: str | None = None
    """Class whose log-odds are explained; None for the last."""
    windows: int = 240
    """At most so many, evenly over classes and time."""
    seed: int = 2


@dataclass(frozen=True)
class Explanation:
    """What a model's decisions rest on, with what speaks for and against believing it."""

    card: ModelCard
    card_sha256: str
    method: Method
    target: str
    n_windows: int
    subjects: tuple[str, ...]
    axes: Axes
    maps: dict[View, Relevance]
    checks: dict[View, tuple[Check, ...]]
    cascades: dict[View, dict[float, float]]
    """Rank correlation with the map after drawing a share of the layers anew; empty without a network."""
    attention: dict[Modality, float]
    """Mean weight of each modality; empty without a network."""
    facts: dict[str, float] = field(default_factory=dict[str, float])
    live: LiveCheck = field(default_factory=LiveCheck)
    """Whether the loop's own map, by occlusion, is to be believed."""

    def problems(self, kind: View) -> tuple[str, ...]:
        """What speaks against a view; none where its map may be shown."""
        found = [problem for check in self.checks[kind] for problem in check.problems]
        if self.cascades and not self.cascades[kind][1.0] <= SIMILAR_MAX:
            alike = self.cascades[kind][1.0]
            found.append(f"the map stays alike (rank correlation {alike:.2f}) when all weights are drawn anew")
        return tuple(found)

    @property
    def validated(self) -> tuple[View, ...]:
        """The views that passed every check."""
        return tuple(kind for kind in self.maps if not self.problems(kind))

    @property
    def model_checked(self) -> bool:
        """Whether the model itself was checked, on data whose truth is known."""
        return any(check.name == MODEL_ROUND for check in self.checks["pattern"])


SIMILAR_MAX = 0.6
"""Rank correlation that maps of drawn weights may have with the model's own (Adebayo 2018, arXiv:1810.03292)."""
MODEL_ROUND = "this model"
METHOD_ROUND = "method"


def explain_card(request: Request, config: Config, tell: Tell) -> Explanation:
    """Explain a card's model and check the maps.

    Parameters
    ----------
    request : Request
    config : Config
        Settings that sessions are replayed with.
    tell : callable
        Takes what is being done and the fraction done.

    Raises
    ------
    StreamerError
        The card or the data cannot be read or do not fit, the method is not defined for the model, or there is too
        little data.
    """
    loaded = verify_model(request.card).loaded
    card = loaded.card
    method = _method(request, card)
    if config.model_digest() != card.preprocessing:
        raise ModelError(
            f"model {card.name} was made for other settings (digest {card.preprocessing[:12]}, these have "
            f"{config.model_digest()[:12]}): --config gives others"
        )
    target = request.target if request.target is not None else card.classes[-1]
    if target not in card.classes:
        raise UsageError(f"class {target} is not known: expected one of {', '.join(card.classes)}")
    torch.set_num_threads(1)
    model = CardModel(loaded)
    windows, truths = _data(request, card, config, tell)
    model.check(windows)
    count = min(request.windows, _WINDOWS.get(method, request.windows))
    chosen = with_all(some(windows, count))
    if len(chosen) < _LEAST_WINDOWS:
        raise ModelError(
            f"{len(chosen)} windows are labelled and hold all modalities: expected {_LEAST_WINDOWS} or more"
        )
    place = card.classes.index(target)
    explain = partial(_attribute, method, place, request.seed)
    weighed = _weighed(request.card, loaded, chosen, place)
    asked = _asked(method, card, model, weighed.network)
    facts = {"completeness": weighed.completeness} if isinstance(asked, LinearMap) else {}
    tell("explaining", 0.1)
    own = explain(asked, chosen)
    tell("checking the method on a planted effect", 0.3)
    shaped = member_of(asked) if isinstance(asked, nn.Module) else _shaped(method, windows)
    rounds = [_check_method(shaped, windows, explain, request.seed, count)]
    for k, (subject, truth) in enumerate(truths.items()):
        tell("checking the model where the truth is known", 0.5 + 0.2 * k / len(truths))
        known = with_all(some(windows.of([subject]), count))
        if isinstance(asked, nn.Module):
            rounds.append(check_network(MODEL_ROUND, asked, known, truth, explain, request.seed))
        else:
            seen = views(explain(asked, known), known, by_chance(shaped, known, explain, request.seed))
            rounds.append(check_model(MODEL_ROUND, seen, truth))
    live = LiveCheck()
    if weighed.network is not None:
        subjects = {subject: (windows.of([subject]), truth) for subject, truth in truths.items()}
        what = "checking the live explanation where the truth is known"
        ask, one, most = model.predict_proba, weighed.network, request.windows
        live = check_live(card, ask, one, subjects, most, request.seed, lambda done: tell(what, 0.7 + 0.2 * done))
    elif is_additive(card):
        live = check_score(card, model.predict_proba, chosen)
    tell("drawing weights anew", 0.9)
    return Explanation(
        card,
        loaded.sha256,
        method,
        target,
        len(own.windows if own.windows is not None else chosen),
        windows.subjects,
        _axes(card, windows),
        views(own, chosen, by_chance(shaped, chosen, explain, request.seed)),
        {kind: tuple(each[kind] for each in rounds) for kind in VIEWS},
        cascade(asked, chosen, explain, request.seed) if isinstance(asked, nn.Module) else {},
        attention_of(weighed.network, chosen) if card.kind == "network" and weighed.network is not None else {},
        own.facts | facts,
        live,
    )


def _method(request: Request, card: ModelCard) -> Method:
    """Choose a method, or refuse one that is not defined for the card's model."""
    if request.method is None:
        return "smoothgrad" if card.kind == "network" else "exact" if is_additive(card) else "perturbation"
    if card.kind == "network":
        if request.method == "exact":
            raise UsageError(f"exact needs log-odds that are a sum, {card.name} is a network: smoothgrad is for those")
    elif request.method not in {"exact", "perturbation"}:
        raise UsageError(
            f"{request.method} needs the gradients of a network, {card.name} is {card.kind}: perturbation suits all"
        )
    return request.method


@dataclass(frozen=True)
class _Weighed:
    """What a card's model has of weights."""

    network: nn.Module | None
    """None for a score."""
    completeness: float = 1.0


def _weighed(path: Path, loaded: LoadedCard, chosen: WindowSet, place: int) -> _Weighed:
    match loaded.card.kind:
        case "network":
            return _Weighed(load_ensemble(checkpoint_of(path)))
        case "linear":
            return _Weighed(*map_of(loaded, chosen, place))
        case "score":
            return _Weighed(None)


def _asked(method: Method, card: ModelCard, model: CardModel, network: nn.Module | None) -> Any:
    """Give what the method is asked of: weights, a score's terms, or the model as it is served."""
    if method == "exact":
        return network if network is not None else ScoreParts(card)
    return network if card.kind == "network" else model


def _shaped(method: Method, windows: WindowSet) -> nn.Module:
    if method == "exact":
        return LinearMap(shapes_of(windows), len(windows.classes))
    return FusionNetwork(_sizes(windows))


def _attribute(method: Method, target: int, seed: int, network: Any, windows: WindowSet) -> Attribution:
    match method:
        case "smoothgrad":
            return smoothgrad(network, windows, target, seed)
        case "integrated":
            return integrated(network, windows, target)
        case "perturbation":
            ask = network.predict_proba if isinstance(network, CardModel) else asker(network)
            return perturb(ask, windows, target, seed)
        case "exact":
            return exact(network, windows, target)
        case "gradcam":
            return gradcam(network, windows, target)
        case "lrp":
            return lrp(network, windows, target)


def _check_method(shaped: nn.Module, windows: WindowSet, explain: Explain, seed: int, count: int) -> dict[View, Check]:
    planted, truth = plant(shape_of(windows), _PLANTED, seed)
    network = trained(shaped, planted, seed)
    others = [trained(shaped, planted, seed + 1 + k, permute=True) for k in range(_PERMUTED)]
    return check_network(METHOD_ROUND, network, planted.rows(np.arange(count)), truth, explain, seed, others)


def _data(request: Request, card: ModelCard, config: Config, tell: Tell) -> tuple[WindowSet, dict[str, Truth]]:
    """Read, replay and simulate; the truth of those subjects that have one."""
    if not request.datasets and not request.simulated:
        raise UsageError("nothing to explain on: expected a dataset, or --subjects to simulate")
    parts: list[WindowSet] = []
    truths: dict[str, Truth] = {}

    def keep(part: WindowSet, run: Path) -> None:
        bands = {} if card.eeg is None else card.eeg.bands
        truth = truth_of_run(run, part, bands, 1.0 if card.bold is None else card.bold.grid_s)
        if truth is not None:
            truths[part.subjects[0]] = truth

    wanted = sources(request.datasets, simulated_seeds(request.seed, request.simulated))
    for k, source in enumerate(wanted):
        tell(f"reading {source.name}", 0.1 * k / len(wanted))
        with TemporaryDirectory(prefix="streamer-explain-") as scratch:
            path = source.path
            if path is None:
                path = Path(scratch) / "session"
                simulate_subject(path, source.seed)
            if source.ready:
                part = WindowSet.load(path)
                parts.append(part.called(source.name) if source.named else part)
                continue
            part = read_subject(path, config, source.name)
            parts.append(part)
            if len(part.subjects) == 1:
                keep(part, find_runs(path)[0].recordings[-1].parent)
    return joined(parts), truths


def _sizes(windows: WindowSet) -> FusionSettings:
    shape = shape_of(windows)
    return FusionSettings(
        n_channels=len(shape.channels),
        n_bands=shape.n_bands,
        eeg_steps=shape.eeg_steps,
        n_regions=len(shape.regions),
        bold_steps=shape.bold_steps,
        n_classes=shape.n_classes,
    )


def _axes(card: ModelCard, windows: WindowSet) -> Axes:
    eeg, bold = card.eeg, card.bold
    return Axes(
        windows.inputs.channels,
        () if eeg is None else tuple(eeg.bands),
        windows.inputs.regions,
        0.2 if eeg is None else eeg.step_s,
        1.0 if bold is None else bold.grid_s,
    )
