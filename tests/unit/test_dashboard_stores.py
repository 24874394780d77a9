"""The dashboard's stores and raster: numpy alone."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.raster import LEVELS, raster, spans
from dashboard.stores import EegStore, Mark, PredictionStore, RowRing, VolumeStore


def rows(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def read(ring: RowRing) -> list[float]:
    return ring.read()[:, 0].tolist()


def test_ring_wraps_around_and_keeps_the_newest() -> None:
    ring = RowRing(4, 1)
    for i in range(10):
        ring.put(i, rows(i))
    assert read(ring) == [6, 7, 8, 9]
    assert ring.missing == ring.late == ring.doubled == 0


def test_ring_takes_more_rows_at_once_than_it_holds() -> None:
    ring = RowRing(3, 1)
    ring.put(5, rows(5, 6, 7, 8, 9))
    assert read(ring) == [7, 8, 9]
    assert ring.end == 10


def test_ring_shows_a_gap_as_nan_and_counts_it() -> None:
    ring = RowRing(6, 1)
    ring.put(0, rows(0, 1))
    ring.put(4, rows(4, 5))
    np.testing.assert_array_equal(ring.read()[:, 0], [0, 1, np.nan, np.nan, 4, 5])
    assert ring.missing == 2


def test_ring_forgets_everything_over_a_gap_longer_than_itself() -> None:
    ring = RowRing(3, 1)
    ring.put(0, rows(0, 1, 2))
    ring.put(1000, rows(7))
    np.testing.assert_array_equal(ring.read()[:, 0], [np.nan, np.nan, 7])
    assert ring.missing == 997


def test_late_rows_land_in_their_place_and_doubled_ones_change_nothing() -> None:
    ring = RowRing(6, 1)
    ring.put(0, rows(0, 1))
    ring.put(4, rows(4, 5))
    ring.put(2, rows(2, 3, 99, 99))
    assert read(ring) == [0, 1, 2, 3, 4, 5]
    assert (ring.missing, ring.late, ring.doubled) == (0, 2, 2)


def test_a_row_older_than_the_ring_is_counted_and_dropped() -> None:
    ring = RowRing(2, 1)
    ring.put(10, rows(10, 11))
    ring.put(3, rows(3))
    assert read(ring) == [10, 11]
    assert ring.expired == 1


def test_ring_refuses_rows_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1\) given, expected \(n, 3\)"):
        RowRing(4, 3).put(0, rows(1, 2))


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_overlapping_pieces_gives_the_same_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = np.arange(40.0)[:, None]
    ring = RowRing(40, 1)
    pieces = [(start, start + int(rng.integers(1, 9))) for start in range(0, 40, 4)]
    covered = np.zeros(40, dtype=bool)
    ring.put(39, whole[39:])
    covered[39] = True
    for at in rng.permutation(len(pieces)):
        start, stop = pieces[at]
        ring.put(start, whole[start : min(stop, 40)])
        covered[start : min(stop, 40)] = True
    expected = np.where(covered, whole[:, 0], np.nan)
    np.testing.assert_array_equal(ring.read()[:, 0], expected)


def test_eeg_store_moves_on_while_the_eeg_is_silent() -> None:
    store = EegStore(2, sfreq=10.0, seconds=1.0)
    store.put(0, 100.0, [[float(i) for i in range(10)], [None] * 10])
    assert store.newest == pytest.approx(101.0)
    np.testing.assert_array_equal(store.traces()[:, 0], np.arange(10))
    assert np.isnan(store.traces()[:, 1]).all()
    np.testing.assert_array_equal(store.traces(lag=0.3)[:, 0], [3, 4, 5, 6, 7, 8, 9, np.nan, np.nan, np.nan])


def put_volume(store: VolumeStore, index: int, received: float, value: float = 0.0) -> None:
    store.put(index, received - 1.0, received, [value, None], [0.1] * 6, 0.2)


def test_volume_store_keeps_a_missing_volume_as_nan_until_it_comes() -> None:
    store = VolumeStore(2, capacity=8)
    put_volume(store, 0, 2.0, 1.0)
    put_volume(store, 2, 6.0, 3.0)
    np.testing.assert_array_equal(store.traces().regions[:, 0], [1, np.nan, 3])
    put_volume(store, 1, 6.5, 2.0)
    put_volume(store, 1, 6.5, 2.0)
    traces = store.traces()
    np.testing.assert_array_equal(traces.regions[:, 0], [1, 2, 3])
    assert np.isnan(traces.regions[:, 1]).all()
    assert traces.motion.shape == (3, 6)
    assert store.count == 3


def test_a_new_series_stands_behind_the_one_before() -> None:
    store = VolumeStore(2, capacity=8)
    for i in range(3):
        put_volume(store, i, 2.0 * i, i)
    for i in range(2):
        put_volume(store, i, 20.0 + i, 10 + i)
    np.testing.assert_array_equal(store.traces().regions[:, 0], [0, 1, 2, 10, 11])
    assert store.count == 5


def test_a_volume_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="has 1 regions and 6 motion values: expected 2 and 6"):
        VolumeStore(2).put(0, None, 1.0, [0.0], [0.0] * 6, 0.0)


def test_prediction_store_counts_each_trigger_once_and_holds_a_bounded_number() -> None:
    store = PredictionStore(["rest", "task"], tick_hz=2.0, seconds=5.0)
    store.mark("trigger s/0", Mark(1.0, fired=True, text="reward"))
    store.mark("trigger s/0", Mark(1.0, fired=True, text="reward"))
    for i in range(50):
        store.mark(f"veto {i}", Mark(float(i), fired=False, text="MOTION"))
    assert (store.triggers, store.vetoes) == (1, 50)
    assert len(store.marks) == 10
    store.put(0, 0.5, {"task": 0.9})
    times, probabilities = store.traces()
    assert times[-1] == 0.5
    np.testing.assert_array_equal(probabilities[-1], [np.nan, 0.9])


def test_raster_loses_no_spike() -> None:
    data = np.zeros((10_000, 1))
    data[4321] = 40.0
    image = raster(data, 200, 100, per_row=100.0)
    column = 4321 * 200 // 10_000
    tops = [int(np.flatnonzero(image[:, x])[0]) for x in range(200)]
    # the trace lies in the middle, a row of 50 pixels is 100 units
    assert tops[column] == 50 - 20
    assert tops[column - 5] >= 48


def test_raster_leaves_a_gap_empty_and_uses_two_tints() -> None:
    data = np.zeros((400, 2))
    data[100:200] = np.nan
    image = raster(data, 100, 60, per_row=10.0)
    assert not image[:, 26:49].any()
    assert image[:, :24].any(axis=0).all()
    assert image[:, 51:].any(axis=0).all()
    upper, lower = image[:30], image[30:]
    assert 1 <= upper[upper > 0].min() <= upper.max() <= LEVELS
    assert LEVELS < lower[lower > 0].min() <= lower.max() <= 2 * LEVELS


def test_raster_draws_few_samples_over_many_pixels_as_one_line() -> None:
    image = raster(np.array([[0.0], [10.0], [-10.0], [0.0]]), 120, 80, per_row=20.0)
    assert image.any(axis=0).all()


def test_columns_of_a_raster_touch() -> None:
    rng = np.random.default_rng(0)
    low, high = spans(np.cumsum(rng.normal(size=(3000, 3)), axis=0), 500)
    assert (low[1:] <= high[:-1] + 1e-9).all()
    assert (high[1:] >= low[:-1] - 1e-9).all()


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_raster_of_nothing_is_empty(shape: tuple[int, int]) -> None:
    assert not raster(np.zeros(shape), 20, 10, per_row=1.0).any()
