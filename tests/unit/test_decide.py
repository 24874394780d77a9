from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.decode.decide import Decision, DecisionState
from streamer.decode.decision_settings import DecisionSettings
from streamer.messages import Flag, Prediction, Score, SessionTime, Trigger, Veto

PLAIN = DecisionSettings(smoothing_s=0)
CLASSES = ("rest", "task")


def said(at: float, p: float, flags: Flag = Flag.NONE, seq: int = 0) -> Prediction:
    return Prediction(seq, "m", CLASSES, (1 - p, p), 0.5, {}, SessionTime(at), 0.05, 2.0, flags=flags)


def run(
    decision: Decision, values: Iterable[float], start: float = 0.0, flags: Flag = Flag.NONE
) -> list[Trigger | Veto]:
    decided = [decision(said(start + k / 10, p, flags, seq=k)) for k, p in enumerate(values)]
    return [d for each in decided for d in each if not isinstance(d, Score)]


def test_a_trigger_is_given_after_the_dwell_time() -> None:
    decision = Decision(PLAIN, CLASSES)
    assert decision.state is DecisionState.IDLE
    assert run(decision, [0.2]) == []
    assert decision.state is DecisionState.ARMED
    assert run(decision, [0.8] * 5, start=0.1) == []
    assert decision.state is DecisionState.CANDIDATE
    (trigger,) = run(decision, [0.8], start=0.6)
    assert isinstance(trigger, Trigger)
    assert (trigger.seq, trigger.action, trigger.level, trigger.about) == (0, "feedback", 0.8, 0.6)
    assert trigger.fire_at == 0.6
    assert trigger.expires == pytest.approx(1.6)
    assert "p(task) = 0.800" in trigger.reason
    assert decision.state is DecisionState.REFRACTORY


def test_between_the_thresholds_a_candidate_stays_and_nothing_becomes_one() -> None:
    assert run(Decision(PLAIN, CLASSES), [0.69] * 50) == []
    assert len(run(Decision(PLAIN, CLASSES), [0.71, *[0.56] * 5])) == 1
    assert run(Decision(PLAIN, CLASSES), [0.71, 0.56, 0.54, *[0.69] * 20]) == []


def test_smoothing_follows_the_time_between_predictions() -> None:
    decision = Decision(DecisionSettings(smoothing_s=1.0), CLASSES)
    run(decision, [0.0, 1.0])
    assert decision.score == pytest.approx(1 - 2.718281828**-0.1)
    # one outlier is no candidate
    assert decision.state is DecisionState.ARMED


def test_no_trigger_in_the_refractory_time_and_the_next_right_after_its_dwell() -> None:
    times = [t.about for t in run(Decision(PLAIN, CLASSES), [0.9] * 120)]
    assert times == pytest.approx([0.5, 4.0, 7.5, 11.0])


def test_a_vetoed_window_never_fires_and_says_so_once_a_second() -> None:
    decision = Decision(PLAIN, CLASSES)
    held = run(decision, [0.9] * 31, flags=Flag.MOTION | Flag.STALE | Flag.RECORDING_LOST)
    assert all(isinstance(v, Veto) for v in held)
    assert [v.about for v in held] == pytest.approx([0.5, 1.5, 2.5])
    assert held[0].reason == "MOTION, STALE"
    assert decision.state is DecisionState.IDLE
    # the dwell starts anew with the first clean window
    (trigger,) = run(decision, [0.9] * 6, start=3.1)
    assert isinstance(trigger, Trigger)
    assert trigger.about == pytest.approx(3.6)


def test_flags_that_veto_nothing_ride_along() -> None:
    (trigger,) = run(Decision(PLAIN, CLASSES), [0.9] * 6, flags=Flag.RECORDING_LOST)
    assert trigger.flags == Flag.RECORDING_LOST
    assert trigger.reason.endswith("flags RECORDING_LOST")


