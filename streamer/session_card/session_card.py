"""A participant's calibration run → the card that a session of theirs is run with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.calibration import SESSION_CARD
from streamer.decode.card_file import dump_card
from streamer.decode.model_card import GraphFile, LinearPart, LinearSpec, ModelCard, Pattern, TangentInput, TrainingData
from streamer.errors import UsageError
from streamer.messages import F64
from streamer.session_card import Fit
from streamer.session_card.head_fit import Network, held_out_head, network_log_odds, shifts
from streamer.session_card.judged import PERMUTATIONS, Judged, judge, permutation_p
from streamer.session_card.labelled_run import Fitter, LabelledRun, LogOdds, held_out
from streamer.session_card.linear_fit import feature_names, fit_linear, linear_graph, linear_log_odds
from streamer.session_card.score_fit import fit_score, score_log_odds


@dataclass(frozen=True)
class SessionCard:
    """A card, and what lies beside it."""

    card: ModelCard
    graphs: Mapping[str, bytes]
    """Bytes of its files, by name."""
    judged: Judged
    """On blocks that it was not fitted on."""
    fitted: bool = True
    """False for the score as the settings have it."""
    tried: Mapping[str, str] = field(default_factory=dict[str, str])
    """What each fit that was tried is worth, in a sentence."""


def fit_session_card(
    base: ModelCard,
    run: LabelledRun,
    fit: Fit = "auto",
    *,
    tangent: TangentInput | None = None,
    network: Network | None = None,
    source: str = "",
    permutations: int = PERMUTATIONS,
) -> SessionCard:
    """Fit a card to a participant's labelled windows.

    Parameters
    ----------
    base : ModelCard
        The score as the settings have it (:func:`~streamer.decode.score_card.make_score_card`).
    run : LabelledRun
    fit : str
        ``score`` refits the weights of the score, ``linear`` fits a shrinkage LDA, ``head`` shift and temperature of
        ``network``. ``auto`` takes the best of these on blocks that it was not fitted on, where its interval lies above
        chance although it is the best of several; else the score stays as the settings have it.
    tangent : TangentInput, optional
        How the windows' tangent vectors were made.
    network : Network, optional
    source : str
        Name of the calibration run.
    permutations : int
        How often labels are dealt out anew, to know what chance gives.

    Raises
    ------
    UsageError
        ``head`` was asked for without a network of two classes that holds the target.
    """
    as_is = _unfitted(base, run, source)
    if network is not None and set(network.card.classes) != set(run.classes):
        if fit == "head":
            raise UsageError(
                f"network {network.card.name} tells {', '.join(network.card.classes)} apart: expected "
                f"{' and '.join(run.classes)}"
            )
        network = None
    if fit == "head" and network is None:
        raise UsageError("no network to fit the head of: name its card as model.card in the settings")
    wanted = ("score", "linear", "head") if fit == "auto" else (fit,)
    found: dict[str, SessionCard] = {"score as set": as_is}
    tried = {"score as set": as_is.judged.sentence()}
    for kind in wanted:
        made = _made(kind, base, run, tangent, network, source, permutations)
        if isinstance(made, str):
            tried[kind] = made
        elif made is not None:
            tried[kind] = made.judged.sentence()
            found[kind] = made
    best = found.get(wanted[0], as_is) if fit != "auto" else _best(list(found.values()))
    return replace(best, tried=tried)


def write_session_card(found: SessionCard, folder: Path, calibration: Path) -> Path:
    """Write a card and its graphs beside a calibration; gives the card's path.

    Parameters
    ----------
    found : SessionCard
    folder : Path
    calibration : Path
        Its TOML: the card holds the sha256 of it, and of every graph.
    """
    card = found.card.model_copy(update={"calibration": hashlib.sha256(calibration.read_bytes()).hexdigest()})
    for name, graph in found.graphs.items():
        (folder / name).write_bytes(graph)
    path = folder / SESSION_CARD
    temporary = folder / f".{SESSION_CARD}.tmp"
    temporary.write_text(dump_card(card), encoding="utf-8")
    temporary.replace(path)
    return path


def _made(
    kind: str,
    base: ModelCard,
    run: LabelledRun,
    tangent: TangentInput | None,
    network: Network | None,
    source: str,
    permutations: int,
) -> SessionCard | str | None:
    if kind == "head":
        return None if network is None else _head(network, run)
    if not run.patterns:
        return "no fit: the run has no labelled blocks of both classes with clean windows"
    if kind == "score":
        return _score(base, run, source, permutations)
    return _linear(base, run, tangent, source, permutations)


def _best(cards: list[SessionCard]) -> SessionCard:
    """Take the best that is above chance, the simpler of equals; without one the first, which was not fitted."""

    def worth(entry: SessionCard) -> tuple[float, float]:
        main = entry.judged.main
        return (0.0 if main is None else main.block_accuracy, -round(entry.judged.brier, 2))

    best = max(cards, key=worth)
    return best if best.judged.above_chance(len(cards)) else cards[0]


def _unfitted(base: ModelCard, run: LabelledRun, source: str) -> SessionCard:
    spec = base.score
    if spec is None:
        raise UsageError(f"card {base.name} is of kind {base.kind}: expected kind score")
    log_odds = score_log_odds(base, spec)
    there: dict[Pattern, F64] = {
        pattern: np.where(run.rows(pattern), log_odds(run, pattern), np.nan) for pattern in run.patterns
    }
    judged = judge(run, there, as_is=True)
    card = base.model_copy(update={"verdict": f"not fitted; {judged.sentence()}", "scores": judged.scores})
    return SessionCard(_about(card, run, source, base.name), {}, judged, fitted=False)


def _score(base: ModelCard, run: LabelledRun, source: str, permutations: int) -> SessionCard | str:
    def fit(part: LabelledRun, _patterns: Sequence[Pattern]) -> LogOdds | None:
        made = fit_score(base, part)
        return None if made is None else score_log_odds(base, made.spec)

    made = fit_score(base, run)
    if made is None:
        return "no fit: no term goes with the target as the settings expect"
    judged = _judged(run, fit, permutations)
    verdict = "; ".join(["score refitted", judged.sentence(), *made.dropped])
    card = base.model_copy(update={"score": made.spec, "verdict": verdict, **_worth(judged)})
    return SessionCard(_about(card, run, source, "session-score"), {}, judged)


def _linear(
    base: ModelCard, run: LabelledRun, tangent: TangentInput | None, source: str, permutations: int
) -> SessionCard:
    judged = _judged(run, linear_log_odds, permutations)
    graphs: dict[Pattern, bytes] = {
        pattern: linear_graph(*part) for pattern, part in fit_linear(run, run.patterns).items()
    }
    parts: dict[Pattern, LinearPart] = {
        pattern: LinearPart(
            graph=GraphFile(file=f"session-{pattern}.onnx", sha256=hashlib.sha256(graph).hexdigest()),
            features=feature_names(run, pattern),
        )
        for pattern, graph in graphs.items()
    }
    card = base.model_copy(
        update={
            "kind": "linear",
            "description": "Shrinkage LDA on band power and region signals of this participant's calibration run.",
            "score": None,
            "linear": LinearSpec(parts=parts),
            "tangent": tangent if run.tangent.shape[1] else None,
            "verdict": f"linear classifier; {judged.sentence()}",
            **_worth(judged),
        }
    )
    files = {f"session-{pattern}.onnx": graph for pattern, graph in graphs.items()}
    return SessionCard(_about(card, run, source, "session-linear"), files, judged)


def _head(network: Network, run: LabelledRun) -> SessionCard:
    log_odds = network_log_odds(network, run, run.patterns)
    judged = judge(run, held_out_head(run, log_odds))
    target = network.card.classes.index(run.classes[1])
    # the slope acts on the log-odds with their shift, the bias is added after it
    bias = {
        pattern: tuple(round(shift * judged.slope.get(pattern, 1.0), 6) if k == target else 0.0 for k in range(2))
        for pattern, shift in shifts(run, log_odds).items()
    }
    worth = _worth(judged) | {"temperature": judged.temperatures(network.card.temperature), "bias": bias}
    verdict = f"{network.card.name}, its head fitted to this participant; {judged.sentence()}"
    card = network.card.model_copy(update={"verdict": verdict, "explained": {}, **worth})
    name = f"session-{network.card.name}"[:64]
    # what it was trained on stays the network's own
    return SessionCard(card.model_copy(update={"name": name}), network.graphs, judged)


def _judged(run: LabelledRun, fit: Fitter, permutations: int) -> Judged:
    return replace(judge(run, held_out(run, fit, run.patterns)), p=permutation_p(run, fit, permutations))


def _worth(judged: Judged) -> dict[str, Any]:
    return {"temperature": judged.temperatures(), "doubt": judged.doubt, "scores": judged.scores}


def _about(card: ModelCard, run: LabelledRun, source: str, name: str) -> ModelCard:
    training = TrainingData(data=source or "none", train=(source,) if source else (), n_windows=len(run))
    # validated again: ``model_copy`` does not
    values = card.model_copy(update={"name": name, "training": training}).model_dump(by_alias=True)
    return ModelCard.model_validate(values)
