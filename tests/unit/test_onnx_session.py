"""Sessions of ONNX Runtime: which provider runs them, and buffers that stay where they are."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from streamer.decode.onnx_session import CPU, CUDA, TENSORRT, Graph, Sessions, Slot, available_providers, start_session
from streamer.errors import ModelError
from tests.unit.served_files import linear_graph, linear_logits

OTHER = "AzureExecutionProvider"
WIDTH = 4
needs_other = pytest.mark.skipif(OTHER not in ort.get_available_providers(), reason="no second provider")


def graphs(n=1, width=WIDTH, content=None):
    content = linear_graph(WIDTH) if content is None else content
    return {f"g{k}": Graph(f"g{k}.onnx", content, {"features": (width,)}, {"logits": (2,)}) for k in range(n)}


def bound(sessions, rows=1, name="g0"):
    features, logits = sessions.buffer(rows, WIDTH), sessions.buffer(rows, 2)
    return (
        sessions.bind(name, {"features": Slot(features, 0, rows)}, {"logits": Slot(logits, 0, rows)}),
        features,
        logits,
    )


def test_a_run_reads_and_writes_the_same_places_every_time():
    run, features, logits = bound(Sessions(graphs()))
    places = features.host.ctypes.data, logits.host.ctypes.data
    for seed in range(5):
        features.host[:] = np.random.default_rng(seed).standard_normal((1, WIDTH))
        features.upload()
        run()
        logits.download()
        np.testing.assert_allclose(logits.host[0], linear_logits(features.host[0]), atol=1e-6)
    assert (features.host.ctypes.data, logits.host.ctypes.data) == places


def test_rows_of_a_buffer_can_be_bound_alone():
    sessions = Sessions(graphs())
    features, logits = sessions.buffer(5, WIDTH), sessions.buffer(6, 2)
    features.host[:] = np.arange(20).reshape(5, 4)
    run = sessions.bind("g0", {"features": Slot(features, 1, 3)}, {"logits": Slot(logits, 2, 3)})
    run()
    wanted = np.zeros((6, 2))
    wanted[2:5] = [linear_logits(row) for row in features.host[1:4]]
    np.testing.assert_allclose(logits.host, wanted, rtol=1e-5)


def test_shapes_are_those_of_the_graph():
    sessions = Sessions(graphs(width=None))
    assert sessions.shape("g0", "features") == (WIDTH,)
    assert sessions.shape("g0", "logits") == (2,)


def test_the_provider_is_told_and_what_is_not_there():
    assert CPU in available_providers()
    assert Sessions(graphs(), "cpu").provider == CPU
    auto = Sessions(graphs())
    assert auto.provider in available_providers()
    if len(available_providers()) == 1:
        # the automatic order is a wish list
        assert auto.notes == ()
        assert Sessions(graphs(), ("tensorrt", "cuda")).notes == (
            f"{TENSORRT} is not in this ONNX Runtime",
            f"{CUDA} is not in this ONNX Runtime",
        )


@pytest.mark.parametrize("providers", ["tpu", (), ("cpu", "gpu")])
def test_a_provider_that_nobody_knows_is_refused(providers):
    with pytest.raises(ModelError, match="is not known: expected some of auto, tensorrt, cuda, cpu"):
        Sessions(graphs(), providers)


def test_a_provider_that_is_not_there_falls_back_with_a_note():
    absent = next(p for p in ort.get_all_providers() if p not in ort.get_available_providers())
    sessions = Sessions(graphs(), (absent, CPU))
    assert sessions.provider == CPU
    assert sessions.notes == (f"{absent} is not in this ONNX Runtime",)
    with pytest.raises(ModelError, match=f"no provider of ONNX Runtime .* runs it .{absent} is not in this"):
        Sessions(graphs(), (absent,))


@needs_other
def test_a_provider_that_fails_for_one_graph_is_left_by_all():
    started = []

    def start(graph, provider, options):
        started.append(provider)
        if provider == OTHER and len(started) == 2:
            raise RuntimeError("out of memory\nat some place")
        return start_session(graph, provider, options)

    sessions = Sessions(graphs(2), (OTHER, "cpu"), start)
    assert started == [OTHER, OTHER, CPU, CPU]
    assert sessions.provider == CPU
    assert sessions.notes == (f"{OTHER} failed: out of memory",)


@needs_other
def test_a_provider_that_quietly_gives_up_is_told():
    sessions = Sessions(graphs(), (OTHER, "cpu"), lambda graph, _, options: start_session(graph, CPU, options))
    assert sessions.provider == CPU
    assert sessions.notes == (f"{OTHER} could not start",)


@needs_other
def test_all_graphs_fall_back_together():
    sessions = Sessions(graphs(2), OTHER)
    assert sessions.provider == OTHER
    sessions.fall_back(RuntimeError("device lost"))
    assert sessions.provider == CPU
    assert sessions.notes == (f"{OTHER} failed in mid-run: device lost; {CPU} took its place",)
    for name in ("g0", "g1"):
        run, features, logits = bound(sessions, name=name)
        features.host[:] = 1
        run()
        np.testing.assert_allclose(logits.host[0], linear_logits(features.host[0]), atol=1e-6)
    with pytest.raises(ModelError, match=f"{CPU} failed in mid-run: again"):
        sessions.fall_back(RuntimeError("again"))


@pytest.mark.parametrize("content", [b"", b"no graph", linear_graph(WIDTH)[:60]])
def test_a_file_that_is_no_graph_is_refused(content):
    with pytest.raises(ModelError, match=r"g0\.onnx: no provider of ONNX Runtime .* runs it"):
        Sessions(graphs(content=content))


def test_a_graph_that_is_not_as_it_has_to_be_is_refused():
    with pytest.raises(ModelError, match=r"features is \('b', 4\) of tensor\(float\): expected input \(any, 5\)"):
        Sessions(graphs(width=5))
    extra = {"g": Graph("g.onnx", linear_graph(WIDTH), {"features": (WIDTH,)}, {"logits": (2,), "p": (2,)})}
    with pytest.raises(ModelError, match=r"p is absent: expected output \(any, 2\) of float"):
        Sessions(extra)
    fewer = {"g": Graph("g.onnx", linear_graph(WIDTH), {"features": (WIDTH,)}, {})}
    with pytest.raises(ModelError, match="output logits is not known"):
        Sessions(fewer)


def test_a_session_leaves_the_other_cores_alone():
    options = start_session(linear_graph(WIDTH), CPU, {}).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    for pool in ("intra", "inter"):
        assert options.get_session_config_entry(f"session.{pool}_op.allow_spinning") == "0"
