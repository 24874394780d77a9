from __future__ import annotations

import contextlib
import os
import select
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Condition

import pytest
from pydantic import ValidationError

from streamer.clock import LiveClock
from streamer.contracts import Sink
from streamer.emit.gate import HARD_MAX_ON_S, Gate, GateSettings
from streamer.emit.ttl import TRY_OUT, TtlSettings, TtlSink
from streamer.messages import SessionTime, Trigger, Veto

CLOCK = LiveClock()
WAIT_S = 10.0


def trigger(seq: int, action: str = "feedback", ahead: float = 0.0) -> Trigger:
    now = CLOCK.now()
    return Trigger(seq, 1, action, 0.8, SessionTime(now - 0.1), SessionTime(now + ahead), SessionTime(now + 5), "")


class Box:
    """A trigger box: the other end of a serial line, which can be pulled out and put back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "port"
        self.plug_in()

    def plug_in(self) -> None:
        self.end, far = os.openpty()
        tty.setraw(far)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(far))
        os.close(far)

    def pull_out(self) -> None:
        os.close(self.end)
        self.path.unlink()

    def read(self, n: int) -> list[tuple[int, float]]:
        """Wait for so many bytes, each with the time at which it came."""
        found: list[tuple[int, float]] = []
        while len(found) < n:
            ready, _, _ = select.select([self.end], [], [], WAIT_S)
            assert ready, f"only {found} came"
            now = CLOCK.now()
            found += [(byte, now) for byte in os.read(self.end, n - len(found))]
        return found

    def silent(self, seconds: float) -> bool:
        return not select.select([self.end], [], [], seconds)[0]


class Room:
    def __init__(self) -> None:
        self.gate = Gate(GateSettings())
        self.gate.arm()
        self.beat()
        self.told: list[str] = []
        self._changed = Condition()
        self.sinks: list[TtlSink] = []

    def sink(self, settings: TtlSettings) -> TtlSink:
        sink = TtlSink(settings, self.gate, CLOCK, self.tell)
        self.sinks.append(sink)
        # the thread opens the port before it does anything else
        self.settle(sink)
        return sink

    def beat(self) -> None:
        self.gate.beat(CLOCK.now())

    def tell(self, text: str) -> None:
        with self._changed:
            self.told.append(text)
            self._changed.notify_all()

    def wait_until(self, holds: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, WAIT_S), f"waited in vain; told: {self.told}"

    def settle(self, sink: TtlSink) -> None:
        """Wait until all is done that was due before."""
        done: list[int] = []

        def note() -> None:
            with self._changed:
                done.append(1)
                self._changed.notify_all()

        sink.schedule.at(CLOCK.now(), note)
        self.wait_until(lambda: done)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    for sink in made.sinks:
        await sink.close()
        await sink.close()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


async def test_a_trigger_is_one_pulse_of_the_length_that_was_asked_for(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), pulse_s=0.05, codes={"phase": 9}))
    assert isinstance(sink, Sink)
    assert box.read(1)[0][0] == 0
    for seq, action, code in ((0, "feedback", 1), (1, "phase", 9)):
        room.beat()
        asked = trigger(seq, action, ahead=0.03)
        sink.put(asked)
        (raised, up), (lowered, down) = box.read(1) + box.read(1)
        assert (raised, lowered) == (code, 0)
        assert up >= asked.fire_at
        assert down - up == pytest.approx(0.05, abs=0.045)
    assert sink.pulses == 2
    assert not sink.losses()
    assert room.told == []


async def test_only_triggers_make_pulses(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path)))
    box.read(1)
    sink.put(Veto(1, "motion", SessionTime(1.0)))
    room.settle(sink)
    assert box.silent(0.0)


async def test_a_line_of_the_port_itself_goes_up_and_down(room: Room) -> None:
    for way, line in (("rts", "cts"), ("dtr", "dsr")):
        sink = room.sink(TtlSettings(port=TRY_OUT, way=way, pulse_s=0.9))
        port = sink._port
        assert port is not None
        # a port without a device hands its own lines back
        assert not getattr(port, line)
        room.beat()
        sink.put(trigger(0))
        room.settle(sink)
        assert getattr(port, line)
        sink.neutral("stopped")
        assert not getattr(port, line)


async def test_no_setting_keeps_a_line_up_longer_than_the_hard_limit(room: Room, box: Box) -> None:
    unchecked = TtlSettings(port=str(box.path)).model_copy(update={"pulse_s": 60.0})
    sink = room.sink(unchecked)
    box.read(1)
    sink.put(trigger(0))
    (_, up), (low, down) = box.read(1) + box.read(1)
    assert low == 0
    assert 0.5 < down - up <= HARD_MAX_ON_S


async def test_a_pulse_does_not_lengthen_another(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), pulse_s=0.2))
    box.read(1)
    sink.put(trigger(0))
    sink.put(trigger(1))
    assert [byte for byte, _ in box.read(2)] == [1, 0]
    room.settle(sink)
    assert box.silent(0.0)
    assert sink.schedule.held == {"the line is up": 1}


async def test_neutral_lowers_at_once_and_the_next_pulse_has_its_full_length(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), pulse_s=0.3))
    box.read(1)
    sink.put(trigger(0))
    ((_, up),) = box.read(1)
    # a trigger that waits is forgotten
    sink.put(trigger(1, ahead=0.4))
    sink.neutral("the loop missed its heartbeat")
    ((low, down),) = box.read(1)
    assert low == 0
    assert down - up < 0.25
    # the first one's end must not cut the next short
    assert box.silent(0.15)
    room.beat()
    sink.put(trigger(2))
    (_, up), (low, down) = box.read(1) + box.read(1)
    assert low == 0
    assert down - up == pytest.approx(0.3, abs=0.1)
    assert sink.schedule.held == {"the loop missed its heartbeat": 1}


async def test_the_pulse_ends_while_the_loop_hangs(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), pulse_s=0.05))
    box.read(1)
    # this test is the loop: it does nothing but wait here
    sink.put(trigger(0))
    assert [byte for byte, _ in box.read(2)] == [1, 0]


async def test_a_port_that_is_lost_is_told_counted_and_taken_back_without_what_was_due_meanwhile(
    room: Room, box: Box
) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), retry_s=0.05))
    box.read(1)
    box.pull_out()
    room.wait_until(lambda: room.told)
    assert "the port is away" in room.told[0]
    assert str(box.path) in sink.problem
    room.beat()
    sink.put(trigger(0))
    room.wait_until(lambda: len(room.told) == 2)
    assert "trigger 0 is lost" in room.told[1]
    assert sink.losses() == {"port": 1, "triggers": 1}
    box.plug_in()
    room.wait_until(lambda: len(room.told) == 3)
    assert room.told[2] == f"ttl: {box.path} is back"
    assert sink.problem == ""
    assert [byte for byte, _ in box.read(1)] == [0]
    assert box.silent(0.0)
    room.beat()
    sink.put(trigger(1))
    assert [byte for byte, _ in box.read(2)] == [1, 0]
    assert sink.losses() == {"port": 1, "triggers": 1}
    # a second loss is one of its own
    box.pull_out()
    room.wait_until(lambda: len(room.told) == 4)
    assert sink.losses() == {"port": 2, "triggers": 1}


async def test_a_port_that_is_not_there_is_told_once_and_waited_for(room: Room, tmp_path: Path) -> None:
    sink = room.sink(TtlSettings(port=str(tmp_path / "port"), retry_s=0.05))
    assert len(room.told) == 1
    room.settle(sink)
    box = Box(tmp_path)
    room.wait_until(lambda: len(room.told) == 2)
    assert room.told[1].endswith("is back")
    assert box.read(1)[0][0] == 0


async def test_a_device_that_takes_no_bytes_is_a_lost_port_and_nobody_waits_for_it(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), retry_s=60))
    port = sink._port
    assert port is not None
    # nobody reads: fill what the line holds; it goes over in pieces
    os.set_blocking(port.fileno(), False)
    while select.select([], [port.fileno()], [], 0.1)[1]:
        with contextlib.suppress(BlockingIOError):
            os.write(port.fileno(), bytes(4096))
    before = CLOCK.now()
    room.beat()
    sink.put(trigger(0))
    room.wait_until(lambda: room.told)
    assert CLOCK.now() - before < 1.0
    room.settle(sink)
    assert "the port is away" in room.told[0]
    assert sink.losses() == {"port": 1, "triggers": 1}
    assert sink._port is None
    os.close(box.end)


async def test_closing_lowers_the_line(room: Room, box: Box) -> None:
    sink = room.sink(TtlSettings(port=str(box.path), pulse_s=0.9))
    box.read(1)
    sink.put(trigger(0))
    assert box.read(1)[0][0] == 1
    await sink.close()
    assert box.read(1)[0][0] == 0
    sink.put(trigger(1))
    sink.neutral("again")
    assert sink.losses() == {"triggers": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": "socket://10.0.0.1:7000"}, "a port of this machine"),
        ({"port": "rfc2217://10.0.0.1:7000"}, "a port of this machine"),
        ({"pulse_s": HARD_MAX_ON_S + 0.1}, "less than or equal"),
        ({"code": 0}, "not that of rest"),
        ({"codes": {"phase": 256}}, "0 to 255"),
        ({"way": "smoke"}, "'byte', 'rts' or 'dtr'"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TtlSettings.model_validate(given)
