"""From what waits to what is sent: topic, payload, deadline."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from streamer import wire
from streamer.emit.mqtt_queue import Item, kind_of
from streamer.emit.preview import Fill, preview_bytes_of, preview_of
from streamer.messages import BoldFrame, CleanEeg, Feature, Health, Prediction, Score, SessionTime, Trigger, Veto

JSON = "application/json"
BYTES = "application/octet-stream"
NEVER = SessionTime(math.inf)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message, ready to be sent."""

    name: str
    """Of its topic."""
    payload: bytes
    qos: int = 0
    expires: SessionTime = NEVER
    """Of no use after this time."""
    content: str = JSON


class Making:
    """Makes messages; what has expired is counted and not made.

    Parameters
    ----------
    session : str
    ttl_s : float
        Life of a prediction or feature from when it was known, s.
    binary : bool
        Previews as bytes.
    blinded : bool
        Region signals are left out.
    lost : Counter
        Takes what has expired, by kind.
    """

    def __init__(self, session: str, ttl_s: float, lost: Counter[str], *, binary: bool, blinded: bool) -> None:
        self.fill: Fill | None = None
        """Fills bad channels in where EEG is previewed."""
        self.sfreq: float | None = None
        """Rate of the cleaned EEG, Hz; None takes it from the samples' times."""
        self._session = session
        self._ttl_s = ttl_s
        self._lost = lost
        self._binary = binary
        self._blinded = blinded

    def make(self, item: Trigger | Item, now: SessionTime) -> Outgoing | None:
        """Make one message; None when it has expired."""
        expires = self._expires(item)
        # written so that NaN counts as expired
        if not now <= expires:
            self._lost[f"{kind_of(item)}_expired"] += 1
            return None
        if isinstance(item, list):
            return self._preview(item)
        name, message = self._message(item, expires)
        return Outgoing(name, wire.encode(message), int(isinstance(item, Trigger)), expires)

    def _expires(self, item: Trigger | Item) -> SessionTime:
        match item:
            case Trigger() | Score():
                return item.expires
            case Prediction():
                return SessionTime((item.about if item.ready is None else item.ready) + self._ttl_s)
            case Feature():
                return SessionTime((item.about + item.delay_s if item.ready is None else item.ready) + self._ttl_s)
            case _:
                return NEVER

    def _message(
        self, item: Trigger | Prediction | Score | Veto | BoldFrame | Feature | Health | wire.QualityMessage,
        expires: SessionTime,
    ) -> tuple[str, wire.Message]:  # fmt: skip
        match item:
            case Trigger():
                return "trigger", wire.from_trigger(self._session, item)
            case Score():
                return "score", wire.from_score(item)
            case Veto():
                return "veto", wire.from_veto(item)
            case BoldFrame():
                return "bold", wire.from_bold(item, blinded=self._blinded)
            case Health():
                return "health", wire.from_health(item)
            case wire.QualityMessage():
                return "quality", item
            case Prediction():
                return "prediction", wire.from_prediction(item, expires)
            case Feature():
                return f"feature/{item.name}", wire.from_feature(item, expires)

    def _preview(self, hops: list[CleanEeg]) -> Outgoing:
        if self._binary:
            return Outgoing("preview/eeg.bin", preview_bytes_of(hops, self.sfreq, self.fill), content=BYTES)
        return Outgoing("preview/eeg", wire.encode(preview_of(hops, self.sfreq, self.fill)))
