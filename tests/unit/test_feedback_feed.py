"""What the participant's view hears, on which clock, and how late it is."""

from __future__ import annotations

import json

import pytest

from dashboard.feedback.feed import CAPACITY, MAX_BYTES, ScoreFeed
from dashboard.feedback.latency import Latency
from dashboard.feedback.sender_clock import HORIZON_S, SenderClock
from dashboard.feedback.store import Times
from dashboard.link.feed import BrokerAddress
from streamer.wire import SCHEMA, PredictionMessage, TriggerMessage, encode
from tests.unit.feedback_messages import a_score, a_status, a_trigger


def a_feed() -> ScoreFeed:
    ticks = iter(range(10**6))
    return ScoreFeed(BrokerAddress("127.0.0.1", 1, tls=False), None, None, lambda: float(next(ticks)))


def test_the_feed_keeps_the_order_of_arrival_and_wakes() -> None:
    feed = a_feed()
    woken: list[int] = []
    feed.wake = lambda: woken.append(1)
    sent = [("status", a_status()), ("score", a_score(1.0)), ("trigger", a_trigger(1.0)), ("score", a_score(2.0))]
    for name, message in sent:
        feed.take(f"eegfmri/s/{name}", encode(message))
    assert [heard.message for heard in feed.take_all()] == [message for _, message in sent]
    assert len(woken) == 4
    assert feed.take_all() == []


def newer() -> bytes:
    return json.dumps(json.loads(encode(a_score(1.0))) | {"schema": SCHEMA + 1}).encode()


@pytest.mark.parametrize(
    ("topic", "payload", "hides"),
    [
        ("eegfmri/s/score", b"\xff", True),
        ("eegfmri/s/score", b"[" * 50_000, True),
        ("eegfmri/s/score", newer(), True),
        ("eegfmri/s/score", encode(a_score(1.0)).replace(b'"level":0.8', b'"level":NaN'), True),
        ("eegfmri/s/score", encode(a_score(1.0)).replace(b'"level":0.8', b'"level":1e999'), True),
        ("eegfmri/s/score", b" " * MAX_BYTES + encode(a_score(1.0)), True),
        ("eegfmri/s/score", encode(a_trigger(1.0)), True),
        ("eegfmri/s/trigger", encode(a_score(1.0)), False),
        ("eegfmri/s/status", b"{}", False),
        ("eegfmri/s/score/more", encode(a_score(1.0)), False),
        ("eegfmri/score", encode(a_score(1.0)), False),
        ("other/s/score", encode(a_score(1.0)), False),
    ],
)
def test_a_bad_message_is_counted_and_one_for_a_score_hides_it(topic: str, payload: bytes, hides: bool) -> None:
    feed = a_feed()
    feed.take(topic, payload)
    assert feed.malformed == 1
    assert [heard.message for heard in feed.take_all()] == ([None] if hides else [])


def test_a_prediction_is_no_score() -> None:
    message = PredictionMessage(
        seq=0, model="", probabilities={}, uncertainty=0.0, attention={}, about=0.0, ready=0.0, expires=1.0,
        age_eeg_s=None, age_bold_s=None, flags=[],
    )  # fmt: skip
    feed = a_feed()
    feed.take("eegfmri/s/score", encode(message))
    assert feed.malformed == 1


def test_a_flood_of_scores_pushes_no_trigger_out() -> None:
    feed = a_feed()
    feed.take("eegfmri/s/trigger", encode(a_trigger(1.0)))
    for k in range(2 * CAPACITY):
        feed.take("eegfmri/s/score", encode(a_score(float(k))))
    assert feed.dropped == CAPACITY
    assert isinstance(feed.take_all()[0].message, TriggerMessage)


def test_a_clock_that_was_set_is_found_again_after_the_horizon() -> None:
    clock = SenderClock()
    assert clock.hear(100.0, 100.0)
    assert not clock.hear(101.0, 600.0)
    assert not clock.hear(100.0 + HORIZON_S, 600.0)
    assert clock.hear(100.5 + HORIZON_S, 660.0)
    assert clock.now(101.5 + HORIZON_S) == pytest.approx(661.0)


def test_the_clock_of_this_machine_needs_no_estimate() -> None:
    clock = SenderClock()
    assert clock.now(100.0) is None
    clock.hear(100.2, 100.0)
    assert clock.now(100.2) == 100.2


def test_latency_is_told_by_where_it_begins() -> None:
    latency = Latency()
    assert latency.summary()["arrival_to_pixels"] is None
    for k in range(1, 101):
        latency.add(Times(arrival=100.0, ready=99.99, about=99.9), 100.0 + k / 1000)
    said = latency.summary()
    assert said["scores"] == len(latency) == 100
    assert said["arrival_to_pixels"] == {"p50_ms": 50.5, "p95_ms": 95.05, "max_ms": 100.0}
    assert said["ready_to_pixels"]["p50_ms"] == pytest.approx(60.5)
    assert said["about_to_pixels"]["p50_ms"] == pytest.approx(150.5)
