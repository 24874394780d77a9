"""Whether exported graphs give what torch gives: unrolled, for several batches and every set of modalities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

from models.graphs.modules import INPUTS, OUTPUTS, GraphName, Precision, graph_inputs, graph_names
from models.network.ensemble import Ensemble
from streamer.errors import ModelError

BATCHES = (1, 4, 9)
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 5e-3}
"""Largest difference to torch in single precision that is accepted; for fp16 of the probabilities and the attention."""


@dataclass(frozen=True)
class Difference:
    """Largest differences between ONNX Runtime and torch in single precision."""

    eeg: float
    """State and token, over every step of a window; 0 without EEG."""
    bold: float
    """Token; 0 without BOLD."""
    logits: float
    """Through all graphs, from window to logits."""
    attention: float
    """Through all graphs."""
    probability: float
    """Through all graphs: mean over the members of the logits' softmax."""

    def worst(self, precision: Precision) -> float:
        """Give what the tolerance of a precision is about."""
        last = max(self.probability, self.attention)
        return last if precision == "fp16" else max(last, self.eeg, self.bold, self.logits)


def check_graphs(ensemble: Ensemble, graphs: Mapping[GraphName, bytes], precision: Precision = "fp32") -> Difference:
    """Compare graphs with the ensemble that they were made from.

    Parameters
    ----------
    ensemble : Ensemble
        In single precision.
    graphs : mapping of str to bytes
        All that the ensemble has.
    precision : {"fp32", "fp16"}
        Of the graphs: chooses among ``TOLERANCES``.

    Raises
    ------
    ModelError
        A graph is missing or cannot be loaded, has other inputs or outputs, or gives something else than torch.
    """
    expected = graph_names(ensemble)
    if set(graphs) != set(expected):
        raise ModelError(f"graphs are {', '.join(sorted(graphs)) or '(none)'}: expected {', '.join(sorted(expected))}")
    sessions: dict[GraphName, Any] = {name: _session(ensemble, name, graphs[name]) for name in expected}
    # a copy: the caller's may lie on a GPU, or be in training
    ensemble = copy.deepcopy(ensemble).cpu().eval()
    with torch.inference_mode():
        found = [_differences(ensemble, sessions, n) for n in BATCHES]
    difference = Difference(*(max(each) for each in zip(*found, strict=True)))
    bound, worst = TOLERANCES[precision], difference.worst(precision)
    if not worst <= bound:
        raise ModelError(f"ONNX Runtime differs from torch by {worst:.2g} ({difference}): expected up to {bound:g}")
    return difference


def example_windows(ensemble: Ensemble, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw eeg, bold, age and valid of ``n`` windows: both modalities, EEG alone, BOLD alone, none, in turn."""
    s = ensemble.settings
    generator = torch.Generator().manual_seed(seed)
    eeg = torch.randn(n, s.eeg_steps, s.n_eeg_features, generator=generator)
    bold = torch.randn(n, s.bold_steps, s.n_regions, generator=generator)
    age = torch.rand(n, 2, generator=generator) * torch.tensor([0.5, 6.0])
    valid = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).repeat(-(-n // 4), 1)[:n]
    return eeg, bold, age, valid


def _session(ensemble: Ensemble, name: GraphName, graph: bytes) -> Any:
    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"graph {name}: ONNX Runtime cannot load it: {error}") from error
    takes = {port.name: tuple(port.shape[1:]) for port in session.get_inputs()}
    shapes = (tuple(part.shape[1:]) for part in graph_inputs(ensemble, name, 1))
    wanted = dict(zip(INPUTS[name], shapes, strict=True))
    gives = tuple(port.name for port in session.get_outputs())
    if takes != wanted or gives != OUTPUTS[name]:
        raise ModelError(f"graph {name} takes {takes} and gives {gives}: expected {wanted} and {OUTPUTS[name]}")
    return session


def _differences(ensemble: Ensemble, sessions: Mapping[GraphName, Any], n: int) -> tuple[float, ...]:
    eeg, bold, age, valid = example_windows(ensemble, n, seed=n)
    by_eeg = by_bold = 0.0
    eeg_token, bold_token = torch.zeros(n, 1), torch.zeros(n, 1)
    if "eeg" in sessions:
        state, served = torch.zeros(n, ensemble.state_width), torch.zeros(n, ensemble.state_width)
        for step in eeg.unbind(dim=1):
            state, token = ensemble.eeg_step(step, state)
            # its own state is carried, so that what it loses adds up as it will live
            served, eeg_token = _run(sessions["eeg"], "eeg", step, served)
            by_eeg = max(by_eeg, _largest(served - state), _largest(eeg_token - token))
    if "bold" in sessions:
        (bold_token,) = _run(sessions["bold"], "bold", bold)
        by_bold = _largest(bold_token - ensemble.bold_token(bold))
    logits, attention = _run(sessions["head"], "head", eeg_token, bold_token, age, valid)
    wanted, weights = ensemble(eeg, bold, age, valid)
    probability = torch.softmax(logits, dim=2).mean(dim=1) - torch.softmax(wanted, dim=2).mean(dim=1)
    return by_eeg, by_bold, _largest(logits - wanted), _largest(attention - weights), _largest(probability)


def _run(session: Any, name: GraphName, *given: Tensor) -> list[Tensor]:
    feed = {key: value.numpy() for key, value in zip(INPUTS[name], given, strict=True)}
    return [torch.from_numpy(np.asarray(value)) for value in session.run(list(OUTPUTS[name]), feed)]


def _largest(difference: Tensor) -> float:
    # a NaN would be lost among the larger ones
    return float(torch.nan_to_num(difference.abs(), nan=float("inf")).max())
