"""The scanner room: an amplifier and an exporter that do what is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from streamer.rig.actions import Action, CloseStreams, OpenStreams, SendChunk, SendMarker
from streamer.rig.exporter import Exporter
from streamer.rig.ledger import UNHEARD, Injected

HEARD_S = 0.25
"""From the moment somebody listens until the first sample, s: a listener that just connected settles."""


class Sender(Protocol):
    """An amplifier's way to its listeners: LSL outlets, or a Recorder's RDA server."""

    def begin(self, t0: float) -> None:
        """Say at which LSL time the recording's first sample lies, s."""
        ...

    def heard(self) -> bool:
        """Tell whether somebody listens to all there is."""
        ...

    def listeners(self) -> tuple[bool, bool]:
        """Tell whether somebody listens to the EEG, and to the markers."""
        ...

    def send(self, start: int, stop: int, offset_s: float = 0.0, ppm: float = 0.0) -> None:
        """Send samples ``start`` to ``stop`` (excluded), their stamps wrong by an offset and a rate."""
        ...

    def mark(self, label: str, at_s: float, offset_s: float = 0.0, ppm: float = 0.0) -> None:
        """Send a marker of this time on the recording's axis, s."""
        ...

    def close(self) -> None:
        """Leave the network."""
        ...


@dataclass
class Played:
    """What was sent so far; what was sent twice counts twice."""

    samples: int = 0
    markers: int = 0
    volumes: int = 0
    """Files that are whole."""
    late_ms: float = 0.0
    """Greatest lateness of an action."""
    markers_left_out: int = 0
    """Markers of the recording that lie outside what is played."""
    volumes_left_out: int = 0
    rda_port: int | None = None
    """Where a Recorder's clients find it; None on LSL."""
    faults: list[Injected] = field(default_factory=list[Injected])
    """The ledger, once playing has ended."""


class Room:
    """Performs actions.

    Parameters
    ----------
    open_sender : callable or None
        Puts the amplifier on the network; None: there is no EEG.
    exporter : Exporter or None
        None: volumes are not exported.
    now : callable
        The LSL clock, s.
    wait_consumers : bool
        After the streams were away, hold back what nobody would hear, and write it into the ledger.
    """

    def __init__(
        self,
        open_sender: Callable[[], Sender] | None,
        exporter: Exporter | None,
        now: Callable[[], float],
        *,
        wait_consumers: bool,
    ) -> None:
        self.played = Played()
        self.held_back: list[Injected] = []
        """What was not sent because nobody listened."""
        self._open_sender, self._exporter, self._now, self._wait = open_sender, exporter, now, wait_consumers
        self._t0 = 0.0
        self._settled_at: float | None = 0.0
        self.sender = open_sender() if open_sender is not None else None

    def begin(self, t0: float) -> None:
        """Say at which LSL time the recording's axis begins, s."""
        self._t0 = t0
        if self.sender is not None:
            self.sender.begin(t0)

    def perform(self, at: float, action: Action) -> None:
        """Do something whose time on the recording's axis is ``at``."""
        match action:
            case SendChunk() | SendMarker():
                self._send(at, action)
            case CloseStreams():
                self.close()
            case OpenStreams():
                if self._open_sender is not None:
                    self.sender = self._open_sender()
                    self.sender.begin(self._t0)
                    self._settled_at = None if self._wait else 0.0
            case _:
                if self._exporter is not None:
                    self.played.volumes += self._exporter.perform(action)

    def close(self) -> None:
        """Take the amplifier off the network. May be called twice."""
        if self.sender is not None:
            self.sender.close()
            self.sender = None

    def _send(self, at: float, action: SendChunk | SendMarker) -> None:
        if self.sender is None:
            return
        if not self._settled(self.sender):
            self._hold_back(at, action)
        elif isinstance(action, SendChunk):
            self.sender.send(action.start, action.stop, action.offset_s, action.ppm)
            self.played.samples += action.stop - action.start
        else:
            self.sender.mark(action.label, action.at_s, action.offset_s, action.ppm)
            self.played.markers += 1

    def _settled(self, sender: Sender) -> bool:
        if self._settled_at is None and sender.heard():
            self._settled_at = self._now() + HEARD_S
        return self._settled_at is not None and self._now() >= self._settled_at

    def _hold_back(self, at: float, action: SendChunk | SendMarker) -> None:
        if isinstance(action, SendMarker):
            detail = action.label if action.place is None else ""
            self.held_back.append(Injected(UNHEARD, at, marker=action.place, detail=detail))
            return
        last = next((i for i in reversed(range(len(self.held_back))) if self.held_back[i].samples), None)
        if last is not None and (samples := self.held_back[last].samples) and samples[1] == action.start:
            self.held_back[last] = replace(self.held_back[last], samples=(samples[0], action.stop))
        else:
            self.held_back.append(Injected(UNHEARD, at, samples=(action.start, action.stop)))
