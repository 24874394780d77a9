"""Results over MQTT: what leaves the session for the dashboard and for anyone else who listens.

``put`` only queues; encoding and sending are done by ``run``. While the broker is away, results wait in the bounded
queue, the oldest are dropped and counted, previews first, and triggers are the last to go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import get_args

import aiomqtt

from streamer import wire
from streamer.clock import Clock
from streamer.emit.command_guard import CommandGuard
from streamer.emit.message_stream import MessageStream
from streamer.emit.mqtt_link import Link, LinkClient
from streamer.emit.mqtt_messages import volume_preview
from streamer.emit.mqtt_queue import Item, kind_of
from streamer.emit.mqtt_settings import MqttSettings, parse_url
from streamer.messages import Command, Trigger, VolumeView
from streamer.wire.command import Action

__all__ = ["MqttSettings", "MqttSink", "parse_url"]

_BACKOFF_S = (0.2, 5.0)
_DRAIN_S = 1.0

_log = logging.getLogger(__name__)


class MqttSink(MessageStream):
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
        A session with sham: predictions, features, region signals and maps, which would tell the true score, are not
        sent.
    on_command : callable, optional
        Takes every command that counts, at once, in the loop's thread; None hears none.
    key : bytes, optional
        What commands other than stop are signed with; None takes none of them.
    volume_label : str
        Label of the volume triggers, which are not sent as markers.

    Raises
    ------
    UsageError
        A certificate cannot be read, or the password's variable is not set.
    """

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
        volume_label: str = "",
    ) -> None:
        heard = on_command is not None and settings.commands
        taken = () if not heard else ("stop",) if key is None else get_args(Action)
        self._wake = asyncio.Event()
        super().__init__(
            session,
            settings,
            blinded=blinded,
            volume_label=volume_label,
            commands=taken,
            size=settings.queue_size,
            wake=self._wake.set,
        )
        self.url = url
        self.problem: str | None = None
        """Why there is no connection; None while there is one."""
        self._clock = clock
        self._on_command = on_command if heard else None
        self._guard = CommandGuard(session, key, clock.now())
        self._link = Link(settings, url, session, self._offline("connection lost"))
        self._closing = False
        self._connected = False
        self._task: asyncio.Task[None] | None = None
        self._shows_volumes = settings.preview_volumes
        self._view: VolumeView | None = None
        self._viewing: asyncio.Task[None] | None = None

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
        return len(self.outbox)

    @property
    def refused_commands(self) -> Mapping[str, int]:
        """Commands refused so far, by reason."""
        return dict(self._guard.refused)

    def put_view(self, view: VolumeView) -> None:
        """Show a volume, as soon as it is encoded in another thread; a newer one takes the place of one that waits."""
        if not self._shows_volumes or self._closing:
            return
        if self._view is not None:
            self.outbox.lost["preview_volume"] += 1
        self._view = view
        if self._viewing is None:
            self._viewing = asyncio.create_task(self._encode_views(), name="volumes")

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
                    self.repeat()
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
        self.flush()
        self._closing = True
        self._wake.set()
        if self._viewing is not None:
            await asyncio.wait({self._viewing})
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            await asyncio.wait({self._task}, timeout=_DRAIN_S)
            self.outbox.drop_all()
            self._wake.set()
            await asyncio.wait({self._task}, timeout=_DRAIN_S / 2)
            self._task.cancel()
            await asyncio.wait({self._task})
        self.outbox.drop_all()

    async def _encode_views(self) -> None:
        while (view := self._view) is not None:
            self._view = None
            try:
                self.add(await asyncio.to_thread(volume_preview, view, blinded=self._blinded))
            except Exception:  # noqa: BLE001 - a picture less must not end the session, nor the pictures to come
                self.outbox.lost["preview_volume_failed"] += 1
                _log.exception("volume %d of series %s cannot be shown", view.index, view.series)
        self._viewing = None

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
            # cleared before looking: what is put while sending wakes again
            self._wake.clear()
            while (kept := self.take_retained()) is not None:
                await self._link.retain(client, kept.name, kept.payload)
            item = self.outbox.take()
            if item is not None:
                await self._send(client, item)
                # what waited while the broker was away must not hold the loop up
                await asyncio.sleep(0)
            elif self._closing:
                await self._link.retain(client, "status", self._offline("session closed"))
                return
            else:
                await self._wake.wait()

    async def _send(self, client: LinkClient, item: Trigger | Item) -> None:
        now = self._clock.now()
        try:
            message = self.make(item, now)
        except Exception:
            self.outbox.lost[f"{kind_of(item)}_failed"] += 1
            raise
        if message is None:
            return
        try:
            refusal = await self._link.send(client, message, now)
        except (aiomqtt.MqttError, asyncio.CancelledError):
            # it may have arrived: consumers of triggers drop doubles by their id
            self.outbox.put_back(item)
            raise
        if refusal is not None:
            self.outbox.lost[f"{kind_of(item)}_refused"] += 1
            _log.warning("the broker refused a %s: %s", kind_of(item), refusal)
