"""Which markers begin a block."""

from __future__ import annotations

import math

import pytest

from dashboard.figures.blocks import Block, blocks_of_design, blocks_of_markers, setting


def found(markers: list[tuple[float, str]], classes: list[str] | None = None) -> list[tuple[str, float, float, bool]]:
    blocks = blocks_of_markers(sorted(markers), classes or [])
    return [(block.label, block.begin, block.end, block.rest) for block in blocks]


def test_a_block_lasts_until_another_label_comes() -> None:
    told = [(10.0, "task"), (20.0, "task"), (30.0, "rest"), (50.0, "task")]
    assert found(told) == [("task", 10.0, 30.0, False), ("rest", 30.0, 50.0, True), ("task", 50.0, math.inf, False)]


def test_an_end_begins_rest_without_a_name() -> None:
    told = [(10.0, "start faces"), (30.0, "faces end"), (50.0, "faces_begin"), (70.0, "stop")]
    assert found(told) == [
        ("faces", 10.0, 30.0, False), ("", 30.0, 50.0, True), ("faces", 50.0, 70.0, False), ("", 70.0, math.inf, True)
    ]  # fmt: skip


@pytest.mark.parametrize("noise", ["Sync On", "R128", "Response/R128", "New Segment/", "R", "T  1", "boundary", ""])
def test_what_amplifiers_write_is_no_block(noise: str) -> None:
    told = [(10.0, "task"), (30.0, "rest"), *((float(t), noise) for t in range(0, 60, 15))]
    assert found(told) == [("task", 10.0, 30.0, False), ("rest", 30.0, math.inf, True)]


def test_trials_do_not_end_the_block_that_they_lie_in() -> None:
    trials = [(11.0 + t, f"Stimulus/S  {1 + t % 2}") for t in range(18)]
    told = [(10.0, "motor"), *trials, (30.0, "baseline"), (50.0, "motor")]
    assert [name for name, *_ in found(told)] == ["motor", "baseline", "motor"]


def test_numbered_stimuli_that_last_are_blocks() -> None:
    told = [(0.0, "S  1"), (20.0, "S  2"), (40.0, "S  1")]
    assert [name for name, *_ in found(told)] == ["S 1", "S 2", "S 1"]


def test_only_classes_begin_blocks_where_they_come() -> None:
    told = [(10.0, "Task"), (15.0, "cough"), (30.0, "rest"), (40.0, "S  1")]
    assert found(told, ["rest", "task"]) == [("Task", 10.0, 30.0, False), ("rest", 30.0, math.inf, True)]
    # a session whose markers are called otherwise
    assert [name for name, *_ in found([(10.0, "up"), (30.0, "rest")], ["rest", "task"])] == ["up", "rest"]


def test_a_class_that_is_sent_again_and_again_is_a_block() -> None:
    told = [(float(t), "task" if t < 20 else "rest") for t in range(40)]
    assert found(told, ["rest", "task"]) == [("task", 0.0, 20.0, False), ("rest", 20.0, math.inf, True)]


def test_a_sentence_is_a_note() -> None:
    told = [(10.0, "face"), (20.0, "participant coughs a lot"), (30.0, "house")]
    assert [name for name, *_ in found(told)] == ["face", "house"]


def test_no_markers_are_no_blocks() -> None:
    assert found([]) == []


def test_blocks_of_the_settings() -> None:
    conditions = [
        {"name": "task", "onsets_s": [10.0, 50.0], "durations_s": [20.0]},
        {"name": "rest", "onsets_s": [30.0], "durations_s": [20.0]},
        {"name": "press", "onsets_s": [12.0], "durations_s": [0.0]},
    ]
    settings = {"clean": {"regions": {"nuisance": {"design": {"conditions": conditions}}}}}
    assert blocks_of_design(settings, 1000.0) == [
        Block("task", 1010.0, 1030.0, rest=False),
        Block("rest", 1030.0, 1050.0, rest=True),
        Block("task", 1050.0, 1070.0, rest=False),
    ]


@pytest.mark.parametrize(
    "conditions", [None, "x", [None], [{}], [{"name": "a", "onsets_s": ["x"], "durations_s": 3}], {"name": "a"}]
)
def test_settings_that_do_not_fit_are_passed_over(conditions: object) -> None:
    settings = {"clean": {"bold": {"maps": {"design": {"conditions": conditions}}}}}
    assert blocks_of_design(settings, 0.0) == []


def test_a_setting_that_is_not_there_is_none() -> None:
    assert setting({"a": {"b": 1}}, "a", "b") == 1
    assert setting({"a": 1}, "a", "b", "c") is None
