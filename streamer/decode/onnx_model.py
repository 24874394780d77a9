"""The fusion model as the loop runs it: an ONNX graph in ONNX Runtime, one thread, no spinning.

A modality that is masked, too old for the card, or not finite is switched off by the graph's ``valid`` input and its
numbers are replaced by zeros, so that they cannot matter; the prediction then carries ``NO_EEG`` or ``NO_BOLD``. With
nothing left to judge by, the classes are equally likely and the uncertainty is 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from streamer.decode.card import LoadedCard, Temperatures, read_graph
from streamer.errors import ModelError
from streamer.messages import F32, Flag, Prediction, SessionTime, Window

QUANTUM_DIGITS = 5
"""Decimal digits that a prediction keeps: below them processors differ."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
ORDER = (TENSORRT, CUDA, CPU)
_OUTPUTS = ["logits", "attention"]
CHOICES = {"auto": ORDER, "tensorrt": (TENSORRT, CPU), "cuda": (CUDA, CPU), "cpu": (CPU,)}
"""What may be asked for by name; the processor is always the last resort."""


def available_providers() -> tuple[str, ...]:
    """Name the execution providers that this ONNX Runtime was built with, the fastest first."""
    built = ort.get_available_providers()
    return tuple(name for name in ORDER if name in built)


class FusionModel:
    """Serve a model that was exported with its card.

    Parameters
    ----------
    loaded : LoadedCard
    providers : str or sequence of str, optional
        One or several, in order, of ``auto`` (also None), ``cpu``, ``cuda``, ``tensorrt``, and names of ONNX Runtime's
        providers. One that is not there or fails falls back to the next, which ``notes`` tells.

    Raises
    ------
    ModelError
        The graph was altered, cannot be loaded by any provider, or is not what the card says.
    """

    def __init__(self, loaded: LoadedCard, providers: str | Sequence[str] | None = None) -> None:
        card = loaded.card
        self.card = card
        self.name = f"{card.name}@{loaded.sha256[:12]}"
        self.classes = card.classes
        self.notes: tuple[str, ...] = ()
        """What fell back, and why."""
        self.unusable = 0
        """Windows so far with a number that was not finite, in the input or in the graph's output."""
        # read again, so that what runs is what was checked
        self._graph = read_graph(loaded.graph_path, card.graph.sha256)
        self._origin = str(loaded.graph_path)
        self._eeg = np.zeros((1, card.eeg.n_steps, card.n_eeg_features), np.float32)
        self._bold = np.zeros((1, card.bold.n_steps, len(card.bold.regions)), np.float32)
        self._age = np.zeros((1, 2), np.float32)
        self._valid = np.zeros((1, 2), np.float32)
        self._feed = {"eeg": self._eeg, "bold": self._bold, "age": self._age, "valid": self._valid}
        self._session, self.provider = self._start(providers)

    def warm_up(self, runs: int = 3) -> None:
        """Run on zeros, so that the first window does not pay for what is set up lazily."""
        for part in self._feed.values():
            part[...] = 0
        for _ in range(runs):
            self._run()

    def __call__(self, window: Window) -> Prediction:
        """Classify a window.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card.
        """
        self._check_window(window)
        limits = self.card.limits
        flags = window.flags
        has_eeg, eeg_flags = self._admit(
            0,
            self._eeg,
            window.eeg,
            window.age_eeg,
            limits.age_eeg_max_s + window.hold_eeg,
            valid=window.eeg_valid,
        )
        has_bold, bold_flags = self._admit(
            1, self._bold, window.bold, window.age_bold, limits.age_bold_max_s, valid=window.bold_valid
        )
        flags |= eeg_flags | bold_flags
        flags |= Flag.NONE if has_eeg else Flag.NO_EEG
        flags |= Flag.NONE if has_bold else Flag.NO_BOLD
        n = len(self.classes)
        probabilities = [1.0 / n] * n
        weights = (0.0, 0.0)
        if has_eeg or has_bold:
            logits, attention = self._run()
            if np.isfinite(logits).all() and np.isfinite(attention).all():
                temperature = _temperature(self.card.temperature, has_eeg=has_eeg, has_bold=has_bold)
                probabilities = _softmax([float(v) / temperature for v in logits[0]])
                weights = (float(attention[0, 0]), float(attention[0, 1]))
            else:
                self.unusable += 1
                flags |= Flag.NO_EEG | Flag.NO_BOLD
        probabilities = quantised(probabilities)
        return Prediction(
            seq=window.seq,
            model=self.name,
            classes=self.classes,
            probabilities=probabilities,
            uncertainty=normalised_entropy(probabilities),
            attention={"eeg": round(weights[0], QUANTUM_DIGITS), "bold": round(weights[1], QUANTUM_DIGITS)},
            about=SessionTime(window.end),
            age_eeg=window.age_eeg,
            age_bold=window.age_bold,
            flags=flags,
            hold_eeg=window.hold_eeg,
        )

    def _admit(
        self, column: int, target: F32, data: F32, age: float, age_max: float, *, valid: bool
    ) -> tuple[bool, Flag]:
        flags = Flag.NONE
        if valid and not age <= age_max:
            valid, flags = False, Flag.STALE
        if valid and not np.isfinite(data).all():
            valid = False
            self.unusable += 1
        target[0] = data if valid else 0
        self._age[0, column] = age if valid else 0
        self._valid[0, column] = 1 if valid else 0
        return valid, flags

    def _check_window(self, window: Window) -> None:
        for name, given, expected in (
            ("EEG", window.eeg.shape, self._eeg.shape[1:]),
            ("BOLD", window.bold.shape, self._bold.shape[1:]),
        ):
            if given != expected:
                raise ModelError(f"window {window.seq}: {name} has shape {given}, model {self.name} takes {expected}")

    def _run(self) -> tuple[F32, F32]:
        try:
            logits, attention = self._session.run(_OUTPUTS, self._feed)
        except Exception as error:
            if self.provider == CPU:
                raise
            # a GPU that fails in mid-run must not end the session
            failed = self.provider
            self._session, self.provider = self._start(CPU)
            self.notes = (*self.notes, f"{failed} failed in mid-run: {_first_line(error)}; {CPU} took its place")
            logits, attention = self._session.run(_OUTPUTS, self._feed)
        return logits, attention

    def _start(self, providers: str | Sequence[str] | None) -> tuple[Any, str]:
        notes = list(self.notes)
        asked_for = providers is not None and "auto" not in ([providers] if isinstance(providers, str) else providers)
        built = set(ort.get_available_providers())
        failure: Exception | None = None
        for provider in _order(providers):
            if provider not in built:
                # the automatic order is a wish list: only what was asked for by name is missed
                if asked_for:
                    notes.append(f"{provider} is not in this ONNX Runtime")
                continue
            try:
                session: Any = ort.InferenceSession(
                    self._graph, _options(), providers=_with_cpu(provider), enable_fallback=0
                )
                self._check_graph(session)
                # some providers only fail when they first run
                session.run(_OUTPUTS, self._feed)
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - ONNX Runtime raises plain and many kinds
                failure = error
                notes.append(f"{provider} failed: {_first_line(error)}")
                continue
            used = session.get_providers()[0]
            if used != provider:
                notes.append(f"{provider} could not start; {used} took its place")
            self.notes = tuple(notes)
            return session, used
        raise ModelError(
            f"model graph {self._origin}: no provider of ONNX Runtime runs it ({'; '.join(notes) or 'none was named'})"
        ) from failure

    def _check_graph(self, session: Any) -> None:
        card = self.card
        expected: dict[str, tuple[int, ...]] = {
            "eeg": (card.eeg.n_steps, card.n_eeg_features),
            "bold": (card.bold.n_steps, len(card.bold.regions)),
            "age": (2,),
            "valid": (2,),
            "logits": (len(card.classes),),
            "attention": (2,),
        }
        ports = [*session.get_inputs(), *session.get_outputs()]
        # the batch axis stands first and may have any name
        found = {port.name: (tuple(port.shape[1:]), port.type) for port in ports}
        problems = [
            f"{name} is {found.get(name, 'absent')}: expected {shape} of float"
            for name, shape in expected.items()
            if found.get(name) != (shape, "tensor(float)")
        ]
        problems += [f"{name} is not known" for name in found if name not in expected]
        if problems:
            raise ModelError(f"model graph {self._origin} is not what its card says: {'; '.join(problems)}")


