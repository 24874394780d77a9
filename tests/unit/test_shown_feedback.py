"""What was displayed, on a regular grid."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamer.emit.shown_feedback import shown_feedback
from streamer.messages import Score, SessionTime


def score(at: float, level: float, *, neutral: bool = False, axes: dict[str, float] | None = None) -> Score:
    return Score(0, level, axes or {}, 0.7, neutral, math.nan, SessionTime(at), SessionTime(at + 1.0))


def test_a_score_is_held_until_the_next_and_until_it_expires():
    shown = shown_feedback([score(100.0, 0.2), score(100.1, 0.3), score(102.0, 0.5, neutral=True)], 10.0)
    assert shown is not None
    assert shown.start == 100.0
    level, neutral, threshold = shown.data.T
    assert len(level) == 21
    assert level[0] == 0.2
    np.testing.assert_array_equal(level[1:12], 0.3)
    # 101.1 is its last moment
    assert np.isnan(level[12:20]).all()
    assert np.isnan(neutral[12:20]).all()
    assert (level[20], neutral[20], neutral[0], threshold[0]) == (0.5, 1.0, 0.0, 0.7)


def test_its_text_has_a_row_a_sample_and_says_what_was_not_shown():
    shown = shown_feedback([score(5.0, 1 / 3, axes={"fMRI left": 0.25}), score(7.0, 1.0, neutral=True)], 1.0)
    assert shown is not None
    assert "".join(shown.rows()) == "0.33333\t0\t0.7\t0.25\n0.33333\t0\t0.7\t0.25\n1\t1\t0.7\tn/a\n"
    about = json.loads(shown.sidecar(3.5, {"p50": 20.0, "p99": 31.0}))
    assert about["Columns"] == ["level", "neutral", "threshold", "axis_fmri_left"]
    assert (about["StartTime"], about["SamplingFrequency"]) == (1.5, 1.0)
    assert about["DecisionDelay"] == {"p50": 0.02, "p99": 0.031}
    assert "fMRI left" in about["axis_fmri_left"]["Description"]
    assert "DecisionDelay" not in json.loads(shown.sidecar(3.5))


def test_axes_of_like_names_keep_columns_of_their_own():
    shown = shown_feedback([score(0.0, 0.5, axes={"a b": 0.1, "a-b": 0.2})], 10.0)
    assert shown is not None
    assert len(set(shown.columns)) == 5
    assert sorted(shown.axes.values()) == ["a b", "a-b"]


def test_nothing_is_made_of_nothing_and_of_times_that_jump_by_days():
    assert shown_feedback([], 10.0) is None
    assert shown_feedback([score(0.0, 0.5), score(1e9, 0.5)], 10.0) is None


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(-20, 20)), min_size=1, max_size=60), st.sampled_from([5, 10])
)
def test_every_shown_value_is_the_newest_score_of_its_tick(ticks: list[tuple[int, int]], rate: int):
    # decisions lie a little off their tick, as a fitted clock puts them
    at = {tick: 50.0 + (tick + jitter / 100) / rate for tick, jitter in ticks}
    shown = shown_feedback([score(time, tick / 1000) for tick, time in at.items()], float(rate))
    assert shown is not None
    first = min(at)
    assert len(shown.data) == max(at) - first + 1
    for tick, level in enumerate(shown.data[:, 0], start=first):
        newest = max(each for each in at if each <= tick)
        time = shown.start + (tick - first) / rate
        if math.isnan(level):
            assert time > at[newest] + 1.0 - 1e-9
        else:
            assert level == newest / 1000
            assert time <= at[newest] + 1.0 + 1e-9
