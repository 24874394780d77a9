"""Results over MQTT: what leaves the session for the dashboard and for anyone else who listens.

``put`` only queues; encoding and sending are done by ``run``. While the broker is away, results wait in the bounded
queue, the oldest are dropped and counted, and triggers are the last to go.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiomqtt
from pydantic import Field, model_validator

from streamer import wire
from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.emit.preview import Fill, preview_of
from streamer.messages import BoldFrame, CleanEeg, Feature, Health, Output, Prediction, SessionTime, Trigger, Veto

_BACKOFF_S = (0.2, 5.0)
_DRAIN_S = 1.0
_TIMEOUT_S = 3.0
_ROUNDING_S = 1e-6
_PORTS = {"mqtt": 1883, "mqtts": 8883}

_log = logging.getLogger(__name__)


class MqttSettings(Settings):
    """Where results are published, and how."""

    broker: str = "embedded"
    """``embedded`` (a child process on this machine), ``mqtt://host:port`` or ``mqtts://host:port``."""
    username: str = ""
    """Empty for none."""
    password_env: str = ""
    """Name of the environment variable that holds the password."""
    ca_file: Path | None = None
    """Certificates to trust for ``mqtts``, PEM; the system's when absent."""
    insecure: bool = False
    """Allow a broker on another machine without TLS or without a password."""
    queue_size: int = Field(default=1000, ge=1)
    """Messages kept while the broker is slow or away."""
    prediction_ttl_s: float = Field(default=1.0, gt=0)
    """s after which a prediction or a feature is stale and is not sent any more."""
    preview_s: float = Field(default=0.1, gt=0)
    """s of cleaned EEG per preview message."""

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        if self.broker == "embedded":
            return self
        scheme, host, _ = parse_url(self.broker)
        if _is_loopback(host) or self.insecure:
            return self
        missing = [
            what
            for what, there in (
                ("TLS (mqtts://)", scheme == "mqtts"),
                ("a user name and a password (username, password_env)", self.username and self.password_env),
            )
            if not there
        ]
        if missing:
            raise ValueError(
                f"broker is {self.broker!r}, on another machine: expected {' and '.join(missing)}, or insecure = true"
            )
        return self


