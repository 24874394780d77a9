"""What a session says of itself, and in which order: results in, messages out. No network, no clock.

What a broker keeps leaves first, then triggers, then all else in the order in which it came.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec

from streamer import wire
from streamer.emit.mqtt_messages import Making, Outgoing, shown
from streamer.emit.mqtt_quality import QualityNow
from streamer.emit.mqtt_queue import Gathering, Item, Outbox
from streamer.emit.mqtt_settings import MqttSettings
from streamer.emit.preview import Fill
from streamer.emit.raw_preview import RawPreview
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Event,
    Feature,
    Health,
    Output,
    Prediction,
    Score,
    SessionTime,
    Trigger,
    Veto,
)

_LONG_AGO = SessionTime(-math.inf)


def _nobody() -> None:
    pass


class MessageStream:
    """Takes a session's results and gives the messages that tell of them.

    Status, about, card and config are what a broker keeps: :meth:`repeat` says them again.

    Parameters
    ----------
    session : str
    settings : MqttSettings
    blinded : bool
        A session with sham: predictions, features, region signals and maps, which would tell the true score, are left
        out.
    volume_label : str
        Label of the volume triggers, which are no markers.
    commands : sequence of str
        Actions that the session takes.
    size : int
        Messages that wait at most; see :class:`Outbox`.
    wake : callable
        Called whenever something waits to be sent.
    """

    name = "mqtt"

    def __init__(
        self,
        session: str,
        settings: MqttSettings,
        *,
        blinded: bool = False,
        volume_label: str = "",
        commands: Sequence[str] = (),
        size: int = sys.maxsize,
        wake: Callable[[], None] = _nobody,
    ) -> None:
        self.outbox = Outbox(size)
        """What waits beside what a broker keeps."""
        self._session = session
        self._blinded = blinded
        self._volume_label = volume_label
        self._commands = tuple(commands)
        self._notify = wake
        self._previews = settings.preview != "none"
        self._shows_raw = self._previews and settings.preview_raw
        self._raw: RawPreview | None = None
        self._gathering = Gathering(settings.preview_s, self.add)
        binary = settings.preview == "binary"
        self._making = Making(session, settings.prediction_ttl_s, self.outbox.lost, binary=binary, blinded=blinded)
        self._quality = QualityNow()
        self._retained: dict[str, wire.Message] = {}
        self._unsent: dict[str, None] = {}
        self.publish_status("STARTING")

    def put(self, item: Output | Health) -> None:
        """Take one result; cheap. Windows are not published, nor are triggers that aim at a phase."""
        match item:
            case CleanEeg():
                self._quality.take(item)
                if self._previews:
                    self._gathering.add(item)
            case Prediction() | Feature():
                if not self._blinded:
                    self.add(item)
            case BoldFrame():
                self._quality.take(item)
                self.add(item)
                about = self._about
                if about is not None and about.tr_s is None and item.tr > 0:
                    self._retain("about", msgspec.structs.replace(about, tr_s=item.tr))
            case Health():
                self.add(item)
                self.add(self._quality.message(item, self._about))
            case Trigger(source="phase"):
                # milliseconds count: what a broker delays would fire at another phase
                pass
            case Trigger() | Score() | Veto():
                self.add(item)
            case _:
                pass

    def see(self, event: Event) -> None:
        """Take what is shown of an event that the loop has taken: raw EEG, markers, notes; cheap."""
        for item in shown(event, self._raw, self._volume_label):
            self.add(item)

    def add(self, item: Trigger | Item) -> None:
        """Let one wait to be sent."""
        self.outbox.add(item)
        self._notify()

    def publish_about(self, about: wire.About, fill: Fill | None = None, raw: RawPreview | None = None) -> None:
        """Say what the session consists of.

        ``fill`` fills bad channels in where EEG is previewed, ``raw`` thins out the EEG as it came.
        """
        self._making.fill = fill
        self._making.sfreq = about.eeg_sfreq
        self._raw = raw if self._shows_raw else None
        self._retain("about", msgspec.structs.replace(about, blinded=self._blinded, commands=list(self._commands)))

    def publish_card(self, card: wire.CardMessage) -> None:
        """Say which model is asked."""
        self._retain("card", card)

    def publish_config(self, config: wire.ConfigMessage) -> None:
        """Say what the session is set to."""
        self._retain("config", config)

    def publish_status(self, state: str, detail: str = "", *, online: bool = True) -> None:
        """Say how the session is."""
        self._retain("status", wire.Status(session=self._session, online=online, state=state, detail=detail))

    @property
    def _about(self) -> wire.About | None:
        about = self._retained.get("about")
        return about if isinstance(about, wire.About) else None

    def flush(self) -> None:
        """Let what is still gathered for a preview wait to be sent."""
        self._gathering.flush()

    def losses(self) -> dict[str, int]:
        """Messages dropped so far, by kind.

        ``..._expired`` came too late, ``..._refused`` the broker did not take, ``..._failed`` could not be made.
        """
        return dict(self.outbox.lost)

    async def close(self) -> None:
        """Free nothing: there is nothing open."""

    def repeat(self) -> None:
        """Say again all that a broker keeps."""
        self._unsent = dict.fromkeys(self._retained)

    def take_retained(self) -> Outgoing | None:
        """Take the next message that a broker keeps."""
        for name in self._unsent:
            del self._unsent[name]
            return Outgoing(name, wire.encode(self._retained[name]))
        return None

    def make(self, item: Trigger | Item, now: SessionTime) -> Outgoing | None:
        """Make the message of what came out of the outbox; None when it has expired, which is counted."""
        return self._making.make(item, now)

    def drain(self) -> Iterator[Outgoing]:
        """Give all that waits, whatever its age: in a recording nothing comes too late."""
        while (kept := self.take_retained()) is not None:
            yield kept
        while (item := self.outbox.take()) is not None:
            if (made := self.make(item, _LONG_AGO)) is not None:
                yield made

    def _retain(self, name: str, message: wire.Message) -> None:
        self._retained[name] = message
        self._unsent[name] = None
        self._notify()