def quantised(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Round to 1e-5 such that the sum stays 1: the largest takes the remainder."""
    rounded = [round(p, QUANTUM_DIGITS) for p in probabilities]
    largest = rounded.index(max(rounded))
    rounded[largest] = round(1.0 - math.fsum(rounded[:largest] + rounded[largest + 1 :]), QUANTUM_DIGITS)
    return tuple(rounded)


def normalised_entropy(probabilities: Sequence[float]) -> float:
    """Entropy over its maximum, 0..1, rounded to 1e-5."""
    entropy = -math.fsum(p * math.log(p) for p in probabilities if p > 0)
    return min(1.0, round(abs(entropy) / math.log(len(probabilities)), QUANTUM_DIGITS))


def _softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    total = math.fsum(weights)
    return [w / total for w in weights]


def _temperature(temperatures: Temperatures, *, has_eeg: bool, has_bold: bool) -> float:
    if has_eeg and has_bold:
        return temperatures.both
    return temperatures.eeg if has_eeg else temperatures.bold


def _order(providers: str | Sequence[str] | None) -> tuple[str, ...]:
    asked = ("auto",) if providers is None else (providers,) if isinstance(providers, str) else tuple(providers)
    unknown = [name for name in asked if name not in CHOICES and not name.endswith("ExecutionProvider")]
    if unknown or not asked:
        raise ModelError(
            f"provider {', '.join(unknown) or '(none)'} is not known: expected some of {', '.join(CHOICES)}, "
            "or a name of ONNX Runtime's"
        )
    named = [name for choice in asked for name in CHOICES.get(choice, (choice,))]
    return tuple(dict.fromkeys(named))


def _with_cpu(provider: str) -> list[str]:
    # nodes that a GPU provider does not take run on the processor
    return [CPU] if provider == CPU else [provider, CPU]


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


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
