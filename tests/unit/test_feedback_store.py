"""What the participant is to see: the store, without a window."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.feedback.store import FLASH_S, LONGEST_S, MAX_IDS, FeedbackStore, Heard, Look, Times
from streamer.wire import ScoreMessage, Status, TriggerMessage
from tests.unit.feedback_messages import a_score, a_status, a_trigger

ELSEWHERE = 5000.0
"""s that our clock is ahead of another machine's."""


def running(session: str | None = None) -> FeedbackStore:
    store = FeedbackStore(session)
    store.take(Heard("s", a_status(), 0.0))
    return store


def shown(store: FeedbackStore, now: float) -> Look:
    return store.look(now, connected=True)


def test_a_score_is_shown_until_it_expires() -> None:
    store = running()
    assert shown(store, 99.0).neutral
    store.take(Heard("s", a_score(100.0), 100.002))
    look = shown(store, 100.01)
    assert look.levels == (0.8,)
    assert (look.threshold, look.reached, look.flash) == (0.7, True, False)
    assert shown(store, 100.9) == look
    assert shown(store, 100.901) == Look()
    # and it does not come back
    assert shown(store, 100.5) == Look()


def test_a_level_below_the_threshold_is_no_reward_yet() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0, level=0.69), 100.0))
    assert not shown(store, 100.0).reached


@pytest.mark.parametrize(
    ("axes", "levels", "threshold"),
    [
        ({}, (0.8,), 0.7),
        ({"eeg": 0.2}, (0.8,), 0.7),
        ({"eeg": 0.2, "bold": 0.9}, (0.2, 0.9), None),
        (dict.fromkeys("abcd", 0.5), (0.5,) * 4, None),
        (dict.fromkeys("abcde", 0.5), (0.8,), 0.7),
    ],
)
def test_axes_are_shown_where_there_are_two_or_more(
    axes: dict[str, float], levels: tuple[float, ...], threshold: float | None
) -> None:
    store = running()
    store.take(Heard("s", a_score(100.0, axes=axes), 100.0))
    look = shown(store, 100.0)
    assert (look.levels, look.threshold) == (levels, threshold)


def test_a_neutral_score_is_the_neutral_look() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    assert not shown(store, 100.0).neutral
    store.take(Heard("s", a_score(100.1, neutral=True, level=0.5), 100.1))
    assert shown(store, 100.1) == Look()


def test_without_the_broker_all_is_neutral_and_the_old_score_stays_away() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    assert not shown(store, 100.0).neutral
    assert store.look(100.1, connected=False) == Look()
    assert shown(store, 100.2) == Look()


@pytest.mark.parametrize("end", [a_status(online=False, state="STOPPED"), a_status(state="STOPPED")])
def test_a_session_that_stops_is_neutral_at_once(end: Status) -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_trigger(100.0), 100.0))
    assert shown(store, 100.0).flash
    store.take(Heard("s", end, 100.05))
    assert shown(store, 100.05) == Look()
    store.take(Heard("s", a_score(100.1), 100.1))
    assert shown(store, 100.1) == Look()
    assert store.counts["offline"] == 1


def test_nothing_is_shown_of_a_session_that_never_said_that_it_runs() -> None:
    store = FeedbackStore("s")
    store.take(Heard("s", a_score(100.0), 100.0))
    assert shown(store, 100.0) == Look()


@pytest.mark.parametrize("ahead", [0.0, ELSEWHERE, -ELSEWHERE])
def test_deadlines_hold_on_another_machines_clock(ahead: float) -> None:
    store = running()
    for tick in range(20):
        at = 100.0 + tick / 10
        late = 0.25 if tick == 19 else 0.004 + 0.003 * (tick % 3)
        store.take(Heard("s", a_score(at), at + ahead + late))
    local = 101.9 + ahead
    assert not shown(store, local + 0.89).neutral
    assert shown(store, local + 0.905).neutral


