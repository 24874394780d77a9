"""The loop's way to MQTT survives its broker."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from streamer.clock import LiveClock
from streamer.emit.mqtt import MqttSettings
from streamer.messages import Health, SessionTime, State
from streamer.publishing import publishing

pytestmark = pytest.mark.system


def health(at: float) -> Health:
    return Health(State.RUNNING, SessionTime(at), {}, {}, {}, {})


async def until(holds: object, seconds: float = 15.0) -> None:
    assert callable(holds)
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is awaited happens in another process
            await asyncio.sleep(0.02)


async def test_an_embedded_broker_that_dies_is_started_again_and_nothing_that_waited_is_lost(tmp_path: Path):
    notes: list[str] = []
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with publishing(MqttSettings(), "revived", LiveClock(), notes.append, folder=tmp_path) as mqtt:
        await until(lambda: mqtt.connected)
        url = mqtt.url
        (broker,) = (c for c in psutil.Process().children(recursive=True) if c.pid not in before)
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: not mqtt.connected)
        for k in range(20):
            mqtt.put(health(float(k)))
        await until(lambda: mqtt.connected and mqtt.depth == 0)
        assert mqtt.url == url
        assert not any(mqtt.losses().values())
    assert notes == ["the embedded broker had died; it was started again"]


async def test_a_broker_that_is_not_there_stops_nothing(tmp_path: Path):
    notes: list[str] = []
    settings = MqttSettings(broker="mqtt://127.0.0.1:9", queue_size=10)
    async with publishing(settings, "alone", LiveClock(), notes.append, folder=tmp_path) as mqtt:
        for k in range(25):
            mqtt.put(health(float(k)))
        await until(lambda: bool(mqtt.problem))
        assert not mqtt.connected
        assert mqtt.losses() == {"health": 20, "quality": 20}
