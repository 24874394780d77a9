from __future__ import annotations

import logging

import pytest

from streamer.clock import ReplayClock
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.watchdog import Watchdog
from streamer.messages import SessionTime


class Line:
    name = "line"

    def __init__(self) -> None:
        self.said: list[str] = []

    def neutral(self, why: str) -> None:
        self.said.append(why)


class Broken(Line):
    name = "broken"

    def neutral(self, why: str) -> None:
        raise OSError(f"unplugged: {why}")


class Room:
    def __init__(self, *outputs: Line) -> None:
        self.clock = ReplayClock()
        self.gate = Gate(GateSettings(heartbeat_s=1.0))
        self.told: list[str] = []
        self.dog = Watchdog(self.gate, self.clock, outputs, self.told.append)

    def look(self, at: float, *, beat: bool) -> None:
        self.clock.jump(SessionTime(at))
        if beat:
            self.gate.beat(SessionTime(at))
        self.dog.look()


def test_a_missed_heartbeat_makes_outputs_neutral_once() -> None:
    line = Line()
    room = Room(line)
    room.gate.arm()
    room.look(10.0, beat=True)
    room.look(10.9, beat=False)
    assert line.said == []
    for at in (11.1, 11.3, 12.0):
        room.look(at, beat=False)
    assert line.said == ["the loop missed its heartbeat"]
    assert room.told == ["outputs are neutral: the loop missed its heartbeat"]
    room.look(12.5, beat=True)
    room.look(14.0, beat=False)
    assert room.dog.trips == 2
    assert len(line.said) == 2


def test_stopping_makes_outputs_neutral_though_the_loop_lives() -> None:
    line = Line()
    room = Room(line)
    room.gate.arm()
    room.look(1.0, beat=True)
    room.gate.disarm("stopped by the operator")
    room.look(1.2, beat=True)
    room.look(1.4, beat=True)
    assert line.said == ["stopped"]
    assert room.dog.trips == 0


def test_nothing_is_said_before_anything_was_armed() -> None:
    line = Line()
    room = Room(line)
    for at in (0.0, 5.0, 9.0):
        room.look(at, beat=False)
    assert line.said == []


def test_an_output_that_fails_does_not_keep_the_others_from_neutral(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    room = Room(Broken(), line)
    room.gate.arm()
    room.look(1.0, beat=True)
    with caplog.at_level(logging.ERROR):
        room.look(3.0, beat=False)
    assert line.said == ["the loop missed its heartbeat"]
    assert "broken could not be made neutral" in caplog.text


def test_closing_leaves_everything_neutral_and_ends_the_thread() -> None:
    line = Line()
    room = Room(line)
    room.dog.start()
    room.dog.close()
    room.dog.close()
    assert line.said == ["the session ends"]
    assert not room.dog._thread.is_alive()
