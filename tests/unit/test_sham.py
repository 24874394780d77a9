"""What a blinded session shows: each condition its own course, all of them at the very same times."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.decide import Decision
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.score_source import ScoreSourceSettings
from streamer.decode.sham import (
    CONDITIONS,
    BlindFeedback,
    Record,
    ShamSettings,
    make_record,
    phase_scrambled,
)
from streamer.messages import F64, Feature, Flag, Prediction, Score, SessionTime, Trigger, Veto

CLASSES = ("rest", "task")
OTHER = ScoreSourceSettings(feature="bold.feedback", label="level visual", age_max_s=4.0)
SETTINGS = ShamSettings(hold_s=2.0, other=OTHER)


def noise(n: int, seed: int = 0) -> F64:
    """Scores that wander as smoothed ones do, 0..1."""
    steps = np.random.default_rng(seed).normal(0, 1, n + 50)
    walk = np.convolve(steps, np.ones(50) / 50, "valid")[:n]
    return np.clip(0.5 + 2.0 * walk, 0.0, 1.0)


def a_record(n: int = 600, seed: int = 0) -> Record:
    return make_record(np.arange(n) / 10, noise(n, seed), np.ones(n, bool), 2.0)


def made(condition: str, conditions: tuple[str, ...] = CONDITIONS, **given: object) -> BlindFeedback:
    return BlindFeedback(condition, conditions, SETTINGS, **{"record": a_record(), "seed": 3, **given})  # type: ignore[arg-type]


def visual(at: float, level: float, *, valid: bool = True) -> Feature:
    return Feature("bold.feedback", 1, SessionTime(at), 0.0, ("level visual",), (level,), (), valid=valid)


def played(feedback: BlindFeedback, n: int, start: float = 0.0) -> list[float | None]:
    return [feedback.level(0.25, SessionTime(start + k / 10), clean=True) for k in range(n)]


def test_each_condition_shows_what_it_says() -> None:
    levels = a_record().levels
    recorded = ("real", "yoked", "reversed", "scrambled")
    assert played(made("real", recorded), 600) == [0.25] * 600
    assert played(made("yoked", recorded), 600) == levels.tolist()
    assert played(made("reversed", recorded), 600) == levels[::-1].tolist()
    scrambled = played(made("scrambled", recorded), 600)
    assert sorted(each for each in scrambled if each is not None) == sorted(levels.tolist())
    assert scrambled not in (levels.tolist(), levels[::-1].tolist())
    feedback = made("other", ("real", "other"), record=None)
    feedback.feature(visual(1.0, 0.75))
    assert feedback.level(0.25, SessionTime(1.5)) == 0.75


def test_a_record_is_played_from_the_first_clean_decision_and_the_run_goes_on_while_it_is_not_clean() -> None:
    feedback = made("yoked", ("real", "yoked"))
    levels = a_record().levels
    assert [feedback.level(0.2, SessionTime(k / 10), clean=False) for k in range(70)] == [None] * 70
    assert feedback.level(0.2, SessionTime(7.0), clean=True) == levels[0]
    for k in range(71, 100):
        feedback.level(0.2, SessionTime(k / 10), clean=False)
    assert feedback.level(0.2, SessionTime(10.0), clean=True) == levels[30]
    assert feedback.level(0.2, SessionTime(17.0), clean=True) == levels[100]


def test_a_clock_that_is_set_back_does_not_rewind_the_record() -> None:
    feedback = made("yoked", ("real", "yoked"))
    played(feedback, 101)
    levels = a_record().levels
    assert feedback.level(0.2, SessionTime(-5000.0)) == levels[100]
    assert feedback.level(0.2, SessionTime(-4999.0)) == levels[110]


def test_when_the_record_ends_every_condition_is_neutral() -> None:
    for condition in ("real", "yoked", "reversed", "scrambled"):
        feedback = made(condition, ("real", "yoked", "reversed", "scrambled"))
        assert feedback.length_s == pytest.approx(60.0)
        shown = played(feedback, 700)
        assert None not in shown[:600]
        assert shown[600:] == [None] * 100
    assert math.isinf(made("real", ("real", "other"), record=None).length_s)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_when_nothing_is_shown_does_not_depend_on_the_condition(data: st.DataObject) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    clean = np.repeat(draw.random(60) < 0.7, 10)
    clean[[0, 599]] = True
    record = make_record(np.arange(600) / 10, noise(600), clean, 0.5)
    steps = np.cumsum(draw.exponential(0.1, 500))
    tidy = draw.random(500) < 0.8
    arrives = draw.random(500) < 0.03
    patterns: list[list[bool]] = []
    for condition in CONDITIONS:
        feedback = made(condition, record=record)
        pattern: list[bool] = []
        for at, fine, new in zip(steps.tolist(), tidy.tolist(), arrives.tolist(), strict=True):
            if new:
                feedback.feature(visual(at, 0.5))
            pattern.append(feedback.level(0.4, SessionTime(at), clean=fine) is None)
        patterns.append(pattern)
    assert all(pattern == patterns[0] for pattern in patterns)
    assert True in patterns[0]


def test_a_record_is_a_regular_grid_with_its_pauses_marked() -> None:
    times = 1e5 + np.arange(600) / 10
    scores = np.linspace(0, 1, 600)
    clean = np.ones(600, bool)
    clean[:50] = clean[200:260] = False
    scores[300] = np.nan
    record = make_record(times, scores, clean, 2.0)
    assert record.step_s == pytest.approx(0.1)
    assert len(record.levels) == 550
    assert record.levels[0] == scores[50]
    assert record.levels[250] == scores[299]
    assert np.flatnonzero(~record.valid).tolist() == list(range(170, 210))
    assert set(record.levels[150:210].tolist()) == {scores[199]}
    assert record.levels[210] == scores[260]


def test_a_record_goes_on_where_its_clock_was_set_back() -> None:
    times = np.concatenate([np.arange(300) / 10, np.arange(300) / 10 - 900.0])
    record = make_record(times, noise(600), np.ones(600, bool), 2.0)
    assert record.length_s == pytest.approx(59.9, abs=0.11)
    assert record.valid.all()


@pytest.mark.parametrize(
    ("n", "step", "clean"),
    [(0, 0.1, True), (1, 0.1, True), (600, 0.1, False), (299, 0.1, True), (400, 3600.0, True)],
)
def test_a_record_must_span_some_time(n: int, step: float, clean: bool) -> None:
    with pytest.raises(ValueError, match="expected 30 to 21600 s"):
        make_record(np.arange(n) * step, noise(n) if n else np.empty(0), np.full(n, clean), 2.0)


def test_scrambled_phases_keep_values_and_spectrum_and_lose_the_course() -> None:
    levels = noise(6000, seed=4)
    scrambled = phase_scrambled(levels, 1)
    assert np.array_equal(np.sort(scrambled), np.sort(levels))
    before, after = (np.abs(np.fft.rfft(each - each.mean())) for each in (levels, scrambled))
    assert np.linalg.norm(after - before) / np.linalg.norm(before) < 0.05
    assert abs(np.corrcoef(levels, scrambled)[0, 1]) < 0.3
    # what a shuffle of the same values would not pass
    shuffled = np.random.default_rng(0).permutation(levels)
    assert np.linalg.norm(np.abs(np.fft.rfft(shuffled - shuffled.mean())) - before) / np.linalg.norm(before) > 0.5
    assert np.array_equal(scrambled, phase_scrambled(levels, 1))
    assert not np.array_equal(scrambled, phase_scrambled(levels, 2))


def test_another_feature_is_smoothed_as_the_participants_own_score_is() -> None:
    feedback = made("other", ("real", "other"), record=None, smoothing_s=0.5)
    decision = Decision(DecisionSettings(smoothing_s=0.5, source=OTHER), CLASSES)
    for k in range(40):
        at = k / 10
        if k % 8 == 0:
            each = visual(at, float(k % 16 == 0))
            feedback.feature(each)
            decision.feature(each)
        level = feedback.level(0.5, SessionTime(at))
        (score,) = (s for s in decision(said(at, 0.1)) if isinstance(s, Score))
        assert level == pytest.approx(score.level, abs=1e-5)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_a_study_needs_is_asked_for_in_each_of_its_conditions_alike(condition: str) -> None:
    with pytest.raises(ValueError) as without_record:
        made(condition, record=None)
    assert str(without_record.value) == "reversed and scrambled and yoked feedback needs a record: none was given"
    with pytest.raises(ValueError) as without_feature:
        BlindFeedback(condition, CONDITIONS, ShamSettings(), record=a_record())
    assert str(without_feature.value) == "feedback of another feature needs its name and label: none were given"


def test_a_condition_that_the_study_has_not_is_refused_unnamed() -> None:
    with pytest.raises(ValueError, match=r"expected one of real, yoked$") as error:
        made("scrambled", ("real", "yoked"))
    assert "scrambled" not in str(error.value)


def said(at: float, p: float, flags: Flag = Flag.NONE) -> Prediction:
    return Prediction(round(10 * at), "m", CLASSES, (1 - p, p), 0.5, {}, SessionTime(at), 0.05, 2.0, flags=flags)


def a_session(condition: str) -> list[Score | Trigger | Veto]:
    """A minute of a participant who never succeeds, with motion from 20 to 25 s."""
    settings = DecisionSettings(smoothing_s=0, dwell_s=0.2, refractory_s=1.0, threshold_on=0.6, threshold_off=0.5)
    decision = Decision(settings, CLASSES, made(condition, ("real", "yoked", "reversed", "scrambled")))
    out: list[Score | Trigger | Veto] = []
    for k in range(650):
        flags = Flag.WARMING if k < 30 else Flag.MOTION if 200 <= k < 250 else Flag.NONE
        out += decision(said(k / 10, 0.2, flags))
    assert (decision.thresholds.on, decision.thresholds.off) == (0.6, 0.5)
    return out


def test_a_decision_gives_scores_and_vetoes_of_the_same_kind_in_every_condition() -> None:
    kept = [a_session(c) for c in ("real", "yoked", "reversed", "scrambled")]
    scores = [[each for each in out if isinstance(each, Score)] for out in kept]
    real = scores[0]
    for each in scores:
        assert [(s.neutral, s.axes, s.threshold, s.flags, s.expires, s.actual) for s in each] == [
            (s.neutral, s.axes, s.threshold, s.flags, s.expires, s.actual) for s in real
        ]
    assert {s.level for s in real} == {0.2, 0.5}
    assert [s.neutral for s in real] == [k < 30 or 200 <= k < 250 or k >= 630 for k in range(650)]
    assert not any(isinstance(each, Trigger) for each in kept[0])
    for out in kept[1:]:
        fired = [each for each in out if isinstance(each, Trigger)]
        assert len(fired) >= 5
        assert not any(20.0 <= each.about < 25.2 for each in fired)
        assert all(later.about - one.about >= 1.0 - 1e-6 for one, later in pairwise(fired))
        level = {s.window: s.level for s in out if isinstance(s, Score)}
        assert all(each.level == level[each.window] >= 0.5 for each in fired)


def test_an_operators_stop_holds_in_sham() -> None:
    decision = Decision(DecisionSettings(smoothing_s=0), CLASSES, made("yoked", ("real", "yoked")))
    decision.command("stop")
    out = [each for k in range(600) for each in decision(said(k / 10, 0.2))]
    assert not any(isinstance(each, Trigger) for each in out)
    assert all(s.neutral for s in out if isinstance(s, Score))
