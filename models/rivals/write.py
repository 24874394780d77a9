"""From a fitted rival to what the loop serves: an ONNX graph for each of its fits, and its card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from pydantic import ValidationError
from scipy.special import softmax
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LinearRegression

from models.rivals.affine import Affine
from models.rivals.fit import FittedPart
from models.rivals.rival import Rival
from streamer.decode.card_file import LoadedCard, dump_card, load_card
from streamer.decode.model_card import GraphFile, LinearPart, LinearSpec, ModelCard, Pattern, Temperatures
from streamer.decode.window_features import Source, sources, widths
from streamer.errors import ModelError
from streamer.messages import F32

TOLERANCE = 1e-5
"""Largest difference of a probability between the fit and ONNX Runtime that is accepted."""
OPSET = 17


def linear_graph(logits: Affine) -> bytes:
    """Write a map as an ONNX graph: ``features`` (b, n) to ``logits`` (b, n_classes), float32, equal for equal maps."""
    n, n_classes = logits.weights.shape
    estimator: Any = LinearRegression()
    convert: Any = to_onnx
    # scaling, directions, classifier and calibration are one affine map: so they are rounded to float32 once
    estimator.coef_, estimator.intercept_, estimator.n_features_in_ = logits.weights.T, logits.offset, n
    proto: Any = convert(
        estimator,
        initial_types=[("features", FloatTensorType([None, n]))],
        final_types=[("logits", FloatTensorType([None, n_classes]))],
        target_opset=OPSET,
    )
    # the converter lists them in the order of a set
    proto.opset_import.sort(key=lambda each: each.domain)
    return proto.SerializeToString(deterministic=True)


def graph_difference(graph: bytes, part: FittedPart) -> float:
    """Find the largest difference of a probability between a graph and the fit, on training windows and beyond them."""
    options: Any = ort.SessionOptions()
    options.log_severity_level = 4
    session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for features in (part.examples, part.examples[:1], _beyond(part.examples)):
        served = session.run(["logits"], {"features": features})[0]
        difference = softmax(served.astype(np.float64), axis=1) - softmax(part.logits(features), axis=1)
        largest = max(largest, float(np.abs(difference).max()))
    return largest


def write_rival(rival: Rival, draft: ModelCard, folder: Path, file: str = "default") -> LoadedCard:
    """Write graphs and card into a folder and read them back as the loop will.

    Parameters
    ----------
    rival : Rival
        Fitted.
    draft : ModelCard
        Of any kind, for the same windows, with the rival's own doubt and scores: what it says of graphs and
        temperatures is replaced, and inputs that the rival does not look at are dropped.
    folder : Path
    file : str
        Stem of the files' names: ``FILE.PATTERN.onnx`` and, written last, ``FILE.toml``; files of that name are
        replaced.

    Raises
    ------
    ModelError
        It was not fitted, the draft is for other windows or classes, or ONNX Runtime differs from the fit.
    """
    fitted = rival.fitted
    _check_draft(rival, draft)
    graphs: dict[Pattern, bytes] = {pattern: linear_graph(part.logits) for pattern, part in fitted.items()}
    for pattern, part in fitted.items():
        difference = graph_difference(graphs[pattern], part)
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{rival.name}: ONNX Runtime's probabilities of {pattern} differ from the fit by {difference:.2g}, "
                f"expected up to {TOLERANCE:g}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[Pattern, LinearPart] = {}
    for pattern, graph in graphs.items():
        path = folder / f"{file}.{pattern}.onnx"
        part = path.with_suffix(".part")
        part.write_bytes(graph)
        part.replace(path)
        described = GraphFile(file=path.name, sha256=hashlib.sha256(graph).hexdigest())
        parts[pattern] = LinearPart(graph=described, features=fitted[pattern].features)
    prior = tuple(rival.log_prior.tolist()) if rival.add else ()
    card = _card(rival, draft, LinearSpec(parts=parts, add=rival.add, log_prior=prior))
    path = folder / f"{file}.toml"
    path.write_text(dump_card(card), encoding="utf-8")
    return load_card(path)


def _card(rival: Rival, draft: ModelCard, spec: LinearSpec) -> ModelCard:
    looks_at = _sources(rival)
    card = draft.model_copy(
        update={
            "kind": "linear",
            "graphs": {},
            "members": 1,
            "precision": "fp32",
            "checkpoint": "",
            "score": None,
            "linear": spec,
            "explained": {},
            # the graphs are calibrated, their sum is not
            "temperature": Temperatures(both=rival.temperature),
            **{name: None for name in ("eeg", "tangent", "bold") if name not in looks_at},
        }
    )
    try:
        return ModelCard.model_validate(card.model_dump(by_alias=True))
    except ValidationError as error:
        raise ModelError(f"card of {draft.name}: {error}") from error


def _check_draft(rival: Rival, draft: ModelCard) -> None:
    if draft.classes != rival.classes:
        raise ModelError(
            f"{rival.name} knows the classes {', '.join(rival.classes)}: its card names {', '.join(draft.classes)}"
        )
    eeg = (draft.eeg.n_steps, draft.n_eeg_features) if draft.eeg else (0, 0)
    bold = (draft.bold.n_steps, draft.n_regions) if draft.bold else (0, 0)
    tangent = draft.tangent.width if draft.tangent else 0
    for pattern, part in rival.fitted.items():
        expected, given = sum(widths(part.features, eeg, bold, tangent)), len(part.logits.weights)
        if expected != given:
            raise ModelError(
                f"{rival.name} was fitted on {given} numbers ({', '.join(part.features)}) for {pattern}: "
                f"the inputs of its card make {expected}"
            )


def _sources(rival: Rival) -> frozenset[Source]:
    return frozenset[Source]().union(*(sources(part.features) for part in rival.fitted.values()))


def _beyond(examples: F32) -> F32:
    spread = examples.std(axis=0) + np.abs(examples).mean()
    draws = np.random.default_rng(0).standard_normal(examples.shape)
    return (examples.mean(axis=0) + 3.0 * spread * draws).astype(np.float32)
