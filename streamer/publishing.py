"""The way to MQTT: the sink with its task, and the embedded broker where no other is named."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from streamer.broker import EmbeddedBroker
from streamer.clock import Clock
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.errors import BrokerError

FALLBACK = "mqtt://127.0.0.1:1883"
"""Where the sink looks when the embedded broker does not start: a broker may come up there later."""
LOOK_EVERY_S = 1.0


@asynccontextmanager
async def publishing(
    settings: MqttSettings, session: str, clock: Clock, note: Callable[[str], None]
) -> AsyncGenerator[MqttSink]:
    """Give a sink that publishes until the block ends.

    The loop must run without a broker: when none starts, or it dies, results wait in the sink's bounded queue and are
    counted; an embedded broker that died is started again on its port.

    Parameters
    ----------
    settings : MqttSettings
    session : str
    clock : Clock
    note : callable
        Takes what the operator should know.
    """
    broker: EmbeddedBroker | None = None
    url = settings.broker
    if url == "embedded":
        broker = EmbeddedBroker()
        try:
            await asyncio.to_thread(broker.start)
            url = broker.url
        except BrokerError as error:
            note(f"no broker, results wait: {error}")
            url = FALLBACK
    mqtt = MqttSink(settings, url, session, clock)
    tasks = [asyncio.create_task(mqtt.run(), name="mqtt")]
    if broker is not None:
        tasks.append(asyncio.create_task(_keep(broker, note), name="broker"))
    try:
        yield mqtt
    finally:
        await mqtt.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if broker is not None:
            await asyncio.to_thread(broker.stop)


async def _keep(broker: EmbeddedBroker, note: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if broker.alive:
            continue
        with contextlib.suppress(BrokerError):
            if await asyncio.to_thread(broker.revive):
                note("the embedded broker had died; it was started again")
