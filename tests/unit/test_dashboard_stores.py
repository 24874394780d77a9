"""The dashboard's stores: numpy alone."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.stores import (
    EegStore,
    ImageStore,
    Mark,
    PredictionStore,
    RowRing,
    ScoreStore,
    Timeline,
    VolumeStore,
)
from streamer.wire import ScoreMessage, VolumeImage, VolumeMessage


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
    traces = store.traces(101.0, 1.0)
    np.testing.assert_array_equal(traces[:, 0], np.arange(10))
    assert np.isnan(traces[:, 1]).all()
    np.testing.assert_array_equal(store.traces(101.3, 1.0)[:, 0], [3, 4, 5, 6, 7, 8, 9, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(store.traces(100.4, 0.6)[:, 0], [np.nan, np.nan, 0, 1, 2, 3])


def test_ring_takes_memory_as_rows_come_and_loses_nothing_on_the_way() -> None:
    ring = RowRing(10**7, 1)
    data = np.arange(20_000.0)[:, None]
    for first in range(7, 20_000, 900):
        ring.put(first, data[first : first + 900])
    ring.put(3, data[3:7])
    np.testing.assert_array_equal(ring.read(), data[3:])
    assert (ring.missing, ring.late, ring.expired) == (0, 4, 0)
    np.testing.assert_array_equal(ring.between(19_998, 20_002)[:, 0], [19_998, 19_999, np.nan, np.nan])


def test_a_ring_that_grows_forgets_what_a_full_one_forgets() -> None:
    grown, whole = RowRing(9000, 1), RowRing(9000, 1)
    whole.put(0, np.full((9000, 1), np.nan))
    data = np.arange(30_000.0)[:, None]
    for first in range(9000, 30_000, 1300):
        for ring in (grown, whole):
            ring.put(first, data[first : first + 1300])
    np.testing.assert_array_equal(grown.read(), whole.read())
    np.testing.assert_array_equal(grown.read(), data[-9000:])


def test_a_timeline_gives_what_was_known_at_a_time() -> None:
    line: Timeline[str] = Timeline(10.0)
    for at, item in ((1.0, "a"), (3.0, "c"), (2.0, "b")):
        line.add(at, item)
    assert [line.at(t) for t in (0.5, 1.0, 2.5, 9.0)] == [None, "a", "b", "c"]
    assert list(line.between(1.5, 3.0)) == ["b", "c"]
    assert (line.newest, line.newest_at, line.first_at, line.count) == ("c", 3.0, 1.0, 3)
    with pytest.raises(ValueError, match="not a number"):
        line.add(float("nan"), "d")


def test_a_timeline_holds_a_bounded_number() -> None:
    line: Timeline[int] = Timeline(50.0, most=400)
    for i in range(5000):
        line.add(0.1 * i, i)
        assert len(line) <= 400
    assert line.newest == 4999
    late: Timeline[int] = Timeline(5.0)
    for i in range(1000):
        late.add(0.1 * i, i)
    assert 50 <= len(late) <= 150
    assert late.first_at is not None
    assert late.first_at > 85.0


def test_images_are_held_as_far_as_memory_allows() -> None:
    def volume(index: int, shape: tuple[int, int, int] = (4, 4, 4)) -> VolumeMessage:
        image = VolumeImage.of(np.full(shape, 0.5, np.float32), "", 1.0)
        return VolumeMessage(index, "one", 2.0 * index, np.eye(4), {"mean": image})

    store = ImageStore(seconds=20.0, most_bytes=5 * 64)
    for i in range(8):
        store.put(volume(i))
    assert store.newest is not None
    assert store.newest.index == 7
    assert [getattr(store.at(t), "index", None) for t in (5.9, 6.0, 8.5, 99.0)] == [None, 3, 4, 7]
    store.put(volume(8, (2, 2, 2)))
    assert store.at(15.0) is None


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
    assert [mark.at for mark in store.marks.between(45.5, 99.0)] == [46.0, 47.0, 48.0, 49.0]
    store.put(0, 0.5, {"task": 0.9}, uncertainty=0.3)
    store.put(2, 1.5, {"task": 0.8}, uncertainty=0.4)
    times, probabilities, uncertainty = store.traces(2.0, 60.0)
    np.testing.assert_array_equal(times, [0.5, np.nan, 1.5])
    np.testing.assert_array_equal(probabilities, [[np.nan, 0.9], [np.nan, np.nan], [np.nan, 0.8]])
    np.testing.assert_array_equal(uncertainty, [0.3, np.nan, 0.4])
    assert len(store.traces(1.0, 60.0)[0]) == 1


def test_scores_are_nothing_where_neutral_was_shown() -> None:
    store = ScoreStore(60.0)
    for i, neutral in enumerate((False, True, False)):
        store.put(
            ScoreMessage(
                window=i, level=0.5, axes={}, threshold=0.6, neutral=neutral, about=float(i), ready=None,
                expires=9.0, flags=[],
            )
        )  # fmt: skip
    times, levels, thresholds = store.traces(5.0, 60.0)
    np.testing.assert_array_equal(times, [0, 1, 2])
    np.testing.assert_array_equal(levels, [0.5, np.nan, 0.5])
    np.testing.assert_array_equal(thresholds, [0.6] * 3)
