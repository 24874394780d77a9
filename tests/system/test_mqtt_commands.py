"""Commands from a client that shares no code with us: ``mosquitto_pub``."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from uuid import uuid4

import aiomqtt
import pytest

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker
from streamer.child import child
from streamer.clock import LiveClock
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from streamer.emit.mqtt import MqttSettings
from streamer.messages import Command
from tests.system.conftest import write_config
from tests.system.mqtt_room import KINDS, Subscriber, about, eventually, running, trigger

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
            for action in ("arm", "annotate", "recentre", "end"):
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
            await eventually(lambda: sink.refused_commands.get("unsigned") == 5)
            # and the way out stays open
            sink.put(trigger(0))
            await eventually(lambda: sink.depth == 0)
            refused = sink.refused_commands
        assert sink.losses() == {}
    assert heard[0] == Command("stop", "over MQTT, unsigned", heard[0].received)
    signed = [command for command in heard if command.text == "said"]
    assert [command.action for command in signed] == ["arm", "annotate", "recentre", "end"]
    assert {command.action for command in heard if command.text != "said"} == {"stop"}
    assert refused["repeated"] == 4
    # a version 5 broker does not even pass on what is longer than we take
    assert {k: v for k, v in refused.items() if k not in {"repeated", "stop repeated"}} == {
        "unsigned": 5, "wrong time": 1, "for another session": 1, "malformed": 2 if kind == "mosquitto" else 3,
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


@pytest.mark.parametrize(
    ("settings", "key", "taken"),
    [
        ({}, KEY, ["stop", "arm", "annotate", "recentre", "end"]),
        ({}, None, ["stop"]),
        ({"commands": False}, KEY, []),
    ],
)
async def test_a_session_says_which_commands_it_takes(settings: dict[str, bool], key: bytes | None, taken: list[str]):
    session = uuid4().hex
    with EmbeddedBroker() as broker:
        async with (
            Subscriber().on(broker, session) as heard,
            running(broker.url, session, on_command=lambda _: None, key=key, **settings) as sink,
        ):
            sink.publish_about(about(session))
            await eventually(lambda: heard.of("about"))
    assert heard.of("about")[0]["commands"] == taken


def test_a_signed_end_ends_a_running_session_and_stands_in_its_log(tmp_path: Path):
    config = Config(
        session=SessionSection(directory=tmp_path, name="ended"),
        eeg=EegSection(enabled=False),
        bold=BoldSection(directory=tmp_path / "export"),
        model=ModelSection(card="none"),
    )
    with child("run", str(write_config(config, tmp_path / "SESSION.toml")), "--json") as run:
        told = run.wait_for(lambda m: m.get("event") == "running", 60)
        asyncio.run(command_and_end(told["broker"], Path(told["folder"])))
        summary = run.wait_for(lambda m: m.get("event") == "summary", 20)
        assert run.process.wait(30) == 0
    assert not any(summary["losses"].values())
    lines = [json.loads(line) for line in (tmp_path / "ended" / "runlog.jsonl").read_text().splitlines()]
    commands = [(line["action"], line["text"]) for line in lines if line["kind"] == "command"]
    assert commands == [("annotate", "coughs"), ("end", "enough")]


async def command_and_end(url: str, folder: Path) -> None:
    """Send an end that does not count, a note, and an end that does; returns when the session says that it is over."""
    host, port = url.removeprefix("mqtt://").split(":")
    key, clock = (folder / "command.key").read_bytes(), LiveClock()
    topic = wire.topic("ended", "command")
    heard: list[wire.Message | wire.VolumeMessage] = []
    async with asyncio.timeout(30), aiomqtt.Client(host, int(port)) as client:
        await client.subscribe(wire.topic("ended", "#"), qos=1)
        await client.publish(topic, b'{"kind": "command", "action": "end"}', qos=1)
        await client.publish(topic, wire.signed_command(key, "ended", "annotate", "coughs", clock.now()), qos=1)
        async for message in client.messages:
            if message.topic.matches(topic):
                continue
            heard.append(wire.decode(bytes(message.payload)))
            match heard[-1]:
                case wire.MarkerMessage(label="coughs"):
                    marked = message.qos
                case wire.HealthMessage(notes=notes) if any("'unsigned': 1" in note for note in notes):
                    await client.publish(topic, wire.signed_command(key, "ended", "end", "enough", clock.now()), qos=1)
                case wire.Status(online=False):
                    break
                case _:
                    pass
    assert marked == 1


def test_a_signed_end_ends_a_session_that_waits_for_its_eeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAB_KEY", KEY.decode())
    with EmbeddedBroker() as broker:
        config = Config(
            session=SessionSection(directory=tmp_path, name="waiting"),
            eeg=EegSection.of_rig(f"nobody-{uuid4().hex[:8]}"),
            bold=BoldSection(enabled=False),
            model=ModelSection(card="none"),
            mqtt=MqttSettings(broker=broker.url, command_key_env="LAB_KEY"),
        )
        with child("run", str(write_config(config, tmp_path / "SESSION.toml")), "--json") as run:
            run.wait_for(lambda m: m.get("event") == "said" and "nobody-" in str(m["text"]), 30)
            asyncio.run(end_when_heard(broker, "waiting"))
            summary = run.wait_for(lambda m: m.get("event") == "summary", 10)
            assert run.process.wait(10) == 0
    assert "stopped before" in summary["notes"][0]
    assert not (tmp_path / "waiting").exists()


async def end_when_heard(broker: EmbeddedBroker, session: str) -> None:
    """Send one signed end until the session has ended: it may come before the session listens, and counts once."""
    payload = wire.signed_command(KEY, session, "end", "", LiveClock().now())
    async with Subscriber().on(broker, session) as heard, asyncio.timeout(20):
        await eventually(lambda: heard.of("status"))
        while heard.of("status")[-1]["online"]:
            await publish(broker, session, payload)
            await asyncio.sleep(0.2)
