from __future__ import annotations

import asyncio
import gc
import getpass
import json
import math
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiomqtt
import numpy as np
import pytest

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker, find_mosquitto
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Feature,
    Flag,
    Health,
    Prediction,
    SessionTime,
    State,
    Trigger,
    Veto,
    Window,
)

pytestmark = pytest.mark.system

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

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, bool, bytes]] = []

    def of(self, name: str) -> list[dict]:
        return [json.loads(p) for topic, _, _, p in self.lines if topic.split("/", 2)[2] == name]

    @asynccontextmanager
    async def on(self, broker: EmbeddedBroker, session: str) -> AsyncIterator[Subscriber]:
        port = broker.url.rsplit(":", 1)[1]
        child = await asyncio.create_subprocess_exec(
            "mosquitto_sub", "-h", HOST, "-p", port, "-q", "1", "-t", wire.topic(session, "#"), "-F", "%t %q %r %p",
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
async def running(broker_url: str, session: str, clock: HandClock | None = None, **settings: object):
    sink = MqttSink(MqttSettings(**settings), broker_url, session, clock or HandClock())
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        await sink.close()
        assert task.done()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_client_reads_everything(kind: str) -> None:
    session = uuid4().hex
    with EmbeddedBroker(kind=kind) as broker:
        async with Subscriber().on(broker, session) as heard, running(broker.url, session) as sink:
            sink.publish_about(about(session))
            await eventually(lambda: heard.of("about") and sink.connected)
            sink.put(prediction(7))
            sink.put(trigger(3))
            sink.put(Veto(8, "motion", SessionTime(999.0)))
            sink.put(feature("phase.oz", 999.5))
            sink.put(feature("tangent", 998.5))
            sink.put(frame(4))
            sink.put(Health(State.RUNNING, SessionTime(1.0), {"chunks": 5}, {}, {"eeg": (0.1, 0.5)}, {}))
            sink.put(Window(0, *[SessionTime(0.0)] * 2, np.zeros((1, 1)), np.zeros((1, 1)), 0, 0, True, True))
            for first in range(0, 60, 2):
                sink.put(hop(first))
            sink.publish_status("RUNNING", "all is well")
            await eventually(lambda: len(heard.of("preview/eeg")) == 2 and len(heard.of("status")) >= 2)
            await sink.close()
            await eventually(lambda: not heard.of("status")[-1]["online"])
    for topic, _, _, payload in heard.lines:
        message = wire.decode(payload)
        assert message.schema == 1
        assert topic.startswith(f"eegfmri/{session}/")
    assert heard.of("prediction")[0]["probabilities"] == {"rest": 0.25, "task": 0.75}
    assert heard.of("prediction")[0]["expires"] == 1001.0
    assert [t["id"] for t in heard.of("trigger")] == [f"{session}/3"]
    assert [q for topic, q, _, _ in heard.lines if topic.endswith("trigger")] == [1]
    assert heard.of("veto")[0]["reason"] == "motion"
    assert heard.of("feature/phase.oz")[0]["values"] == [1e-5, None]
    assert heard.of("feature/phase.oz")[0]["expires"] == 1000.75
    assert not heard.of("feature/tangent")
    assert heard.of("bold")[0]["regions"] == [0.5]
    assert heard.of("health")[0]["counts"] == {"chunks": 5}
    assert heard.of("about")[0]["channels"] == [{"name": "Fp1", "kind": "eeg"}, {"name": "Pz", "kind": "eeg"}]
    assert [s["state"] for s in heard.of("status")[-2:]] == ["RUNNING", "STOPPED"]
    previews = heard.of("preview/eeg")
    assert [p["first_sample"] for p in previews] == [0, 26, 52]
    assert [v for p in previews for v in p["data_uv"][0]] == list(range(60))
    assert previews[0]["sfreq"] == 250.0
    assert sink.losses() == {"feature_expired": 1}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_broker_that_dies_and_returns(kind: str) -> None:
    session, clock = uuid4().hex, HandClock()
    first = EmbeddedBroker(kind=kind)
    first.start()
    port = int(first.url.rsplit(":", 1)[1])
    again = EmbeddedBroker(port, kind=kind)
    try:
        async with running(first.url, session, clock, queue_size=20) as sink:
            sink.publish_about(about(session))
            sink.publish_status("RUNNING")
            async with Subscriber().on(first, session) as heard:
                await eventually(lambda: heard.of("status") and heard.of("about"))
                sink.put(prediction(0))
                await eventually(lambda: heard.of("prediction"))
                first._child.kill()
                await eventually(lambda: not sink.connected)
            assert sink.problem is not None

            for seq in range(5):
                sink.put(trigger(seq))
            for index in range(50):
                sink.put(frame(index))
            assert sink.depth == 20
            assert sink.losses() == {"boldframe": 35}
            sink.put(trigger(5, expires=1000.2))
            sink.put(prediction(1))
            sink.put(prediction(2, at=1000.4))
            assert sink.losses() == {"boldframe": 38}
            clock.time = 1001.0
            sink.publish_status("DEGRADED")

            first.stop()
            await asyncio.to_thread(again.start)
            async with Subscriber().on(again, session) as heard:
                await eventually(lambda: sink.connected and sink.depth == 0, 15)
                sink.put(frame(100))
                await eventually(lambda: any(f["index"] == 100 for f in heard.of("bold")))
                await eventually(lambda: heard.of("status") and heard.of("about"))
                assert heard.of("status")[-1]["state"] == "DEGRADED"
                assert heard.of("status")[-1]["online"]
            assert sink.problem is None
            assert sink.losses() == {"boldframe": 38, "trigger_expired": 1}
    finally:
        first.stop()
        again.stop()
    assert sink.losses()["boldframe"] == 38


async def test_queued_results_reach_a_listener_in_order_and_triggers_first() -> None:
    session, clock = uuid4().hex, HandClock()
    with EmbeddedBroker() as broker:
        async with Subscriber().on(broker, session) as heard:
            # a retained message tells that the subscription stands
            async with running(broker.url, session) as early:
                await eventually(lambda: early.connected and heard.of("status"))
            await eventually(lambda: not heard.of("status")[-1]["online"])
            heard.lines.clear()
            sink = MqttSink(MqttSettings(queue_size=10), broker.url, session, clock)
            for seq in range(4):
                sink.put(frame(seq))
                sink.put(trigger(seq, expires=999.0 if seq == 2 else 1001.0))
                sink.put(prediction(seq, at=998.0 if seq == 1 else 1000.0))
            task = asyncio.create_task(sink.run())
            await eventually(lambda: sink.connected and sink.depth == 0)
            await sink.close()
            await eventually(lambda: heard.lines and not heard.of("status")[-1]["online"])
            await task
    names = [topic.split("/", 2)[2] for topic, *_ in heard.lines]
    assert names[0] == "status"
    assert names[1:4] == ["trigger"] * 3
    assert [t["seq"] for t in heard.of("trigger")] == [0, 1, 3]
    # twelve were put, ten fit: the two oldest that were no triggers went
    assert [f["index"] for f in heard.of("bold")] == [1, 2, 3]
    assert [p["seq"] for p in heard.of("prediction")] == [2, 3]
    assert sink.losses() == {"boldframe": 1, "prediction": 1, "prediction_expired": 1, "trigger_expired": 1}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_that_vanishes_is_said_to_be_offline(kind: str) -> None:
    session = uuid4().hex
    program = f"""
import asyncio
import sys
from streamer.clock import ReplayClock
from streamer.emit.mqtt import MqttSettings, MqttSink
async def main(url):
    await MqttSink(MqttSettings(), url, {session!r}, ReplayClock()).run()
asyncio.run(main(sys.argv[1]))
"""
    with EmbeddedBroker(kind=kind) as broker:
        async with Subscriber().on(broker, session) as heard:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, broker.url)
            await eventually(lambda: heard.of("status"))
            child.kill()
            await child.wait()
            await eventually(lambda: not heard.of("status")[-1]["online"])
            assert heard.of("status")[-1]["detail"] == "connection lost"
        async with Subscriber().on(broker, session) as late:
            await eventually(lambda: late.of("status"))
    assert not any(s["online"] for s in late.of("status"))
    assert late.lines[0][2], "the broker keeps it for those who come later"