def test_the_cap_per_minute_holds_in_any_minute() -> None:
    decision = Decision(DecisionSettings(smoothing_s=0, max_per_minute=3), CLASSES)
    decided = run(decision, [0.9] * 1300)
    fired = [t.about for t in decided if isinstance(t, Trigger)]
    assert fired == pytest.approx([0.5, 4.0, 7.5, 60.5, 64.0, 67.5, 120.5, 124.0, 127.5])
    capped = [v for v in decided if isinstance(v, Veto)]
    assert capped[0].reason == "3 triggers in a minute"


def test_the_operator_stops_and_arms() -> None:
    decision = Decision(PLAIN, CLASSES)
    decision.command("stop")
    held = run(decision, [0.9] * 20)
    assert [type(v) for v in held] == [Veto, Veto]
    assert held[0].reason == "stopped by the operator"
    assert decision.state is DecisionState.IDLE
    decision.command("arm")
    assert [t.about for t in run(decision, [0.9] * 10, start=2.0)] == pytest.approx([2.5])
    with pytest.raises(ValueError, match="expected stop or arm"):
        decision.command("go")


def test_a_pause_starts_smoothing_and_dwell_anew() -> None:
    decision = Decision(PLAIN, CLASSES)
    assert run(decision, [0.9] * 5) == []
    assert run(decision, [0.9] * 5, start=10.0) == []
    assert len(run(decision, [0.9], start=10.5)) == 1


def test_time_that_jumps_back_does_not_shorten_the_refractory_time_or_lift_the_cap() -> None:
    decision = Decision(DecisionSettings(smoothing_s=0, max_per_minute=2), CLASSES)
    assert len(run(decision, [0.9] * 6, start=1000.0)) == 1
    again = run(decision, [0.9] * 650, start=10.0)
    # one of two is left at first; a minute of the new time later the old one no longer counts
    assert [t.about for t in again if isinstance(t, Trigger)] == pytest.approx([13.5, 70.0, 73.5])
    assert again[1].reason == "2 triggers in a minute"


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from([0.1, 0.1, 0.1, 0.1, 0.3, 2.0]),
            st.sampled_from([Flag.NONE, Flag.NONE, Flag.NONE, Flag.RECORDING_LOST, Flag.MOTION, Flag.GAP]),
        ),
        max_size=300,
    ),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.2]),
)
def test_never_two_triggers_in_the_refractory_time_and_never_one_on_a_vetoed_window(
    steps: list[tuple[float, float, Flag]], smoothing_s: float, dwell_s: float
) -> None:
    settings = DecisionSettings(smoothing_s=smoothing_s, dwell_s=dwell_s, max_per_minute=5, refractory_s=1.0)
    decision = Decision(settings, CLASSES)
    at = 100.0
    fired: list[float] = []
    for seq, (p, pause, flags) in enumerate(steps):
        at += pause
        decided = decision(said(at, p, flags, seq))
        if isinstance(decided, Trigger):
            assert not flags & settings.veto_flags()
            assert decided.seq == len(fired)
            assert not fired or at - fired[-1] >= settings.refractory_s - 1e-9
            fired.append(at)
            assert sum(at - t < 60 for t in fired) <= 5
        elif isinstance(decided, Veto):
            assert decided.reason


def test_the_same_predictions_give_the_same_decisions() -> None:
    values = [((k * 37) % 100) / 100 for k in range(400)]
    assert run(Decision(DecisionSettings(), CLASSES), values) == run(Decision(DecisionSettings(), CLASSES), values)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="above threshold_on"):
        DecisionSettings(threshold_on=0.5, threshold_off=0.6)
    with pytest.raises(ValidationError, match="no such flag: NOISE"):
        DecisionSettings(veto=("NOISE",))
    with pytest.raises(ValueError, match="not a class of the model"):
        Decision(DecisionSettings(target="left"), CLASSES)


def test_every_setting_says_what_it_is() -> None:
    assert all(info.description for info in DecisionSettings.model_fields.values())
