"""The MQTT side: a network thread that decodes messages and puts them into a bounded queue, nothing more."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from streamer.errors import FormatError, UsageError
from streamer.wire import ROOT, About, Message, Status, decode

COMMAND = "command"
"""Topic on which a session hears its operator."""
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE_S = 10
RECONNECT_S = (1, 8)
"""Shortest and longest wait between attempts; it doubles."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is."""

    host: str
    port: int
    tls: bool

    @property
    def text(self) -> str:
        """The address as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str) -> BrokerAddress:
    """Read ``mqtt(s)://host[:port]``; UsageError for anything else."""
    expected = "expected mqtt://HOST:PORT or mqtts://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"broker {url!r}: {error}; {expected}") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError("the broker's address has a user or password in it: give --username and --password-env")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise UsageError(f"broker {url!r}: {expected}")
    return BrokerAddress(
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
    )


@dataclass(frozen=True, slots=True)
class Access:
    """What the broker wants to know before it lets anybody in."""

    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    """Certificates to trust for ``mqtts``, PEM; the system's when absent."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message and whose it is."""

    session: str
    message: Message


class Feed:
    """Messages of all sessions (or of one), as they come.

    Parameters
    ----------
    broker : BrokerAddress
        It may be absent, and may come and go: the connection is tried for ever, with growing pauses.
    session : str or None
        Name of the session; None takes all.
    access : Access or None
        User and certificates, where the broker asks for them.
    capacity : int
        Messages that wait at most; then the oldest is dropped and counted.
    kinds : sequence of str
        What is subscribed to; by default all.

    Raises
    ------
    UsageError
        The certificates cannot be read.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        session: str | None = None,
        access: Access | None = None,
        capacity: int = 4096,
        kinds: Sequence[str] = ("#",),
    ) -> None:
        self.broker = broker
        self.connected = False
        self.problem = ""
        """Why there is no connection, as far as known."""
        self.received = 0
        self.malformed = 0
        """Messages that were not ours, or too new."""
        self.dropped = 0
        """Messages lost because the window did not take them in time."""
        self._topics = [(f"{ROOT}/{session or '+'}/{kind}", 1) for kind in kinds]
        # what says who is there must survive a flood of data, so it waits apart
        self._notices: deque[Arrival] = deque(maxlen=256)
        self._data: deque[Arrival] = deque(maxlen=capacity)
        self._lock = Lock()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.reconnect_delay_set(*RECONNECT_S)
        access = access or Access()
        if access.username is not None:
            client.username_pw_set(access.username, access.password)
        if broker.tls:
            try:
                client.tls_set(ca_certs=str(access.ca_file) if access.ca_file is not None else None)
            except OSError as error:
                raise UsageError(f"certificates {access.ca_file}: {error}") from error
        self._client: mqtt.Client | None = client

    def start(self) -> None:
        """Start the network thread; returns at once, whether or not the broker is there. Not again after ``stop``."""
        if self._client is None:
            raise RuntimeError("a feed that was stopped was started again: make another one")
        self._client.connect_async(self.broker.host, self.broker.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect and end the thread. May be called twice."""
        client, self._client = self._client, None
        self.connected = False
        if client is not None:
            client.disconnect()
            client.loop_stop()
            # paho frees sockets of its own when it goes: it must not wait for the collector in a ring with us
            client.on_connect = client.on_connect_fail = client.on_disconnect = client.on_message = None

    def drain(self) -> list[Arrival]:
        """Take all that is waiting: who is there first, then data in the order of arrival."""
        with self._lock:
            items = [*self._notices, *self._data]
            self._notices.clear()
            self._data.clear()
        return items

    def take(self, topic: str, payload: bytes | bytearray) -> None:
        """Decode one message and queue it; a bad one is counted."""
        self.received += 1
        parts = topic.split("/", 2)
        try:
            if len(parts) != 3:
                raise FormatError(f"topic {topic!r}: expected {ROOT}/SESSION/NAME")
            if parts[2] == COMMAND:
                # to the session, not from it
                return
            arrival = Arrival(parts[1], decode(bytes(payload)))
        except FormatError:
            self.malformed += 1
            return
        queue = self._notices if isinstance(arrival.message, Status | About) else self._data
        with self._lock:
            if len(queue) == queue.maxlen:
                self.dropped += 1
            queue.append(arrival)

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self.connected = False
            self.problem = f"the broker refused the connection: {reason}"
            return
        self.connected = True
        self.problem = ""
        client.subscribe(self._topics)

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        self.connected = False
        self.problem = "nothing answers there"

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self.connected = False
        if reason.is_failure and not self.problem:
            self.problem = f"the connection was lost: {reason}"

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.take(message.topic, message.payload)