async def test_a_cancelled_sink_says_that_it_is_offline() -> None:
    session = uuid4().hex
    with EmbeddedBroker() as broker:
        async with Subscriber().on(broker, session) as heard:
            sink = MqttSink(MqttSettings(), broker.url, session, HandClock())
            task = asyncio.create_task(sink.run())
            await eventually(lambda: heard.of("status"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await eventually(lambda: not heard.of("status")[-1]["online"])
            assert heard.of("status")[-1]["detail"] == "cancelled"
            sink.put(frame(0))
            await sink.close()
    assert sink.losses() == {"boldframe": 1}


async def test_without_a_broker_closing_is_quick_and_counts_what_was_left() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        sink = MqttSink(MqttSettings(), f"mqtt://{HOST}:{port}", "s", HandClock())
        task = asyncio.create_task(sink.run())
        await eventually(lambda: sink.problem)
        sink.put(trigger(0))
        sink.put(hop(0))
        started = time.monotonic()
        await sink.close()
        await sink.close()
        assert time.monotonic() - started < 2.0
        assert task.done()
    assert sink.losses() == {"trigger": 1, "preview": 1}
    assert not sink.connected


@asynccontextmanager
async def secured_broker(folder: Path) -> AsyncIterator[int]:
    """Mosquitto with TLS and a password, as a site would run it."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    make_certificate = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    for command in (make_certificate, f"mosquitto_passwd -b -c {folder}/passwords loop secret"):
        made = await asyncio.create_subprocess_exec(
            *command.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await made.wait() == 0, command
    (folder / "m.conf").write_text(
        f"listener {port} {HOST}\nallow_anonymous false\npassword_file {folder}/passwords\n"
        f"certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\nuser {getpass.getuser()}\n"
    )
    program = find_mosquitto()
    assert program is not None, "apt-get install mosquitto"
    child = await asyncio.create_subprocess_exec(
        program, "-c", str(folder / "m.conf"), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        child.terminate()
        await child.wait()


# paho leaves the socket of a refused handshake to the collector
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_tls_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_PASSWORD", "secret")
    monkeypatch.setenv("WRONG_PASSWORD", "guess")
    async with secured_broker(tmp_path) as port:
        url = f"mqtts://localhost:{port}"
        who = {"broker": url, "username": "loop", "ca_file": tmp_path / "cert.pem"}
        async with running(url, "s", **who, password_env="LAB_PASSWORD") as sink:
            await eventually(lambda: sink.connected)
            sink.put(trigger(0))
            await eventually(lambda: sink.depth == 0)
        assert sink.losses() == {}
        async with running(url, "s", **who, password_env="WRONG_PASSWORD") as sink:
            await eventually(lambda: sink.problem and "uthori" in sink.problem)
        async with running(url, "s", **(who | {"ca_file": None}), password_env="LAB_PASSWORD") as sink:
            await eventually(lambda: sink.problem and "certificate" in sink.problem.lower())
            assert not sink.connected
    gc.collect()


@pytest.mark.parametrize("kind", KINDS)
async def test_round_trip(kind: str, record_property: Callable[[str, object], None]) -> None:
    session = uuid4().hex
    took: dict[int, list[float]] = {0: [], 1: []}
    arrived = asyncio.Event()

    async def listen(client: aiomqtt.Client) -> None:
        async for _ in client.messages:
            arrived.set()

    with EmbeddedBroker(kind=kind) as broker:
        port = int(broker.url.rsplit(":", 1)[1])
        async with running(broker.url, session) as sink, aiomqtt.Client(HOST, port, socket_options=NO_DELAY) as client:
            await eventually(lambda: sink.connected)
            await client.subscribe(wire.topic(session, "prediction"))
            await client.subscribe(wire.topic(session, "trigger"), qos=1)
            listening = asyncio.create_task(listen(client))
            for seq in range(200):
                for qos, item in ((0, prediction(seq)), (1, trigger(seq))):
                    arrived.clear()
                    started = time.perf_counter()
                    sink.put(item)
                    async with asyncio.timeout(5):
                        await arrived.wait()
                    took[qos].append(1e3 * (time.perf_counter() - started))
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    for qos, values in took.items():
        p50, p99 = statistics.median(values), statistics.quantiles(values, n=100)[98]
        record_property(f"{kind}_qos{qos}_ms", f"p50 {p50:.2f} p99 {p99:.2f}")
        print(f"{kind} QoS {qos}: put to receipt p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        assert p50 < 20.0
