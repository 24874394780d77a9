"""From a trained network to what the loop serves: an ONNX graph and its card."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, hub

from models.fusion import FusionNetwork
from streamer.decode.card import GraphFile, LoadedCard, ModelCard, dump_card, load_card
from streamer.errors import ModelError

TOLERANCE = 1e-4
"""Largest difference of logits and attention between torch and ONNX Runtime that is accepted."""
INPUTS = ("eeg", "bold", "age", "valid")
OUTPUTS = ("logits", "attention")


@dataclass(frozen=True)
class Exported:
    """A graph that was written."""

    path: Path
    sha256: str
    difference: float
    """Largest difference to torch that was found."""


def example_inputs(network: FusionNetwork, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw a batch of ``n`` windows in which every set of modalities occurs."""
    s = network.settings
    generator = torch.Generator().manual_seed(seed)
    eeg = torch.randn(n, s.eeg_steps, s.n_channels * s.n_bands, generator=generator)
    bold = torch.randn(n, s.bold_steps, s.n_regions, generator=generator)
    age = torch.rand(n, 2, generator=generator) * torch.tensor([0.5, 6.0])
    valid = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).repeat(-(-n // 4), 1)[:n]
    return eeg, bold, age, valid


def export_graph(network: FusionNetwork, path: Path) -> Exported:
    """Write a network as one ONNX file with a free batch axis, and check it against torch.

    Raises
    ------
    ModelError
        ONNX Runtime's results differ from torch's by more than ``TOLERANCE``.
    """
    # a copy that wants no gradients: tracing would ask for them
    network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    batch = torch.export.Dim("batch", min=1, max=65536)
    with _exporter_quiet():
        program = torch.onnx.export(
            network,
            example_inputs(network, 4),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes={name: {0: batch} for name in INPUTS},
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{path}: torch gave no ONNX program")
    path.write_bytes(_bare(program.model_proto).SerializeToString(deterministic=True))
    difference = max(graph_difference(network, path, n) for n in (1, 4, 9))
    if not difference <= TOLERANCE:
        raise ModelError(f"{path}: ONNX Runtime differs from torch by {difference:.2g}, expected up to {TOLERANCE:g}")
    return Exported(path, hashlib.sha256(path.read_bytes()).hexdigest(), difference)


def _bare(proto: Any) -> Any:
    # the exporter notes source files with their folders on this machine: nobody else's business
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        for part in (graph, *graph.node, *graph.value_info, *getattr(graph, "initializer", ())):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    return proto


@contextmanager
def _exporter_quiet() -> Generator[None]:
    # what the exporter says of its own calls, of torch's LSTM and of packages that the network has no use for
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    # torch's tracer makes progress bars that it does not show, and their watching thread outlives them
    bar: Any = getattr(hub, "tqdm", None)
    interval = getattr(bar, "monitor_interval", None)
    if interval is not None:
        bar.monitor_interval = 0
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*_check_is_size|.*LeafSpec")
            warnings.filterwarnings("ignore", category=UserWarning, message="The tensor attributes self.eeg.lstm")
            warnings.filterwarnings("ignore", category=UserWarning, message="# The axis name: batch")
            yield
    finally:
        registry.setLevel(level)
        if interval is not None:
            bar.monitor_interval = interval


def graph_difference(network: FusionNetwork, path: Path, n: int) -> float:
    """Find the largest difference between torch and ONNX Runtime over a batch of ``n`` windows."""
    inputs = example_inputs(network, n, seed=n)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    served = session.run(list(OUTPUTS), {k: v.numpy() for k, v in zip(INPUTS, inputs, strict=True)})
    with torch.inference_mode():
        expected = network(*inputs)
    return max(float(np.abs(np.asarray(got) - want.numpy()).max()) for got, want in zip(served, expected, strict=True))


def write_model(network: FusionNetwork, draft: ModelCard, folder: Path, file: str = "default") -> LoadedCard:
    """Write graph and card into a folder and read them back as the loop will.

    Parameters
    ----------
    network : FusionNetwork
    draft : ModelCard
        Its ``graph`` is replaced.
    folder : Path
    file : str
        Stem of both files' names; files of that name are replaced together, the card last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file}.part.onnx"
    exported = export_graph(network, part)
    graph = folder / f"{file}.onnx"
    part.replace(graph)
    card = draft.model_copy(update={"graph": GraphFile(file=graph.name, sha256=exported.sha256)})
    path = folder / f"{file}.toml"
    path.write_text(dump_card(card), encoding="utf-8")
    return load_card(path)
