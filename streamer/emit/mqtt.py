"""Results over MQTT: what leaves the session for the dashboard and for anyone else who listens.

``put`` only queues; encoding and sending are done by ``run``. While the broker is away, results wait in the bounded
queue, the oldest are dropped and counted, and triggers are the last to go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import aiomqtt
import msgspec

from streamer import wire
from streamer.clock import Clock
from streamer.emit.command_guard import CommandGuard
from streamer.emit.mqtt_link import Link, LinkClient
from streamer.emit.mqtt_messages import Making
from streamer.emit.mqtt_quality import QualityNow
from streamer.emit.mqtt_queue import Gathering, Item, Outbox, kind_of
from streamer.emit.mqtt_settings import MqttSettings, parse_url
from streamer.emit.preview import Fill
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Command,
    Feature,
    Health,
    Output,
    Prediction,
    Score,
    Trigger,
    Veto,
)

__all__ = ["MqttSettings", "MqttSink", "parse_url"]

_BACKOFF_S = (0.2, 5.0)
_DRAIN_S = 1.0

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes a session's results, and hears the operator's commands.

    Parameters
    ----------
    settings : MqttSettings
    url : str
        The broker: that of the settings, or of the embedded one.
    session : str
        Second level of all topics.
    clock : Clock
        Tells what has expired.
    blinded : bool
        A session with sham: predictions, features and region signals, which would tell the true score, are not sent.
    on_command : callable, optional
        Takes every command that counts, at once, in the loop's thread; None hears none.
    key : bytes, optional
        What commands other than stop are signed with; None takes none of them.

    Raises
    ------
    UsageError
        A certificate cannot be read, or the password's variable is not set.
    """

    name = "mqtt"

    def __init__(
        self,
        settings: MqttSettings,
        url: str,
        session: str,
        clock: Clock,
        *,
        blinded: bool = False,
        on_command: Callable[[Command], None] | None = None,
        key: bytes | None = None,
    ) -> None:
        self.url = url
        self.problem: str | None = None
        """Why there is no connection; None while there is one."""
        self._session = session
        self._clock = clock
        self._blinded = blinded
        self._on_command = on_command if settings.commands else None
        self._previews = settings.preview != "none"
        self._outbox = Outbox(settings.queue_size)
        self._gathering = Gathering(settings.preview_s, self._queue)
        self._making = Making(
            session,
            settings.prediction_ttl_s,
            self._outbox.lost,
            binary=settings.preview == "binary",
            blinded=blinded,
        )
        self._quality = QualityNow()
        self._guard = CommandGuard(session, key, clock.now())
        self._link = Link(settings, url, session, self._offline("connection lost"))
        online = wire.Status(session=session, online=True, state="STARTING")
        self._retained: dict[str, wire.Message] = {"status": online}
        self._unsent = set(self._retained)
        self._wake = asyncio.Event()
        self._closing = False
        self._connected = False
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._connected

    @property
    def protocol(self) -> str:
        """The version of MQTT that is spoken: ``5`` or ``3.1.1``."""
        return "5" if self._link.is_5 else "3.1.1"

    @property
    def depth(self) -> int:
        """Messages that wait to be sent."""
        return len(self._outbox)

    @property
    def refused_commands(self) -> Mapping[str, int]:
        """Commands refused so far, by reason."""
        return dict(self._guard.refused)

    def put(self, item: Output | Health) -> None:
        """Queue one result; cheap. Windows are not published, nor are triggers that aim at a phase."""
        match item:
            case CleanEeg():
                self._quality.take(item)
                if self._previews:
                    self._gathering.add(item)
            case Prediction() | Feature():
                if not self._blinded:
                    self._queue(item)
            case BoldFrame():
                self._quality.take(item)
                self._queue(item)
            case Health():
                self._queue(item)
                about = self._retained.get("about")
                self._queue(self._quality.message(item, about if isinstance(about, wire.About) else None))
            case Trigger(source="phase"):
                # milliseconds count: what a broker delays would fire at another phase
                pass
            case Trigger() | Score() | Veto():
                self._queue(item)
            case _:
                pass

    def publish_about(self, about: wire.About, fill: Fill | None = None) -> None:
        """Say what the session consists of; kept by the broker, and said again after every reconnection.

        ``fill`` fills bad channels in where EEG is previewed.
        """
        self._making.fill = fill
        self._making.sfreq = about.eeg_sfreq
        self._retain("about", msgspec.structs.replace(about, blinded=self._blinded))

    def publish_card(self, card: wire.CardMessage) -> None:
        """Say which model is asked; kept and said again like ``about``."""
        self._retain("card", card)

    def publish_config(self, config: wire.ConfigMessage) -> None:
        """Say what the session is set to; kept and said again like ``about``."""
        self._retain("config", config)

    def publish_status(self, state: str, detail: str = "") -> None:
        """Say how the session is; kept by the broker, and said again after every reconnection."""
        self._retain("status", wire.Status(session=self._session, online=True, state=state, detail=detail))

    def losses(self) -> dict[str, int]:
        """Messages dropped so far, by kind.

        ``..._expired`` came too late, ``..._refused`` the broker did not take, ``..._failed`` could not be made.
        """
        return dict(self._outbox.lost)

    async def run(self) -> None:
        """Connect, send, and connect again whenever the broker was lost, until ``close``."""
        self._task = asyncio.current_task()
        shortest, longest = _BACKOFF_S
        wait = shortest
        while not self._closing:
            try:
                await self._link.settle()
                async with self._link.client() as client:
                    self._connected, self.problem, wait = True, None, shortest
                    self._unsent = set(self._retained)
                    _log.info("connected to the broker %s, MQTT %s", self.url, self.protocol)
                    await self._stay(client)
            except aiomqtt.MqttError as error:
                if self.problem is None:
                    _log.warning("no connection to the broker %s: %s", self.url, error)
                self.problem = str(error)
            except Exception as error:  # noqa: BLE001 - the loop must run on, and a later attempt may work
                _log.exception("publishing to the broker %s failed", self.url)
                self.problem = f"{type(error).__name__}: {error}"
            finally:
                self._connected = False
            if not self._closing:
                await self._pause(wait)
                wait = min(2 * wait, longest)

    async def close(self) -> None:
        """Send what is queued, for 1 s at most, then say that the session is offline. May be called twice."""
        self._gathering.flush()
        self._closing = True
        self._wake.set()
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            await asyncio.wait({self._task}, timeout=_DRAIN_S)
            self._outbox.drop_all()
            self._wake.set()
            await asyncio.wait({self._task}, timeout=_DRAIN_S / 2)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._outbox.drop_all()

    def _queue(self, item: Trigger | Item) -> None:
        self._outbox.add(item)
        self._wake.set()

    def _retain(self, name: str, message: wire.Message) -> None:
        self._retained[name] = message
        self._unsent.add(name)
        self._wake.set()

    def _offline(self, detail: str) -> bytes:
        return wire.encode(wire.Status(session=self._session, online=False, state="STOPPED", detail=detail))

    async def _pause(self, seconds: float) -> None:
        # queued results wake it, the end of the session ends it
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._closing:
                    self._wake.clear()
                    await self._wake.wait()

    async def _stay(self, client: LinkClient) -> None:
        # a silent session notices the loss of its broker by listening
        listening = asyncio.ensure_future(self._listen(client))
        sending = asyncio.ensure_future(self._send_all(client))
        try:
            done, _ = await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            with suppress(aiomqtt.MqttError):
                await self._link.retain(client, "status", self._offline("cancelled"), 0.3)
            raise
        finally:
            for task in (listening, sending):
                task.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self, client: LinkClient) -> None:
        if self._on_command is not None:
            answers = await client.subscribe(wire.topic(self._session, "command"), qos=1)
            if any((each if isinstance(each, int) else each.value) >= 128 for each in answers):
                _log.warning("the broker does not let the session hear commands over MQTT: %s", answers)
        async for message in client.messages:
            if self._on_command is None:
                continue
            command = self._guard.take(bytes(message.payload), self._clock.now())
            if command is None:
                continue
            try:
                self._on_command(command)
            except Exception:  # noqa: BLE001 - the way out must stay open, above all for the next stop
                _log.exception("command %s failed", command.action)

    async def _send_all(self, client: LinkClient) -> None:
        while True:
            while self._unsent:
                name = self._unsent.pop()
                await self._link.retain(client, name, wire.encode(self._retained[name]))
            # cleared before looking: what is put while sending wakes again
            self._wake.clear()
            item = self._outbox.take()
            if item is not None:
                await self._send(client, item)
                # what waited while the broker was away must not hold the loop up
                await asyncio.sleep(0)
            elif self._closing:
                await self._link.retain(client, "status", self._offline("session closed"))
                return
            elif not self._unsent:
                await self._wake.wait()

    async def _send(self, client: LinkClient, item: Trigger | Item) -> None:
        now = self._clock.now()
        try:
            message = self._making.make(item, now)
        except Exception:
            self._outbox.lost[f"{kind_of(item)}_failed"] += 1
            raise
        if message is None:
            return
        try:
            refusal = await self._link.send(client, message, now)
        except (aiomqtt.MqttError, asyncio.CancelledError):
            # it may have arrived: consumers of triggers drop doubles by their id
            self._outbox.put_back(item)
            raise
        if refusal is not None:
            self._outbox.lost[f"{kind_of(item)}_refused"] += 1
            _log.warning("the broker refused a %s: %s", kind_of(item), refusal)
