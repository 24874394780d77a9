"""A client that notes when a session's decisions and triggers arrive: over MQTT, and on the LSL outlet."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

import aiomqtt
import msgspec

from streamer import wire
from streamer.clock import LiveClock
from streamer.emit.lsl_outlet import TRIGGERS
from streamer.emit.mqtt import parse_url
from streamer.errors import BrokerError, StreamNotFound

_FIND_S = 20.0
_PULL_S = 0.2
_TOPICS = ("prediction", "trigger")


class Listener:
    """Listens from the beginning of its block to the end of it.

    Payloads are kept as they came, with the LSL time at which the client had them, and taken apart afterwards.

    Parameters
    ----------
    url : str
        Of the broker.
    session : str

    Raises
    ------
    BrokerError
        The broker does not answer.
    StreamNotFound
        The session has no outlet for triggers.
    """

    def __init__(self, url: str, session: str) -> None:
        _, self._host, self._port = parse_url(url)
        self._session = session
        self._clock = LiveClock()
        self._mqtt: list[tuple[float, bytes]] = []
        self._lsl: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failed: Exception | None = None
        self._threads = [
            threading.Thread(target=self._listen_mqtt, name="listen-mqtt", daemon=True),
            threading.Thread(target=self._listen_lsl, name="listen-lsl", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
            self._ready.wait(_FIND_S)
            self._ready.clear()
            if self._failed is not None:
                self._end()
                raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def predictions(self) -> list[tuple[float, wire.PredictionMessage]]:
        """Arrival (s, LSL clock) and content of every decision over MQTT."""
        found = ((at, wire.decode(payload)) for at, payload in self._mqtt)
        return [(at, message) for at, message in found if isinstance(message, wire.PredictionMessage)]

    def triggers(self) -> list[tuple[float, wire.TriggerMessage]]:
        """The same of every trigger over MQTT."""
        return _triggers(self._mqtt)

    def pulses(self) -> list[tuple[float, wire.TriggerMessage]]:
        """The same of every trigger on the LSL outlet."""
        return _triggers(self._lsl)

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _listen_mqtt(self) -> None:
        try:
            asyncio.run(self._subscribe())
        except (aiomqtt.MqttError, OSError) as error:
            self._failed = BrokerError(f"the broker at {self._host}:{self._port} was lost: {error}")
        self._ready.set()

    async def _subscribe(self) -> None:
        async with aiomqtt.Client(self._host, self._port) as client:
            for name in _TOPICS:
                await client.subscribe(wire.topic(self._session, name), qos=1)
            self._ready.set()
            taking = asyncio.create_task(self._take(client))
            await asyncio.wait(
                {taking, asyncio.create_task(asyncio.to_thread(self._stop.wait))}, return_when=asyncio.FIRST_COMPLETED
            )
            taking.cancel()
            with suppress(asyncio.CancelledError):
                await taking

    async def _take(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self._mqtt.append((self._clock.now(), message.payload))

    def _listen_lsl(self) -> None:
        from pylsl import StreamInlet, resolve_byprop

        found = resolve_byprop("source_id", f"{self._session}-triggers", 1, _FIND_S)
        if not found:
            self._failed = StreamNotFound(f"stream {TRIGGERS} of session {self._session}: not there in {_FIND_S:g} s")
            self._ready.set()
            return
        inlet = StreamInlet(found[0])
        inlet.open_stream(_FIND_S)
        self._ready.set()
        while not self._stop.is_set():
            sample, stamp = inlet.pull_sample(_PULL_S)
            if stamp and sample is not None:
                self._lsl.append((self._clock.now(), str(sample[0]).encode()))
        inlet.close_stream()


def _triggers(heard: list[tuple[float, bytes]]) -> list[tuple[float, wire.TriggerMessage]]:
    kinds = ((at, payload) for at, payload in heard if msgspec.json.decode(payload).get("kind") == "trigger")
    decoded = ((at, wire.decode(payload)) for at, payload in kinds)
    return [(at, message) for at, message in decoded if isinstance(message, wire.TriggerMessage)]
