"""What a decision costs: models of every kind on every provider that is there, beside eager torch where it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bench.figures import Figure
from streamer.clock import stopwatch
from streamer.compose import default_card
from streamer.decode.card_file import LoadedCard, dump_card, load_card
from streamer.decode.linear_model import LinearModel
from streamer.decode.model import Model
from streamer.decode.model_card import ModelCard
from streamer.decode.network_model import NetworkModel
from streamer.decode.network_parts import NetworkParts
from streamer.decode.onnx_session import CPU, available_providers
from streamer.decode.score_card import make_score_card
from streamer.decode.score_model import ScoreModel
from streamer.decode.score_spec import BoldTerm, EegTerm, ScoreSpec
from streamer.messages import F32, F64, SessionTime, Window

STEP_AND_HEAD_MS = 3.0
"""Bar of a decision on one core, p99."""
GPU_HEAD_MS = 1.0
"""Bar of the head on a GPU, p99."""
_PHASES = 2
"""Ticks per EEG step: windows are cut every 0.1 s, and steps are 0.2 s long."""
_FIRST = 8
"""Ticks that fill the state."""


@dataclass(frozen=True)
class _Effort:
    """How much is measured."""

    ticks: int
    repeats: int
    """Each tick counts with its shortest time, since other programs on this machine can only make it longer."""


def bench_model(progress: Callable[[float], None], cards: Sequence[Path] = (), *, quick: bool = False) -> list[Figure]:
    """Measure models on random windows: what they cost does not depend on what they see.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    cards : sequence of Path
        None for those that ship.
    quick : bool
        Fewer windows.

    Raises
    ------
    ModelError
        A card or its graphs are missing, altered or not fit to be served.
    """
    effort = _Effort(100, 5) if quick else _Effort(500, 20)
    loaded = [load_card(path) for path in cards or sorted(default_card().parent.glob("*.toml"))]
    kinds = [(card, provider) for card in loaded if card.card.kind != "score" for provider in available_providers()]
    figures: list[Figure] = []
    for number, (each, provider) in enumerate(kinds):
        if each.card.kind == "network":
            figures += _network(each, provider, effort)
        else:
            figures += _decisions(LinearModel(each, provider), "features and fit", effort)
        progress((number + 1) / (len(kinds) + 1))
    for each in loaded[:1]:
        figures += _decisions(_score(each), "a score without training", effort)
    progress(1.0)
    return figures


def _network(loaded: LoadedCard, provider: str, effort: _Effort) -> list[Figure]:
    model = NetworkModel(loaded, provider)
    model.warm_up()
    card, parts = loaded.card, model.parts
    what = f"{card.name} on {_short(model.provider)}"
    on_cpu = model.provider == CPU
    eager = _eager(loaded) if on_cpu else {}
    windows = _windows(card, effort.ticks)
    bold = _random(2, *windows[0].bold.shape)
    head = _head(parts, card)
    about = f"{_counted(card.members, 'member')}, {card.precision}"
    steps = "" if card.eeg is None else f", {_counted(card.eeg.n_steps, 'row')} a step"

    def anew(window: Window) -> None:
        parts.forget()
        model(window)

    def encode(k: int) -> None:
        if parts.bold is not None:
            parts.bold(bold[k % 2])

    rows = [
        _Row(
            f"{what}: EEG step and head",
            _times(model, windows, effort, parts.forget),
            STEP_AND_HEAD_MS if on_cpu else None,
            eager.get("step and head"),
            f"from window to prediction; {about}{steps}",
        ),
        _Row(
            f"{what}: head",
            _times(lambda _: head(), range(effort.ticks), effort),
            None if on_cpu else GPU_HEAD_MS,
            eager.get("head"),
        ),
        _Row(
            f"{what}: whole window anew",
            _times(anew, windows[: effort.ticks // 5], effort),
            None,
            eager.get("whole window"),
            "the first window, and after a gap",
        ),
    ]
    if parts.bold is not None:
        took = _times(encode, range(effort.ticks), effort)
        rows.append(_Row(f"{what}: BOLD encoder", took, None, eager.get("BOLD encoder"), "once per volume"))
    return [figure for row in rows for figure in row.figures(effort)]


def _decisions(model: Model, how: str, effort: _Effort) -> list[Figure]:
    model.warm_up()
    windows = _windows(model.card, effort.ticks)
    took = _times(model, windows, effort)
    name = f"{model.card.name} on {_short(model.provider)}: decision"
    return _Row(name, took, None, None, f"from window to prediction; {how}").figures(effort)


@dataclass(frozen=True)
class _Row:
    """What was timed, s."""

    name: str
    took: F64
    bar_ms: float | None
    eager: Callable[[], object] | None
    """The same in eager torch, to be run."""
    note: str = ""

    def figures(self, effort: _Effort) -> list[Figure]:
        peers = ("", "")
        if self.eager is not None:
            call = self.eager
            peers = tuple(
                f"eager torch: {ms:.3g} ms"
                for ms in _quantiles(_times(lambda _: call(), range(effort.ticks // 5), effort))
            )
        p50, p99 = _quantiles(self.took)
        return [
            Figure(f"{self.name}, p50", p50, "ms", peer=peers[0], note=self.note),
            Figure(f"{self.name}, p99", p99, "ms", self.bar_ms, peer=peers[1]),
        ]


def _times(
    call: Callable[[Any], object],
    items: Sequence[Any],
    effort: _Effort,
    before: Callable[[], None] | None = None,
) -> F64:
    """Time calls in order, s; what the first few set up does not count."""
    took = np.full(len(items), np.inf)
    for _ in range(effort.repeats):
        if before is not None:
            before()
        for k, item in enumerate(items):
            began = stopwatch()
            call(item)
            took[k] = min(took[k], stopwatch() - began)
    return took[_FIRST:]


def _quantiles(took: F64) -> tuple[float, float]:
    """Median and 99th percentile, ms."""
    p50, p99 = 1e3 * np.quantile(took, (0.5, 0.99))
    return float(p50), float(p99)


def _head(parts: NetworkParts, card: ModelCard) -> Callable[[], object]:
    eeg = (
        None
        if parts.eeg is None or card.eeg is None
        else parts.eeg(_random(3, card.eeg.n_steps, card.n_eeg_features)[0])
    )
    bold = (
        None
        if parts.bold is None or card.bold is None
        else parts.bold(_random(4, card.bold.n_steps, card.n_regions)[0])
    )
    return lambda: parts.head(eeg, bold, (0.05, 2.0))


def _windows(card: ModelCard, n: int) -> list[Window]:
    """Draw the windows of consecutive ticks between two volumes."""
    eeg_steps = 1 if card.eeg is None else card.eeg.n_steps
    bold_shape = (1, 0) if card.bold is None else (card.bold.n_steps, card.n_regions)
    fine = _random(0, n + _PHASES * eeg_steps, card.n_eeg_features)[0]
    bold = _random(1, *bold_shape)[0]
    tangent = _random(5, 1, 0 if card.tangent is None else card.tangent.width)[0, 0]
    return [
        Window(
            seq=k,
            start=SessionTime(0.1 * k),
            end=SessionTime(0.1 * k + 4.0),
            eeg=fine[k : k + _PHASES * eeg_steps : _PHASES],
            bold=bold,
            age_eeg=0.05,
            age_bold=2.0,
            eeg_valid=True,
            bold_valid=True,
            tangent=tangent,
        )
        for k in range(n)
    ]


def _random(seed: int, *shape: int) -> F32:
    """Draw two arrays of a shape."""
    return np.random.default_rng(seed).standard_normal((2, *shape), np.float32)


def _score(like: LoadedCard) -> ScoreModel:
    """Make the model-free score for what another model takes."""
    card = like.card
    spec = ScoreSpec(
        eeg=() if card.eeg is None else (EegTerm(band=next(iter(card.eeg.bands))),),
        bold=() if card.bold is None else (BoldTerm(),),
        region_sd={} if card.bold is None else dict.fromkeys(card.bold.regions, 1.0),
    )
    made = make_score_card(spec, card.eeg, card.bold, "target", card.preprocessing)
    return ScoreModel(LoadedCard(made, hashlib.sha256(dump_card(made).encode()).hexdigest(), like.folder))


def _eager(loaded: LoadedCard) -> Mapping[str, Callable[[], object]]:
    """Give what eager torch does for the same; nothing where torch or the weights are not there."""
    if not loaded.card.checkpoint or not (loaded.folder / loaded.card.checkpoint).is_file():
        return {}
    try:
        # found by name at run time: the engine does not import models
        return import_module("models.eager").eager_calls(loaded)
    except ImportError:
        return {}


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