def parse_url(url: str) -> tuple[str, str, int]:
    """Take the URL of a broker apart.

    Returns
    -------
    scheme : str
        ``mqtt`` or ``mqtts``.
    host : str
    port : int

    Raises
    ------
    ValueError
        It is not the URL of a broker, or it has a user or a path in it.
    """
    expected = f"broker is {url!r}: expected 'embedded', 'mqtt://host:port' or 'mqtts://host:port'"
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ValueError(expected) from None
    if not parts.hostname or parts.username or parts.path or parts.query or parts.fragment:
        raise ValueError(expected)
    return parts.scheme, parts.hostname, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class MqttSink:
    """Publishes a session's results.

    Parameters
    ----------
    settings : MqttSettings
    url : str
        The broker: that of the settings, or of the embedded one.
    session : str
        Second level of all topics.
    clock : Clock
        Tells what has expired.
    """

    name = "mqtt"

    def __init__(self, settings: MqttSettings, url: str, session: str, clock: Clock) -> None:
        self.url = url
        self.problem: str | None = None
        """Why there is no connection; None while there is one."""
        self._settings = settings
        self._session = session
        self._clock = clock
        self._scheme, self._host, self._port = parse_url(url)
        self._triggers: deque[Trigger] = deque()
        self._others: deque[Output | Health | list[CleanEeg]] = deque()
        self._preview: list[CleanEeg] = []
        self._fill: Fill | None = None
        online = wire.Status(session=session, online=True, state="STARTING")
        self._retained: dict[str, wire.Message] = {"status": online}
        self._unsent = set(self._retained)
        self._lost: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._closing = False
        self._connected = False
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._connected

    @property
    def depth(self) -> int:
        """Messages that wait to be sent."""
        return len(self._triggers) + len(self._others)

    def put(self, item: Output | Health) -> None:
        """Queue one result; cheap. Windows are not published."""
        match item:
            case CleanEeg():
                self._gather(item)
                return
            case Trigger():
                self._triggers.append(item)
            case Prediction() | Veto() | BoldFrame() | Feature() | Health():
                self._others.append(item)
            case _:
                return
        self._queued()

    def publish_about(self, about: wire.About, fill: Fill | None = None) -> None:
        """Say what the session consists of; kept by the broker, and said again after every reconnection.

        ``fill`` fills bad channels in where EEG is previewed.
        """
        self._fill = fill
        self._retain("about", about)

    def publish_status(self, state: str, detail: str = "") -> None:
        """Say how the session is; kept by the broker, and said again after every reconnection."""
        self._retain("status", wire.Status(session=self._session, online=True, state=state, detail=detail))

    def losses(self) -> dict[str, int]:
        """Messages dropped so far, by kind; ``..._expired`` came too late to be sent."""
        return dict(self._lost)

    async def run(self) -> None:
        """Connect, send, and connect again whenever the broker was lost, until ``close``."""
        self._task = asyncio.current_task()
        shortest, longest = _BACKOFF_S
        wait = shortest
        while not self._closing:
            try:
                async with self._client() as client:
                    self._connected, self.problem, wait = True, None, shortest
                    self._unsent = set(self._retained)
                    _log.info("connected to the broker %s", self.url)
                    await self._stay(client)
            except aiomqtt.MqttError as error:
                if self.problem is None:
                    _log.warning("no connection to the broker %s: %s", self.url, error)
                self.problem = str(error)
            finally:
                self._connected = False
            if not self._closing:
                await self._pause(wait)
                wait = min(2 * wait, longest)

    async def close(self) -> None:
        """Send what is queued, for 1 s at most, then say that the session is offline. May be called twice."""
        self._flush_preview()
        self._closing = True
        self._wake.set()
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            await asyncio.wait({self._task}, timeout=_DRAIN_S)
            self._drop_all()
            self._wake.set()
            await asyncio.wait({self._task}, timeout=_DRAIN_S / 2)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._drop_all()

    def _gather(self, hop: CleanEeg) -> None:
        last = self._preview[-1] if self._preview else None
        if last is not None and (last.first_sample + len(last.data) != hop.first_sample or last.bad != hop.bad):
            # a preview is one stretch without a hole, with the same bad channels
            self._flush_preview()
        if len(hop.data):
            self._preview.append(hop)
        if self._preview and hop.times[-1] - self._preview[0].times[0] >= self._settings.preview_s - _ROUNDING_S:
            self._flush_preview()

    def _flush_preview(self) -> None:
        if self._preview:
            self._others.append(self._preview)
            self._preview = []
            self._queued()

    def _queued(self) -> None:
        if self.depth > self._settings.queue_size:
            dropped = self._others.popleft() if self._others else self._triggers.popleft()
            self._lost[_kind(dropped)] += 1
        self._wake.set()

    def _drop_all(self) -> None:
        self._lost.update(_kind(item) for item in (*self._triggers, *self._others))
        self._triggers.clear()
        self._others.clear()

    def _retain(self, name: str, message: wire.Message) -> None:
        self._retained[name] = message
        self._unsent.add(name)
        self._wake.set()

    def _offline(self, detail: str) -> bytes:
        return wire.encode(wire.Status(session=self._session, online=False, state="STOPPED", detail=detail))

    def _topic(self, name: str) -> str:
        return wire.topic(self._session, name)

    def _client(self) -> aiomqtt.Client:
        s = self._settings
        context = None
        if self._scheme == "mqtts":
            context = ssl.create_default_context(cafile=s.ca_file)
        return aiomqtt.Client(
            self._host,
            self._port,
            username=s.username or None,
            password=os.environ.get(s.password_env) if s.password_env else None,
            # one name for all connections of a session: a half-dead one is taken over, and its will comes before us
            identifier=f"streamer-{self._session}",
            will=aiomqtt.Will(self._topic("status"), self._offline("connection lost"), retain=True),
            tls_context=context,
            timeout=_TIMEOUT_S,
            keepalive=5,
            # else a small message may wait 40 ms for the receipt of the one before
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )

    async def _pause(self, seconds: float) -> None:
        # queued results wake it, the end of the session ends it
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._closing:
                    self._wake.clear()
                    await self._wake.wait()

    async def _stay(self, client: aiomqtt.Client) -> None:
        # a silent session notices the loss of its broker by listening
        listening = asyncio.ensure_future(_listen(client))
        sending = asyncio.ensure_future(self._send_all(client))
        try:
            done, _ = await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            with suppress(aiomqtt.MqttError):
                await client.publish(self._topic("status"), self._offline("cancelled"), retain=True, timeout=0.3)
            raise
        finally:
            for task in (listening, sending):
                task.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)
        for task in done:
            task.result()

    async def _send_all(self, client: aiomqtt.Client) -> None:
        while True:
            while self._unsent:
                name = self._unsent.pop()
                await client.publish(self._topic(name), wire.encode(self._retained[name]), retain=True)
            # cleared before looking: what is put while sending wakes again
            self._wake.clear()
            if self._triggers:
                await self._send_trigger(client, self._triggers.popleft())
            elif self._others:
                await self._send_other(client, self._others.popleft())
            elif self._closing:
                await client.publish(self._topic("status"), self._offline("session closed"), retain=True)
                return
            elif not self._unsent:
                await self._wake.wait()

    async def _send_trigger(self, client: aiomqtt.Client, trigger: Trigger) -> None:
        if self._clock.now() > trigger.expires:
            self._lost["trigger_expired"] += 1
            return
        try:
            await client.publish(self._topic("trigger"), wire.encode(wire.from_trigger(self._session, trigger)), qos=1)
        except (aiomqtt.MqttError, asyncio.CancelledError):
            # it may have arrived: consumers drop doubles by its id
            self._triggers.appendleft(trigger)
            raise

    async def _send_other(self, client: aiomqtt.Client, item: Output | Health | list[CleanEeg]) -> None:
        named = self._message(item)
        if named is None:
            return
        name, message = named
        try:
            await client.publish(self._topic(name), wire.encode(message))
        except (aiomqtt.MqttError, asyncio.CancelledError):
            self._others.appendleft(item)
            raise

    def _message(self, item: Output | Health | list[CleanEeg]) -> tuple[str, wire.Message] | None:
        match item:
            case Prediction():
                expires = self._expires(item, item.about if item.ready is None else item.ready)
                return None if expires is None else ("prediction", wire.from_prediction(item, expires))
            case Feature():
                expires = self._expires(item, item.about + item.delay_s if item.ready is None else item.ready)
                return None if expires is None else (f"feature/{item.name}", wire.from_feature(item, expires))
            case Veto():
                return "veto", wire.from_veto(item)
            case BoldFrame():
                return "bold", wire.from_bold(item)
            case Health():
                return "health", wire.from_health(item)
            case list():
                about = self._retained.get("about")
                sfreq = about.eeg_sfreq if isinstance(about, wire.About) else None
                return "preview/eeg", preview_of(item, sfreq, self._fill)
            case _:
                raise TypeError(f"{type(item).__name__} has no message")

    def _expires(self, item: Prediction | Feature, known: float) -> SessionTime | None:
        expires = SessionTime(known + self._settings.prediction_ttl_s)
        if self._clock.now() <= expires:
            return expires
        self._lost[f"{_kind(item)}_expired"] += 1
        return None


async def _listen(client: aiomqtt.Client) -> None:
    async for _ in client.messages:
        pass


def _kind(item: Output | Health | list[CleanEeg]) -> str:
    return "preview" if isinstance(item, list) else type(item).__name__.lower()
