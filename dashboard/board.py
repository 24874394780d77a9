"""What the window knows: takes messages, follows one session, fills the stores. No Qt, no clock, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dashboard.stores import HISTORY_S, EegStore, Mark, PredictionStore, Timeline, VolumeStore
from dashboard.view import Peer, View
from streamer.messages import State
from streamer.wire import (
    About,
    BoldMessage,
    CardMessage,
    ConfigMessage,
    EegPreview,
    FeatureMessage,
    HealthMessage,
    MarkerMessage,
    Message,
    PredictionMessage,
    QualityMessage,
    ScoreMessage,
    Status,
    TriggerMessage,
    VetoMessage,
    VolumeMessage,
)

SILENT_S = 4.0
"""A session that sends nothing for so long gives way to one that does: a killed loop leaves its retained status."""
SHORTEST_TR_S = 0.4
FARTHEST_S = 1e10
"""No clock of a session shows so much."""
LONGEST_PAUSE_S = 24 * 3600.0
"""What is farther ahead of all that came before is no time of this session."""

LAST_WILL = "connection lost"
"""Detail of the status that the broker publishes for a loop that is gone."""


class Board:
    """Follows a session and keeps what is to be shown.

    Parameters
    ----------
    session : str or None
        The only session to follow; None follows the newest that is online, and goes over to the next when it ends.
    history_s : float
        How far back the stores reach, s.
    """

    def __init__(self, session: str | None = None, history_s: float = HISTORY_S) -> None:
        self.wanted = session
        self.session: str | None = session
        self.history_s = history_s
        self.peers: dict[str, Peer] = {}
        self.view = View(history_s)
        self.at = 0.0
        """Time of the present frame, s on the window's own clock; whoever feeds the board sets it."""
        self.held: float | None = None
        """The past that is shown, SessionTime s; None shows the present."""
        self.rejected = 0
        """Messages that contradict what their session said of itself."""
        self.started: float | None = None
        """When this session was taken up, s on the window's own clock."""
        self._announcements = 0
        self._came_back = False

    @property
    def shown(self) -> float:
        """The time at the right edge of all panels, SessionTime s; minus infinity while none is known."""
        return self.view.now if self.held is None else self.held

    @property
    def live(self) -> bool:
        """Whether the present is shown."""
        return self.held is None

    def hold(self, at: float) -> None:
        """Show the past up to ``at``, SessionTime s, as far back as it is held."""
        self.held = min(max(at, self.view.now - self.history_s), self.view.now)

    def release(self) -> None:
        """Show the present again."""
        self.held = None

    @property
    def peer(self) -> Peer | None:
        """What the session that is followed says of itself."""
        return self.peers.get(self.session) if self.session is not None else None

    @property
    def about(self) -> About | None:
        """Channels, regions and classes of the session."""
        return self.peer.about if self.peer is not None else None

    @property
    def card(self) -> CardMessage | None:
        """The card of the session's model."""
        return self.peer.card if self.peer is not None else None

    @property
    def config(self) -> ConfigMessage | None:
        """What the session tells of its settings."""
        return self.peer.config if self.peer is not None else None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that it tells; empty while there are none."""
        return self.config.settings if self.config is not None else {}

    def eeg(self, *, raw: bool = False) -> EegStore | None:
        """Give the EEG, cleaned or raw, where there is any and a time to show it at."""
        store = self.view.raw if raw else self.view.eeg
        seen = store is not None and not store.rows.empty and math.isfinite(store.newest)
        return store if seen and math.isfinite(self.shown) else None

    @property
    def eeg_names(self) -> list[str]:
        """Names of the EEG channels, in order; numbers where they are not known."""
        about, store = self.about, self.view.eeg
        names = [channel.name for channel in about.channels if channel.kind == "eeg"] if about is not None else []
        if store is not None and len(names) != store.rows.width:
            return [f"{i + 1}" for i in range(store.rows.width)]
        return names

    @property
    def ended(self) -> bool:
        """Whether the session said goodbye itself; otherwise the broker spoke for it."""
        status = self.peer.status if self.peer is not None else None
        if status is None or status.online:
            return False
        return status.state == State.STOPPED.value and status.detail != LAST_WILL

    def follow(self, session: str | None) -> None:
        """Follow ``session`` and no other from now on; None the newest that is online."""
        self.wanted = session
        if session is not None and session != self.session:
            self.session = session
            self._clear()
        self._follow()

    def take(self, session: str, message: Message | VolumeMessage) -> None:
        """Take one message that came just now."""
        if isinstance(message, Status | About):
            self._announce(session, message)
        elif isinstance(message, CardMessage | ConfigMessage):
            self._note(session, message)
        elif session in self.peers:
            self.peers[session].heard = self.at
            self._follow()
        if session != self.session:
            return
        try:
            self._check(message)
            self._store(message)
        except (ValueError, OverflowError):
            self.rejected += 1
            return
        self.view.heard[_kind(message)] = self.at

    def _note(self, session: str, message: CardMessage | ConfigMessage) -> None:
        if self.wanted is not None and session != self.wanted:
            return
        peer = self.peers.setdefault(session, Peer())
        if isinstance(message, CardMessage):
            peer.card = message
        else:
            peer.config = message

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
        self.view = View(self.history_s)
        self.started = self.at
        self.held = None
        self._came_back = False

    def _restarted(self, number: int, held_to: int) -> None:
        # the loop was started again under the same name: its numbers run back, what is shown belongs to the past
        if self._came_back and number < held_to:
            health, heard = self.view.health, self.view.heard
            self.view = View(self.history_s, heard=heard)
            self.view.health = health
            self.held = None
            self._came_back = False

    def _check(self, message: Message | VolumeMessage) -> None:
        # a single time far ahead would make all else the past, for ever; a loop that came back may have been away long
        time, now = _time(message), self.view.now
        if time is None:
            return
        ahead = math.isfinite(now) and time - now > LONGEST_PAUSE_S and not self._came_back
        if ahead or not abs(time) < FARTHEST_S:
            raise ValueError(f"{_kind(message)} of {time} s, while it is {now} s")

    def _store(self, message: Message | VolumeMessage) -> None:
        view = self.view
        match message:
            case EegPreview():
                self._store_eeg(message)
            case BoldMessage():
                self._store_volume(message)
            case VolumeMessage():
                view.images.put(message)
                self._see(message.received)
            case PredictionMessage():
                self._store_prediction(message)
            case ScoreMessage():
                view.scores.put(message)
                self._see(message.about)
            case TriggerMessage():
                why = f", {message.reason}" if message.reason else ""
                text = f"{message.action} {message.level:.2f}{why}"
                self._predictions().mark(f"trigger {message.id}", Mark(message.about, fired=True, text=text))
                view.trigger = message
                self._see(message.about)
            case VetoMessage():
                self._predictions().mark(
                    f"veto {message.window}", Mark(message.about, fired=False, text=message.reason)
                )
                self._see(message.about)
            case FeatureMessage():
                view.features.setdefault(message.name, Timeline(self.history_s)).add(message.about, message)
                self._see(message.about)
            case MarkerMessage():
                view.markers.add(message.at, message)
                self._see(message.at)
            case HealthMessage():
                view.health.add(message.at, message)
                self._see(message.at)
            case QualityMessage():
                view.quality.add(message.at, message)
                self._see(message.at)
            case Status() | About() | CardMessage() | ConfigMessage():
                pass

    def _see(self, time: float) -> None:
        self.view.now = max(self.view.now, time)
        self.view.began = min(self.view.began, time)

    def _store_eeg(self, message: EegPreview) -> None:
        if not message.sfreq > 0:
            raise ValueError(f"preview at {message.sfreq!r} Hz")
        widths = {len(channel) for channel in message.data_uv}
        if len(widths) != 1:
            raise ValueError(f"preview with channels of {sorted(widths)} samples: expected one length")
        full = self.about.eeg_sfreq if self.about is not None else message.sfreq
        # numbers count samples of the cleaned EEG, of which the preview may hold every second, third …
        first = round(message.first_sample * message.sfreq / full)
        store = self.view.raw if message.raw else self.view.eeg
        if store is not None and not store.rows.empty:
            self._restarted(first, store.rows.end)
            store = self.view.raw if message.raw else self.view.eeg
        # a rate that was measured wavers in its last digits: that is no other stream
        if (
            store is None
            or store.rows.width != len(message.data_uv)
            or abs(message.sfreq - store.sfreq) > 0.01 * store.sfreq
        ):
            store = EegStore(len(message.data_uv), message.sfreq, self.history_s)
            if message.raw:
                self.view.raw = store
            else:
                self.view.eeg = store
        store.put(first, message.t0, message.data_uv)
        store.bad = frozenset(message.bad)
        self._see(message.t0)
        self._see(store.newest)

    def _store_volume(self, message: BoldMessage) -> None:
        store = self.view.volumes
        if store is None or store.n_regions != len(message.regions):
            held = round(self.history_s / SHORTEST_TR_S)
            store = self.view.volumes = VolumeStore(len(message.regions), held)
        motion = [*message.motion_mm, *message.motion_rad]
        store.put(
            message.index,
            message.acquired,
            message.received,
            message.regions,
            motion,
            message.fd_mm,
            message.dvars_percent,
            message.z,
        )
        self._see(message.received)

    def _predictions(self) -> PredictionStore:
        if self.view.predictions is None:
            about = self.about
            classes = about.classes if about is not None else list(self._last_classes())
            tick_hz = about.tick_hz if about is not None else 10.0
            self.view.predictions = PredictionStore(classes, tick_hz, self.history_s)
        return self.view.predictions

    def _last_classes(self) -> dict[str, float]:
        newest = self.view.prediction.newest
        return newest.probabilities if newest is not None else {}

    def _store_prediction(self, message: PredictionMessage) -> None:
        store = self.view.predictions
        if store is not None and not store.rows.empty:
            self._restarted(message.seq, store.rows.end)
        self.view.prediction.add(message.about, message)
        store = self._predictions()
        if not store.classes and message.probabilities:
            made = PredictionStore(list(message.probabilities), store.tick_hz, self.history_s)
            made.marks, made.triggers, made.vetoes = store.marks, store.triggers, store.vetoes
            store = self.view.predictions = made
        store.put(message.seq, message.about, message.probabilities, message.uncertainty)
        self._see(message.about)


def _time(message: Message | VolumeMessage) -> float | None:
    match message:
        case EegPreview():
            return message.t0
        case BoldMessage() | VolumeMessage():
            return message.received
        case PredictionMessage() | ScoreMessage() | TriggerMessage() | VetoMessage() | FeatureMessage():
            return message.about
        case MarkerMessage() | HealthMessage() | QualityMessage():
            return message.at
        case Status() | About() | CardMessage() | ConfigMessage():
            return None


def _kind(message: Message | VolumeMessage) -> str:
    if isinstance(message, EegPreview) and message.raw:
        return "raw"
    return type(message).__name__


def _layout(about: About) -> tuple[object, ...]:
    return (about.eeg_sfreq, about.channels, about.regions, about.classes, about.tick_hz)