def test_a_score_that_comes_after_its_deadline_is_counted_and_hides_the_one_before() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_score(100.1, expires=100.2), 100.3))
    assert shown(store, 100.3) == Look()
    assert store.counts["expired"] == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"level": 1.01}, "invalid"),
        ({"level": -0.01}, "invalid"),
        ({"level": math.nan}, "invalid"),
        ({"threshold": math.inf}, "invalid"),
        ({"axes": {"a": 0.5, "b": 7.0}}, "invalid"),
        ({"about": math.nan}, "invalid"),
        ({"expires": math.inf}, "invalid"),
        ({"ready": None}, "untimed"),
        ({"ready": 1e12, "expires": 1e12 + 1}, "future"),
    ],
)
def test_a_score_that_cannot_be_is_counted_and_neutral(changes: dict[str, object], why: str) -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    assert not shown(store, 100.0).neutral
    store.take(Heard("s", a_score(100.1, **changes), 100.1))
    assert shown(store, 100.1) == Look()
    assert store.counts[why] == 1
    store.take(Heard("s", a_score(100.2), 100.2))
    assert not shown(store, 100.2).neutral


def test_an_unreadable_score_is_neutral() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", None, 100.1))
    assert shown(store, 100.1) == Look()
    assert store.counts["unreadable"] == 1


def test_no_deadline_keeps_a_score_for_ever() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0, expires=1e9), 100.0))
    assert not shown(store, 100.0 + LONGEST_S).neutral
    assert shown(store, 100.001 + LONGEST_S).neutral


def test_late_and_doubled_scores_change_nothing() -> None:
    store = running()
    store.take(Heard("s", a_score(100.2), 100.2))
    first = shown(store, 100.2)
    store.take(Heard("s", a_score(100.1, level=0.1), 100.21))
    store.take(Heard("s", a_score(100.2, level=0.1), 100.22))
    assert shown(store, 100.22) == first
    assert (store.counts["late"], store.counts["doubled"]) == (1, 1)


def test_of_a_burst_the_newest_is_shown_and_the_rest_counted() -> None:
    store = running()
    for k in range(1000):
        at = 100.0 + k / 1000
        store.take(Heard("s", a_score(at, window=k, level=k / 1000), at))
    assert shown(store, 101.0).levels == (0.999,)
    assert (store.counts["superseded"], store.counts["scores"]) == (999, 1)


def test_every_new_score_has_a_number_of_its_own() -> None:
    store = running()
    serials: list[int] = []
    for k in range(3):
        store.take(Heard("s", a_score(100 + k / 10), 100 + k / 10))
        serials.append(shown(store, 100 + k / 10).serial)
    assert len(set(serials)) == 3
    assert 0 not in serials


def test_a_trigger_lights_up_once_and_not_for_long() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    for at in (100.0, 100.05):
        store.take(Heard("s", a_trigger(100.0), at))
    assert shown(store, 100.06).flash
    assert shown(store, 100.05 + FLASH_S).flash
    assert not shown(store, 100.07 + FLASH_S).flash
    assert (store.counts["triggers"], store.counts["trigger_doubled"]) == (1, 1)


def test_a_scheduled_trigger_waits_for_its_time() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_trigger(100.0, fire_at=100.3), 100.0))
    assert not shown(store, 100.29).flash
    assert shown(store, 100.3).flash


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"expires": 99.99}, "trigger_expired"),
        ({"fire_at": 101.0}, "trigger_expired"),
        ({"fire_at": 100.8}, "trigger_refused"),
        ({"fire_at": math.nan}, "trigger_invalid"),
        ({"level": 2.0}, "trigger_invalid"),
    ],
)
def test_a_trigger_that_must_not_be_acted_on(changes: dict[str, object], why: str) -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_trigger(100.0, **changes), 100.0))
    assert not shown(store, 100.0).flash
    assert not shown(store, 100.9).flash
    assert store.counts[why] == 1


def test_a_trigger_that_could_not_be_painted_in_time_is_not_painted() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_trigger(100.0), 100.0))
    assert not shown(store, 101.0).flash
    assert (store.counts["triggers"], store.counts["trigger_expired"]) == (0, 1)


def test_a_trigger_before_any_score_cannot_be_dated() -> None:
    store = running()
    store.take(Heard("s", a_trigger(100.0), 100.0))
    assert not shown(store, 100.0).flash
    assert store.counts["trigger_untimed"] == 1


