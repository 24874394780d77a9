"""The graphs of a model in ONNX Runtime: one thread, no spinning, inputs and outputs at fixed places.

All graphs of a model run on one provider. One that is lost in mid-run is left with ``fall_back``: every graph moves to
the processor. What the graphs read and write lies in ``Buffer``s that are bound once (``Bound``), on a GPU in its own
memory, so that a step allocates nothing and a GPU replays what it recorded (CUDA graphs).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from streamer.errors import ModelError
from streamer.messages import F32

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
ORDER = (TENSORRT, CUDA, CPU)
CHOICES = {"auto": ORDER, "tensorrt": (TENSORRT, CPU), "cuda": (CUDA, CPU), "cpu": (CPU,)}
"""What may be asked for by name; the processor is always the last resort."""
_RECORDING: dict[str, dict[str, str]] = {
    CUDA: {"enable_cuda_graph": "1"},
    TENSORRT: {"trt_cuda_graph_enable": "1"},
}
"""Options that let a GPU record a graph once and replay it."""

Starter = Callable[[bytes, str, Mapping[str, str]], Any]
"""From a graph's bytes, a provider's name and its options to a session."""


def available_providers() -> tuple[str, ...]:
    """Name the execution providers that this ONNX Runtime was built with, the fastest first."""
    built = ort.get_available_providers()
    return tuple(name for name in ORDER if name in built)


def start_session(graph: bytes, provider: str, options: Mapping[str, str]) -> Any:
    """Start a session on a provider; nodes that it does not take run on the processor."""
    wanted: list[Any] = [(provider, dict(options))] if options else [provider]
    if provider != CPU:
        wanted.append(CPU)
    return ort.InferenceSession(graph, _options(), providers=wanted, enable_fallback=0)


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph and what it has to look like."""

    origin: str
    """Its file, for messages."""
    content: bytes
    inputs: Mapping[str, tuple[int | None, ...]]
    """Shape of each input behind the batch axis; None where the graph decides."""
    outputs: Mapping[str, tuple[int | None, ...]]
    """The same of each output."""
    batch: int = 1
    """Rows that it is run with: some providers prepare for just so many."""


class Buffer:
    """Numbers that graphs read or write, float32.

    Parameters
    ----------
    shape : tuple of int
    on_gpu : bool
        They lie in the GPU's memory, and ``host`` is a copy that ``upload`` and ``download`` keep up.
    """

    def __init__(self, shape: tuple[int, ...], *, on_gpu: bool = False) -> None:
        self.host: F32 = np.zeros(shape, np.float32)
        """What the program sees."""
        self._device: Any = ort.OrtValue.ortvalue_from_numpy(self.host, "cuda", 0) if on_gpu else None
        start = self.host.ctypes.data if self._device is None else int(self._device.data_ptr())
        self.kind = "cpu" if self._device is None else "cuda"
        self._start = start

    def upload(self) -> None:
        """Bring what the program wrote to where graphs read it."""
        if self._device is not None:
            self._device.update_inplace(self.host)

    def download(self) -> None:
        """Bring what a graph wrote to where the program reads it."""
        if self._device is not None:
            np.copyto(self.host, self._device.numpy())

    def rows(self, first: int, n: int) -> tuple[int, tuple[int, ...]]:
        """Give address and shape of ``n`` rows from ``first``."""
        return self._start + first * self.host[0].nbytes, (n, *self.host.shape[1:])


@dataclass(frozen=True, slots=True)
class Slot:
    """Rows of a buffer that a port is bound to."""

    buffer: Buffer
    first: int = 0
    n: int = 1


class Bound:
    """One way of running a graph: its ports tied to places. Calling it runs the graph.

    Parameters
    ----------
    session : Any
    inputs, outputs : mapping of str to Slot
    run_id : str
        A GPU keeps one record for each.
    """

    def __init__(
        self, session: Any, inputs: Mapping[str, Slot], outputs: Mapping[str, Slot], run_id: str | None
    ) -> None:
        self._session = session
        # the buffers must live as long as they are bound
        self._slots = (*inputs.values(), *outputs.values())
        self._binding = session.io_binding()
        for name, slot in inputs.items():
            address, shape = slot.buffer.rows(slot.first, slot.n)
            self._binding.bind_input(name, slot.buffer.kind, 0, np.float32, shape, address)
        for name, slot in outputs.items():
            address, shape = slot.buffer.rows(slot.first, slot.n)
            self._binding.bind_output(name, slot.buffer.kind, 0, np.float32, shape, address)
        self._options: Any = None
        if run_id is not None:
            self._options = ort.RunOptions()
            self._options.add_run_config_entry("gpu_graph_id", run_id)

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)


