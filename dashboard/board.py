"""What the window knows: takes messages, follows one session, fills the stores. No Qt, no clock, no network."""

from __future__ import annotations

from dataclasses import dataclass, field

from dashboard.stores import EegStore, Mark, PredictionStore, VolumeStore
from streamer.messages import State
from streamer.wire import (
    About,
    BoldMessage,
    EegPreview,
    HealthMessage,
    Message,
    PredictionMessage,
    Status,
    TriggerMessage,
    VetoMessage,
)

EEG_SECONDS = 10.0
PREDICTION_SECONDS = 60.0
SILENT_S = 4.0
"""A session that sends nothing for so long gives way to one that does: a killed loop leaves its retained status."""


LAST_WILL = "connection lost"
"""Detail of the status that the broker publishes for a loop that is gone."""


@dataclass(slots=True)
class Peer:
    """A session that was heard of."""

    status: Status | None = None
    about: About | None = None
    order: int = 0
    """Grows with every announcement: the newest session is the one that announced itself last."""
    heard: float = float("-inf")
    """When data came last, s on the window's own clock."""

    @property
    def online(self) -> bool:
        """Whether its loop says that it is there."""
        return self.status is not None and self.status.online


@dataclass(slots=True)
class View:
    """The stores of the session that is followed."""

    eeg: EegStore | None = None
    volumes: VolumeStore | None = None
    predictions: PredictionStore | None = None
    prediction: PredictionMessage | None = None
    health: HealthMessage | None = None
    trigger: TriggerMessage | None = None
    now: float = float("-inf")
    """Newest SessionTime that any message named, s."""
    heard: dict[str, float] = field(default_factory=dict[str, float])
    """When each kind of message came last, s on the window's own clock."""

    def age(self, kind: str, now: float) -> float | None:
        """Seconds since a message of ``kind`` came; None when none did."""
        return now - self.heard[kind] if kind in self.heard else None


