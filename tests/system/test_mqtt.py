from __future__ import annotations

import asyncio
import json
import socket
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import aiomqtt
import jsonschema
import numpy as np
import pytest

from streamer import wire
from streamer.broker import HOST, EmbeddedBroker
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.emit.mqtt_link import WILL_DELAY_S
from streamer.messages import (
    Health,
    SessionTime,
    State,
    Veto,
    Window,
)
from streamer.wire.schema import json_schema
from tests.system.mqtt_room import (
    KINDS,
    NO_DELAY,
    HandClock,
    Subscriber,
    about,
    card,
    config,
    eventually,
    feature,
    frame,
    hop,
    prediction,
    running,
    score,
    trigger,
)

pytestmark = pytest.mark.system

ALONE = """
import asyncio
import sys
from streamer.clock import ReplayClock
from streamer.emit.mqtt import MqttSettings, MqttSink
async def main(url, session):
    await MqttSink(MqttSettings(), url, session, ReplayClock()).run()
asyncio.run(main(*sys.argv[1:]))
"""
"""A session that does nothing but be there."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_client_reads_everything(kind: str) -> None:
    session = uuid4().hex
    with EmbeddedBroker(kind=kind) as broker:
        async with Subscriber().on(broker, session) as heard, running(broker.url, session) as sink:
            sink.publish_about(about(session))
            await eventually(lambda: heard.of("about") and sink.connected)
            sink.publish_card(card(session))
            sink.publish_config(config(session))
            sink.put(prediction(7))
            sink.put(score(7))
            sink.put(trigger(3))
            sink.put(replace(trigger(4), source="phase"))
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
        assert sink.protocol == {"mosquitto": "5", "amqtt": "3.1.1"}[kind]
    described = jsonschema.Draft202012Validator(json_schema())
    for topic, _, _, payload in heard.lines:
        described.validate(json.loads(payload))
        message = wire.decode(payload)
        assert message.schema == 1
        assert topic.startswith(f"eegfmri/{session}/")
    assert heard.of("prediction")[0]["probabilities"] == {"rest": 0.25, "task": 0.75}
    assert heard.of("prediction")[0]["expires"] == 1001.0
    assert [t["id"] for t in heard.of("trigger")] == [f"{session}/3"]
    assert [q for topic, q, _, _ in heard.lines if topic.endswith("trigger")] == [1]
    assert heard.of("veto")[0]["reason"] == "motion"
    assert heard.of("score")[0]["level"] == 0.5
    assert b"0.123456" not in b"".join(payload for *_, payload in heard.lines), "the true score is never sent"
    assert heard.of("quality")[0]["volumes"] == 1
    assert heard.of("quality")[0]["fd_mm"] == 0.1
    assert heard.of("quality")[0]["n_channels"] == 2
    assert heard.of("card")[0]["scores"]["eeg"]["block_accuracy"] == 0.7
    assert "sub-01" not in json.dumps(heard.of("card"))
    assert heard.of("config")[0]["settings"]["decision"]["target"] == "task"
    assert heard.of("feature/phase.oz")[0]["values"] == [1e-5, None]
    assert heard.of("feature/phase.oz")[0]["expires"] == 1000.75
    assert not heard.of("feature/tangent")
    assert heard.of("bold")[0]["regions"] == [0.5]
    assert heard.of("health")[0]["counts"] == {"chunks": 5}
    named = [(channel["name"], channel["kind"]) for channel in heard.of("about")[0]["channels"]]
    assert named == [("Fp1", "eeg"), ("Pz", "eeg")]
    assert [s["state"] for s in heard.of("status")[-2:]] == ["RUNNING", "STOPPED"]
    previews = heard.of("preview/eeg")
    assert [p["first_sample"] for p in previews] == [0, 26, 52]
    assert [v for p in previews for v in p["data_uv"][0]] == list(range(60))
    assert previews[0]["sfreq"] == 250.0
    assert sink.losses() == {"feature_expired": 1}


async def test_what_only_version_5_can_say() -> None:
    session = uuid4().hex
    with EmbeddedBroker(kind="mosquitto") as broker:
        form = '%t %q %r {"expiry": "%E", "content": "%C", "text": "%F", "user": "%P"}'
        async with (
            Subscriber("-V", "5", form=form).on(broker, session) as heard,
            running(broker.url, session, preview="binary") as sink,
        ):
            await eventually(lambda: heard.of("status"))
            sink.put(trigger(0, expires=1003.5))
            sink.put(score(0, expires=1000.2))
            sink.put(prediction(0))
            sink.put(frame(0))
            for first in range(0, 60, 2):
                sink.put(hop(first))
            await eventually(lambda: len(heard.of("preview/eeg.bin")) == 2)
    ours = f"schema:1 session:{session}"
    as_json = {"content": "application/json", "text": "1", "user": ours}
    # whole seconds, rounded up: the deadline to the ms stands in the payload
    assert 3 <= int(heard.of("trigger")[0].pop("expiry")) <= 4
    assert heard.of("score")[0] == as_json | {"expiry": "1"}
    assert heard.of("prediction")[0] == as_json | {"expiry": "1"}
    assert heard.of("bold")[0] == as_json | {"expiry": ""}
    assert heard.of("preview/eeg.bin")[0] == {
        "expiry": "", "content": "application/octet-stream", "text": "0", "user": ours,
    }  # fmt: skip


async def test_an_error_in_the_way_out_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session, failures = uuid4().hex, 1
    whole = wire.encode

    def encode(message: wire.Message) -> bytes:
        nonlocal failures
        if isinstance(message, wire.VetoMessage) and failures:
            failures -= 1
            raise ValueError("no such value")
        return whole(message)

    with EmbeddedBroker() as broker:
        async with Subscriber().on(broker, session) as heard, running(broker.url, session) as sink:
            await eventually(lambda: heard.of("status"))
            monkeypatch.setattr(wire, "encode", encode)
            sink.put(Veto(0, "motion", SessionTime(999.0)))
            await eventually(lambda: sink.problem == "ValueError: no such value")
            sink.put(Veto(1, "motion", SessionTime(999.0)))
            await eventually(lambda: heard.of("veto"))
            assert sink.connected
    assert [veto["window"] for veto in heard.of("veto")] == [1]
    assert sink.losses() == {"veto_failed": 1}


async def test_a_short_break_is_no_end_where_the_broker_can_wait() -> None:
    session = uuid4().hex
    with EmbeddedBroker(kind="mosquitto") as broker:
        async with Subscriber().on(broker, session) as heard:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, broker.url, session)
            await eventually(lambda: heard.of("status"))
            child.kill()
            # killed and started again: the will of the first life must not come
            async with running(broker.url, session) as second:
                await eventually(lambda: second.connected)
                await child.wait()
                await asyncio.sleep(2 * WILL_DELAY_S)
                assert all(status["online"] for status in heard.of("status"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_blinded_session_sends_nothing_that_tells_the_true_score(kind: str) -> None:
    session = uuid4().hex
    with EmbeddedBroker(kind=kind) as broker:
        async with Subscriber().on(broker, session) as heard, running(broker.url, session, blinded=True) as sink:
            sink.publish_about(about(session))
            await eventually(lambda: heard.of("about"))
            sink.put(prediction(0))
            sink.put(feature("phase.oz", 1000.0))
            sink.put(frame(0))
            sink.put(score(0))
            sink.put(trigger(0))
            await eventually(lambda: heard.of("score") and heard.of("trigger"))
        names = {topic.split("/", 2)[2] for topic, *_ in heard.lines}
    assert names == {"about", "status", "bold", "score", "trigger"}
    assert heard.of("about")[0]["blinded"] is True
    assert heard.of("bold")[0]["regions"] == [None]
    assert sink.losses() == {}


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
    with EmbeddedBroker(kind=kind) as broker:
        async with Subscriber().on(broker, session) as heard:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, broker.url, session)
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