class Sessions:
    """Every graph of a model, on one provider.

    Parameters
    ----------
    graphs : mapping of str to Graph
    providers : str or sequence of str, optional
        One or several, in order, of ``auto`` (also None), ``cpu``, ``cuda``, ``tensorrt``, and names of ONNX Runtime's
        providers. One that is not there or fails falls back to the next, which ``notes`` tells.
    start : callable
        Starts one session.

    Raises
    ------
    ModelError
        No provider runs the graphs, or one is not what it has to look like.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        providers: str | Sequence[str] | None = None,
        start: Starter = start_session,
    ) -> None:
        self._graphs = graphs
        self._start_one = start
        self._run_ids = itertools.count(1)
        self._sessions: dict[str, Any] = {}
        self._options: Mapping[str, str] = {}
        self.provider = ""
        """Name of the provider that runs the graphs now."""
        self.notes: tuple[str, ...] = ()
        """What fell back, and why."""
        self._start(providers)

    def fall_back(self, error: Exception) -> None:
        """Move every graph to the processor: a GPU that fails in mid-run must not end the session.

        What was bound before is void: bind anew.

        Raises
        ------
        ModelError
            They run there already.
        """
        failed = self.provider
        if failed == CPU:
            raise ModelError(f"{CPU} failed in mid-run: {first_line(error)}") from error
        self._start(CPU)
        self.notes = (*self.notes, f"{failed} failed in mid-run: {first_line(error)}; {CPU} took its place")

    def buffer(self, *shape: int) -> Buffer:
        """Make a buffer where the graphs run."""
        return Buffer(shape, on_gpu=self.provider in _RECORDING)

    def bind(self, graph: str, inputs: Mapping[str, Slot], outputs: Mapping[str, Slot]) -> Bound:
        """Tie a graph's ports to buffers."""
        run_id = str(next(self._run_ids)) if self._options else None
        return Bound(self._sessions[graph], inputs, outputs, run_id)

    def shape(self, graph: str, port: str) -> tuple[int, ...]:
        """Give the shape of a port behind the batch axis."""
        session = self._sessions[graph]
        found = {p.name: p.shape for p in (*session.get_inputs(), *session.get_outputs())}
        return tuple(int(n) for n in found[port][1:])

    def _start(self, providers: str | Sequence[str] | None) -> None:
        notes: list[str] = []
        failure: Exception | None = None
        for provider, options in _attempts(providers, notes):
            try:
                self._sessions = {
                    name: self._start_one(graph.content, provider, options) for name, graph in self._graphs.items()
                }
                for name, graph in self._graphs.items():
                    _check(graph, self._sessions[name])
                used = {str(session.get_providers()[0]) for session in self._sessions.values()}
                if used != {provider}:
                    notes.append(f"{provider} could not start")
                    continue
                self.provider, self._options = provider, options
                # some providers only fail when they first run
                self._try()
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - ONNX Runtime raises plain and many kinds
                failure = error
                how = " with CUDA graphs" if options else ""
                notes.append(f"{provider}{how} failed: {first_line(error)}")
                continue
            self.notes = (*self.notes, *notes)
            return
        origins = ", ".join(graph.origin for graph in self._graphs.values())
        raise ModelError(
            f"model graph {origins}: no provider of ONNX Runtime {ort.__version__} runs it "
            f"({'; '.join(notes) or 'none was named'}): expected ONNX of an opset that it knows"
        ) from failure

    def _try(self) -> None:
        for name, graph in self._graphs.items():
            inputs, outputs = (
                {port: Slot(self.buffer(graph.batch, *self.shape(name, port)), 0, graph.batch) for port in side}
                for side in (graph.inputs, graph.outputs)
            )
            run = self.bind(name, inputs, outputs)
            # a record is made in the first run and played in the second
            run()
            run()


def first_line(error: Exception) -> str:
    """Shorten what ONNX Runtime says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _attempts(providers: str | Sequence[str] | None, notes: list[str]) -> list[tuple[str, Mapping[str, str]]]:
    asked = ("auto",) if providers is None else (providers,) if isinstance(providers, str) else tuple(providers)
    unknown = [name for name in asked if name not in CHOICES and not name.endswith("ExecutionProvider")]
    if unknown or not asked:
        raise ModelError(
            f"provider {', '.join(unknown) or '(none)'} is not known: expected some of {', '.join(CHOICES)}, "
            "or a name of ONNX Runtime's"
        )
    named = dict.fromkeys(name for choice in asked for name in CHOICES.get(choice, (choice,)))
    built = set(ort.get_available_providers())
    # the automatic order is a wish list: only what was asked for by name is missed
    if "auto" not in asked:
        notes += [f"{name} is not in this ONNX Runtime" for name in named if name not in built]
    attempts: list[tuple[str, Mapping[str, str]]] = []
    for name in named:
        if name in built:
            attempts += [(name, _RECORDING[name])] if name in _RECORDING else []
            attempts.append((name, {}))
    return attempts


def _check(graph: Graph, session: Any) -> None:
    problems: list[str] = []
    for what, expected, ports in (
        ("input", graph.inputs, session.get_inputs()),
        ("output", graph.outputs, session.get_outputs()),
    ):
        found = {port.name: port for port in ports}
        for name, shape in expected.items():
            port = found.get(name)
            lengths = ", ".join("any" if n is None else str(n) for n in (None, *shape))
            wanted = f"expected {what} ({lengths}) of float"
            if port is None:
                problems.append(f"{name} is absent: {wanted}")
            elif port.type != "tensor(float)" or not _fits(port.shape, shape):
                problems.append(f"{name} is {tuple(port.shape)} of {port.type}: {wanted}")
        problems += [f"{what} {name} is not known" for name in found if name not in expected]
    if problems:
        raise ModelError(f"model graph {graph.origin} is not what its card says: {'; '.join(problems)}")


def _fits(found: Sequence[Any], expected: tuple[int | None, ...]) -> bool:
    # the batch axis stands first and may have any name, but no length
    if len(found) != len(expected) + 1 or isinstance(found[0], int):
        return False
    return all(isinstance(n, int) and want in {None, n} for n, want in zip(found[1:], expected, strict=True))


def _options() -> Any:
    options: Any = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # fatal only: what falls back is told in ``notes``, once, rather than printed
    options.log_severity_level = 4
    return options
