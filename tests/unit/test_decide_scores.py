"""What the participant is shown, thresholds that follow, features that are fed back, triggers that others ask for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.decode.candidate import Candidate
from streamer.decode.decide import Decision, DecisionState
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.score_source import ScoreSourceSettings
from streamer.decode.thresholds import Thresholds, ThresholdSettings
from streamer.messages import Feature, Flag, Prediction, Score, SessionTime, Trigger, Veto

CLASSES = ("rest", "task")
FEEDBACK = ScoreSourceSettings(feature="bold.feedback", label="level motor")


def said(at: float, p: float, flags: Flag = Flag.NONE) -> Prediction:
    return Prediction(round(10 * at), "m", CLASSES, (1 - p, p), 0.5, {}, SessionTime(at), 0.05, 2.0, flags=flags)


def made(**settings: object) -> Decision:
    return Decision(DecisionSettings.model_validate({"smoothing_s": 0, **settings}), CLASSES)


def shown(decision: Decision, at: float, p: float, flags: Flag = Flag.NONE) -> Score:
    (score,) = (each for each in decision(said(at, p, flags)) if isinstance(each, Score))
    return score


def feature(at: float, value: float, *, valid: bool = True) -> Feature:
    labels = ("motor (%)", "level motor")
    return Feature("bold.feedback", 1, SessionTime(at), 0.0, labels, (0.4, value), (), valid=valid)


def test_every_decision_comes_with_its_score() -> None:
    score = shown(made(), 1.0, 0.6)
    assert (score.level, score.actual, score.neutral, score.threshold) == (0.6, 0.6, False, 0.7)
    assert score.expires == pytest.approx(2.0)


@pytest.mark.parametrize("flag", [Flag.MOTION, Flag.STALE, Flag.ABSTAINED, Flag.NO_BOLD])
def test_what_would_veto_a_trigger_is_shown_as_neutral(flag: Flag) -> None:
    score = shown(made(neutral=0.3), 1.0, 0.9, flag)
    assert (score.level, score.neutral, score.actual) == (0.3, True, 0.9)


def test_a_stopped_session_shows_neutral_in_every_mode() -> None:
    for mode in ("trigger", "continuous", "intermittent"):
        decision = made(mode=mode, block_s=1, show_s=1)
        for k in range(11):
            decision(said(k / 10, 0.9))
        decision.command("stop")
        assert shown(decision, 1.2, 0.9).neutral


def test_continuous_feedback_gives_no_triggers() -> None:
    decision = made(mode="continuous")
    found = [each for k in range(100) for each in decision(said(k / 10, 0.95))]
    assert len(found) == 100
    assert all(isinstance(each, Score) and each.level == 0.95 for each in found)


def test_intermittent_feedback_shows_the_mean_of_the_clean_part_of_a_block_after_it() -> None:
    decision = made(mode="intermittent", block_s=2.0, show_s=1.0)
    scores = []
    for k in range(60):
        p = 0.8 if k % 30 < 10 else 0.4
        scores.append(shown(decision, k / 10, p, Flag.MOTION if 10 <= k < 20 else Flag.NONE))
    assert [s.neutral for s in scores] == ([True] * 20 + [False] * 10) * 2
    assert {s.level for s in scores[20:30]} == {0.8}
    assert {s.level for s in scores[50:]} == {0.6}


def test_thresholds_follow_the_participant_and_reward_the_share_that_is_wanted() -> None:
    rng = np.random.default_rng(1)
    settings = ThresholdSettings(mode="percentile", reward_rate=0.65, change_per_minute=1.0)
    thresholds = Thresholds(settings, 0.7, 0.55)
    above = []
    for k in range(6000):
        score = float(np.clip(rng.normal(0.3, 0.1), 0, 1))
        thresholds.add(score, k / 10)
        if k > 3000:
            above.append(score >= thresholds.on)
    assert thresholds.ready
    assert np.mean(above) == pytest.approx(0.65, abs=0.04)
    assert thresholds.off <= thresholds.on


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_a_threshold_never_moves_faster_than_it_may(seed: int, pause: int) -> None:
    scores = np.random.default_rng(seed).beta(0.5, 0.5, 400).tolist()
    thresholds = Thresholds(ThresholdSettings(mode="percentile", learn_s=10), 0.7, 0.55)
    before: float | None = None
    for k, score in enumerate(scores):
        thresholds.add(score, k / 10 + (30 * pause if k > 300 else 0))
        if before is not None and thresholds.ready:
            assert abs(thresholds.on - before) <= 0.05 / 60 * 1.0 + 1e-12
        before = thresholds.on if thresholds.ready else None


def test_nothing_fires_before_the_thresholds_are_known_and_dirty_scores_teach_nothing() -> None:
    decision = made(adapt={"mode": "percentile", "learn_s": 20, "memory_s": 60})
    found = [each for k in range(195) for each in decision(said(k / 10, 0.9))]
    assert not any(isinstance(each, Trigger) for each in found)
    assert all(each.neutral for each in found if isinstance(each, Score))
    assert decision.state is DecisionState.IDLE
    for k in range(195, 300):
        decision(said(k / 10, 0.1, Flag.MOTION))
    assert decision.state is DecisionState.IDLE
    for k in range(300, 330):
        decision(said(k / 10, 0.9))
    assert decision.thresholds.on == pytest.approx(0.9)


def test_a_feature_is_fed_back_in_place_of_the_models_probability() -> None:
    decision = made(source=FEEDBACK.model_dump(), threshold_on=0.7)
    assert shown(decision, 1.0, 0.99).neutral
    decision.feature(feature(1.5, 0.8))
    assert shown(decision, 2.0, 0.01).level == 0.8
    assert shown(decision, 8.0, 0.01).neutral
    decision.feature(feature(8.5, 0.9, valid=False))
    assert shown(decision, 9.0, 0.01).neutral
    decision.feature(feature(9.5, 0.9))
    fired = [each for k in range(10) for each in decision(said(10 + k / 10, 0.0)) if isinstance(each, Trigger)]
    assert [t.reason.split(",")[0] for t in fired] == ["level motor = 0.900"]


def test_a_feature_is_scaled_and_its_unit_may_be_left_out() -> None:
    source = {"feature": "bold.feedback", "label": "motor", "low": 1.0, "high": -1.0}
    decision = made(source=source)
    decision.feature(feature(1.0, 0.0))
    assert shown(decision, 1.5, 0.5).level == pytest.approx(0.3)
    with pytest.raises(ValidationError, match="two different numbers"):
        ScoreSourceSettings(feature="a", label="b", low=1, high=1)
    with pytest.raises(ValidationError, match="expected both"):
        ScoreSourceSettings(feature="a")


def test_axes_are_shown_beside_the_score_and_hidden_while_it_is_neutral() -> None:
    decision = made(axes={"EEG": {}, "BOLD": FEEDBACK.model_dump()})
    assert shown(decision, 1.0, 0.6).axes == {"EEG": 0.6, "BOLD": 0.5}
    decision.feature(feature(1.0, 0.9))
    assert shown(decision, 1.1, 0.6).axes == {"EEG": 0.6, "BOLD": 0.9}
    assert shown(decision, 1.2, 0.6, Flag.GAP).axes == {}


class Reversed:
    def feature(self, feature: Feature) -> None:
        assert feature.name

    def level(self, actual: float, at: SessionTime, *, clean: bool) -> float | None:
        return None if at < 1.0 or not clean else 1.0 - actual


def test_sham_replaces_what_is_shown_and_rewarded_but_not_what_is_stored() -> None:
    decision = Decision(DecisionSettings(smoothing_s=0, axes={"EEG": ScoreSourceSettings()}), CLASSES, Reversed())
    assert shown(decision, 0.5, 0.2).neutral
    score = shown(decision, 1.0, 0.2)
    assert (score.level, score.actual, score.axes) == (0.8, 0.2, {})
    own = [each for k in range(20) for each in decision(said(2 + k / 10, 0.9)) if isinstance(each, Trigger)]
    assert own == []
    other = [each for k in range(20) for each in decision(said(5 + k / 10, 0.1)) if isinstance(each, Trigger)]
    assert [t.level for t in other] == [0.9]
    moved = [each for k in range(20) for each in decision(said(9 + k / 10, 0.1, Flag.MOTION))]
    assert not any(isinstance(each, Trigger) for each in moved)


def asked(at: float, flags: Flag = Flag.NONE) -> Candidate:
    ahead = SessionTime(at + 0.02)
    return Candidate("phase", "pulse", 0.8, SessionTime(at), ahead, SessionTime(at + 0.1), "phase 0 of alpha", flags)


def test_a_candidate_passes_the_same_vetoes_limits_and_refractory_time() -> None:
    decision = made(max_per_run=2, refractory_s=1.0)
    held = decision.candidate(asked(0.0))
    assert isinstance(held, Veto)
    decision(said(1.9, 0.1))
    first = decision.candidate(asked(2.0))
    assert isinstance(first, Trigger)
    assert (first.source, first.seq, first.fire_at, first.window) == ("phase", 0, 2.02, -1)
    assert decision.candidate(asked(2.5)) is None
    assert isinstance(decision.candidate(asked(3.1, Flag.MOTION)), Veto)
    decision(said(4.0, 0.1, Flag.STALE))
    stale = decision.candidate(asked(4.1))
    assert stale is None or isinstance(stale, Veto)
    decision(said(5.2, 0.1))
    assert isinstance(decision.candidate(asked(5.3)), Trigger)
    decision(said(7.0, 0.1))
    capped = decision.candidate(asked(7.1))
    assert isinstance(capped, Veto)
    assert capped.reason == "2 triggers in the run"
    decision.command("stop")
    late = decision.candidate(asked(12.0))
    assert isinstance(late, Veto)
    assert "stopped by the operator" in late.reason
    assert "no decision about this time" in late.reason


def test_a_score_before_anything_is_known_has_no_actual_value() -> None:
    decision = made(source=FEEDBACK.model_dump())
    assert math.isnan(shown(decision, 1.0, 0.5).actual)
