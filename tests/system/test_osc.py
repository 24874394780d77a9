from __future__ import annotations

import math
import queue
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer

from streamer.clock import LiveClock
from streamer.contracts import Sink
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.osc import AGAIN_S, OscSettings, OscSink
from streamer.errors import SourceError
from streamer.messages import Score, SessionTime, Trigger, Veto

pytestmark = [pytest.mark.system, pytest.mark.beside]

CLOCK = LiveClock()
NEUTRAL = 0.5
NTP_EPOCH_S = 2208988800
IMMEDIATELY = 1
Message = tuple[str, tuple[object, ...]]


def text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), (end // 4 + 1) * 4


def parse(data: bytes) -> tuple[int, list[Message]]:
    """Read a bundle byte by byte as the specification has it, without the library that wrote it."""
    assert data[:8] == b"#bundle\0"
    (timetag,) = struct.unpack(">Q", data[8:16])
    found: list[Message] = []
    at = 16
    while at < len(data):
        (size,) = struct.unpack(">i", data[at : at + 4])
        message, at = data[at + 4 : at + 4 + size], at + 4 + size
        assert size % 4 == 0
        address, i = text(message, 0)
        types, i = text(message, i)
        values: list[object] = []
        for kind in types[1:]:
            if kind == "s":
                value, i = text(message, i)
                values.append(value)
            else:
                values.append(struct.unpack(">" + kind, message[i : i + 4])[0])
                i += 4
        assert i == len(message)
        found.append((f"{address} {types}", tuple(values)))
    return timetag, found


def neutral() -> list[Message]:
    return [("/nf/neutral ,i", (1,)), ("/nf/score ,f", (NEUTRAL,))]


def trigger(seq: int, ahead: float = 0.0) -> Trigger:
    now = CLOCK.now()
    return Trigger(seq, 1, "reward", 0.75, SessionTime(now - 0.1), SessionTime(now + ahead), SessionTime(now + 5), "")


def score(level: float = 0.75, lasts: float = 5.0, **axes: float) -> Score:
    now = CLOCK.now()
    return Score(1, level, axes, 0.6, False, 0.25, SessionTime(now - 0.1), SessionTime(now + lasts))


class Room:
    def __init__(self) -> None:
        self.ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ear.bind(("127.0.0.1", 0))
        self.ear.settimeout(10.0)
        self.gate = Gate(GateSettings())
        self.gate.arm()
        self.beat()
        self.told: list[str] = []
        settings = OscSettings(enabled=True, port=self.ear.getsockname()[1])
        self.sink = OscSink(settings, NEUTRAL, self.gate, CLOCK, time.time, self.told.append)
        assert self.hear() == (IMMEDIATELY, neutral()), "neutral before anything is known"

    def beat(self) -> None:
        self.gate.beat(CLOCK.now())

    def hear(self) -> tuple[int, list[Message]]:
        return parse(self.ear.recv(2000))

    def hear_of(self, address: str) -> tuple[int, list[Message]]:
        """Pass over what is repeated."""
        while True:
            timetag, messages = self.hear()
            if messages[0][0].startswith(address):
                return timetag, messages

    def hear_score(self) -> list[Message]:
        while True:
            _, messages = self.hear()
            if messages[0] == ("/nf/neutral ,i", (0,)):
                return messages


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.sink.close()
    await made.sink.close()
    made.ear.close()


async def test_a_score_comes_with_its_axes_in_one_datagram(room: Room) -> None:
    assert isinstance(room.sink, Sink)
    room.sink.put(Veto(1, "motion", CLOCK.now()))
    room.beat()
    room.sink.put(score(0.75, eeg=0.25, bold=1.0))
    assert room.hear_score() == [
        ("/nf/neutral ,i", (0,)),
        ("/nf/score ,f", (0.75,)),
        ("/nf/axis ,sf", ("eeg", 0.25)),
        ("/nf/axis ,sf", ("bold", 1.0)),
    ]


async def test_what_would_have_been_without_sham_is_never_sent(room: Room) -> None:
    room.sink.put(replace(score(), actual=0.123))
    assert room.hear_score() == [("/nf/neutral ,i", (0,)), ("/nf/score ,f", (0.75,))]


async def test_a_score_that_gets_no_successor_turns_neutral_and_that_is_repeated(room: Room) -> None:
    room.beat()
    shown = score(lasts=0.2)
    room.sink.put(shown)
    room.hear_score()
    assert room.hear_of("/nf/neutral")[1] == neutral()
    first = CLOCK.now()
    assert first >= shown.expires
    assert room.hear()[1] == neutral()
    assert CLOCK.now() - first > AGAIN_S / 2


@pytest.mark.parametrize("case", ["neutral", "expired", "nan", "stopped", "no heartbeat"])
async def test_what_must_not_be_shown_is_neutral(room: Room, case: str) -> None:
    room.beat()
    item = score(0.9)
    match case:
        case "neutral":
            item = replace(item, neutral=True)
        case "expired":
            item = replace(item, expires=SessionTime(CLOCK.now() - 0.01))
        case "nan":
            item = replace(item, expires=SessionTime(math.nan))
        case "stopped":
            room.gate.disarm("stopped by the operator")
        case _:
            room.gate.beat(SessionTime(CLOCK.now() - 1.5))
    room.sink.put(item)
    assert [room.hear()[1] for _ in range(2)] == [neutral()] * 2


async def test_neutral_is_sent_at_once_from_any_thread(room: Room) -> None:
    room.beat()
    room.sink.put(score())
    room.sink.put(trigger(3, ahead=0.3))
    room.hear_score()
    thread = threading.Thread(target=room.sink.neutral, args=("the loop missed its heartbeat",))
    thread.start()
    thread.join()
    assert room.hear()[1] == neutral()
    assert room.sink.schedule.held == {"the loop missed its heartbeat": 1}
    # the next that comes are repetitions: neither the score nor the trigger
    assert [room.hear()[1] for _ in range(2)] == [neutral()] * 2


async def test_a_trigger_is_sent_at_its_time_with_a_time_tag(room: Room) -> None:
    room.beat()
    asked = trigger(5, ahead=0.1)
    offset = time.time() - CLOCK.now()
    room.sink.put(asked)
    timetag, messages = room.hear_of("/nf/trigger")
    assert CLOCK.now() >= asked.fire_at
    assert messages == [("/nf/trigger ,isf", (5, "reward", 0.75))]
    assert timetag / 2**32 - NTP_EPOCH_S == pytest.approx(asked.fire_at + offset, abs=2e-3)


async def test_a_stop_before_its_time_holds_a_trigger_back(room: Room) -> None:
    room.beat()
    room.sink.put(trigger(5, ahead=0.2))
    room.gate.disarm("stopped by the operator")
    assert [room.hear()[1] for _ in range(2)] == [neutral()] * 2
    assert room.sink.schedule.held == {"stopped": 1}
    assert room.sink.losses() == {}


async def test_the_field_s_own_server_understands_it(room: Room) -> None:
    heard: queue.Queue[tuple[object, ...]] = queue.Queue()
    dispatcher = Dispatcher()
    dispatcher.map("/nf/*", lambda *message: heard.put(message))
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        port = server.server_address[1]
        sink = OscSink(OscSettings(enabled=True, port=port), NEUTRAL, room.gate, CLOCK, time.time, room.told.append)
        try:
            server.handle_request()
            assert [heard.get_nowait() for _ in range(2)] == [("/nf/neutral", 1), ("/nf/score", NEUTRAL)]
            room.beat()
            sink.put(score(0.25, eeg=0.75))
            sink.put(trigger(2))
            found: list[tuple[object, ...]] = []
            while ("/nf/trigger", 2, "reward", 0.75) not in found:
                server.handle_request()
                while not heard.empty():
                    found.append(heard.get_nowait())
        finally:
            await sink.close()
    i = found.index(("/nf/neutral", 0))
    assert found[i + 1 : i + 3] == [("/nf/score", 0.25), ("/nf/axis", "eeg", 0.75)]


async def test_closing_says_neutral_and_nobody_listening_harms_nothing(room: Room) -> None:
    room.beat()
    room.sink.put(score())
    room.hear_score()
    await room.sink.close()
    assert room.hear()[1] == neutral()
    room.ear.close()
    quiet = OscSink(OscSettings(port=9), NEUTRAL, room.gate, CLOCK, time.time, room.told.append)
    quiet.put(score())
    quiet.put(score())
    await quiet.close()
    assert not quiet.losses()


async def test_a_receiver_that_cannot_be_reached_is_told_once_and_counted(room: Room) -> None:
    # a broadcast address needs a permission that the sink never asks for
    settings = OscSettings(host="255.255.255.255", insecure=True)
    sink = OscSink(settings, NEUTRAL, room.gate, CLOCK, time.time, room.told.append)
    try:
        room.beat()
        sink.put(score())
        sink.put(score())
        assert sink.losses()["scores"] == 2
        assert len(room.told) == 1
        assert "osc: nothing is sent" in room.told[0]
    finally:
        await sink.close()


@pytest.mark.parametrize("host", ["a..b", "::1%no-such-network"])
def test_a_name_that_nobody_knows_is_refused(room: Room, host: str) -> None:
    with pytest.raises(SourceError, match=r"osc\.host is"):
        OscSink(OscSettings(host=host, insecure=True), NEUTRAL, room.gate, CLOCK, time.time, room.told.append)
