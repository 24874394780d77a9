"""The MQTT side: a network thread that decodes messages and puts them into a bounded queue, nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from pylsl import local_clock

from dashboard.link.waiting import MAX_BYTES, Arrival, Waiting
from streamer.errors import FormatError, UsageError
from streamer.wire import ROOT, decode
from streamer.wire import topic as topic_of

__all__ = ["Access", "Arrival", "BrokerAddress", "Feed", "parse_broker"]

COMMAND = "command"
"""Topic on which a session hears its operator."""
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE_S = 10
RECONNECT_S = (1, 8)
"""Shortest and longest wait between attempts; it doubles."""
CONNECT_S = 3.0
"""Longest wait for a machine that does not answer at all."""
WITHOUT_PREVIEWS = (
    "status", "about", "card", "config", "health", "quality", "prediction", "score", "trigger", "veto", "bold",
    "marker", "feature/#",
)  # fmt: skip
"""All that a session sends but the pictures, which make up nearly all of its bytes."""


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
        Messages that wait at most; then the oldest is dropped and counted, pictures first, triggers never.
    kinds : sequence of str
        What is subscribed to, such as :data:`WITHOUT_PREVIEWS`; by default all.
    now : callable
        Tells the time, s: stamps every message as it comes.

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
        now: Callable[[], float] = local_clock,
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
        self.now = now
        self._topics = [(f"{ROOT}/{session or '+'}/{kind}", 1) for kind in kinds]
        self._queue = Waiting(capacity)
        self._lock = Lock()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.reconnect_delay_set(*RECONNECT_S)
        client.connect_timeout = CONNECT_S
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

    def stop(self, *, wait: bool = True) -> None:
        """Disconnect and end the thread. May be called twice.

        Parameters
        ----------
        wait : bool
            Wait for the thread: some seconds where it just tries to connect. False lets it end by itself.
        """
        client, self._client = self._client, None
        self.connected = False
        if client is None:
            return
        client.disconnect()
        if wait:
            _end(client)
        else:
            Thread(target=_end, args=(client,), name="leaving a broker", daemon=True).start()

    def send(self, session: str, payload: bytes, *, once: bool) -> bool:
        """Send a command to a session, by the network's thread; tells whether it is on its way.

        Nothing is sent while there is no connection: a command is for now, and must not come when there is one again.

        Parameters
        ----------
        session : str
        payload : bytes
        once : bool
            Send it with QoS 0, so that no broker brings it later; otherwise with QoS 1, so that it is not lost.
        """
        client = self._client
        if client is None or not self.connected:
            return False
        said = client.publish(topic_of(session, COMMAND), payload, qos=0 if once else 1)
        return said.rc == mqtt.MQTT_ERR_SUCCESS

    def drain(self) -> list[Arrival]:
        """Take all that is waiting: who is there first, then data in the order of arrival."""
        with self._lock:
            return self._queue.take_all()

    def take(self, topic: str, payload: bytes | bytearray) -> None:
        """Decode one message and queue it; a bad one is counted."""
        came = self.now()
        self.received += 1
        parts = topic.split("/", 2)
        if len(parts) == 3 and parts[2] == COMMAND:
            # to the session, not from it
            return
        if len(payload) > MAX_BYTES:
            self.dropped += 1
            return
        try:
            if len(parts) != 3:
                raise FormatError(f"topic {topic!r}: expected {ROOT}/SESSION/NAME")
            arrival = Arrival(parts[1], decode(bytes(payload)), came=came)
        except FormatError:
            self.malformed += 1
            return
        with self._lock:
            self.dropped += self._queue.put(arrival, len(payload))

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
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.malformed += 1
            return
        self.take(topic, message.payload)


def _end(client: mqtt.Client) -> None:
    client.loop_stop()
    # paho frees sockets of its own when it goes: it must not wait for the collector in a ring with us
    client.on_connect = client.on_connect_fail = client.on_disconnect = client.on_message = None
