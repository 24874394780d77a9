from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.dataset import WindowSet, joined
from models.evaluation.splits import HOLDS, Fold, people, refuse_copies, runs, split
from streamer.errors import ModelError, UsageError
from tests.unit.synthetic_windows import BLOCK_S, subject_windows


def named(windows: WindowSet, name: str) -> WindowSet:
    blocks = tuple(replace(block, subject=name) for block in windows.blocks)
    return replace(windows, subject=np.array([name] * len(windows)), blocks=blocks)


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    """Two people; the first with two sessions, the first session with two runs."""
    run = subject_windows("x", 1)
    return joined(
        [
            named(run, "a/ses-1"),
            named(subject_windows("x", 2).later(10 * BLOCK_S + 60), "a/ses-1"),
            named(subject_windows("x", 3), "a/ses-2"),
            named(subject_windows("x", 4), "b"),
        ]
    )


def test_whole_people_sessions_and_runs_are_held_out(windows: WindowSet) -> None:
    assert set(people(windows).tolist()) == {"a", "b"}
    names = {"subject": ["a", "b"], "session": ["a/ses-1", "a/ses-2", "b"]}
    names["run"] = ["a/ses-1 run 1", "a/ses-1 run 2", "a/ses-2 run 1", "b run 1"]
    of = {"subject": people(windows), "session": windows.subject, "run": runs(windows)}
    for hold, expected in names.items():
        folds = split(windows, hold)
        assert [fold.name for fold in folds] == expected
        assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(windows)))
        for fold in folds:
            assert not set(of[hold][fold.train]) & set(of[hold][fold.test])
            assert len(fold.train) + len(fold.test) == len(windows)


def test_a_long_stretch_without_windows_ends_no_run_while_blocks_go_on() -> None:
    whole = subject_windows("x", 1)
    hole = (whole.time > 60) & (whole.time < 140)
    kept = replace(whole, **{name: getattr(whole, name)[~hole] for name in (
        "eeg", "bold", "age", "valid", "label", "settled", "subject", "time")})  # fmt: skip
    assert set(runs(kept).tolist()) == {"x run 1"}


@pytest.mark.parametrize("gap_s", [20.0, 32.0])
def test_stretches_of_a_run_stand_behind_a_gap(windows: WindowSet, gap_s: float) -> None:
    name = runs(windows)
    folds = split(windows, "blocked", gap_s, n_folds=5)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(windows)))
    for fold in folds:
        for run in set(name[fold.test]):
            test = windows.time[fold.test[name[fold.test] == run]]
            train = windows.time[fold.train[name[fold.train] == run]]
            assert np.abs(test[:, None] - train[None]).min() >= gap_s
            # nor is more left out than the gaps
            outside = (windows.time <= test.min() - gap_s) | (windows.time >= test.max() + gap_s)
            assert len(train) == ((name == run) & outside).sum()
    # no block stands in two of them
    held = [{(r, t // BLOCK_S) for r, t in zip(name[f.test], windows.time[f.test], strict=True)} for f in folds]
    assert sum(map(len, held)) == len(set[object]().union(*held)) == 4 * 9


@pytest.mark.parametrize(
    ("hold", "options", "words"),
    [
        ("shuffled", {}, "refused, windows of one block overlap"),
        ("kfold", {}, "refused"),
        ("weekday", {}, "expected " + ", ".join(HOLDS)),
        ("blocked", {"gap_s": 19.0}, "expected 20 s or more"),
        ("blocked", {"n_folds": 1}, "expected at least 2"),
        ("blocked", {"n_folds": 50}, "9 blocks in a run of x: expected at least 50"),
        ("subject", {}, "1 to hold out"),
    ],
)
def test_leaky_or_impossible_splits_are_refused(hold: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        split(subject_windows("x", 1), hold, **options)


def test_a_recording_that_stands_in_the_data_twice_is_refused() -> None:
    run = subject_windows("x", 1)
    clean = joined([named(run, "a"), named(subject_windows("x", 2), "b")])
    refuse_copies(clean, split(clean, "subject"))
    # under another name, and later on its axis
    copied = joined([named(run, "a"), named(subject_windows("x", 2), "b"), named(run.later(1000.0), "c")])
    with pytest.raises(ModelError, match=r"450 windows of a are held out and trained on: a at .* same data as c at"):
        refuse_copies(copied, split(copied, "subject"))
    shuffled = np.random.default_rng(0).permutation(len(run))
    overlapping = Fold("shuffled", shuffled[:300], shuffled[200:])
    with pytest.raises(ModelError, match="100 windows of shuffled"):
        refuse_copies(run, [overlapping])


def test_windows_that_hold_nothing_are_no_copies() -> None:
    windows = joined([subject_windows("a", 1), subject_windows("b", 2)])
    empty = replace(windows, eeg=0 * windows.eeg, bold=0 * windows.bold)
    refuse_copies(empty, split(empty, "subject"))


def test_blocks_of_many_classes_with_rest_between_them_are_split_with_a_gap() -> None:
    run = subject_windows("x", 1, n_blocks=24)
    names = ("face", "house", "shoe")
    blocks = tuple(
        replace(block, label=names[k // 2 % 3]) for k, block in enumerate(run.blocks) if block.label == "task"
    )
    label = np.full(len(run), -1)
    for block in blocks:
        label[(run.time >= block.onset_s) & (run.time < block.onset_s + BLOCK_S)] = names.index(block.label)
    many = replace(run, classes=names, blocks=blocks, label=label)
    folds = split(many, "blocked", 20.0, n_folds=4)
    assert len(folds) == 4
    for fold in folds:
        assert np.abs(many.time[fold.test][:, None] - many.time[fold.train][None]).min() >= 20.0
        assert set(label[fold.train]) == {-1, 0, 1, 2}
        # the three blocks of a stretch stay whole
        assert len({int(t // BLOCK_S) for t in many.time[fold.test][label[fold.test] >= 0]}) == 3
