from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.baselines import Rival, rivals
from models.dataset import WindowSet
from models.evaluation.predict import masked
from streamer.errors import ModelError
from tests.unit.rival_windows import of_bold_alone, of_eeg_alone, three_states, with_tangents
from tests.unit.synthetic_windows import some_subjects, subject_windows

NAMES = (
    "band power + LDA",
    "EEG steps + LDA",
    "tangent space + LDA",
    "tangent space + logistic regression",
    "regions + LDA",
    "regions + SVM",
    "concatenated + logistic regression",
    "PLS + LDA",
    "CCA + LDA",
    "late fusion of log-odds",
    "late fusion of log-odds, EEG steps",
    "late fusion of log-odds, tangent space",
)


def fit_all(windows: WindowSet) -> dict[str, Rival]:
    found = {rival.name: rival for rival in rivals(windows)}
    for rival in found.values():
        rival.fit(windows)
    return found


@pytest.fixture(scope="module")
def fitted() -> dict[str, Rival]:
    return fit_all(with_tangents("abc", 10))


@pytest.fixture(scope="module")
def unseen() -> WindowSet:
    return with_tangents("gh", 30)


def accuracy(rival: Rival, windows: WindowSet) -> float:
    known = windows.label >= 0
    return float((rival.predict_proba(windows).argmax(axis=1) == windows.label)[known].mean())


def test_there_is_a_rival_for_what_the_windows_hold_and_no_other() -> None:
    windows = with_tangents("a", 1)
    assert tuple(rival.name for rival in rivals(windows)) == NAMES
    without = replace(windows, tangent=np.empty((len(windows), 0), np.float32))
    assert [r.name for r in rivals(without)] == [name for name in NAMES if "tangent" not in name]
    eeg = rivals(of_eeg_alone(windows))
    assert [r.name for r in eeg] == list(NAMES[:4])
    assert {r.modalities for r in eeg} == {"eeg"}
    bold = rivals(of_bold_alone(windows))
    assert [r.name for r in bold] == ["regions + LDA", "regions + SVM"]
    assert {r.modalities for r in bold} == {"bold"}


@pytest.mark.parametrize("name", NAMES)
def test_planted_states_are_found_in_unseen_subjects(fitted: dict[str, Rival], unseen: WindowSet, name: str) -> None:
    rival = fitted[name]
    p = rival.predict_proba(unseen)
    assert p.shape == (len(unseen), 2)
    assert np.allclose(p.sum(axis=1), 1)
    # one number of a tangent vector holds the state, 1.5 standard deviations apart: 0.77 at best
    least = 0.72 if name.startswith("tangent") else {"both": 0.85, "eeg": 0.9, "bold": 0.75}[rival.modalities]
    assert accuracy(rival, unseen) > least


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_cannot_matter(fitted: dict[str, Rival], unseen: WindowSet, name: str) -> None:
    rival = fitted[name]
    for keep in ("eeg", "bold"):
        alone = masked(unseen, keep)
        gone = ("bold",) if keep == "eeg" else ("eeg", "tangent")
        noise = replace(alone, **{each: np.full_like(getattr(alone, each), 7.0) for each in gone})
        assert np.array_equal(rival.predict_proba(alone), rival.predict_proba(noise))
        if rival.modalities in {"both", keep}:
            assert accuracy(rival, alone) > 0.7
        else:
            assert (rival.predict_proba(alone) == 0.5).all()
    nothing = masked(masked(unseen, "eeg"), "bold")
    assert (rival.predict_proba(nothing) == 0.5).all()


@pytest.mark.parametrize("maker", [lambda n, s: three_states(n, s, 1.5), with_tangents])
def test_one_modality_is_a_data_set_too(maker) -> None:
    for alone in (of_eeg_alone, of_bold_alone):
        training, test = alone(maker("abc", 10)), alone(maker("gh", 30))
        for name, rival in fit_all(training).items():
            chance = 1 / len(training.classes)
            assert accuracy(rival, test) > chance + 0.15, name


def test_three_states_are_told_apart() -> None:
    training, test = three_states("abcd", 10), three_states("ghi", 30)
    found = fit_all(training)
    assert len(found) == 9
    for name, rival in found.items():
        p = rival.predict_proba(test)
        assert p.shape == (len(test), 3)
        assert np.allclose(p.sum(axis=1), 1)
        assert accuracy(rival, test) > 0.6, name
        right = p.argmax(axis=1) == test.label
        assert p.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.12), name
    fused = accuracy(found["late fusion of log-odds"], test)
    assert fused > max(accuracy(found[name], test) for name in ("band power + LDA", "regions + LDA"))


