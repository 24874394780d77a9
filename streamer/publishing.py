"""The way to MQTT: the sink with its task, and the embedded broker where no other is named."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from streamer.broker import EmbeddedBroker
from streamer.clock import Clock
from streamer.emit.command_key import command_key
from streamer.emit.mqtt import MqttSink
from streamer.emit.mqtt_settings import MqttSettings
from streamer.errors import BrokerError
from streamer.messages import Command
from streamer.wire.folder import RUNNING

FALLBACK = "mqtt://127.0.0.1:1883"
"""Where the sink looks when the embedded broker does not start: a broker may come up there later."""
LOOK_EVERY_S = 1.0
KEPT = "broker"
"""Folder in the session's, where the embedded broker keeps what waits for its subscribers."""


@asynccontextmanager
async def publishing(
    settings: MqttSettings,
    session: str,
    clock: Clock,
    note: Callable[[str], None],
    *,
    folder: Path,
    blinded: bool = False,
    on_command: Callable[[Command], None] | None = None,
    volume_label: str = "",
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
    folder : Path
        The session's: for the key that signs commands, and for what the embedded broker keeps for its subscribers.
    blinded : bool
        Feedback may be sham: what would tell it is not sent.
    on_command : callable, optional
        Takes commands that came in and were found in order.
    volume_label : str
        Label of the volume triggers, which are not sent as markers.
    """
    with command_key(settings.command_key_env, folder) as key:
        broker, url = await _find_broker(settings.broker, folder, note)
        told = folder / RUNNING
        with contextlib.suppress(OSError):
            told.write_text(json.dumps({"session": session, "broker": url}) + "\n", encoding="utf-8")
        mqtt = MqttSink(
            settings, url, session, clock, blinded=blinded, on_command=on_command, key=key, volume_label=volume_label
        )
        tasks = [asyncio.create_task(mqtt.run(), name="mqtt")]
        if broker is not None:
            tasks.append(asyncio.create_task(_keep(broker, note), name="broker"))
        try:
            yield mqtt
        finally:
            told.unlink(missing_ok=True)
            await mqtt.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if broker is not None:
                await asyncio.to_thread(broker.stop)
                # what waited in it for its subscribers ends with the session
                shutil.rmtree(folder / KEPT, ignore_errors=True)


async def _find_broker(url: str, folder: Path, note: Callable[[str], None]) -> tuple[EmbeddedBroker | None, str]:
    broker: EmbeddedBroker | None = None
    if url == "embedded":
        broker = EmbeddedBroker(keep=folder / KEPT)
        try:
            await asyncio.to_thread(broker.start)
            url = broker.url
        except BrokerError as error:
            note(f"no broker, results wait: {error}")
            url = FALLBACK
    return broker, url


async def _keep(broker: EmbeddedBroker, note: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if broker.alive:
            continue
        with contextlib.suppress(BrokerError):
            if await asyncio.to_thread(broker.revive):
                note("the embedded broker had died; it was started again")