def test_the_numbers_of_triggers_do_not_fill_the_memory() -> None:
    store = running()
    for seq in range(MAX_IDS + 100):
        store.take(Heard("s", a_trigger(100.0, seq), 100.0))
    assert len(store._ids) == MAX_IDS


def test_other_sessions_are_passed_over() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("t", a_status("t"), 100.0))
    store.take(Heard("t", a_score(100.1, level=0.1), 100.1))
    assert shown(store, 100.1).levels == (0.8,)
    assert store.counts["other_session"] == 1


def test_the_next_session_takes_the_place_of_one_that_ended() -> None:
    store = running()
    store.take(Heard("t", a_status("t"), 1.0))
    store.take(Heard("s", a_status(online=False, state="STOPPED"), 2.0))
    store.take(Heard("t", a_score(100.0, level=0.3), 100.0))
    assert store.session == "t"
    assert shown(store, 100.0).levels == (0.3,)


def test_a_session_that_died_unheard_gives_way_to_one_that_speaks() -> None:
    store = running()
    store.take(Heard("s", a_score(10.0), 10.0))
    store.take(Heard("t", a_status("t"), 10.0))
    store.take(Heard("t", a_score(12.0), 12.0))
    assert store.session == "s"
    store.take(Heard("t", a_score(16.0), 16.0))
    assert store.session == "t"
    assert not shown(store, 16.0).neutral


def test_a_session_that_was_named_is_not_left() -> None:
    store = running("s")
    store.take(Heard("s", a_status(online=False, state="STOPPED"), 2.0))
    store.take(Heard("t", a_status("t"), 3.0))
    store.take(Heard("t", a_score(100.0), 100.0))
    assert store.session == "s"
    assert shown(store, 100.0) == Look()


def test_a_session_that_begins_anew_counts_anew() -> None:
    store = running("s")
    store.take(Heard("s", a_score(100.0), 100.0))
    store.take(Heard("s", a_trigger(100.0), 100.0))
    assert shown(store, 100.0).flash
    store.take(Heard("s", a_status(online=False, state="STOPPED"), 101.0))
    store.take(Heard("s", a_status(), 102.0))
    # the machine was started again: its clock too
    store.take(Heard("s", a_score(5.0), 103.0))
    store.take(Heard("s", a_trigger(5.0), 103.0))
    look = shown(store, 103.0)
    assert look.flash
    assert not look.neutral


ANY = st.floats(allow_nan=True, allow_infinity=True)
NEAR = st.floats(90.0, 110.0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                ScoreMessage,
                window=st.integers(),
                level=st.floats(0, 1) | ANY,
                axes=st.dictionaries(st.text(max_size=3), st.floats(0, 1) | ANY, max_size=6),
                threshold=st.floats(0, 1) | ANY,
                neutral=st.booleans(),
                about=NEAR | ANY,
                ready=st.none() | NEAR | ANY,
                expires=NEAR | ANY,
                flags=st.just([]),
            ),
            st.builds(
                TriggerMessage,
                id=st.text(max_size=2),
                seq=st.integers(),
                action=st.text(max_size=3),
                level=ANY,
                about=ANY,
                fire_at=NEAR | ANY,
                expires=NEAR | ANY,
                reason=st.text(max_size=3),
                flags=st.just([]),
            ),
            st.builds(Status, session=st.just("s"), online=st.booleans(), state=st.sampled_from(["RUNNING", "?"])),
            st.none(),
        ),
        max_size=20,
    )
)
def test_whatever_comes_the_look_can_be_painted_and_ends_neutral(messages: list[object]) -> None:
    store = running()
    for k, message in enumerate(messages):
        at = 100.0 + k / 10
        store.take(Heard("s", message, at))
        look = shown(store, at)
        assert all(0.0 <= level <= 1.0 for level in look.levels)
        assert look.threshold is None or 0.0 <= look.threshold <= 1.0
    assert shown(store, 100.0 + len(messages) / 10 + LONGEST_S + FLASH_S) == Look()


def test_the_times_of_a_score_are_on_our_clock() -> None:
    store = running()
    store.take(Heard("s", a_score(100.0), 100.0 + ELSEWHERE))
    assert store.times == Times(arrival=5100.0, ready=5100.0, about=5099.9)
