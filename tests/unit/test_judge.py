"""What a model may look at, and how scores become a prediction."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.judge import Admitted, Judge, disagreement, normalised_entropy, quantised, softmax, temperature
from streamer.decode.model_card import Doubt, Temperatures
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.served_files import BOLD_STEPS, N_FEATURES, N_REGIONS, N_STEPS, TANGENT, network

BOTH = Admitted(eeg=True, bold=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return network(tmp_path_factory.mktemp("judge"))


def of(loaded, **changes):
    return Judge(replace(loaded, card=loaded.card.model_copy(update=changes)))


def cut(**changes):
    window = Window(
        seq=3,
        start=SessionTime(8.0),
        end=SessionTime(10.0),
        eeg=np.ones((N_STEPS, N_FEATURES), np.float32),
        bold=np.ones((BOLD_STEPS, N_REGIONS), np.float32),
        age_eeg=0.05,
        age_bold=2.5,
        eeg_valid=True,
        bold_valid=True,
    )
    return replace(window, **changes)


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=5))
def test_quantising_keeps_the_sum_and_moves_nothing_far(weights):
    p = [w / sum(weights) for w in weights]
    q = quantised(p)
    assert math.fsum(q) == pytest.approx(1.0, abs=1e-12)
    assert all(value == round(value, 5) for value in q)
    assert q == pytest.approx(p, abs=1e-5 * len(p))
    assert 0 <= normalised_entropy(q) <= 1


def test_entropy_is_one_for_a_coin_and_zero_when_certain():
    assert normalised_entropy((0.5, 0.5)) == 1.0
    assert normalised_entropy((1 / 3, 1 / 3, 1 / 3)) == 1.0
    assert normalised_entropy((1.0, 0.0)) == 0.0
    assert normalised_entropy((0.9, 0.1)) == pytest.approx(0.469, abs=1e-4)


def test_disagreement_is_what_members_do_not_share():
    assert disagreement(np.array([[0.9, 0.1]])) == 0.0
    assert disagreement(np.array([[0.9, 0.1], [0.9, 0.1]])) == 0.0
    assert disagreement(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.log(2), abs=1e-5)
    three = np.eye(3)
    assert disagreement(three) == pytest.approx(math.log(3), abs=1e-5)


@given(st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=5))
def test_disagreement_lies_between_nothing_and_the_whole_entropy(logits):
    members = softmax(np.array(logits))
    assert np.allclose(members.sum(axis=1), 1)
    assert 0 <= disagreement(members) <= math.log(3) + 1e-5


def test_softmax_does_not_overflow():
    assert softmax(np.array([1e4, 0.0])).tolist() == [1.0, 0.0]


def test_members_are_averaged_after_the_temperature(loaded):
    logits = np.array([[0.0, 3.0], [0.0, -1.5]], np.float32)
    prediction = of(loaded).predict(cut(), BOTH, logits, (0.75, 0.25))
    sigmoid = [1 / (1 + math.exp(-v / 1.5)) for v in (3.0, -1.5)]
    assert prediction.probabilities[1] == pytest.approx(sum(sigmoid) / 2, abs=1e-5)
    assert prediction.disagreement == pytest.approx(disagreement(np.array([[1 - p, p] for p in sigmoid])), abs=1e-9)
    assert prediction.attention == {"eeg": 0.75, "bold": 0.25}
    assert prediction.flags == Flag.NONE


@pytest.mark.parametrize(
    ("admitted", "t", "flags"),
    [
        (BOTH, 1.5, Flag.NONE),
        (Admitted(eeg=True, bold=False), 2.0, Flag.NO_BOLD),
        (Admitted(eeg=False, bold=True), 0.8, Flag.NO_EEG),
    ],
)
def test_each_set_of_modalities_has_its_temperature(loaded, admitted, t, flags):
    prediction = of(loaded).predict(cut(), admitted, np.array([[0.0, 1.0]]))
    assert prediction.probabilities[1] == pytest.approx(1 / (1 + math.exp(-1 / t)), abs=1e-5)
    assert prediction.flags == flags
    assert temperature(Temperatures(both=1.5, eeg=2.0, bold=0.8), admitted.pattern) == t


@pytest.mark.parametrize(
    ("quantile", "wanted"), [(0.0, ()), (0.59999, ()), (0.6, ("b",)), (0.7, ("b", "a")), (1.0, ("b", "a", "c"))]
)
def test_candidates_are_what_cannot_be_ruled_out(loaded, quantile, wanted):
    judge = of(loaded, classes=("a", "b", "c"), doubt=Doubt(quantile={"both": quantile}), temperature=Temperatures())
    prediction = judge.predict(cut(), BOTH, np.log([[0.3, 0.4, 0.1]]) + 0.2)
    p = dict(zip(("a", "b", "c"), prediction.probabilities, strict=True))
    assert (p["a"], p["b"], p["c"]) == (0.375, 0.5, 0.125)
    expected = tuple(name for name in ("a", "b", "c") if p[name] >= 1 - quantile - 1e-9)
    assert prediction.candidates == expected
    assert bool(prediction.flags & Flag.ABSTAINED) == (len(expected) != 1)


def test_without_a_quantile_there_are_no_candidates_and_no_doubt(loaded):
    assert of(loaded).predict(cut(), BOTH, np.zeros((1, 2))).candidates is None
    judge = of(loaded, doubt=Doubt(quantile={"both": 0.1}))
    alone = judge.predict(cut(), Admitted(eeg=True, bold=False), np.zeros((1, 2)))
    assert (alone.candidates, alone.flags) == (None, Flag.NO_BOLD)


def test_members_that_disagree_make_it_abstain(loaded):
    judge = of(loaded, doubt=Doubt(disagreement_max=0.1))
    agree, split = np.array([[0.0, 2.0], [0.0, 2.1]]), np.array([[0.0, 3.0], [3.0, 0.0]])
    assert not judge.predict(cut(), BOTH, agree).flags & Flag.ABSTAINED
    assert judge.predict(cut(), BOTH, split).flags == Flag.ABSTAINED
    assert of(loaded).predict(cut(), BOTH, split).flags == Flag.NONE


def test_with_nothing_to_judge_by_it_says_so(loaded):
    judge = of(loaded, doubt=Doubt(quantile={"both": 0.1}))
    window = cut(eeg_valid=False, bold_valid=False, flags=Flag.WARMING)
    prediction = judge.predict(window, judge.admit(window), None)
    assert (prediction.probabilities, prediction.uncertainty) == ((0.5, 0.5), 1.0)
    assert prediction.attention == {"eeg": 0.0, "bold": 0.0}
    assert prediction.flags == Flag.NO_EEG | Flag.NO_BOLD | Flag.WARMING | Flag.ABSTAINED
    assert prediction.candidates == ("rest", "task")
    assert of(loaded).predict(window, Admitted(eeg=False, bold=False), None).candidates is None


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_no_judgement(loaded, junk):
    judge = of(loaded)
    for logits, attention in (([[0.0, junk]], (0.5, 0.5)), ([[0.0, 1.0]], (junk, 0.5))):
        prediction = judge.predict(cut(), BOTH, np.array(logits, np.float32), attention)
        assert (prediction.probabilities, prediction.uncertainty) == ((0.5, 0.5), 1.0)
        assert prediction.flags == Flag.NO_EEG | Flag.NO_BOLD | Flag.ABSTAINED
        assert prediction.attention == {"eeg": 0.0, "bold": 0.0}
    assert judge.unusable == 2


def test_only_what_is_there_fresh_and_finite_is_admitted(loaded):
    judge = of(loaded)
    assert judge.admit(cut()) == BOTH
    assert judge.admit(cut(eeg_valid=False)) == Admitted(eeg=False, bold=True)
    assert judge.admit(cut(age_eeg=0.51)) == Admitted(eeg=False, bold=True, flags=Flag.STALE)
    assert judge.admit(cut(age_eeg=0.51, hold_eeg=0.1)) == BOTH
    assert judge.admit(cut(age_bold=math.nan)) == Admitted(eeg=True, bold=False, flags=Flag.STALE)
    assert judge.unusable == 0
    junk = np.full((BOLD_STEPS, N_REGIONS), math.nan, np.float32)
    assert judge.admit(cut(bold=junk)) == Admitted(eeg=True, bold=False)
    assert judge.admit(cut(bold=junk, bold_valid=False)) == Admitted(eeg=True, bold=False)
    assert judge.unusable == 1


def test_a_tangent_vector_counts_with_the_eeg_alone(loaded):
    judge = of(loaded, tangent=TANGENT)
    vector = np.ones(TANGENT.width, np.float32)
    assert not judge.admit(cut()).tangent
    assert judge.admit(cut(tangent=vector)) == Admitted(eeg=True, bold=True, tangent=True)
    assert judge.admit(cut(tangent=vector, eeg_valid=False)) == Admitted(eeg=False, bold=True)
    assert judge.admit(cut(tangent=vector * np.float32(math.nan))) == BOTH
    assert judge.unusable == 1
    # a model of the covariance alone takes any band power
    alone = of(loaded, tangent=TANGENT, eeg=None)
    assert alone.admit(cut(tangent=vector, eeg=np.full((2, 2), math.nan, np.float32))).tangent
    with pytest.raises(ModelError, match=r"tangent vector has shape \(9,\).*takes \(10,\)"):
        judge.admit(cut(tangent=vector[1:]))


def test_a_model_without_a_modality_does_not_miss_it(loaded):
    judge = of(loaded, bold=None)
    window = cut(bold_valid=False, flags=Flag.MOTION)
    prediction = judge.predict(window, judge.admit(window), np.zeros((1, 2)))
    assert prediction.flags == Flag.MOTION
    assert judge.predict(window, judge.admit(window), np.full((1, 2), math.nan)).flags == (
        Flag.MOTION | Flag.NO_EEG | Flag.ABSTAINED
    )


@pytest.mark.parametrize(("what", "shape"), [("eeg", (N_STEPS, 7)), ("bold", (4, N_REGIONS))])
def test_a_window_of_another_shape_is_refused(loaded, what, shape):
    with pytest.raises(ModelError, match=f"{what.upper()} has shape"):
        of(loaded).admit(cut(**{what: np.zeros(shape, np.float32)}))
