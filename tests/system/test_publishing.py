"""The loop's way to MQTT survives its broker."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from uuid import uuid4

import aiomqtt
import numpy as np
import psutil
import pytest

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker
from streamer.clock import LiveClock
from streamer.emit.mqtt import MqttSettings
from streamer.messages import Health, Marker, SessionTime, State, VolumeView
from streamer.publishing import publishing
from tests.system.mqtt_room import KINDS, about, eventually, frame, running, trigger

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


def large_view() -> VolumeView:
    """As large as they come: mean image, change and four maps of 300 000 voxels."""
    rng = np.random.default_rng(0)
    image = rng.random((75, 80, 50), np.float32)
    maps = {"change": (image, "%"), **{f"t {k}": (20 * image, "t") for k in range(4)}}
    return VolumeView(3, "s", SessionTime(1000.0), np.eye(4), image, maps)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_volume_passes_and_a_trigger_overtakes_it(kind: str):
    session, view = uuid4().hex, large_view()
    heard: list[tuple[str, bytes, int]] = []
    with EmbeddedBroker(kind=kind) as broker:
        port = int(broker.url.rsplit(":", 1)[1])
        async with aiomqtt.Client(HOST, port) as client, running(broker.url, session) as sink:
            await client.subscribe(wire.topic(session, "#"), qos=1)
            sink.publish_about(about(session))
            await eventually(lambda: sink.connected and sink.depth == 0)
            sink.put_view(view)
            sink.see(Marker("block", SessionTime(999.5), 999.5, None, SessionTime(1000.0)))
            sink.put(frame(0))
            sink.put(trigger(0))
            names: set[str] = set()
            async with asyncio.timeout(20):
                async for message in client.messages:
                    name = str(message.topic).split("/", 2)[2]
                    heard.append((name, bytes(message.payload), message.qos))
                    names.add(name)
                    if "preview/volume" in names:
                        break
        assert not sink.losses()
    order = [name for name, *_ in heard if name in {"trigger", "marker", "bold", "preview/volume"}]
    assert order == ["trigger", "marker", "bold", "preview/volume"]
    assert [qos for name, _, qos in heard if name == "marker"] == [1]
    found = wire.decode(heard[-1][1])
    assert isinstance(found, wire.VolumeMessage)
    assert len(heard[-1][1]) > 6 * view.mean.size
    assert list(found.images) == ["mean", *view.maps]
    np.testing.assert_allclose(found.images["change"].values(), view.maps["change"][0], atol=2.5 / 127)
    # the first volume tells how far apart they are
    told = [message for name, payload, _ in heard if name == "about" and (message := wire.decode(payload))]
    assert [message.tr_s for message in told if isinstance(message, wire.About)] == [None, 2.0]
