from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator
from threading import Condition

import pytest

from streamer.clock import LiveClock, pause
from streamer.emit import schedule
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.schedule import MAX_WAITING, Schedule, may_show, why_silent
from streamer.messages import Score, SessionTime, Trigger

CLOCK = LiveClock()


def trigger(seq: int = 0, ahead: float = 0.0, lasts: float = 5.0) -> Trigger:
    fire_at = CLOCK.now() + ahead
    return Trigger(
        seq, 1, "feedback", 0.8, SessionTime(fire_at - 0.1), SessionTime(fire_at), SessionTime(fire_at + lasts), ""
    )


class Room:
    """A schedule whose firings can be waited for."""

    def __init__(self) -> None:
        self.gate = Gate(GateSettings())
        self.gate.arm()
        self.gate.beat(CLOCK.now())
        self.changed = Condition()
        self.fired: list[tuple[int, float]] = []
        self.done: list[str] = []
        self.told: list[str] = []
        self.schedule = Schedule("out", CLOCK, self.gate, self.fire, self.tell)

    def put(self, item: Trigger) -> None:
        """Hand over a trigger of a loop that lives."""
        self.gate.beat(CLOCK.now())
        self.schedule.put(item)

    def fire(self, item: Trigger) -> None:
        with self.changed:
            self.fired.append((item.seq, CLOCK.now()))
            self.changed.notify_all()

    def tell(self, text: str) -> None:
        with self.changed:
            self.told.append(text)
            self.changed.notify_all()

    def do(self, what: str) -> None:
        with self.changed:
            self.done.append(what)
            self.changed.notify_all()

    def wait(self, *, fired: int = 0, told: int = 0, done: int = 0) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: len(self.fired) >= fired and len(self.told) >= told and len(self.done) >= done, 10.0
            ), "waited in vain"

    def let_pass(self, seconds: float) -> None:
        """Wait until the thread has done what was due before."""
        n = len(self.done) + 1
        self.schedule.at(SessionTime(CLOCK.now() + seconds), lambda: self.do("passed"))
        self.wait(done=n)


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.schedule.close()
    made.schedule.close()


def test_triggers_fire_in_the_order_of_their_times_and_never_early(room: Room) -> None:
    items = [trigger(seq, ahead) for seq, ahead in ((0, 0.06), (1, 0.02), (2, -0.05), (3, 0.04))]
    for item in items:
        room.put(item)
    room.wait(fired=4)
    assert [seq for seq, _ in room.fired] == [2, 1, 3, 0]
    asked = {item.seq: item.fire_at for item in items}
    assert all(at >= asked[seq] for seq, at in room.fired)
    # what was due at once is not counted as late
    assert len(room.schedule.late_s) == 3
    assert room.schedule.losses() == {}
    assert not room.schedule.held


def test_the_usual_error_is_below_a_millisecond(room: Room) -> None:
    for seq in range(20):
        room.put(trigger(seq, 0.012))
        room.wait(fired=seq + 1)
    assert len(room.schedule.late_s) == 20
    assert statistics.median(room.schedule.late_s) < 1e-3


@pytest.mark.parametrize("again", [False, True])
def test_a_stop_stops_what_waits_also_when_it_is_armed_again_before_the_time(room: Room, *, again: bool) -> None:
    item = trigger(7, 0.4)
    room.put(item)
    room.gate.disarm("stopped by the operator")
    if again:
        room.wait(told=1)
        assert CLOCK.now() < item.fire_at
        room.gate.arm()
    room.let_pass(0.45)
    assert room.fired == []
    assert room.schedule.held == {"stopped": 1}
    assert room.told == ["out: trigger 7 was held back: stopped"]


def test_a_missed_heartbeat_stops_what_waits(room: Room) -> None:
    room.gate.beat(SessionTime(CLOCK.now() - 0.95))
    room.schedule.put(trigger(1, 0.12))
    room.let_pass(0.15)
    assert room.fired == []
    assert room.schedule.held == {"no heartbeat": 1}


