"""Torch modules to ONNX files: free batch axis, one file each, nothing in them of the machine that wrote them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, hub, nn

from models.graphs.modules import INPUTS, OUTPUTS, GraphName, Precision, graph_inputs, graph_modules
from models.network.ensemble import Ensemble
from streamer.errors import ModelError

OPSET = 20
BATCH_MAX = 65536


def write_graphs(ensemble: Ensemble, folder: Path, file: str, precision: Precision = "fp32") -> dict[GraphName, Path]:
    """Write an ensemble's graphs as ``FILE.NAME.onnx``.

    Raises
    ------
    ModelError
        The exporter cannot express a part of the network.
    """
    written: dict[GraphName, Path] = {}
    for name, module in graph_modules(ensemble, precision).items():
        path = folder / f"{file}.{name}.onnx"
        path.write_bytes(_graph(module, graph_inputs(ensemble, name, 4), name))
        written[name] = path
    return written


def _graph(module: nn.Module, example: tuple[Tensor, ...], name: GraphName) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=BATCH_MAX)
    with _exporter_quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS[name]),
            output_names=list(OUTPUTS[name]),
            dynamic_shapes={each: {0: batch} for each in INPUTS[name]},
            verbose=False,
        )
    if program is None:
        raise ModelError(f"torch gave no ONNX program of the graph {name}")
    return _bare(program.model_proto).SerializeToString(deterministic=True)


def _bare(proto: Any) -> Any:
    # the exporter notes source files with their folders on this machine: nobody else's business
    for graph in (proto.graph, *proto.functions):
        parts = (graph, *graph.node, *graph.value_info)
        if graph is proto.graph:
            parts = (*parts, *graph.initializer, *graph.input, *graph.output)
        for part in parts:
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    return proto


@contextmanager
def _exporter_quiet() -> Generator[None]:
    # what the exporter says of its own calls and of packages that the network has no use for
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
            warnings.filterwarnings("ignore", category=UserWarning, message="# The axis name: batch")
            yield
    finally:
        registry.setLevel(level)
        if interval is not None:
            bar.monitor_interval = interval
