"""What waits between the network and the window, when more comes than is taken."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.link.feed import WITHOUT_PREVIEWS, BrokerAddress, Feed
from dashboard.link.waiting import EVENTS, MAX_BYTES, NOTICES
from streamer.messages import Flag
from streamer.wire import (
    MarkerMessage,
    Message,
    TriggerMessage,
    VetoMessage,
    VolumeImage,
    VolumeMessage,
    encode,
    encode_volume,
)
from streamer.wire.preview_bytes import encode_preview
from tests.unit.operator_room import about, status


def feed(capacity: int = 10) -> Feed:
    return Feed(BrokerAddress("127.0.0.1", 1, tls=False), capacity=capacity, now=lambda: 7.0)


def trigger(seq: int) -> TriggerMessage:
    return TriggerMessage(
        id=f"s/{seq}", seq=seq, action="reward", level=0.5, about=1.0, fire_at=1.0, expires=2.0, reason="x", flags=[]
    )


def preview(first: int) -> bytes:
    return encode_preview(
        np.zeros((25, 64), np.float32), first_sample=first, t0=0.1 * first, sfreq=250.0, flags=Flag.NONE, bad=[],
        interpolated=[], hold_s=0.0, raw=True,
    )  # fmt: skip


def volume(index: int, shape: tuple[int, int, int] = (8, 8, 8)) -> bytes:
    image = VolumeImage("", 1.0, np.zeros(shape, np.int8))
    return encode_volume(VolumeMessage(index, "s", 1.0, np.eye(4), {"mean": image}))


def take(one: Feed, name: str, message: Message | bytes) -> None:
    one.take(f"eegfmri/s/{name}", message if isinstance(message, bytes) else encode(message))


def kinds(one: Feed) -> list[str]:
    return [type(arrival.message).__name__ for arrival in one.drain()]


def test_a_flood_of_pictures_pushes_out_pictures_alone() -> None:
    one = feed(capacity=10)
    take(one, "trigger", trigger(0))
    take(one, "veto", VetoMessage(window=1, reason="MOTION", about=1.0))
    take(one, "marker", MarkerMessage(label="block", at=1.0))
    take(one, "about", about("s"))
    for i in range(100):
        take(one, "preview/raw.bin", preview(i))
    take(one, "status", status("s"))
    assert one.dropped == 90
    arrivals = one.drain()
    assert [type(a.message).__name__ for a in arrivals[:5]] == [
        "About",
        "Status",
        "TriggerMessage",
        "VetoMessage",
        "MarkerMessage",
    ]
    assert [getattr(a.message, "first_sample", None) for a in arrivals[5:]] == list(range(90, 100))
    assert {a.came for a in arrivals} == {7.0}


def test_large_volumes_are_bounded_by_their_bytes() -> None:
    one = feed(capacity=1000)
    payload = volume(0, (64, 64, 64))
    fits = MAX_BYTES // len(payload)
    for i in range(fits + 5):
        take(one, "preview/volume", volume(i, (64, 64, 64)))
    assert one.dropped == 5
    assert [a.message.index for a in one.drain() if isinstance(a.message, VolumeMessage)] == list(range(5, fits + 5))
    take(one, "preview/volume", volume(0))
    assert kinds(one) == ["VolumeMessage"]
    assert one.dropped == 5


def test_what_is_larger_than_all_that_may_wait_is_not_looked_at() -> None:
    one = feed()
    take(one, "preview/volume", b"x" * (MAX_BYTES + 1))
    assert (one.dropped, one.malformed, one.drain()) == (1, 0, [])


@pytest.mark.parametrize(
    ("name", "message", "most"), [("trigger", trigger(1), EVENTS), ("status", status("s"), NOTICES)]
)
def test_even_what_no_picture_pushes_out_is_bounded(name: str, message: Message, most: int) -> None:
    one = feed(capacity=1)
    for _ in range(most + 3):
        take(one, name, message)
    assert one.dropped == 3
    assert len(one.drain()) == most


def test_a_command_is_no_message_of_the_session() -> None:
    one = feed()
    take(one, "command", b'{"kind": "command", "action": "stop"}')
    assert (one.received, one.malformed, one.drain()) == (1, 0, [])


def test_nothing_is_sent_without_a_connection() -> None:
    one = feed()
    assert not one.send("s", b"{}", once=False)
    one.stop()
    one.connected = True
    assert not one.send("s", b"{}", once=False)


def test_an_observer_may_do_without_pictures() -> None:
    one = Feed(BrokerAddress("127.0.0.1", 1, tls=False), "s", kinds=WITHOUT_PREVIEWS)
    topics = [topic for topic, _ in one._topics]
    assert "eegfmri/s/status" in topics
    assert "eegfmri/s/feature/#" in topics
    assert not any("preview" in topic or (topic.endswith("/#") and "feature" not in topic) for topic in topics)
