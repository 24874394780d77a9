"""Serve a linear rival: features of a window to calibrated logits, a fit for each set of modalities.

The fit for the most modalities of those that the window holds decides; one whose features are not all there (no tangent
vector yet) is passed over. With ``add`` the logits of the single modalities' fits are added instead, less the log prior
that both hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streamer.decode.card_file import LoadedCard, read_graph
from streamer.decode.judge import Admitted, Judge
from streamer.decode.model_card import LinearPart, LinearSpec, Pattern
from streamer.decode.onnx_session import Graph, Sessions, Slot, Starter, start_session
from streamer.decode.window_features import features_of, sources, widths
from streamer.errors import ModelError
from streamer.messages import F32, F64, Prediction, Window

_HOLDS: dict[Pattern, frozenset[str]] = {
    "both": frozenset({"eeg", "bold"}),
    "eeg": frozenset({"eeg"}),
    "bold": frozenset({"bold"}),
}
"""What a window must hold for each set of modalities, the richest first."""


class LinearModel:
    """Serve a linear rival.

    Parameters
    ----------
    loaded : LoadedCard
        Of kind linear.
    providers : str or sequence of str, optional
        As ``Sessions`` takes them.
    start : callable
        Starts a session of ONNX Runtime.

    Raises
    ------
    ModelError
        A graph was altered, cannot be loaded by any provider, or is not what the card says; the card is of another
        kind, names features that it has no input for, or has no log prior to add with.
    """

    def __init__(
        self,
        loaded: LoadedCard,
        providers: str | Sequence[str] | None = None,
        start: Starter = start_session,
    ) -> None:
        self.card = loaded.card
        self.classes = loaded.card.classes
        self._judge = Judge(loaded)
        self.name = self._judge.name
        self._spec = _spec(loaded)
        self._log_prior = np.asarray(self._spec.log_prior or np.zeros(len(self.classes)), np.float64)
        card = loaded.card
        # what a window holds where a modality does not enter
        self._no_eeg = np.zeros((1, *_eeg_shape(loaded)), np.float32)
        self._no_bold = np.zeros((1, *_bold_shape(loaded)), np.float32)
        self._no_tangent = np.zeros((1, 0 if card.tangent is None else card.tangent.width), np.float32)
        self._sessions = Sessions(
            {pattern: _graph(loaded, part) for pattern, part in self._spec.parts.items()}, providers, start
        )
        self._fits = self._bind()

    @property
    def notes(self) -> tuple[str, ...]:
        """What fell back, and why."""
        return self._sessions.notes

    @property
    def provider(self) -> str:
        """Name of the execution provider that runs all graphs now."""
        return self._sessions.provider

    @property
    def unusable(self) -> int:
        """Windows so far with a number that was not finite, in the input or in a graph's output."""
        return self._judge.unusable

    def warm_up(self) -> None:
        """Run every fit."""
        for pattern in self._spec.parts:
            self._run(pattern, self._no_eeg, self._no_bold, self._no_tangent)

    def __call__(self, window: Window) -> Prediction:
        """Classify a window.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card, or the processor itself cannot run a graph.
        """
        admitted = self._judge.admit(window)
        used = self._choose(admitted)
        if not used:
            return self._judge.predict(window, replace(admitted, eeg=False, bold=False), None)
        eeg = window.eeg[None] if admitted.eeg and self.card.eeg is not None else self._no_eeg
        bold = window.bold[None] if admitted.bold else self._no_bold
        tangent = window.tangent[None] if admitted.tangent else self._no_tangent
        logits = [self._run(pattern, eeg, bold, tangent) for pattern in used]
        total = logits[0] if len(used) == 1 else logits[0] + logits[1] - self._log_prior
        held = frozenset[str]().union(*(_HOLDS[pattern] for pattern in used))
        looked_at = replace(admitted, eeg="eeg" in held, bold="bold" in held)
        return self._judge.predict(window, looked_at, total[None], self._shares(used, logits))

    def aside(self, window: Window) -> Prediction:
        """Classify a window: nothing is carried."""
        return self(window)

    def _choose(self, admitted: Admitted) -> tuple[Pattern, ...]:
        """Say which fits judge together; none where nothing can."""
        there = {name for name in ("eeg", "bold", "tangent") if getattr(admitted, name)}
        usable: list[Pattern] = [
            pattern
            for pattern in _HOLDS
            if pattern in self._spec.parts
            and _HOLDS[pattern] <= there
            and sources(self._spec.parts[pattern].features) <= there
        ]
        if self._spec.add and "both" not in usable and len(usable) == 2:
            return tuple(usable)
        return tuple(usable[:1])

    def _run(self, pattern: Pattern, eeg: F32, bold: F32, tangent: F32) -> F64:
        features = features_of(self._spec.parts[pattern].features, eeg, bold, tangent)
        try:
            return self._fits[pattern](features)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises plain and many kinds
            # a GPU that fails in mid-run must not end the session; of the processor this is the end
            self._sessions.fall_back(error)
            self._fits = self._bind()
            return self._run(pattern, eeg, bold, tangent)

    def _bind(self) -> dict[Pattern, _Fit]:
        return {pattern: _Fit(self._sessions, pattern) for pattern in self._spec.parts}

    @staticmethod
    def _shares(used: tuple[Pattern, ...], logits: list[F64]) -> tuple[float, float]:
        """Split attention by how far each fit tells the classes apart; a fit of both does not say what it looks at."""
        if len(used) == 1:
            n = len(_HOLDS[used[0]])
            return ("eeg" in _HOLDS[used[0]]) / n, ("bold" in _HOLDS[used[0]]) / n
        eeg, bold = (float(np.ptp(each)) for each in logits)
        return (eeg / (eeg + bold), bold / (eeg + bold)) if eeg + bold > 0 else (0.5, 0.5)


