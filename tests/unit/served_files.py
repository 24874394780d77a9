"""Small models on disk, built node by node: networks with a carried LSTM, and linear rivals."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamer.decode.card_file import LoadedCard, dump_card, load_card, preprocessing_digest
from streamer.decode.model_card import (
    BoldInput,
    EegInput,
    GraphFile,
    LinearPart,
    LinearSpec,
    ModelCard,
    TangentInput,
    Temperatures,
    TrainingData,
)

CHANNELS = ("O1", "O2", "Pz", "C3")
BANDS = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
REGIONS = ("left", "right", "control")
N_STEPS, N_FEATURES = 6, len(CHANNELS) * len(BANDS)
BOLD_STEPS, N_REGIONS = 5, len(REGIONS)
HIDDEN, EEG_TOKEN, BOLD_TOKEN = 7, 5, 4
DIGEST = preprocessing_digest({"eeg": {"low_hz": 1.0}})
EEG = EegInput(channels=CHANNELS, bands=BANDS, step_s=0.2, n_steps=N_STEPS, sfreq_hz=250.0)
BOLD = BoldInput(regions=REGIONS, grid_s=1.0, n_steps=BOLD_STEPS)
TANGENT = TangentInput(channels=CHANNELS, band_hz=(8.0, 30.0), window_s=2.0, width=10)


def _weights(seed, **shapes):
    rng = np.random.default_rng(seed)
    return [numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), n) for n, shape in shapes.items()]


def _numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _ports(shapes, batch):
    return [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *shape]) for n, shape in shapes.items()]


def model_bytes(nodes, inputs, outputs, constants, *, opset=18, batch="b") -> bytes:
    graph = helper.make_graph(nodes, "part", _ports(inputs, batch), _ports(outputs, batch), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return model.SerializeToString(deterministic=True)


def _lstm(seed):
    return _weights(
        seed,
        W=(1, 4 * HIDDEN, N_FEATURES),
        R=(1, 4 * HIDDEN, HIDDEN),
        B=(1, 8 * HIDDEN),
        G=(HIDDEN, EEG_TOKEN),
    )


def eeg_graph(seed=0, *, state_out=2 * HIDDEN, opset=18, batch="b") -> bytes:
    nodes = [
        helper.make_node("Split", ["state"], ["h", "c"], axis=1, num_outputs=2),
        *(helper.make_node("Unsqueeze", [a, "first"], [b]) for a, b in (("step", "x"), ("h", "h0"), ("c", "c0"))),
        helper.make_node("LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["y", "yh", "yc"], hidden_size=HIDDEN),
        *(helper.make_node("Squeeze", [a, "first"], [b]) for a, b in (("yh", "h1"), ("yc", "c1"))),
        helper.make_node("Concat", ["h1", "c1"], ["both"], axis=1),
        helper.make_node("Slice", ["both", "zero", "width", "one"], ["state_out"]),
        helper.make_node("MatMul", ["h1", "G"], ["g"]),
        helper.make_node("Tanh", ["g"], ["token"]),
    ]
    numbers = {"first": 0, "zero": 0, "one": 1, "width": state_out}
    return model_bytes(
        nodes,
        {"step": (N_FEATURES,), "state": (2 * HIDDEN,)},
        {"state_out": (state_out,), "token": (EEG_TOKEN,)},
        [*_lstm(seed), *(_numbers(name, value) for name, value in numbers.items())],
        opset=opset,
        batch=batch,
    )


def whole_graph(seed=0) -> bytes:
    """The EEG branch over a whole window (b, n_steps, n_features): what the steps must add up to."""
    nodes = [
        helper.make_node("Transpose", ["eeg"], ["x"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["y", "yh", "yc"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["yh", "first"], ["h1"]),
        helper.make_node("MatMul", ["h1", "G"], ["g"]),
        helper.make_node("Tanh", ["g"], ["token"]),
    ]
    constants = [*_lstm(seed), _numbers("first", 0)]
    return model_bytes(nodes, {"eeg": (N_STEPS, N_FEATURES)}, {"token": (EEG_TOKEN,)}, constants)


def bold_graph(seed=1) -> bytes:
    nodes = [
        helper.make_node("Flatten", ["bold"], ["flat"]),
        helper.make_node("MatMul", ["flat", "G"], ["g"]),
        helper.make_node("Tanh", ["g"], ["token"]),
    ]
    constants = _weights(seed, G=(BOLD_STEPS * N_REGIONS, BOLD_TOKEN))
    return model_bytes(nodes, {"bold": (BOLD_STEPS, N_REGIONS)}, {"token": (BOLD_TOKEN,)}, constants)


def head_graph(seed=2, *, members=2, classes=2, eeg=EEG_TOKEN, bold=BOLD_TOKEN, half=False) -> bytes:
    """Tokens and log ages to logits; attention is shared among what is there."""
    half_nodes = [
        helper.make_node("Cast", ["all"], ["all16"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["G"], ["G16"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["all16", "G16"], ["flat16"]),
        helper.make_node("Cast", ["flat16"], ["flat"], to=TensorProto.FLOAT),
    ]
    nodes = [
        helper.make_node("Add", ["age", "ones"], ["older"]),
        helper.make_node("Log", ["older"], ["log_age"]),
        helper.make_node("Concat", ["eeg_token", "bold_token", "log_age", "valid"], ["all"], axis=1),
        helper.make_node("ReduceSum", ["valid", "axis"], ["n"], keepdims=1),
        helper.make_node("Max", ["n", "ones"], ["n1"]),
        helper.make_node("Div", ["valid", "n1"], ["attention"]),
        *(half_nodes if half else [helper.make_node("MatMul", ["all", "G"], ["flat"])]),
        helper.make_node("Reshape", ["flat", "shape"], ["logits"]),
    ]
    constants = [
        *_weights(seed, G=(eeg + bold + 4, members * classes)),
        numpy_helper.from_array(np.ones(1, np.float32), "ones"),
        _numbers("axis", 1),
        _numbers("shape", -1, members, classes),
    ]
    return model_bytes(
        nodes,
        {"eeg_token": (eeg,), "bold_token": (bold,), "age": (2,), "valid": (2,)},
        {"logits": (members, classes), "attention": (2,)},
        constants,
    )


def linear_graph(n, classes=2, seed=3) -> bytes:
    nodes = [helper.make_node("Gemm", ["features", "G", "H"], ["logits"])]
    return model_bytes(nodes, {"features": (n,)}, {"logits": (classes,)}, _weights(seed, G=(n, classes), H=(classes,)))


def linear_logits(features, classes=2, seed=3):
    """What ``linear_graph`` makes of features, shape (n,)."""
    weights, bias = (numpy_helper.to_array(w) for w in _weights(seed, G=(len(features), classes), H=(classes,)))
    return np.asarray(features, np.float64) @ weights + bias


def put_graph(folder: Path, name: str, content: bytes) -> GraphFile:
    (folder / name).write_bytes(content)
    return GraphFile(file=name, sha256=hashlib.sha256(content).hexdigest())


def put_card(folder: Path, card: ModelCard) -> LoadedCard:
    path = folder / f"{card.name}.toml"
    path.write_text(dump_card(card), encoding="utf-8")
    return load_card(path)


def _card(kind, **values) -> ModelCard:
    values = {
        "kind": kind,
        "name": f"test-{kind}",
        "description": 'Untrained; quotes " and \\ and µ must survive.',
        "licence": "BSD-3-Clause",
        "classes": ("rest", "task"),
        "preprocessing": DIGEST,
        "temperature": Temperatures(both=1.5, eeg=2.0, bold=0.8),
        "training": TrainingData(data="none", train=("a",), validation=("b",), n_windows=1),
        **values,
    }
    return ModelCard.model_validate(values)


def network(folder: Path, *, eeg=True, bold=True, members=2, half=False, graphs=None, **values) -> LoadedCard:
    """Write a network with its card; ``graphs`` puts other bytes in place of a graph's."""
    folder.mkdir(exist_ok=True)
    classes = len(values.get("classes", ("rest", "task")))
    sizes = {"eeg": EEG_TOKEN if eeg else 1, "bold": BOLD_TOKEN if bold else 1}
    contents = {"head": head_graph(members=members, classes=classes, half=half, **sizes)}
    contents |= {"eeg": eeg_graph()} if eeg else {}
    contents |= {"bold": bold_graph()} if bold else {}
    contents |= graphs or {}
    files = {name: put_graph(folder, f"test-network.{name}.onnx", content) for name, content in contents.items()}
    inputs = {"eeg": EEG if eeg else None, "bold": BOLD if bold else None}
    return put_card(folder, _card("network", **{**inputs, "graphs": files, "members": members, **values}))


def linear(folder: Path, features: dict, *, tangent=False, add=False, log_prior=(), **values) -> LoadedCard:
    """Write a linear rival with one graph for each entry of ``features``: (names, width of the graph, seed)."""
    folder.mkdir(exist_ok=True)
    classes = len(values.get("classes", ("rest", "task")))
    parts = {
        pattern: LinearPart(
            graph=put_graph(folder, f"test-linear.{pattern}.onnx", linear_graph(width, classes, seed)), features=names
        )
        for pattern, (names, width, seed) in features.items()
    }
    spec = LinearSpec(parts=parts, add=add, log_prior=log_prior)
    inputs = {"eeg": EEG, "bold": BOLD, "tangent": TANGENT if tangent else None}
    return put_card(folder, _card("linear", **{**inputs, "linear": spec, **values}))


def checked(content: bytes) -> onnx.ModelProto:
    """Let ONNX's own checker pass a graph."""
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return model