class Board:
    """Follows a session and keeps what is to be shown.

    Parameters
    ----------
    session : str or None
        The only session to follow; None follows the newest that is online, and goes over to the next when it ends.
    """

    def __init__(self, session: str | None = None) -> None:
        self.wanted = session
        self.session: str | None = session
        self.peers: dict[str, Peer] = {}
        self.view = View()
        self.at = 0.0
        """Time of the present frame, s on the window's own clock; whoever feeds the board sets it."""
        self.rejected = 0
        """Messages that contradict what their session said of itself."""
        self.started: float | None = None
        """When this session was taken up, s on the window's own clock."""
        self._announcements = 0
        self._came_back = False

    @property
    def peer(self) -> Peer | None:
        """What the session that is followed says of itself."""
        return self.peers.get(self.session) if self.session is not None else None

    @property
    def about(self) -> About | None:
        """Channels, regions and classes of the session."""
        return self.peer.about if self.peer is not None else None

    def take(self, session: str, message: Message) -> None:
        """Take one message that came just now."""
        if isinstance(message, Status | About):
            self._announce(session, message)
        elif session in self.peers:
            self.peers[session].heard = self.at
            self._follow()
        if session != self.session:
            return
        try:
            self._store(message)
        except (ValueError, OverflowError):
            self.rejected += 1
            return
        self.view.heard[type(message).__name__] = self.at

    def _announce(self, session: str, message: Status | About) -> None:
        if self.wanted is not None and session != self.wanted:
            return
        peer = self.peers.setdefault(session, Peer())
        self._announcements += 1
        if isinstance(message, Status):
            if session == self.session and message.online and peer.status is not None and not peer.status.online:
                self._came_back = True
            peer.status = message
            peer.order = self._announcements
        else:
            changed = peer.about is not None and _layout(peer.about) != _layout(message)
            peer.about = message
            if changed and session == self.session:
                self._clear()
        self._follow()

    def _follow(self) -> None:
        current = self.peer
        if self.wanted is None and self.peers and not (current is not None and self._lively(current)):
            best = max(self.peers, key=lambda name: self._rank(self.peers[name]))
            found = self.peers[best]
            # a session that is online but silent may come back: only one that sends takes its place
            better = current is None or (self._lively(found) if current.online else found.online)
            if best != self.session and better:
                self.session = best
                self._clear()
        if self.started is None and self.peer is not None:
            self.started = self.at

    def _lively(self, peer: Peer) -> bool:
        return peer.online and self.at - peer.heard < SILENT_S

    def _rank(self, peer: Peer) -> tuple[bool, bool, int]:
        return self._lively(peer), peer.online, peer.order

    def _clear(self) -> None:
        self.view = View()
        self.started = self.at
        self._came_back = False

    def _restarted(self, number: int, held_to: int) -> None:
        # the loop was started again under the same name: its numbers run back, what is shown belongs to the past
        if self._came_back and number < held_to:
            health, heard = self.view.health, self.view.heard
            self.view = View(health=health, heard=heard)
            self._came_back = False

    def _store(self, message: Message) -> None:
        match message:
            case EegPreview():
                self._store_eeg(message)
            case BoldMessage():
                self._store_volume(message)
            case PredictionMessage():
                self._store_prediction(message)
            case TriggerMessage():
                text = f"{message.action} {message.level:.2f}"
                self._predictions().mark(f"trigger {message.id}", Mark(message.about, fired=True, text=text))
                self.view.trigger = message
                self._see(message.about)
            case VetoMessage():
                self._predictions().mark(
                    f"veto {message.window}", Mark(message.about, fired=False, text=message.reason)
                )
                self._see(message.about)
            case HealthMessage():
                self.view.health = message
                self._see(message.at)
            case _:
                pass

    def _see(self, time: float) -> None:
        self.view.now = max(self.view.now, time)

    def _store_eeg(self, message: EegPreview) -> None:
        if not message.sfreq > 0:
            raise ValueError(f"preview at {message.sfreq!r} Hz")
        widths = {len(channel) for channel in message.data_uv}
        if len(widths) != 1:
            raise ValueError(f"preview with channels of {sorted(widths)} samples: expected one length")
        full = self.about.eeg_sfreq if self.about is not None else message.sfreq
        # numbers count samples of the cleaned EEG, of which the preview may hold every second, third …
        first = round(message.first_sample * message.sfreq / full)
        store = self.view.eeg
        if store is not None and not store.rows.empty:
            self._restarted(first, store.rows.end)
            store = self.view.eeg
        # a rate that was measured wavers in its last digits: that is no other stream
        if (
            store is None
            or store.rows.width != len(message.data_uv)
            or abs(message.sfreq - store.sfreq) > 0.01 * store.sfreq
        ):
            store = self.view.eeg = EegStore(len(message.data_uv), message.sfreq, EEG_SECONDS)
        store.put(first, message.t0, message.data_uv)
        store.bad = frozenset(message.bad)
        self._see(store.newest)

    def _store_volume(self, message: BoldMessage) -> None:
        store = self.view.volumes
        if store is None or store.n_regions != len(message.regions):
            store = self.view.volumes = VolumeStore(len(message.regions))
        motion = [*message.motion_mm, *message.motion_rad]
        store.put(message.index, message.acquired, message.received, message.regions, motion, message.fd_mm)
        self._see(message.received)

    def _predictions(self) -> PredictionStore:
        if self.view.predictions is None:
            about = self.about
            classes = about.classes if about is not None else list(self._last_classes())
            tick_hz = about.tick_hz if about is not None else 10.0
            self.view.predictions = PredictionStore(classes, tick_hz, PREDICTION_SECONDS)
        return self.view.predictions

    def _last_classes(self) -> dict[str, float]:
        return self.view.prediction.probabilities if self.view.prediction is not None else {}

    def _store_prediction(self, message: PredictionMessage) -> None:
        store = self.view.predictions
        if store is not None and not store.rows.empty:
            self._restarted(message.seq, store.rows.end)
        if self.view.prediction is None or message.seq >= self.view.prediction.seq:
            self.view.prediction = message
        store = self._predictions()
        if not store.classes and message.probabilities:
            store = self.view.predictions = PredictionStore(
                list(message.probabilities), store.rows.capacity / store.seconds
            )
        store.put(message.seq, message.about, message.probabilities)
        self._see(message.about)

    @property
    def ended(self) -> bool:
        """Whether the session said goodbye itself; otherwise the broker spoke for it."""
        status = self.peer.status if self.peer is not None else None
        if status is None or status.online:
            return False
        return status.state == State.STOPPED.value and status.detail != LAST_WILL


def _layout(about: About) -> tuple[object, ...]:
    return (about.eeg_sfreq, about.channels, about.regions, about.classes, about.tick_hz)