class _Fit:
    """A graph of the model with its input and output."""

    def __init__(self, sessions: Sessions, pattern: Pattern) -> None:
        self._features = sessions.buffer(1, *sessions.shape(pattern, "features"))
        self._logits = sessions.buffer(1, *sessions.shape(pattern, "logits"))
        self._run = sessions.bind(pattern, {"features": Slot(self._features)}, {"logits": Slot(self._logits)})

    def __call__(self, features: F32) -> F64:
        """Give logits, shape (n_classes,), of features of shape (1, n)."""
        np.copyto(self._features.host, features)
        self._features.upload()
        self._run()
        self._logits.download()
        return self._logits.host[0].astype(np.float64)


def _spec(loaded: LoadedCard) -> LinearSpec:
    card, spec = loaded.card, loaded.card.linear
    if spec is None:
        raise ModelError(f"model {card.name} is of kind {card.kind}: expected linear")
    given = {"eeg": card.eeg is not None, "bold": card.bold is not None, "tangent": card.tangent is not None}
    problems: list[str] = []
    for pattern, part in spec.parts.items():
        of = sources(part.features)
        problems += [
            f"part {pattern} has features of {name}: the card has none" for name in sorted(of) if not given[name]
        ]
        # a tangent vector is the EEG's
        beyond = {"eeg" if name == "tangent" else name for name in of} - _HOLDS[pattern]
        problems += [f"part {pattern} has features of {name}: expected none" for name in sorted(beyond)]
    if spec.log_prior and len(spec.log_prior) != len(card.classes):
        problems.append(f"log_prior has {len(spec.log_prior)} numbers: expected {len(card.classes)}")
    if spec.add and not (spec.log_prior and {"eeg", "bold"} <= set(spec.parts)):
        problems.append("add is on: expected parts eeg and bold, and log_prior")
    if problems:
        raise ModelError(f"model {card.name}: {'; '.join(problems)}")
    return spec


def _graph(loaded: LoadedCard, part: LinearPart) -> Graph:
    card = loaded.card
    tangent = 0 if card.tangent is None else card.tangent.width
    n = sum(widths(part.features, _eeg_shape(loaded), _bold_shape(loaded), tangent))
    path = loaded.folder / part.graph.file
    # read again, so that what runs is what was checked
    content = read_graph(path, part.graph.sha256)
    return Graph(str(path), content, {"features": (n,)}, {"logits": (len(card.classes),)})


def _eeg_shape(loaded: LoadedCard) -> tuple[int, int]:
    eeg = loaded.card.eeg
    return (0, 0) if eeg is None else (eeg.n_steps, loaded.card.n_eeg_features)


def _bold_shape(loaded: LoadedCard) -> tuple[int, int]:
    bold = loaded.card.bold
    return (0, 0) if bold is None else (bold.n_steps, loaded.card.n_regions)
