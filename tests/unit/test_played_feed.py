from __future__ import annotations

import io
import math
import threading
from pathlib import Path

import pytest

from dashboard.link.played import PlayedFeed, reason_of
from streamer import wire
from streamer.errors import FormatError
from streamer.wire.records import Progress, Record, encode_record, progress_record

HERE = Path("recording.toml")


def veto(at: float, session: str = "s") -> Record:
    payload = wire.encode(wire.VetoMessage(window=int(at), reason="r", about=at))
    return Record(f"eegfmri/{session}/veto", payload, at)


def stream(*records: Record) -> io.BytesIO:
    return io.BytesIO(b"".join(map(encode_record, records)))


def test_messages_arrive_in_order_with_the_time_at_which_they_were_sent():
    feed = PlayedFeed(HERE)
    feed.read(stream(veto(10.0), veto(11.0), veto(12.5)))
    arrivals = feed.drain()
    assert [(a.session, a.message.about, a.at) for a in arrivals if isinstance(a.message, wire.VetoMessage)] == [
        ("s", 10.0, 10.0), ("s", 11.0, 11.0), ("s", 12.5, 12.5),
    ]  # fmt: skip
    assert feed.drain() == []
    assert (feed.received, feed.malformed, feed.dropped) == (3, 0, 0)
    assert feed.span == (10.0, 12.5)


def test_progress_is_no_message():
    feed = PlayedFeed(HERE)
    assert all(map(math.isnan, feed.span))
    feed.read(stream(progress_record(Progress(0.25, 3.0))))
    assert (feed.progress, feed.ended, feed.received) == (0.25, False, 0)
    feed.read(stream(progress_record(Progress(1.0, 12.0, ended=True))))
    assert (feed.progress, feed.ended, feed.drain()) == (1.0, True, [])


@pytest.mark.parametrize(
    "bad",
    [
        Record("eegfmri/s/veto", b"{}", 1.0),
        Record("eegfmri/s/veto", b"\xff\x00", 1.0),
        Record("other/s/veto", veto(1.0).payload, 1.0),
        Record("veto", veto(1.0).payload, 1.0),
        Record("eegfmri/s", veto(1.0).payload, 1.0),
    ],
)
def test_a_message_that_is_not_ours_is_counted_and_the_rest_goes_on(bad: Record):
    feed = PlayedFeed(HERE)
    feed.read(stream(bad, veto(2.0)))
    assert [arrival.at for arrival in feed.drain()] == [2.0]
    assert (feed.received, feed.malformed) == (2, 1)


def test_a_stream_of_something_else_is_refused():
    with pytest.raises(FormatError, match="no record begins with"):
        PlayedFeed(HERE).read(io.BytesIO(b"<html>" * 10))


def test_nothing_is_dropped_and_no_more_than_the_capacity_waits():
    feed = PlayedFeed(HERE, capacity=5)
    source = stream(*(veto(float(k)) for k in range(40)))
    reader = threading.Thread(target=feed.read, args=(source,))
    reader.start()
    taken: list[float | None] = []
    while len(taken) < 40:
        some = feed.drain()
        assert len(some) <= 5
        taken += [arrival.at for arrival in some]
    reader.join()
    assert taken == [float(k) for k in range(40)]
    assert feed.dropped == 0


def test_a_reader_that_waits_for_room_ends_when_the_feed_is_stopped():
    feed = PlayedFeed(HERE, capacity=1)
    source = stream(*(veto(float(k)) for k in range(10)))
    reader = threading.Thread(target=feed.read, args=(source,))
    reader.start()
    while feed.received < 2:
        pass
    feed.stop()
    reader.join(5.0)
    assert not reader.is_alive()
    assert feed.received < 10
    assert not feed.connected


def test_a_feed_that_was_stopped_is_not_started_again():
    feed = PlayedFeed(HERE)
    feed.stop()
    feed.stop()
    with pytest.raises(RuntimeError, match="make another one"):
        feed.start()


def test_it_says_what_is_played():
    assert PlayedFeed(HERE).broker.text == "recording recording.toml"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("warning\nerror: x: no such file\n", "x: no such file"),
        ("error: 2 problems\n  - a\n  - b\n", "2 problems - a - b"),
        ("Traceback\n  File\nValueError: 3\n", "ValueError: 3"),
        ("Usage: streamer\n╭─ Error ─────╮\n│ No such option: --bad │\n╰────╯\n", "No such option: --bad"),
        ("", "`streamer messages` ended with 9"),
    ],
)
def test_the_reason_is_one_line(said: str, reason: str):
    assert reason_of(said, 9) == reason
