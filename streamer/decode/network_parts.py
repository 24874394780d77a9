"""The parts of a served network: what each graph reads and writes, and what is kept from window to window."""

from __future__ import annotations

import numpy as np

from streamer.decode.carried_eeg import CarriedEeg, FreshEeg
from streamer.decode.judge import Admitted
from streamer.decode.model_card import ModelCard
from streamer.decode.onnx_session import Sessions, Slot
from streamer.messages import F32


class NetworkParts:
    """What runs the graphs of a network, with all that is kept between windows.

    Parameters
    ----------
    sessions : Sessions
    card : ModelCard
    carry : bool
        False takes every window anew, in a batch of one: cheaper where windows do not follow one another.
    """

    def __init__(self, sessions: Sessions, card: ModelCard, *, carry: bool = True) -> None:
        branch = CarriedEeg if carry else FreshEeg
        self.eeg = None if card.eeg is None else branch(sessions, card.eeg.n_steps, card.n_eeg_features)
        """None for a network of BOLD alone."""
        self.bold = None if card.bold is None else BoldEncoder(sessions, card.bold.n_steps, card.n_regions)
        """None for a network of EEG alone."""
        self.head = Head(sessions)

    def run(self, eeg: F32, bold: F32, ages: tuple[float, float], admitted: Admitted) -> tuple[F32, list[float]]:
        """Give logits, shape (members, n_classes), and attention of EEG and BOLD."""
        eeg_token = self.eeg(eeg) if self.eeg is not None and admitted.eeg else None
        bold_token = self.bold(bold) if self.bold is not None and admitted.bold else None
        return self.head(eeg_token, bold_token, ages)

    def forget(self) -> None:
        """Start anew."""
        if self.eeg is not None:
            self.eeg.forget()
        if self.bold is not None:
            self.bold.forget()


class BoldEncoder:
    """Token of a BOLD window, computed when the window is another than the last one."""

    def __init__(self, sessions: Sessions, n_steps: int, n_regions: int) -> None:
        self._bold = sessions.buffer(1, n_steps, n_regions)
        self._token = sessions.buffer(1, *sessions.shape("bold", "token"))
        self._run = sessions.bind("bold", {"bold": Slot(self._bold)}, {"token": Slot(self._token)})
        self._seen = False
        self.calls = 0
        """Times that the graph ran so far."""

    def __call__(self, bold: F32) -> F32:
        """Give the token of a window of shape (n_steps, n_regions)."""
        if not self._seen or not np.array_equal(self._bold.host[0], bold):
            self._seen = False
            np.copyto(self._bold.host[0], bold)
            self._bold.upload()
            self._run()
            self._token.download()
            self._seen = True
            self.calls += 1
        return self._token.host[0]

    def forget(self) -> None:
        """Take no window for the last one."""
        self._seen = False


class Head:
    """Tokens, ages and what is there, to logits and attention."""

    def __init__(self, sessions: Sessions) -> None:
        ports = ("eeg_token", "bold_token", "age", "valid")
        self._in = {port: sessions.buffer(1, *sessions.shape("head", port)) for port in ports}
        self._out = {port: sessions.buffer(1, *sessions.shape("head", port)) for port in ("logits", "attention")}
        self._run = sessions.bind(
            "head",
            {port: Slot(buffer) for port, buffer in self._in.items()},
            {port: Slot(buffer) for port, buffer in self._out.items()},
        )

    def __call__(self, eeg: F32 | None, bold: F32 | None, ages: tuple[float, float]) -> tuple[F32, list[float]]:
        """Score a window; None for a modality that is not there."""
        for column, (port, token) in enumerate((("eeg_token", eeg), ("bold_token", bold))):
            there = token is not None
            self._in[port].host[0] = token if there else 0
            self._in["age"].host[0, column] = ages[column] if there else 0
            self._in["valid"].host[0, column] = 1 if there else 0
        for buffer in self._in.values():
            buffer.upload()
        self._run()
        for buffer in self._out.values():
            buffer.download()
        return self._out["logits"].host[0], self._out["attention"].host[0].tolist()
