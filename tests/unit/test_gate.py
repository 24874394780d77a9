from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.emit.gate import HARD_MAX_AHEAD_S, HARD_MAX_PER_MINUTE, HARD_MAX_PER_RUN, Gate, GateSettings
from streamer.messages import SessionTime, Trigger


def trigger(seq: int, now: float, expires: float | None = None, level: float = 0.5) -> Trigger:
    return Trigger(
        seq=seq,
        window=seq,
        action="reward",
        level=level,
        about=SessionTime(now - 0.2),
        fire_at=SessionTime(now),
        expires=SessionTime(now + 0.5 if expires is None else expires),
        reason="",
    )


def armed(**settings: float) -> Gate:
    gate = Gate(GateSettings(**settings))
    gate.arm()
    return gate


def ask(gate: Gate, seq: int, now: float, **changes: float) -> str:
    gate.beat(SessionTime(now))
    admitted, reason = gate.admit(trigger(seq, now, **changes), SessionTime(now))
    assert admitted == (reason == "admitted")
    return reason


def test_nothing_leaves_before_arming_and_after_disarming() -> None:
    gate = Gate(GateSettings())
    assert not gate.armed
    assert ask(gate, 0, 10.0) == "not armed"
    gate.arm()
    assert ask(gate, 0, 10.0) == "admitted"
    gate.disarm()
    assert ask(gate, 1, 12.0) == "not armed"
    assert gate.counts == {"not armed": 2, "admitted": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires": 9.999}, "expired"),
        ({"expires": 10.0}, "admitted"),
        ({"expires": math.nan}, "expired"),
        ({"level": 1.01}, "level out of range"),
        ({"level": -0.01}, "level out of range"),
        ({"level": math.nan}, "level out of range"),
        ({"level": 1.0}, "admitted"),
    ],
)
def test_bad_triggers_are_refused(changes: dict[str, float], reason: str) -> None:
    assert ask(armed(), 0, 10.0, **changes) == reason


def test_a_trigger_leaves_once() -> None:
    gate = armed()
    assert ask(gate, 3, 10.0) == "admitted"
    assert ask(gate, 3, 11.0) == "repeated"
    assert ask(gate, 2, 12.0) == "repeated"
    assert ask(gate, 4, 13.0) == "admitted"


def test_without_a_heartbeat_nothing_leaves() -> None:
    gate = armed()
    assert gate.admit(trigger(0, 5.0), SessionTime(5.0)) == (False, "no heartbeat")
    gate.beat(SessionTime(5.0))
    assert gate.admit(trigger(0, 6.0), SessionTime(6.0)) == (True, "admitted")
    assert gate.admit(trigger(1, 6.001), SessionTime(6.001)) == (False, "no heartbeat")
    gate.beat(SessionTime(7.0))
    assert gate.admit(trigger(1, 7.5), SessionTime(7.5)) == (True, "admitted")


def test_the_minute_slides() -> None:
    gate = armed(max_per_minute=2)
    assert [ask(gate, i, t) for i, t in enumerate((0.0, 30.0, 59.9))] == ["admitted"] * 2 + ["too many in a minute"]
    assert ask(gate, 3, 60.0) == "admitted"
    assert ask(gate, 4, 89.9) == "too many in a minute"
    assert ask(gate, 5, 90.0) == "admitted"


def test_a_run_has_its_own_count_and_is_armed_anew() -> None:
    gate = armed(max_per_run=1)
    assert ask(gate, 0, 0.0) == "admitted"
    assert ask(gate, 1, 10.0) == "too many in the run"
    gate.begin_run()
    assert ask(gate, 2, 20.0) == "not armed"
    gate.arm()
    assert ask(gate, 3, 30.0) == "admitted"


@given(steps=st.lists(st.floats(0.0, 2.0), min_size=70, max_size=300))
def test_no_configuration_lifts_the_hard_limit(steps: list[float]) -> None:
    with pytest.raises(ValidationError):
        GateSettings(max_per_minute=HARD_MAX_PER_MINUTE + 1)
    gate = Gate(GateSettings.model_construct(max_per_minute=10_000, max_per_run=10_000, heartbeat_s=1.0))
    gate.arm()
    now, admitted = 0.0, []
    for seq, step in enumerate(steps):
        now += step
        if ask(gate, seq, now) == "admitted":
            admitted.append(now)
    for start in admitted:
        assert sum(start <= t < start + 60.0 for t in admitted) <= HARD_MAX_PER_MINUTE
    assert len(admitted) >= min(len(steps), HARD_MAX_PER_MINUTE)


def test_the_watchdog_cannot_be_made_slower_than_a_second() -> None:
    with pytest.raises(ValidationError):
        GateSettings(heartbeat_s=1.5)


def test_a_trigger_that_is_scheduled_too_far_ahead_stays() -> None:
    gate = armed()
    gate.beat(SessionTime(10.0))
    ahead = trigger(0, 10.0 + HARD_MAX_AHEAD_S + 0.01)
    assert gate.admit(ahead, SessionTime(10.0)) == (False, "too far ahead")
    assert gate.admit(trigger(0, 10.4, expires=10.3), SessionTime(10.0)) == (False, "expires before it fires")
    assert gate.admit(trigger(0, 10.4), SessionTime(10.0)) == (True, "admitted")


def test_no_settings_lift_the_hard_limits() -> None:
    lifted = GateSettings.model_construct(max_per_minute=10**6, max_per_run=10**9, heartbeat_s=100.0)
    gate = Gate(lifted)
    gate.arm()
    assert gate.heartbeat_s == 1.0
    admitted = sum(ask(gate, k, k * 0.1) == "admitted" for k in range(100_000))
    assert admitted == HARD_MAX_PER_RUN
    assert gate.counts["too many in a minute"] > 0
    with pytest.raises(ValidationError):
        GateSettings(max_per_run=HARD_MAX_PER_RUN + 1)


def test_a_stop_says_why() -> None:
    gate = armed()
    gate.disarm("stopped by the operator")
    assert ask(gate, 0, 1.0) == "stopped by the operator"
