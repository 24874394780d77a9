from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import detrend

from models.dataset import WindowSet, joined
from models.evaluation.blocks import blocks_of
from models.evaluation.judge import rows_of
from models.evaluation.learning import Curve, epoch_curves, learning_curves
from models.evaluation.splits import people, split
from models.evaluation.within_run import within_run
from streamer.errors import ModelError
from tests.unit.planted_modalities import planted
from tests.unit.synthetic_windows import subject_windows


class Nearest:
    """Decides for the class whose mean is nearest; keeps what it was fitted on."""

    name = "nearest mean"
    modalities = "eeg"

    def __init__(self, seen: list[WindowSet], least: int = 0) -> None:
        self.seen, self.least = seen, least
        self.means = np.empty(0)

    def fit(self, windows: WindowSet) -> None:
        if len(windows) < self.least:
            raise ModelError("too little to fit on")
        self.seen.append(windows)
        x = windows.eeg.mean(axis=1)
        self.means = np.stack([x[windows.label == k].mean(axis=0) for k in range(len(windows.classes))])

    def predict_proba(self, windows: WindowSet) -> np.ndarray:
        far = ((windows.eeg.mean(axis=1)[:, None] - self.means) ** 2).sum(axis=2)
        odds = np.exp(-far)
        return odds / odds.sum(axis=1, keepdims=True)


def curves(windows: WindowSet, hold: str, least: int = 0) -> tuple[tuple[Curve, ...], list[WindowSet]]:
    seen: list[WindowSet] = []
    told: list[float] = []
    block = blocks_of(windows)
    found = learning_curves(
        lambda: [Nearest(seen, least)],
        windows,
        split(windows, hold),
        lambda index: rows_of(windows, index, block, "block"),
        0,
        told.append,
    )
    assert told == sorted(told)
    assert told[-1] == 1.0
    return found, seen


def test_smaller_sets_of_subjects_lie_within_larger_ones() -> None:
    windows = planted("complementary", 3, "abcdef", 1, n_blocks=12)
    (curve,), seen = curves(windows, "subject")
    assert curve.across == "training subjects"
    assert [point.at for point in curve.points] == [1, 2, 5]
    # six folds for every size, the smallest first
    for fold, held_out in enumerate("abcdef"):
        sets = [set(people(seen[size * 6 + fold]).tolist()) for size in range(3)]
        assert [len(each) for each in sets] == [1, 2, 5]
        assert sets[0] < sets[1] < sets[2] == set("abcdef") - {held_out}
        for part, names in zip(seen[fold::6], sets, strict=True):
            assert {block.subject for block in part.blocks} == names


def test_blocks_are_added_of_all_classes_alike() -> None:
    windows = planted("complementary", 3, "ab", 2, n_blocks=24)
    (curve,), seen = curves(windows, "subject")
    assert curve.across == "training blocks"
    assert [point.at for point in curve.points] == [3, 6, 12, 24]
    for fold in range(2):
        parts = seen[fold::2]
        held = [set(blocks_of(replace(part, blocks=windows.blocks)).tolist()) for part in parts]
        assert held[0] < held[1] < held[2] < held[3]
        for part in parts:
            labels = [block.label for block in part.blocks]
            assert {labels.count(name) for name in windows.classes} == {len(labels) // 3}
    assert curve.points[-1].value.value > curve.points[0].value.value
    assert all(point.value.low < point.value.value < point.value.high for point in curve.points)


def test_what_cannot_be_fitted_to_little_has_no_point_there() -> None:
    windows = planted("complementary", 3, "ab", 2, n_blocks=24)
    (curve,), _ = curves(windows, "subject", least=90)
    assert [point.at for point in curve.points] == [12, 24]
    assert curves(windows, "subject", least=10_000)[0] == ()


def test_epochs_are_drawn_as_they_were() -> None:
    found = epoch_curves("fusion", [(1, 0.7, 0.8, 0.5), (2, 0.6, 0.75, 0.6)])
    assert [curve.measure for curve in found] == ["training loss", "validation loss", "validation accuracy"]
    assert [point.value.value for point in found[1].points] == [0.8, 0.75]
    assert epoch_curves("fusion", [(1, 0.7, 0.8, 0.5)]) == ()


def test_every_run_is_standardised_by_itself_without_labels() -> None:
    first, second = subject_windows("a", 1), subject_windows("a", 2).later(1000.0)
    drifting = replace(first, bold=first.bold + 0.1 * first.time[:, None, None].astype(np.float32) + 7)
    windows = joined([drifting, replace(second, eeg=3 * second.eeg)])
    found = within_run(windows)
    n = len(first)
    for rows in (slice(0, n), slice(n, 2 * n)):
        for got, given in ((found.eeg[rows], windows.eeg[rows]), (found.bold[rows], windows.bold[rows])):
            flat = detrend(given.reshape(n, -1).astype(float), axis=0)
            np.testing.assert_allclose(got.reshape(n, -1), flat / flat.std(axis=0), atol=2e-4)
    # labels do not enter, nor does the other run
    blind = within_run(replace(windows, label=np.full(2 * n, -1), blocks=windows.blocks))
    np.testing.assert_array_equal(blind.eeg, found.eeg)
    np.testing.assert_array_equal(within_run(drifting).bold, found.bold[:n])


def test_what_is_masked_stays_masked_and_enters_no_mean() -> None:
    windows = subject_windows("a", 1)
    valid = windows.valid.copy()
    valid[::3, 1] = 0
    tangent = windows.eeg[:, 0, :4].copy()
    tangent[::4] = np.nan
    masked = replace(windows, valid=valid, bold=windows.bold * valid[:, 1, None, None], tangent=tangent)
    found = within_run(masked)
    assert not found.bold[::3].any()
    kept = np.flatnonzero(valid[:, 1])
    np.testing.assert_allclose(found.bold[kept].std(axis=0), 1, atol=1e-4)
    assert np.isnan(found.tangent[::4]).all()
    assert np.nanmax(np.abs(np.nanstd(found.tangent, axis=0) - 1)) < 1e-4
    assert found.eeg.dtype == found.bold.dtype == found.tangent.dtype == np.float32


@pytest.mark.parametrize("empty", ["eeg", "bold"])
def test_data_of_one_modality_can_be_standardised(empty: str) -> None:
    windows = subject_windows("a", 1)
    alone = replace(windows, **{empty: getattr(windows, empty)[:, :, :0]})
    found = within_run(alone)
    assert getattr(found, empty).shape == getattr(alone, empty).shape