@pytest.mark.parametrize("lasts", [-0.001, float("nan")])
def test_what_has_expired_does_not_fire(room: Room, lasts: float) -> None:
    room.put(trigger(1, 0.0, lasts))
    room.wait(told=1)
    assert room.fired == []
    assert room.schedule.held == {"expired": 1}


@pytest.mark.parametrize("ahead", [0.6, float("nan")])
def test_what_would_wait_too_long_is_held_back(room: Room, ahead: float) -> None:
    room.put(trigger(1, ahead))
    assert room.schedule.held == {"too far ahead": 1}
    room.put(trigger(2))
    room.wait(fired=1)
    assert [seq for seq, _ in room.fired] == [2]


def test_dropping_forgets_triggers_and_keeps_the_rest(room: Room) -> None:
    room.put(trigger(1, 0.1))
    room.schedule.at(SessionTime(CLOCK.now() + 0.12), lambda: room.do("lowered"))
    room.schedule.drop("unplugged")
    room.put(trigger(2, 0.05))
    room.wait(done=1, fired=1)
    assert [seq for seq, _ in room.fired] == [2]
    assert room.schedule.held == {"unplugged": 1}
    assert room.done == ["lowered"]


def test_one_that_is_on_its_way_is_dropped_as_well(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_AHEAD_S", 0.25)
    room.put(trigger(1, 0.3))
    # until the thread has taken it out and looks at the clock alone
    while room.schedule._due:
        pause(0.001)
    room.schedule.drop("unplugged")
    room.put(trigger(2, 0.3))
    room.wait(fired=1)
    assert [seq for seq, _ in room.fired] == [2]
    assert room.schedule.held == {"unplugged": 1}


def test_things_are_done_whatever_the_gate_says(room: Room) -> None:
    room.gate.disarm()
    room.schedule.at(SessionTime(CLOCK.now() + 0.01), lambda: room.do("lowered"))
    room.wait(done=1)


def test_an_output_that_fails_does_not_end_the_thread(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("unplugged")

    room.schedule.at(CLOCK.now(), fail)
    room.put(trigger(1))
    room.wait(fired=1)
    assert room.schedule.losses() == {"failed": 1}
    assert "out failed" in caplog.text


def test_the_thread_goes_first_where_the_system_allows_it_and_no_other_does(room: Room) -> None:
    policies: list[int] = []

    def ask() -> None:
        policies.append(os.sched_getscheduler(0))
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        policies.append(os.sched_getscheduler(0))
        room.do("asked")

    if not hasattr(os, "sched_getscheduler"):
        pytest.skip("this system has no such thing")
    room.schedule.at(CLOCK.now(), ask)
    room.wait(done=1)
    # it had what it could get before it asked again
    assert policies[0] == policies[1]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_more_than_may_wait_and_what_comes_after_the_end_are_lost(room: Room) -> None:
    # a busy machine may take longer over this than the triggers are ahead
    with room.schedule._changed:
        for seq in range(MAX_WAITING + 3):
            room.put(trigger(seq, 0.4))
        assert room.schedule.losses() == {"triggers": 3}
        room.schedule.drop("the session ends")
    room.schedule.close()
    assert room.schedule.held == {"the session ends": MAX_WAITING}
    room.put(trigger(999))
    assert room.schedule.losses() == {"triggers": 4}
    assert room.fired == []


def test_a_score_is_shown_only_while_it_counts_and_the_loop_lives() -> None:
    gate = Gate(GateSettings())
    now = SessionTime(10.0)

    def score(*, neutral: bool = False, expires: float = 10.5) -> Score:
        return Score(1, 0.7, {}, 0.6, neutral, 0.7, SessionTime(9.9), SessionTime(expires))

    assert not may_show(score(), gate, now)
    assert why_silent(gate, now) == "stopped"
    gate.arm()
    assert why_silent(gate, now) == "no heartbeat"
    gate.beat(now)
    assert why_silent(gate, now) == ""
    assert may_show(score(), gate, now)
    assert not may_show(score(neutral=True), gate, now)
    assert not may_show(score(expires=9.99), gate, now)
    assert not may_show(score(expires=float("nan")), gate, now)
    assert not may_show(score(expires=20.0), gate, SessionTime(11.5))
