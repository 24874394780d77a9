"""From what waits to what is sent: topic, payload, deadline."""

from __future__ import annotations

from collections import Counter

from streamer import wire
from streamer.emit.mqtt_queue import BYTES, JSON, NEVER, RAW, VOLUME, Item, Outgoing, kind_of
from streamer.emit.preview import Fill, preview_bytes_of, preview_of, volume_bytes_of
from streamer.emit.raw_preview import RawPreview
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Command,
    EegChunk,
    Event,
    Feature,
    Health,
    Marker,
    Prediction,
    Score,
    SessionTime,
    Trigger,
    Veto,
    VolumeView,
)

__all__ = ["BYTES", "JSON", "NEVER", "Making", "Outgoing", "shown", "volume_preview"]

CLOCK_CHECKS = ("Sync On", "Sync Off")
"""What a BrainVision amplifier sends every other second while the scanner's clock drives it."""


def shown(event: Event, raw: RawPreview | None, volume_label: str) -> list[Item]:
    """Make what is shown of an event that the loop has taken: raw EEG, markers, notes.

    Parameters
    ----------
    event : Event
    raw : RawPreview or None
        None shows no raw EEG.
    volume_label : str
        Of the volume triggers, which are no markers; nor is what the amplifier says of its clock.
    """
    match event:
        case EegChunk():
            return [] if raw is None else [Outgoing(RAW, each, content=BYTES) for each in raw.take(event)]
        case Marker() if event.label not in {volume_label, *CLOCK_CHECKS}:
            return [wire.MarkerMessage(label=event.label, at=event.at)]
        case Command(action="annotate"):
            return [wire.MarkerMessage(label=event.text, at=event.received, note=True)]
        case _:
            return []


def volume_preview(view: VolumeView, *, blinded: bool) -> Outgoing:
    """Make the message of a volume: some ms per image, so not in the loop's thread; ``blinded`` leaves its maps out."""
    return Outgoing(VOLUME, volume_bytes_of(view, blinded=blinded), content=BYTES)


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
        if isinstance(item, Outgoing):
            return item
        if isinstance(item, list):
            return self._preview(item)
        name, message = self._message(item, expires)
        return Outgoing(name, wire.encode(message), int(isinstance(item, Trigger | wire.MarkerMessage)), expires)

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
        self,
        item: Trigger | Prediction | Score | Veto | BoldFrame | Feature | Health | wire.QualityMessage
        | wire.MarkerMessage,
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
            case wire.MarkerMessage():
                return "marker", item
            case Prediction():
                return "prediction", wire.from_prediction(item, expires)
            case Feature():
                return f"feature/{item.name}", wire.from_feature(item, expires)

    def _preview(self, hops: list[CleanEeg]) -> Outgoing:
        if self._binary:
            return Outgoing("preview/eeg.bin", preview_bytes_of(hops, self.sfreq, self.fill), content=BYTES)
        return Outgoing("preview/eeg", wire.encode(preview_of(hops, self.sfreq, self.fill)))
