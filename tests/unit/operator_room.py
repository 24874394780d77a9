"""A session's end of the topic ``command``: the real guard, a gate's worth of state, and messages for a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboard.board import Board
from dashboard.link.keys import Keys
from dashboard.link.operator import OperatorLink
from streamer.emit.command_guard import CommandGuard
from streamer.messages import Command, SessionTime
from streamer.wire import About, ChannelEntry, HealthMessage, MarkerMessage, Status

KEY = b"a key of the operator's own"
ALL = ["stop", "arm", "annotate", "recentre", "end"]
AHEAD = 5000.0
"""By how much the session's clock is ahead of the window's, s."""


def about(session: str, commands: list[str] | None = None) -> About:
    return About(
        session=session, eeg_sfreq=250.0, channels=[ChannelEntry("Cz", "eeg")], regions=[], classes=["rest", "task"],
        model="m@1", tick_hz=10.0, thresholds={}, versions={}, commands=ALL if commands is None else commands,
    )  # fmt: skip


def status(session: str, *, online: bool = True, state: str = "RUNNING") -> Status:
    return Status(session=session, online=online, state=state)


class Room:
    """One session and a window's link to it, moved by hand."""

    def __init__(self, key: bytes | None = KEY, keys: Keys | None = None, name: str = "s", **options: Any) -> None:
        self.name = name
        self.time = 100.0
        self.connected = True
        self.reached = True
        """Whether what is sent comes to the session."""
        self.guard = CommandGuard(name, key, SessionTime(AHEAD))
        self.stopped = False
        self.tells_armed = True
        self.heard: list[Command] = []
        self.sent: list[tuple[bytes, bool]] = []
        self.board = Board()
        self.link = OperatorLink(self, keys, now=lambda: self.time, **options)

    @property
    def session_time(self) -> SessionTime:
        return SessionTime(self.time + AHEAD)

    def send(self, session: str, payload: bytes, *, once: bool) -> bool:
        """Take what the link sends, as the session does."""
        self.sent.append((payload, once))
        command = self.guard.take(payload, self.session_time) if self.reached and session == self.name else None
        if command is not None:
            self.heard.append(command)
            self.stopped = {"stop": True, "arm": False}.get(command.action, self.stopped)
            if command.action == "annotate":
                self.board.take(session, MarkerMessage(label=command.text, at=self.session_time))
        return True

    def begin(self, commands: list[str] | None = None) -> None:
        self.board.take(self.name, status(self.name))
        self.board.take(self.name, about(self.name, commands))
        self.tell()

    def tell(self) -> None:
        """Tell of its health, as a loop does once a second, and let the window draw a frame."""
        refused = dict(self.guard.refused)
        notes = [f"commands over MQTT that were refused: {refused}"] if refused else []
        health = HealthMessage(
            state="STOPPED" if self.stopped else "RUNNING", at=self.session_time, counts={}, losses={}, latency_ms={},
            queues={}, flags=[], notes=notes, armed=not self.stopped if self.tells_armed else None,
        )  # fmt: skip
        self.board.at = self.time
        self.board.take(self.name, health)
        self.link.refresh(self.board)

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.link.refresh(self.board)


def keys_of(folder: Path, session: str = "s", key: bytes = KEY) -> Keys:
    """Lay a key where a session on this machine lays it."""
    place = folder / session
    place.mkdir(parents=True, exist_ok=True)
    (place / "command.key").write_bytes(key)
    return Keys(folder=folder)
