"""The reference: average, linked electrodes and what happens when those are bad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamer.clean.eeg.channels.reference import Reference, ReferenceSettings
from streamer.errors import ConfigError

NAMES = ("Fp1", "Fp2", "C3", "C4", "TP9", "TP10", "Oz")
ALL = np.arange(len(NAMES))
DATA = np.random.default_rng(0).standard_normal((50, len(NAMES)))
LINKED = ReferenceSettings(kind="linked")


def without(*names: str) -> np.ndarray:
    return np.array([i for i, name in enumerate(NAMES) if name not in names])


def minus_mean(good: np.ndarray) -> np.ndarray:
    return DATA - np.add.reduce(np.take(DATA, good, axis=1), axis=1, keepdims=True) / len(good)


def test_the_average_is_over_good_channels() -> None:
    good = without("C3", "Oz")
    out = Reference(ReferenceSettings(), NAMES)(DATA, good)
    np.testing.assert_allclose(out, DATA - DATA[:, good].mean(axis=1, keepdims=True), atol=1e-14)
    np.testing.assert_array_equal(out, minus_mean(good))


def test_linked_electrodes_are_taken_from_all_channels() -> None:
    stage = Reference(LINKED, NAMES)
    np.testing.assert_allclose(stage(DATA, ALL), DATA - DATA[:, [4, 5]].mean(axis=1, keepdims=True), atol=1e-14)
    assert not stage.fell_back
    assert stage.note == ""


def test_one_linked_electrode_goes_on_alone_and_is_said() -> None:
    stage = Reference(LINKED, NAMES)
    np.testing.assert_array_equal(stage(DATA, without("TP9", "C4")), DATA - DATA[:, [5]])
    assert stage.note == "reference: TP9 bad, TP10 alone"
    assert not stage.fell_back


def test_without_linked_electrodes_it_is_the_average_until_one_is_good_again() -> None:
    stage = Reference(LINKED, NAMES)
    good = without("TP9", "TP10")
    np.testing.assert_array_equal(stage(DATA, good), minus_mean(good))
    assert stage.fell_back
    assert stage.note == "reference: TP9 and TP10 bad, the average of the good channels instead"
    np.testing.assert_array_equal(stage(DATA, ALL[[0, 5]]), DATA - DATA[:, [5]])
    assert not stage.fell_back
    np.testing.assert_array_equal(stage(DATA, ALL[:1]), DATA)
    assert stage.note.endswith("as recorded")


def test_a_single_electrode_may_be_the_reference() -> None:
    out = Reference(ReferenceSettings(kind="linked", linked=("C3",)), NAMES)(DATA, ALL)
    np.testing.assert_array_equal(out, DATA - DATA[:, [2]])


def test_none_leaves_the_data_as_it_is() -> None:
    stage = Reference(ReferenceSettings(kind="none"), NAMES)
    assert stage(DATA, ALL[:0]) is DATA
    assert stage.note == ""


def test_an_average_of_fewer_than_two_channels_is_none() -> None:
    stage = Reference(ReferenceSettings(), NAMES)
    assert stage(DATA, ALL[:1]) is DATA
    assert stage.fell_back
    stage(DATA, ALL)
    assert not stage.fell_back


def test_the_kind_alone_may_be_given() -> None:
    assert ReferenceSettings.model_validate("none") == ReferenceSettings(kind="none")
    with pytest.raises(ValidationError):
        ReferenceSettings.model_validate("mean")
    with pytest.raises(ValidationError):
        ReferenceSettings(kind="linked", linked=())


def test_unknown_electrodes_are_refused_with_those_that_are_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        Reference(ReferenceSettings(kind="linked", linked=("tp9", "M2", "C3", "C3")), NAMES)
    lowercase, absent, twice = caught.value.problems
    assert "'tp9'" in lowercase
    assert "TP9" in lowercase.split(";")[1]
    assert "there are Fp1, Fp2" in absent
    assert "named 2 times" in twice
    # what is not used is not asked for
    Reference(ReferenceSettings(linked=("M1", "M2")), NAMES)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(1, 119), max_size=40),
    st.sampled_from(["average", "linked", "none"]),
    st.lists(st.sets(st.integers(0, 39)), min_size=3, max_size=3),
)
def test_how_the_samples_come_does_not_matter(cuts: set[int], kind: str, good: list[set[int]]) -> None:
    names = [f"E{i}" for i in range(40)]
    data = np.random.default_rng(1).standard_normal((120, 40))
    # the good channels change with a block of 40 samples
    blocks = [np.array(sorted(chosen), np.int64) for chosen in good]

    def run(ends: list[int]) -> np.ndarray:
        stage = Reference(ReferenceSettings(kind=kind, linked=("E3", "E17")), names)
        starts = [0, *ends[:-1]]
        return np.concatenate([stage(data[a:b], blocks[a // 40]) for a, b in zip(starts, ends, strict=True)])

    np.testing.assert_array_equal(run(sorted(cuts | {40, 80, 120})), run([40, 80, 120]))
