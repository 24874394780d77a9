import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.ring import Ring


def test_a_ring_gives_back_the_newest_samples_by_index():
    ring = Ring(5, 2)
    data = np.arange(16, dtype=np.float32).reshape(8, 2)
    ring.append(data)
    assert ring.end == 8
    assert ring.oldest == 3
    np.testing.assert_array_equal(ring.read(3, 8), data[3:8])


def test_what_is_not_held_reads_as_nan():
    ring = Ring(3, 1)
    ring.append(np.ones((4, 1), np.float32))
    out = ring.read(-1, 6)
    np.testing.assert_array_equal(np.isnan(out[:, 0]), [True, True, False, False, False, True, True])


def test_a_gap_is_explicit():
    ring = Ring(10, 1)
    ring.append(np.zeros((2, 1), np.float32), 0)
    ring.append(np.ones((2, 1), np.float32), 5)
    np.testing.assert_array_equal(ring.read(0, 7)[:, 0], [0, 0, np.nan, np.nan, np.nan, 1, 1])


def test_a_gap_longer_than_the_ring_leaves_only_what_came_after():
    ring = Ring(4, 1)
    ring.append(np.zeros((4, 1), np.float32), 0)
    ring.append(np.ones((1, 1), np.float32), 1000)
    np.testing.assert_array_equal(ring.read(997, 1001)[:, 0], [np.nan, np.nan, np.nan, 1])


def test_samples_of_the_past_are_refused():
    ring = Ring(4, 1)
    ring.append(np.zeros((4, 1), np.float32), 0)
    with pytest.raises(ValueError, match="from 2 given, expected 4"):
        ring.append(np.zeros((1, 1), np.float32), 2)


@given(st.lists(st.integers(1, 7), max_size=20), st.integers(1, 9))
def test_chunking_does_not_matter(sizes: list[int], capacity: int):
    total = sum(sizes)
    data = np.arange(total, dtype=np.float32)[:, None]
    ring = Ring(capacity, 1)
    at = 0
    for size in sizes:
        ring.append(data[at : at + size])
        at += size
    held = min(capacity, total)
    np.testing.assert_array_equal(ring.read(total - held, total), data[total - held :])