def test_a_window_without_tangent_vector_is_judged_by_what_else_there_is(
    fitted: dict[str, Rival], unseen: WindowSet
) -> None:
    tangent = unseen.tangent.copy()
    tangent[::2] = np.nan
    tangent[1::4, 3] = np.nan
    holes = replace(unseen, tangent=tangent)
    gone = np.isnan(tangent).any(axis=1)
    alone = fitted["tangent space + LDA"].predict_proba(holes)
    assert (alone[gone] == 0.5).all()
    assert (alone[~gone] != 0.5).all()
    fused = fitted["late fusion of log-odds, tangent space"].predict_proba(holes)
    assert np.allclose(fused[gone], fitted["regions + LDA"].predict_proba(unseen)[gone])
    assert not np.allclose(fused[~gone], fitted["regions + LDA"].predict_proba(unseen)[~gone])
    # nor are such windows fitted on
    again = rivals(holes)[2]
    again.fit(holes)
    assert np.isfinite(again.predict_proba(unseen)).all()


def test_late_fusion_adds_the_log_odds_of_either_modality(fitted: dict[str, Rival], unseen: WindowSet) -> None:
    def odds(name: str) -> np.ndarray:
        p = fitted[name].predict_proba(unseen)
        return np.log(p[:, 1] / p[:, 0])

    together = odds("late fusion of log-odds")
    summed = odds("band power + LDA") + odds("regions + LDA")
    # over what the sum is calibrated by
    together = together * fitted["late fusion of log-odds"].temperature
    # all but the prior, which would otherwise be counted twice
    moderate = np.abs(together) < 15
    assert moderate.mean() > 0.5
    assert np.ptp((together - summed)[moderate]) < 1e-6
    label = with_tangents("abc", 10).trainable().label
    prior = np.log(label.mean() / (1 - label.mean()))
    assert (together - summed)[moderate].mean() == pytest.approx(-prior, abs=1e-6)


def test_probabilities_are_calibrated_on_windows_that_the_fit_had_not_seen() -> None:
    # weak effect, few subjects: scores on the fit's own windows would be far too sure
    training, unseen = some_subjects("abc", 10, effect=0.25), some_subjects("ghi", 30, effect=0.25)
    for name, rival in fit_all(training).items():
        p = rival.predict_proba(unseen)
        right = p.argmax(axis=1) == unseen.label
        assert p.max(axis=1).mean() - right.mean() < 0.12, name


def test_one_subject_is_enough_and_two_fits_are_equal(unseen: WindowSet) -> None:
    windows = subject_windows("a", 1)
    first, second = (next(r for r in rivals(windows) if r.name.startswith("concatenated")) for _ in range(2))
    first.fit(windows)
    second.fit(windows)
    bare = replace(unseen, tangent=np.empty((len(unseen), 0), np.float32))
    assert np.array_equal(first.predict_proba(bare), second.predict_proba(bare))
    assert accuracy(first, bare) > 0.8


def test_a_fit_follows_the_windows_that_it_is_given(unseen: WindowSet) -> None:
    # the fused rival shares its parts with the single ones
    training, other = with_tangents("a", 10), with_tangents("d", 70)
    shared, fresh = ([rivals(training)[k] for k in (0, 4, 9)] for _ in range(2))
    for first, second in zip(shared, fresh, strict=True):
        first.fit(training)
        second.fit(other)
    before = {rival.name: rival.predict_proba(unseen) for rival in shared}
    for rival in shared:
        rival.fit(other)
    for again, new in zip(shared, fresh, strict=True):
        assert np.array_equal(again.predict_proba(unseen), new.predict_proba(unseen))
        assert not np.array_equal(again.predict_proba(unseen), before[again.name])


def test_a_class_that_is_missing_is_told() -> None:
    windows = subject_windows("a", 1)
    rest = replace(windows, label=np.zeros(len(windows), np.int64))
    with pytest.raises(ModelError, match="no window of task that holds eeg"):
        rivals(windows)[0].fit(rest)
    with pytest.raises(ModelError, match="not fitted yet"):
        rivals(windows)[0].predict_proba(windows)


def test_windows_of_other_classes_are_refused(fitted: dict[str, Rival]) -> None:
    with pytest.raises(ModelError, match="windows of rest, left, right: expected rest, task"):
        fitted["regions + LDA"].predict_proba(three_states("a", 1))


def test_modalities_that_say_the_same_are_not_believed_twice() -> None:
    def doubled(names: str, seed: int) -> WindowSet:
        # the BOLD is what the EEG said: adding both would be far too sure
        windows = some_subjects(names, seed, effect=0.3)
        newest = windows.eeg.mean(axis=1)[:, None, :3] * np.ones((1, 16, 1), np.float32)
        return replace(windows, bold=newest.astype(np.float32))

    training, test = doubled("abcd", 10), doubled("ghi", 30)
    found = fit_all(training)
    fused = found["late fusion of log-odds"]
    assert fused.temperature > 1.2
    p = fused.predict_proba(test)
    assert p.max(axis=1).mean() == pytest.approx((p.argmax(axis=1) == test.label).mean(), abs=0.06)
    assert found["regions + LDA"].temperature == 1
