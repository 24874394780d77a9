from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.dataset import WindowSet
from models.doubt import doubted, fit_doubt, measured
from models.patterns import held, occurring, pattern_of, reduced
from streamer.decode.model_card import Doubt
from streamer.messages import F64
from tests.unit.synthetic_windows import some_subjects, subject_windows


def by_alpha(windows: WindowSet) -> F64:
    """What the mean alpha of three channels and the newest BOLD say: a model without a fit."""
    eeg = windows.eeg.reshape(len(windows), -1, 6, 3)[:, :, :3, 1].mean(axis=(1, 2))
    odds = np.where(windows.valid[:, 0] > 0, -6 * (eeg + 0.6), 0)
    odds = odds + np.where(windows.valid[:, 1] > 0, 2 * (windows.bold[:, -3:, :2].mean(axis=(1, 2)) - 0.6), 0)
    p = 1 / (1 + np.exp(-odds.astype(np.float64)))
    return np.column_stack([1 - p, p])


def test_what_is_promised_on_some_people_holds_on_others() -> None:
    covered = {pattern: list[float]() for pattern in ("both", "eeg", "bold")}
    for seed in range(12):
        doubt = fit_doubt(by_alpha, some_subjects("abcd", 100 + 10 * seed), alpha=0.1)
        assert doubt.n_blocks == 36
        assert doubt.disagreement_max is None
        found = measured(doubt, by_alpha, some_subjects("efgh", 900 + 10 * seed))
        assert found.quantile == doubt.quantile
        for pattern, share in found.coverage.items():
            covered[pattern].append(share)
    for pattern, shares in covered.items():
        assert len(shares) == 12
        assert 0.88 < np.mean(shares) < 0.98, pattern


def test_too_few_blocks_give_no_candidates() -> None:
    few = subject_windows("a", 1)
    assert fit_doubt(by_alpha, few).quantile == {}
    assert fit_doubt(by_alpha, few, alpha=0.3).quantile.keys() == {"both", "eeg", "bold"}


def test_a_single_modality_has_its_own_quantile_only() -> None:
    windows = reduced(some_subjects("abc", 5), "eeg")
    doubt = fit_doubt(by_alpha, windows)
    assert doubt.quantile.keys() == {"eeg"}
    assert measured(doubt, by_alpha, windows).coverage.keys() == {"eeg"}


def test_members_that_disagree_more_than_in_validation_abstain() -> None:
    windows = some_subjects("abc", 5)

    def apart(given: WindowSet) -> F64:
        return np.linspace(0, 0.5, len(given))

    doubt = fit_doubt(by_alpha, windows, apart)
    assert doubt.disagreement_max == pytest.approx(0.495, abs=1e-3)
    p = by_alpha(windows)
    calm = doubted(doubt, p, windows, np.zeros(len(windows)))
    torn = doubted(doubt, p, windows, np.full(len(windows), 0.6))
    assert calm.abstained is not None
    assert torn.abstained is not None
    assert not calm.abstained.all()
    assert torn.abstained.all()


def test_a_window_is_decided_where_one_class_is_left() -> None:
    windows = subject_windows("a", 1).rows(np.arange(4))
    windows = replace(windows, valid=np.array([[1, 1], [1, 1], [1, 1], [1, 0]], np.float32))
    p = np.array([[0.95, 0.05], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5]])
    asked = doubted(Doubt(quantile={"both": 0.2}), p, windows)
    assert asked.candidates is not None
    assert asked.abstained is not None
    assert asked.candidates[:3].tolist() == [[True, False], [False, False], [False, False]]
    # without a quantile for what it holds nothing is ruled out, and it is decided
    assert asked.candidates[3].tolist() == [True, True]
    assert asked.abstained.tolist() == [False, True, True, False]
    two = doubted(Doubt(quantile={"both": 0.6}), p, windows)
    assert two.abstained is not None
    assert two.abstained[:3].tolist() == [False, True, False]
    assert doubted(Doubt(), p, windows).abstained is None


def test_patterns_are_what_windows_hold() -> None:
    windows = subject_windows("a", 1).rows(np.arange(4))
    windows = replace(windows, valid=np.array([[1, 1], [1, 0], [0, 1], [0, 0]], np.float32))
    assert pattern_of(windows).tolist() == ["both", "eeg", "bold", ""]
    assert held(windows, "eeg").tolist() == [True, True, False, False]
    assert occurring(windows) == ("both", "eeg", "bold")
    assert occurring(windows.rows(np.array([1]))) == ("eeg",)
    alone = reduced(windows, "bold")
    assert len(alone) == 2
    assert not alone.eeg.any()
    assert alone.valid.tolist() == [[0, 1], [0, 1]]
