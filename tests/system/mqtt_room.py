"""Records, a foreign subscriber and a running sink: what tests of MQTT share."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import numpy as np

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker
from streamer.config import Config
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.emit.public_config import public_config
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Command,
    Feature,
    Flag,
    Prediction,
    Score,
    SessionTime,
    Trigger,
)

NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
KINDS = ("mosquitto", "amqtt")


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> SessionTime:
        return SessionTime(self.time)

    async def sleep_until(self, at: SessionTime) -> None:
        self.time = max(self.time, at)


def prediction(seq: int, at: float = 1000.0) -> Prediction:
    return Prediction(
        seq, "m@1", ("rest", "task"), (0.25, 0.75), 0.8, {"eeg": 0.5, "bold": 0.5}, SessionTime(at), 0.0, 1.0
    )


def trigger(seq: int, expires: float = 1001.0) -> Trigger:
    at = SessionTime(1000.0)
    return Trigger(seq, seq, "reward", 0.5, at, at, SessionTime(expires), "p", Flag.MOTION)


def score(window: int, expires: float = 1001.0) -> Score:
    at = SessionTime(1000.0)
    return Score(window, 0.5, {"eeg": 0.25}, 0.7, False, 0.123456, at, SessionTime(expires), Flag.NONE, at)


def frame(index: int) -> BoldFrame:
    one = np.array([0.5], np.float32)
    return BoldFrame(index, "s", one, one, np.zeros(6), 0.1, 2.0, SessionTime(990.0), SessionTime(1000.0))


def feature(name: str, about: float) -> Feature:
    return Feature(
        name, 9, SessionTime(about), 0.25, ("envelope_v", "phase_rad"), (1e-5, math.nan), (), True, Flag.UNCALIBRATED
    )


def hop(first: int, n: int = 2) -> CleanEeg:
    index = first + np.arange(n)
    return CleanEeg(np.stack([index, -index], 1).astype(np.float32) * np.float32(1e-6), index / 250, first, 0)


def card(session: str) -> wire.CardMessage:
    plain = {
        "name": "m", "kind": "linear", "description": "d", "licence": "BSD-3-Clause", "classes": ["rest", "task"],
        "verdict": "no worse", "eeg": {"channels": ["Fp1"]}, "bold": None, "training": {"train": ["sub-01"]},
        "scores": {"eeg": {
            "window_accuracy": 0.6, "block_accuracy": 0.7, "block_ci95": [0.5, 0.8], "n_blocks": 20, "chance": 0.5,
        }},
    }  # fmt: skip
    return wire.from_card(session, plain, "0" * 64)


def config(session: str) -> wire.ConfigMessage:
    return wire.ConfigMessage(session=session, sha256="1" * 64, settings=public_config(Config()))


def about(session: str) -> wire.About:
    return wire.About(
        session=session,
        eeg_sfreq=250.0,
        channels=[wire.ChannelEntry("Fp1", "eeg"), wire.ChannelEntry("Pz", "eeg")],
        regions=["brain"],
        classes=["rest", "task"],
        model="m@1",
        tick_hz=10.0,
        thresholds={},
        versions={},
    )


class Subscriber:
    """``mosquitto_sub`` on all topics of one session: a client that shares no code with us."""

    def __init__(self, *options: str, form: str = "%t %q %r %p") -> None:
        self.options = options
        self.form = form
        self.lines: list[tuple[str, int, bool, bytes]] = []

    def of(self, name: str) -> list[dict]:
        return [json.loads(p) for topic, _, _, p in self.lines if topic.split("/", 2)[2] == name]

    @asynccontextmanager
    async def on(self, broker: EmbeddedBroker, session: str) -> AsyncIterator[Subscriber]:
        port = broker.url.rsplit(":", 1)[1]
        child = await asyncio.create_subprocess_exec(
            "mosquitto_sub", "-h", HOST, "-p", port, "-q", "1", "-t", wire.topic(session, "#"),
            "-F", self.form, *self.options,
            stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        reading = asyncio.create_task(self._read(child))
        try:
            yield self
        finally:
            with suppress(ProcessLookupError):
                child.terminate()
            await child.wait()
            await reading

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        async for line in child.stdout:
            topic, qos, retained, payload = line.rstrip(b"\n").split(b" ", 3)
            self.lines.append((topic.decode(), int(qos), retained == b"1", payload))


async def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is awaited happens in another process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    broker_url: str,
    session: str,
    clock: HandClock | None = None,
    *,
    blinded: bool = False,
    on_command: Callable[[Command], None] | None = None,
    key: bytes | None = None,
    **settings: object,
):
    sink = MqttSink(
        MqttSettings(**settings),
        broker_url,
        session,
        clock or HandClock(),
        blinded=blinded,
        on_command=on_command,
        key=key,
    )
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        await sink.close()
        assert task.done()
        await asyncio.gather(task, return_exceptions=True)
