"""A linear card as one layer per modality: its graphs are read as what they are, an affine map.

Whatever a graph is made of, the map is found by asking it: the answer to an input less the answer to the baseline
(zeros) is that input's weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from models.dataset import WindowSet
from models.explain.network import MODALITIES
from streamer.decode.card_file import LoadedCard, read_graph
from streamer.decode.judge import temperature
from streamer.decode.model_card import PATTERNS, LinearSpec, Pattern
from streamer.decode.window_features import Source, features_of
from streamer.errors import ModelError
from streamer.messages import F32, F64

COMPLETENESS = 1e-6
"""Largest part of the change of the log-odds that the contributions may miss: the graphs' own rounding is less."""
_STEP = 1024.0
"""What is put into an input to weigh it: a power of two, so that dividing by it rounds nothing."""
_AT_ONCE = 256


class LinearMap(nn.Module):
    """Class scores as a sum over inputs, in double precision; takes the place of a network.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Per part of a window (``eeg``, ``bold``, ``tangent``): the shape of one window's.
    n_classes : int
    """

    def __init__(self, shapes: Mapping[Source, tuple[int, ...]], n_classes: int) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.layers = nn.ModuleDict({name: nn.Linear(math.prod(shape), n_classes) for name, shape in shapes.items()})
        self.double()

    def forward(self, eeg: Tensor, bold: Tensor, age: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Give scores, shape (b, n_classes), and equal weights of the modalities; the covariance is left out."""
        scores = age.new_zeros(len(age), 1, dtype=torch.float64)
        for column, (name, data) in enumerate(zip(MODALITIES, (eeg, bold), strict=True)):
            if name in self.layers:
                scores = scores + self.layers[name](data.double().flatten(1)) * valid[:, column : column + 1]
        return scores, valid / valid.sum(dim=1, keepdim=True).clamp(min=1)

    def weights(self, name: Source, target: int) -> F64:
        """Weights of the log-odds, shaped as the part; with more than two classes of the margin over their mean."""
        layer = self.layers[name]
        rows: F64 = next(layer.parameters()).detach().numpy()
        others = np.delete(rows, target, axis=0).mean(axis=0)
        return (rows[target] - others).reshape(self.shapes[name])


def shapes_of(windows: WindowSet) -> dict[Source, tuple[int, ...]]:
    """Shapes of what a set's windows hold."""
    given: dict[Source, tuple[int, ...]] = {
        "eeg": windows.eeg.shape[1:],
        "bold": windows.bold.shape[1:],
        "tangent": windows.tangent.shape[1:],
    }
    return {name: shape for name, shape in given.items() if math.prod(shape)}


def map_of(loaded: LoadedCard, windows: WindowSet, target: int) -> tuple[LinearMap, float]:
    """Take the map out of a linear card, for windows that hold all modalities.

    Parameters
    ----------
    loaded : LoadedCard
        Of kind linear.
    windows : WindowSet
        That the map is held against the graphs on; all of them hold what the graphs take.
    target : int
        Index of the class.

    Returns
    -------
    map : LinearMap
        Scores are those of the card: calibrated, added, divided by their temperature.
    completeness : float
        Share of the change of the log-odds from the baseline to the windows, as the graphs give it, that the
        contributions add up to.

    Raises
    ------
    ModelError
        A graph was altered, or is no affine map.
    """
    served = _Served(loaded)
    shapes = shapes_of(windows)
    nothing = served(_zeros(shapes, 1))
    found = LinearMap(shapes, len(loaded.card.classes))
    with torch.no_grad():
        for name, shape in shapes.items():

            def moved(rows: F32, name: Source = name) -> F64:
                probe = _zeros(shapes, len(rows))
                probe[name] = rows
                return served(probe) - nothing

            layer: Any = found.layers[name]
            layer.weight.copy_(torch.from_numpy(slopes(moved, shape, _STEP).T))
            layer.bias.zero_()
        # one of them holds what all say of the baseline
        first: Any = next(iter(found.layers.values()))
        first.bias.copy_(torch.from_numpy(nothing[0]))
    given: dict[Source, F32] = {name: getattr(windows, name) for name in shapes}
    whole = served(given) - nothing
    change = whole[:, target] - np.delete(whole, target, axis=1).mean(axis=1)
    added = sum(
        np.tensordot(values.astype(np.float64), found.weights(name, target), axes=values.ndim - 1)
        for name, values in given.items()
    )
    missing = float(np.abs(change - added).sum() / max(np.abs(change).sum(), 1e-12))
    if not missing <= COMPLETENESS:
        raise ModelError(
            f"contributions miss {missing:.2g} of the change of the log-odds: expected {COMPLETENESS:g} at most, "
            f"{loaded.card.name} is no affine map"
        )
    return found, 1.0 - missing


def slopes(ask: Callable[[F32], F64], shape: tuple[int, ...], step: float) -> F64:
    """Weigh every input of a linear answer by putting ``step`` into it alone.

    Parameters
    ----------
    ask : callable
        Inputs of shape (b, *shape) to answers of shape (b, m), zeros to zeros.
    shape : tuple of int
    step : float

    Returns
    -------
    ndarray, float64, shape (size, m)
    """
    size = math.prod(shape)
    found: list[F64] = []
    for start in range(0, size, _AT_ONCE):
        count = min(_AT_ONCE, size - start)
        rows = np.zeros((count, size), np.float32)
        rows[np.arange(count), start + np.arange(count)] = step
        found.append(ask(rows.reshape(count, *shape)) / step)
    return np.concatenate(found)


def with_all(windows: WindowSet) -> WindowSet:
    """Leave out windows without a tangent vector where there are any with one."""
    return windows.rows(np.flatnonzero(np.isfinite(windows.tangent).all(axis=1)))


class _Served:
    """What a card's graphs say of windows that hold everything, before the softmax, shape (b, n_classes)."""

    def __init__(self, loaded: LoadedCard) -> None:
        card, spec = loaded.card, loaded.card.linear
        if spec is None:
            raise ModelError(f"model {card.name} is of kind {card.kind}: expected linear")
        self._spec, self._used = spec, _used(spec)
        pattern: Pattern = self._used[0] if len(self._used) == 1 else "both"
        self._divide = temperature(card.temperature, pattern)
        self._add = np.array(card.bias.get(pattern, (0.0,) * len(card.classes)))
        self._prior = np.array(spec.log_prior) if len(self._used) > 1 else np.zeros(len(card.classes))
        options: Any = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._sessions: dict[Pattern, Any] = {}
        for name in self._used:
            graph = spec.parts[name].graph
            content = read_graph(loaded.folder / graph.file, graph.sha256)
            self._sessions[name] = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, data: Mapping[Source, F32]) -> F64:
        n = len(next(iter(data.values())))
        eeg, bold = (data.get(name, np.zeros((n, 0, 0), np.float32)) for name in MODALITIES)
        tangent = data.get("tangent", np.zeros((n, 0), np.float32))
        logits = [
            session.run(["logits"], {"features": features_of(self._spec.parts[name].features, eeg, bold, tangent)})[0]
            for name, session in self._sessions.items()
        ]
        total = np.sum([each.astype(np.float64) for each in logits], axis=0) - self._prior
        return total / self._divide + self._add


def _used(spec: LinearSpec) -> tuple[Pattern, ...]:
    """Say which fits judge a window that holds everything, as ``LinearModel`` chooses."""
    if spec.add and "both" not in spec.parts:
        return ("eeg", "bold")
    return (next(pattern for pattern in PATTERNS if pattern in spec.parts),)


def _zeros(shapes: Mapping[Source, tuple[int, ...]], count: int) -> dict[Source, F32]:
    return {name: np.zeros((count, *shape), np.float32) for name, shape in shapes.items()}
