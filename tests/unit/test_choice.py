from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.choice import best_of, gain_over, verdict
from models.dataset import WindowSet
from models.evaluation.splits import people
from models.parts import part, rotations, split_names
from streamer.decode.model_card import Pattern
from streamer.errors import ModelError, UsageError
from streamer.messages import F64
from tests.unit.synthetic_windows import some_subjects, subject_windows


def right_in(windows: WindowSet, share: float, seed: int) -> F64:
    """Probabilities that are right in this share of the blocks of either class."""
    rng = np.random.default_rng(seed)
    target = np.where(windows.label == 1, 0.9, 0.1)
    for block in windows.blocks:
        inside = (windows.subject == block.subject) & (windows.time >= block.onset_s)
        inside &= windows.time < block.onset_s + block.duration_s
        if rng.random() > share:
            target[inside] = 1 - target[inside]
    return np.column_stack([1 - target, target])


class Fixed:
    modalities: Pattern = "both"

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self._share = share

    def predict_proba(self, windows: WindowSet) -> F64:
        return right_in(windows, self._share, 1)


def test_the_best_rival_is_the_one_that_is_best_in_validation() -> None:
    windows = some_subjects("ab", 1)
    assert best_of([Fixed("poor", 0.4), Fixed("good", 0.95), Fixed("fair", 0.7)], windows) == "good"
    assert best_of([Fixed("first", 0.9), Fixed("second", 0.9)], windows) == "first"
    with pytest.raises(ModelError, match="0 rivals"):
        best_of([], windows)


def test_a_clear_gain_is_earned_and_a_loss_is_said() -> None:
    windows = some_subjects("abcd", 1)
    good, poor = right_in(windows, 1.0, 1), right_in(windows, 0.6, 2)
    gain = gain_over(windows, good, poor)
    assert gain.earned
    assert gain.unit == "block"
    assert gain.n_units == 36
    assert "is better than" in verdict(gain, ["late fusion"], "the test")
    assert "late fusion" in verdict(gain, ["late fusion"], "the test")
    loss = gain_over(windows, poor, good)
    assert not loss.earned
    assert "is worse than" in verdict(loss, ["late fusion"], "the test")
    assert loss.difference.value == pytest.approx(-gain.difference.value)


def test_equal_models_earn_nothing() -> None:
    windows = some_subjects("abcdefg", 1)
    p = right_in(windows, 0.8, 1)
    gain = gain_over(windows, p, p)
    assert (gain.difference.low, gain.difference.high) == (0, 0)
    assert not gain.earned
    # enough people: they are drawn, not their blocks
    assert (gain.unit, gain.n_units) == ("subject", 7)
    assert "is not shown to be better" in verdict(gain, ["a", "b", "a"], "7 folds")
    assert "(a, b)" in verdict(gain, ["a", "b", "a"], "7 folds")


def test_by_chance_a_place_is_rarely_earned() -> None:
    windows = some_subjects("abcd", 1)
    earned = [
        gain_over(windows, right_in(windows, 0.7, k), right_in(windows, 0.7, 1000 + k), seed=k).earned
        for k in range(60)
    ]
    assert sum(earned) <= 8


def test_windows_that_were_not_held_out_do_not_count() -> None:
    windows = some_subjects("ab", 1)
    p = right_in(windows, 0.9, 1)
    p[windows.subject == "b"] = np.nan
    assert gain_over(windows, p, p).n_units == 9


def test_whole_subjects_are_held_out() -> None:
    train, validation, test = split_names([f"s{k}" for k in range(10)])
    assert train == tuple(f"s{k}" for k in range(6))
    assert (validation, test) == (("s6", "s7"), ("s8", "s9"))
    for n in range(3, 30):
        parts = split_names([str(k) for k in range(n)])
        assert all(parts)
        assert sorted(sum(parts, ())) == sorted(str(k) for k in range(n))
    with pytest.raises(UsageError, match="at least 3"):
        split_names(["a", "b"])
    with pytest.raises(UsageError, match="stands twice"):
        split_names(["a", "b", "b"])


def test_the_most_credible_split_is_taken_that_there_is_enough_of() -> None:
    people_there = part(some_subjects("abcde", 1))
    assert people_there.hold == "subject"
    assert people_there.names == (("a", "b", "c"), ("d",), ("e",))
    sessions = some_subjects("abc", 1)
    names = np.char.add("sub-01/", sessions.subject)
    renamed = replace(
        sessions, subject=names, blocks=tuple(replace(b, subject=f"sub-01/{b.subject}") for b in sessions.blocks)
    )
    assert part(renamed).hold == "session"
    assert set(people(renamed).tolist()) == {"sub-01"}
    with pytest.raises(UsageError, match="1 to train on"):
        part(renamed, "subject")


def test_stretches_of_a_run_keep_a_gap_between_all_three() -> None:
    windows = subject_windows("a", 1, n_blocks=40)
    found = part(windows, gap_s=30.0)
    assert found.hold == "blocked"
    spans = [windows.time[rows] for rows in (found.train, found.validation, found.test)]
    for k, first in enumerate(spans):
        for second in spans[k + 1 :]:
            assert np.abs(first[:, None] - second[None]).min() >= 30.0


def test_everyone_is_in_one_test_of_a_cross_validation() -> None:
    windows = some_subjects("abcdef", 1)
    found = rotations(windows, 3)
    assert [parts.names[2] for parts in found] == [("a", "b"), ("c", "d"), ("e", "f")]
    assert [parts.names[1] for parts in found] == [("c", "d"), ("e", "f"), ("a", "b")]
    tested = np.concatenate([parts.test for parts in found])
    assert sorted(tested.tolist()) == list(range(len(windows)))
    for parts in found:
        rows = [set(each.tolist()) for each in (parts.train, parts.validation, parts.test)]
        assert not rows[0] & rows[1]
        assert not (rows[0] | rows[1]) & rows[2]
    with pytest.raises(UsageError, match="expected at least 3"):
        rotations(windows, 2)
    with pytest.raises(UsageError, match="there are 6"):
        rotations(windows, 7)
