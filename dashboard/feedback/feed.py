"""Scores, triggers and the session's state over MQTT, each stamped as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt

from dashboard.feedback.store import Heard
from dashboard.link.feed import Access, BrokerAddress, Feed
from streamer.errors import FormatError
from streamer.wire import ROOT, ScoreMessage, Status, TriggerMessage, decode

KINDS: dict[str, type[ScoreMessage | Status | TriggerMessage]] = {
    "status": Status,
    "score": ScoreMessage,
    "trigger": TriggerMessage,
}
"""What is listened to, by the last part of its topic."""
MAX_BYTES = 65536
"""A longer payload is not looked at."""
CAPACITY = 256
"""Messages of a kind that wait at most; then the oldest is dropped and counted."""


class ScoreFeed(Feed):
    """What the participant's view needs of a session, or of all.

    Parameters
    ----------
    broker : BrokerAddress
    session : str or None
        None takes all.
    access : Access or None
    now : callable
        Tells the time, s: stamps every message as it comes.

    Raises
    ------
    UsageError
        The certificates cannot be read.
    """

    def __init__(
        self, broker: BrokerAddress, session: str | None, access: Access | None, now: Callable[[], float]
    ) -> None:
        super().__init__(broker, session, access, kinds=tuple(KINDS), now=now)
        self.wake: Callable[[], None] = lambda: None
        """Called from the network's thread when something waits."""
        # a flood of one kind must not push out another
        self._waiting = {name: deque[Heard](maxlen=CAPACITY) for name in KINDS}

    def take_all(self) -> list[Heard]:
        """Take all that is waiting, in the order of arrival."""
        with self._lock:
            items = [heard for queue in self._waiting.values() for heard in queue]
            for queue in self._waiting.values():
                queue.clear()
        return sorted(items, key=lambda heard: heard.at)

    def take(self, topic: str, payload: bytes | bytearray) -> None:
        """Decode one message and queue it; a bad one is counted, and hides the score where it stands for one."""
        at = self.now()
        self.received += 1
        root, _, rest = topic.partition("/")
        session, _, name = rest.partition("/")
        if root != ROOT or name not in KINDS:
            self.malformed += 1
            return
        message = _decoded(name, payload)
        if message is None:
            self.malformed += 1
            if name != "score":
                return
        queue = self._waiting[name]
        with self._lock:
            if len(queue) == queue.maxlen:
                self.dropped += 1
            queue.append(Heard(session, message, at))
        self.wake()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.malformed += 1
            return
        # a broker that keeps a score or a trigger hands out the past
        if message.retain and not topic.endswith("/status"):
            self.malformed += 1
            return
        self.take(topic, message.payload)


def _decoded(name: str, payload: bytes | bytearray) -> ScoreMessage | Status | TriggerMessage | None:
    if len(payload) > MAX_BYTES:
        return None
    try:
        message = decode(bytes(payload))
    except FormatError:
        return None
    return (
        message
        if isinstance(message, ScoreMessage | Status | TriggerMessage) and KINDS[name] is type(message)
        else None
    )
