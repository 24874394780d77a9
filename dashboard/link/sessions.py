"""Which brokers there are, and which sessions can be heard there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from dashboard.kept import write_kept
from dashboard.link.feed import Access, BrokerAddress, Feed, parse_broker
from streamer.errors import UsageError
from streamer.wire import About, HealthMessage, Status
from streamer.wire.folder import RUNNING

FILE = "brokers.json"
"""Name of the file with the brokers that were connected to."""
MOST = 10
"""Brokers that are remembered."""
LOOPBACK = "mqtt://127.0.0.1:1883"
KINDS = ("status", "about", "health")


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """A broker, and how to be let in; no password is ever kept."""

    url: str
    username: str | None = None
    password_env: str | None = None
    """Name of the environment variable that holds the password."""
    ca_file: str | None = None

    @property
    def address(self) -> BrokerAddress:
        """Where it is; UsageError where the URL is none."""
        return parse_broker(self.url)

    def access(self, password: str | None = None) -> Access:
        """Give what the broker wants to know; ``password`` is what was typed in.

        Raises
        ------
        UsageError
            There is no environment variable of the name.
        """
        if not password and self.password_env:
            if self.password_env not in os.environ:
                raise UsageError(f"there is no environment variable {self.password_env}")
            password = os.environ[self.password_env]
        return Access(self.username or None, password or None, Path(self.ca_file) if self.ca_file else None)


@dataclass(slots=True)
class FoundSession:
    """A session that was heard of."""

    name: str
    state: str = ""
    online: bool = False
    model: str = ""
    eeg_channels: int = 0
    blinded: bool = False
    heard: float | None = None
    """When its loop told of its health last, s on the clock of the feed; None for not since the search began."""


@dataclass(slots=True)
class FoundBroker:
    """A broker that is asked."""

    choice: BrokerChoice
    feed: Feed | None
    problem: str = ""
    """Why it cannot be asked at all."""
    sessions: dict[str, FoundSession] = field(default_factory=dict[str, FoundSession])

    @property
    def said(self) -> str:
        """How it stands with the broker."""
        if self.feed is None:
            return self.problem
        return "connected" if self.feed.connected else self.feed.problem or "asking"


class Search:
    """Asks several brokers at the same time who is there, until it is ended; never blocks.

    Parameters
    ----------
    choices : sequence of BrokerChoice
    passwords : mapping
        Passwords that were typed in, by URL.
    """

    def __init__(self, choices: Sequence[BrokerChoice], passwords: Mapping[str, str] | None = None) -> None:
        self.brokers = [_ask(choice, (passwords or {}).get(choice.url)) for choice in choices]

    def look(self) -> None:
        """Take in what was heard so far."""
        for broker in self.brokers:
            for arrival in broker.feed.drain() if broker.feed is not None else ():
                found = broker.sessions.setdefault(arrival.session, FoundSession(arrival.session))
                match arrival.message:
                    case Status() as status:
                        found.online = status.online
                        found.state = status.state
                    case About() as about:
                        found.model, found.blinded = about.model, about.blinded
                        found.eeg_channels = sum(channel.kind == "eeg" for channel in about.channels)
                    case HealthMessage():
                        found.heard = arrival.came
                    case _:
                        pass

    def end(self) -> None:
        """Leave all brokers, without waiting for it. May be called twice."""
        for broker in self.brokers:
            if broker.feed is not None:
                broker.feed.stop(wait=False)


def _ask(choice: BrokerChoice, password: str | None) -> FoundBroker:
    try:
        feed = Feed(choice.address, None, choice.access(password), kinds=KINDS)
    except UsageError as error:
        return FoundBroker(choice, None, str(error))
    feed.start()
    return FoundBroker(choice, feed)


def local_brokers(folder: Path) -> list[BrokerChoice]:
    """Find the brokers of sessions that run on this machine; ``folder`` has a folder for each session."""
    found: list[BrokerChoice] = []
    with contextlib.suppress(OSError):
        # the newest first
        for path in sorted(folder.glob(f"*/{RUNNING}"), key=_written, reverse=True)[:MOST]:
            told = _object(path)
            url = told.get("broker") if told is not None else None
            if isinstance(url, str) and _is_broker(url):
                found.append(BrokerChoice(url))
    return found


def remembered(path: Path) -> list[BrokerChoice]:
    """Read the brokers that were connected to, the last first; none where the file cannot be used."""
    told = _object(path)
    entries = told.get("brokers") if told is not None else None
    if not isinstance(entries, list):
        return []
    choices = (_choice(entry) for entry in cast("list[object]", entries)[:MOST])
    return [choice for choice in choices if choice is not None]


def remember(path: Path, choice: BrokerChoice) -> str:
    """Keep a broker for the next time; gives a note where that fails."""
    choices = [choice, *(each for each in remembered(path) if each.url != choice.url)][:MOST]
    plain = [
        {"url": c.url, "username": c.username, "password_env": c.password_env, "ca_file": c.ca_file} for c in choices
    ]
    failed = write_kept(path, {"brokers": plain})
    return f"the broker could not be remembered in {path}: {failed}" if failed else ""


def unique(choices: Iterable[BrokerChoice]) -> list[BrokerChoice]:
    """Keep the first of each address."""
    made: dict[str, BrokerChoice] = {}
    for choice in choices:
        made.setdefault(choice.address.text, choice)
    return list(made.values())


def _choice(entry: object) -> BrokerChoice | None:
    if not isinstance(entry, dict):
        return None
    values = cast("dict[str, object]", entry)
    url = values.get("url")
    if not isinstance(url, str) or not _is_broker(url):
        return None
    texts = (values.get(name) for name in ("username", "password_env", "ca_file"))
    return BrokerChoice(url, *(text if isinstance(text, str) and text else None for text in texts))


def _is_broker(url: str) -> bool:
    try:
        parse_broker(url)
    except UsageError:
        return False
    return True


def _object(path: Path) -> dict[str, object] | None:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
