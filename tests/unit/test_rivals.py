from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.baselines import Rival, rivals
from models.dataset import WindowSet
from models.evaluation.predict import masked
from streamer.errors import ModelError
from tests.unit.synthetic_windows import some_subjects, subject_windows


@pytest.fixture(scope="module")
def fitted() -> dict[str, Rival]:
    windows = some_subjects("abc", 10)
    found = {rival.name: rival for rival in rivals()}
    for rival in found.values():
        rival.fit(windows)
    return found


@pytest.fixture(scope="module")
def unseen() -> WindowSet:
    return some_subjects("gh", 30)


def accuracy(rival: Rival, windows: WindowSet) -> float:
    return float(((rival.predict_proba(windows)[:, 1] > 0.5) == (windows.label == 1)).mean())


@pytest.mark.parametrize("name", [rival.name for rival in rivals()])
def test_planted_states_are_found_in_unseen_subjects(fitted: dict[str, Rival], unseen: WindowSet, name: str) -> None:
    rival = fitted[name]
    p = rival.predict_proba(unseen)
    assert p.shape == (len(unseen), 2)
    assert np.allclose(p.sum(axis=1), 1)
    assert accuracy(rival, unseen) > {"both": 0.9, "eeg": 0.9, "bold": 0.75}[rival.modalities]


@pytest.mark.parametrize("name", [rival.name for rival in rivals()])
def test_what_is_missing_cannot_matter(fitted: dict[str, Rival], unseen: WindowSet, name: str) -> None:
    rival = fitted[name]
    for keep in ("eeg", "bold"):
        alone = masked(unseen, keep)
        gone = "bold" if keep == "eeg" else "eeg"
        noise = replace(alone, **{gone: np.full_like(getattr(alone, gone), 7.0)})
        assert np.array_equal(rival.predict_proba(alone), rival.predict_proba(noise))
        if rival.modalities in {"both", keep}:
            assert accuracy(rival, alone) > 0.7
        else:
            assert (rival.predict_proba(alone) == 0.5).all()
    nothing = masked(masked(unseen, "eeg"), "bold")
    assert (rival.predict_proba(nothing) == 0.5).all()


def test_late_fusion_adds_the_log_odds_of_either_modality(fitted: dict[str, Rival], unseen: WindowSet) -> None:
    def odds(name: str) -> np.ndarray:
        p = fitted[name].predict_proba(unseen)
        return np.log(p[:, 1] / p[:, 0])

    together = odds("late fusion of log-odds")
    summed = odds("band power + LDA") + odds("regions + LDA")
    # all but the prior, which would otherwise be counted twice
    moderate = np.abs(together) < 15
    assert moderate.mean() > 0.5
    assert np.ptp((together - summed)[moderate]) < 1e-6
    label = some_subjects("abc", 10).trainable().label
    prior = np.log(label.mean() / (1 - label.mean()))
    assert (together - summed)[moderate].mean() == pytest.approx(-prior, abs=0.01)


def test_probabilities_are_calibrated_on_windows_that_the_fit_had_not_seen() -> None:
    # weak effect, few subjects: scores on the fit's own windows would be far too sure
    training, unseen = some_subjects("abc", 10, effect=0.25), some_subjects("ghi", 30, effect=0.25)
    for rival in rivals():
        rival.fit(training)
        p = rival.predict_proba(unseen)[:, 1]
        right = ((p > 0.5) == (unseen.label == 1)).mean()
        assert np.maximum(p, 1 - p).mean() - right < 0.12, rival.name


def test_one_subject_is_enough_and_two_fits_are_equal(unseen: WindowSet) -> None:
    windows = subject_windows("a", 1)
    first, second = rivals()[3], rivals()[3]
    first.fit(windows)
    second.fit(windows)
    assert np.array_equal(first.predict_proba(unseen), second.predict_proba(unseen))
    assert accuracy(first, unseen) > 0.8


def test_a_class_that_is_missing_is_told() -> None:
    windows = subject_windows("a", 1)
    rest = replace(windows, label=np.zeros(len(windows), np.int64))
    with pytest.raises(ModelError, match="no window of task that holds eeg"):
        rivals()[0].fit(rest)
    with pytest.raises(ModelError, match="not fitted yet"):
        rivals()[0].predict_proba(windows)
