"""Commands from a client that shares no code with us: ``mosquitto_pub``."""

from __future__ import annotations

import asyncio
import json
import logging
from uuid import uuid4

import pytest

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker
from streamer.messages import Command
from tests.system.mqtt_room import KINDS, eventually, running, trigger

pytestmark = pytest.mark.system

KEY = b"a key of the operator's own"


async def publish(broker: EmbeddedBroker, session: str, payload: bytes, *options: str) -> None:
    port = broker.url.rsplit(":", 1)[1]
    child = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-h", HOST, "-p", port, "-t", wire.topic(session, "command"), "-q", "1", "-s", *options,
        stdin=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await child.communicate(payload)
    assert child.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_stop_from_anybody_and_all_else_signed(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    session, heard = uuid4().hex, []
    with EmbeddedBroker(kind=kind) as broker:
        async with running(broker.url, session, on_command=heard.append, key=KEY) as sink:
            await eventually(lambda: sink.connected)
            # the first one may come before the subscription stands
            async with asyncio.timeout(10):
                while not heard:
                    await publish(broker, session, b'{"kind": "command", "action": "stop", "text": "Jane Doe"}')
            now = 1000.0
            for action in ("arm", "annotate", "recentre"):
                await publish(broker, session, json.dumps({"kind": "command", "action": action}).encode())
                payload = wire.signed_command(KEY, session, action, "said", now)
                await publish(broker, session, payload)
                await publish(broker, session, payload)
            await publish(broker, session, wire.signed_command(KEY, session, "arm", "", now - 60))
            await publish(broker, session, wire.signed_command(KEY, "other", "arm", "", now))
            await publish(broker, session, b'{"kind": "command", "action": "stop", "more": "Jane Doe"}')
            await publish(broker, session, b"\x00" * 5000)
            await publish(broker, session, b"\x00" * 100_000)
            await publish(broker, session, b'{"kind": "command", "action": "arm", "text": "last"}')
            await eventually(lambda: sink.refused_commands.get("unsigned") == 4)
            # and the way out stays open
            sink.put(trigger(0))
            await eventually(lambda: sink.depth == 0)
            refused = sink.refused_commands
        assert sink.losses() == {}
    assert heard[0] == Command("stop", "over MQTT, unsigned", heard[0].received)
    signed = [command for command in heard if command.text == "said"]
    assert [command.action for command in signed] == ["arm", "annotate", "recentre"]
    assert {command.action for command in heard if command.text != "said"} == {"stop"}
    assert refused["repeated"] == 3
    # a version 5 broker does not even pass on what is longer than we take
    assert {k: v for k, v in refused.items() if k not in {"repeated", "stop repeated"}} == {
        "unsigned": 4, "wrong time": 1, "for another session": 1, "malformed": 2 if kind == "mosquitto" else 3,
    }  # fmt: skip
    assert "Jane" not in caplog.text


async def test_a_command_that_fails_leaves_the_ear_open(caplog: pytest.LogCaptureFixture) -> None:
    session, heard = uuid4().hex, []

    def take(command: Command) -> None:
        heard.append(command)
        if len(heard) == 1:
            raise ValueError("no such thing")

    with EmbeddedBroker() as broker:
        async with running(broker.url, session, on_command=take, key=KEY) as sink:
            await eventually(lambda: sink.connected)
            async with asyncio.timeout(10):
                while len(heard) < 2:
                    await publish(broker, session, wire.signed_command(KEY, session, "stop", "", 1000.0))
            assert sink.connected
    assert "command stop failed" in [
        record.getMessage() for record in caplog.records if record.levelno == logging.ERROR
    ]


async def test_commands_that_are_switched_off_are_not_heard() -> None:
    session, heard = uuid4().hex, []
    with EmbeddedBroker() as broker:
        async with (
            running(broker.url, session, on_command=heard.append, key=KEY, commands=False) as deaf,
            running(broker.url, session + "x", on_command=heard.append, key=KEY) as other,
        ):
            await eventually(lambda: deaf.connected and other.connected)
            async with asyncio.timeout(10):
                while not heard:
                    await publish(broker, session, b'{"kind": "command", "action": "stop"}')
                    await publish(broker, session + "x", wire.signed_command(KEY, session + "x", "arm", "", 1000.0))
    assert {command.action for command in heard} == {"arm"}
