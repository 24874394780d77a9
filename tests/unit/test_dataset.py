from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.dataset import UNLABELLED, Block, Inputs, WindowSet, joined, labelled
from streamer.errors import ModelError
from streamer.messages import SessionTime, Window
from tests.unit.synthetic_windows import some_subjects, subject_windows

ARRAYS = ("eeg", "bold", "tangent", "age", "valid", "label", "settled", "subject", "time")


def of_three(seed: int = 0) -> WindowSet:
    windows = subject_windows("a", seed)
    rng = np.random.default_rng(seed)
    tangent = rng.standard_normal((len(windows), 10)).astype(np.float32)
    tangent[3] = np.nan
    return replace(windows, tangent=tangent, classes=("rest", "left", "right"), label=rng.integers(0, 3, len(windows)))


def test_three_classes_and_tangent_vectors_come_back_from_disk(tmp_path: Path) -> None:
    written = of_three()
    written.save(tmp_path / "w.npz")
    read = WindowSet.load(tmp_path / "w.npz")
    assert read.classes == ("rest", "left", "right")
    assert read.blocks == written.blocks
    assert read.inputs == written.inputs
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name), err_msg=name)
        assert getattr(read, name).dtype == getattr(written, name).dtype


def test_files_of_the_first_schema_are_read_without_tangent_vectors(tmp_path: Path) -> None:
    windows = subject_windows("a", 0)
    facts = {
        "schema": 1,
        "classes": windows.classes,
        "channels": windows.inputs.channels,
        "regions": windows.inputs.regions,
        "sfreq": windows.inputs.sfreq,
        "blocks": [[b.onset_s, b.duration_s, b.label, b.subject] for b in windows.blocks],
    }
    arrays = {name: getattr(windows, name) for name in ARRAYS if name != "tangent"}
    np.savez(tmp_path / "old.npz", facts=np.array(json.dumps(facts)), **arrays)
    read = WindowSet.load(tmp_path / "old.npz")
    assert read.tangent.shape == (len(windows), 0)
    assert read.inputs == windows.inputs
    np.testing.assert_array_equal(read.eeg, windows.eeg)


@pytest.mark.parametrize("schema", [0, 3, None])
def test_files_of_another_schema_are_refused(tmp_path: Path, schema: int | None) -> None:
    windows = subject_windows("a", 0)
    arrays = {name: getattr(windows, name) for name in ARRAYS}
    np.savez(tmp_path / "w.npz", facts=np.array(json.dumps({"schema": schema, "classes": ["a", "b"]})), **arrays)
    with pytest.raises(ModelError, match=f"schema {schema} of a set of windows, expected 2 or 1"):
        WindowSet.load(tmp_path / "w.npz")


def test_fewer_than_two_classes_and_unequal_lengths_are_refused() -> None:
    windows = subject_windows("a", 0)
    with pytest.raises(ValueError, match="classes rest: expected two or more"):
        replace(windows, classes=("rest",))
    with pytest.raises(ValueError, match="each once"):
        replace(windows, classes=("rest", "rest"))
    with pytest.raises(ValueError, match="differ in length"):
        replace(windows, tangent=np.zeros((3, 2), np.float32))


def test_rows_are_taken_of_every_array_alike() -> None:
    windows = of_three()
    index = np.array([5, 3, 8])
    mask = np.isin(np.arange(len(windows)), index)
    for chosen, order in ((index, index), (mask, np.sort(index))):
        taken = windows.rows(chosen)
        assert taken.blocks == windows.blocks
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(taken, name), getattr(windows, name)[order], err_msg=name)


def test_a_set_of_one_subject_takes_another_name() -> None:
    renamed = subject_windows("a", 0).called("sub-01/ses-02")
    assert renamed.subjects == ("sub-01/ses-02",)
    assert {block.subject for block in renamed.blocks} == {"sub-01/ses-02"}
    with pytest.raises(ModelError, match="of 2 subjects"):
        some_subjects("ab", 0).called("c")


def test_sets_of_other_classes_or_tangent_vectors_do_not_join() -> None:
    windows = of_three()
    assert len(joined([windows, windows])) == 2 * len(windows)
    with pytest.raises(ModelError, match="differ in shape, classes"):
        joined([windows, replace(windows, classes=("rest", "left", "up"))])
    with pytest.raises(ModelError, match="differ in shape"):
        joined([windows, replace(windows, tangent=windows.tangent[:, :4])])


def cut(end: float, *, tangent: int = 0, eeg: bool = True, n_regions: int = 2) -> Window:
    vector = np.full(tangent, end, np.float32)
    return Window(
        0, SessionTime(end - 4), SessionTime(end), np.ones((20, 6), np.float32), np.ones((16, n_regions), np.float32),
        0.1, 2.0, eeg_valid=eeg, bold_valid=True, tangent=vector,
    )  # fmt: skip


def test_windows_of_several_classes_are_labelled() -> None:
    blocks = [Block(0, 10, "c", "a"), Block(10, 10, "b", "a"), Block(20, 10, "a", "a"), Block(30, 5, "x", "a")]
    inputs = Inputs(("C3", "C4"), ("v1", "v2"), 250.0)
    ends = [5.0, 10.0, 15.0, 25.0, 32.0]
    windows = labelled([cut(end) for end in ends], blocks, 0.0, "a", inputs, ("a", "b", "c"))
    assert windows.label.tolist() == [2, 1, 1, 0, UNLABELLED]
    assert windows.settled.tolist() == [True, False, True, True, False]
    assert [block.label for block in windows.blocks] == ["c", "b", "a"]
    # labels may be of another time than a window's end
    moved = labelled([cut(end) for end in ends], blocks, 0.0, "a", inputs, ("a", "b", "c"), at=np.array(ends) - 5.0)
    assert moved.label.tolist() == [2, 2, 1, 0, 0]
    assert moved.time.tolist() == [0.0, 5.0, 10.0, 20.0, 27.0]


def test_a_window_without_a_tangent_vector_has_a_row_of_nan() -> None:
    inputs = Inputs(("C3", "C4"), ("v1", "v2"), 250.0)
    windows = labelled([cut(1.0, tangent=3), cut(2.0)], [], 0.0, "a", inputs, n_tangent=3)
    np.testing.assert_array_equal(windows.tangent, [[1.0, 1.0, 1.0], [np.nan] * 3])
    assert labelled([cut(1.0, tangent=3)], [], 0.0, "a", inputs).tangent.shape == (1, 0)


def test_a_modality_that_is_not_recorded_has_no_width_and_is_never_valid() -> None:
    bold = labelled([cut(1.0)], [], 0.0, "a", Inputs((), ("v1", "v2"), 250.0))
    assert bold.eeg.shape == (1, 20, 0)
    assert bold.valid.tolist() == [[0.0, 1.0]]
    assert bold.age[0].tolist() == [0.0, 2.0]
    eeg = labelled([cut(1.0)], [], 0.0, "a", Inputs(("C3", "C4"), (), 250.0))
    assert eeg.bold.shape == (1, 16, 0)
    assert eeg.valid.tolist() == [[1.0, 0.0]]
