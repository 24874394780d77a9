"""The fusion network as the loop runs it: an EEG step with carried state, a BOLD encoder, a fusion head.

::

    EEG window ── carried step ── token ┐
    BOLD window ── encoder ────── token ┼─ head ── logits of every member, attention
    ages, what is there ────────────────┘

The encoder of a modality runs only when its window changed; the head runs for every window. A modality that is not
admitted has zeros for a token, and the head is told that it is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.decode.card_file import LoadedCard, read_graph
from streamer.decode.judge import Admitted, Judge
from streamer.decode.network_parts import NetworkParts
from streamer.decode.onnx_session import Graph, Sessions, Starter, start_session
from streamer.errors import ModelError
from streamer.messages import F32, Prediction, Window

_SHAPES = tuple[int | None, ...]


class NetworkModel:
    """Serve a fusion network.

    Parameters
    ----------
    loaded : LoadedCard
        Of kind network.
    providers : str or sequence of str, optional
        As ``Sessions`` takes them.
    start : callable
        Starts a session of ONNX Runtime.

    Raises
    ------
    ModelError
        A graph was altered, cannot be loaded by any provider, or is not what the card says; the card is of another
        kind.
    """

    def __init__(
        self,
        loaded: LoadedCard,
        providers: str | Sequence[str] | None = None,
        start: Starter = start_session,
    ) -> None:
        if loaded.card.kind != "network":
            raise ModelError(f"model {loaded.card.name} is of kind {loaded.card.kind}: expected network")
        self.card = loaded.card
        self.classes = loaded.card.classes
        self._judge = Judge(loaded)
        self.name = self._judge.name
        self._sessions = Sessions(_graphs(loaded), providers, start)
        self._agree(loaded)
        self.parts = NetworkParts(self._sessions, self.card)
        """What runs the graphs."""
        self._beside = NetworkParts(self._sessions, self.card, carry=False)

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
        """Run every graph as the loop does; what was carried until then is forgotten."""
        card = self.card
        eeg = np.zeros((0 if card.eeg is None else card.eeg.n_steps, card.n_eeg_features), np.float32)
        bold = np.zeros((0 if card.bold is None else card.bold.n_steps, card.n_regions), np.float32)
        everything = Admitted(card.eeg is not None, card.bold is not None)
        # the second goes on from the first, by one step
        for value in (1.0, 2.0):
            eeg[-1:], bold[-1:] = value, value
            self._logits(eeg, bold, (0.0, 0.0), everything)
            self._logits(eeg, bold, (0.0, 0.0), everything, aside=True)
            eeg[:-1] = eeg[1:]
        self.parts.forget()

    def __call__(self, window: Window) -> Prediction:
        """Classify a window.

        Raises
        ------
        ModelError
            The window's shapes are not those of the card, or the processor itself cannot run a graph.
        """
        return self._predict(window, aside=False)

    def aside(self, window: Window) -> Prediction:
        """Classify a window without touching what is carried from one window to the next; errors as the call's."""
        return self._predict(window, aside=True)

    def _predict(self, window: Window, *, aside: bool) -> Prediction:
        admitted = self._judge.admit(window)
        if admitted.pattern is None:
            return self._judge.predict(window, admitted, None)
        ages = (window.age_eeg, window.age_bold)
        logits, attention = self._logits(window.eeg, window.bold, ages, admitted, aside=aside)
        return self._judge.predict(window, admitted, logits, attention)

    def _logits(
        self, eeg: F32, bold: F32, ages: tuple[float, float], admitted: Admitted, *, aside: bool = False
    ) -> tuple[F32, list[float]]:
        try:
            return (self._beside if aside else self.parts).run(eeg, bold, ages, admitted)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises plain and many kinds
            # of the processor this is the end
            self._sessions.fall_back(error)
            # nothing of a lost GPU's memory is trusted: the window itself fills the state again
            self.parts = NetworkParts(self._sessions, self.card)
            self._beside = NetworkParts(self._sessions, self.card, carry=False)
            return self._logits(eeg, bold, ages, admitted, aside=aside)

    def _agree(self, loaded: LoadedCard) -> None:
        """Refuse graphs that fit the card but not one another."""
        shape = self._sessions.shape
        problems: list[str] = []
        if loaded.card.eeg is not None and shape("eeg", "state") != shape("eeg", "state_out"):
            problems.append(
                f"state_out is {shape('eeg', 'state_out')[0]} wide: expected {shape('eeg', 'state')[0]}, as state"
            )
        for name, part in (("eeg", loaded.card.eeg), ("bold", loaded.card.bold)):
            width = 1 if part is None else shape(name, "token")[0]
            found = shape("head", f"{name}_token")[0]
            if found != width:
                problems.append(f"the head's {name}_token is {found} wide: expected {width}")
        if problems:
            raise ModelError(f"model graphs in {loaded.folder} do not fit one another: {'; '.join(problems)}")


def _graphs(loaded: LoadedCard) -> dict[str, Graph]:
    card = loaded.card
    shapes: dict[str, tuple[dict[str, _SHAPES], dict[str, _SHAPES]]] = {
        "head": (
            {"eeg_token": (None,), "bold_token": (None,), "age": (2,), "valid": (2,)},
            {"logits": (card.members, len(card.classes)), "attention": (2,)},
        )
    }
    if card.eeg is not None:
        shapes["eeg"] = (
            {"step": (card.n_eeg_features,), "state": (None,)},
            {"state_out": (None,), "token": (None,)},
        )
    if card.bold is not None:
        shapes["bold"] = ({"bold": (card.bold.n_steps, card.n_regions)}, {"token": (None,)})
    graphs: dict[str, Graph] = {}
    for name, file in card.graphs.items():
        path = loaded.folder / file.file
        # read again, so that what runs is what was checked
        batch = card.eeg.n_steps if name == "eeg" and card.eeg is not None else 1
        graphs[name] = Graph(str(path), read_graph(path, file.sha256), *shapes[name], batch=batch)
    return graphs
