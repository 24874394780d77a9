from __future__ import annotations

import numpy as np

from streamer.align.sample_map import SampleMap


def add(samples: SampleMap, source: range | list[int], first: int) -> None:
    times = first / 100.0 + np.arange(len(source)) / 100.0
    samples.add(np.array(source, dtype=np.int64), first, times)


def test_samples_keep_their_number_until_the_counts_part() -> None:
    samples = SampleMap()
    assert samples.grid(5, 0.05) is None
    add(samples, range(100), 0)
    add(samples, range(100, 200), 100)
    # 30 lost that the source did not count
    add(samples, range(200, 300), 230)
    assert [samples.grid(s, s / 100) for s in (0, 199, 200, 299, 300)] == [0, 199, 230, 329, None]
    assert (samples.passed(299), samples.passed(300)) == (True, False)


def test_a_sample_that_the_source_counted_and_lost_has_its_place() -> None:
    samples = SampleMap()
    add(samples, range(100), 0)
    add(samples, range(150, 200), 150)
    assert samples.grid(120, 1.2) == 120


def test_numbers_of_duplicates_have_no_place_of_their_own() -> None:
    samples = SampleMap()
    add(samples, [*range(100), *range(120, 150)], 0)
    assert samples.grid(110, 1.0) is None
    assert samples.passed(110)
    assert samples.grid(120, 1.0) == 100


def test_a_source_that_counts_anew_is_told_apart_by_time() -> None:
    samples = SampleMap()
    add(samples, range(1000), 0)
    add(samples, range(50), 1000)
    assert samples.grid(30, 0.3) == 30
    assert samples.grid(30, 10.3) == 1030
    # of the new count, and not there yet
    assert samples.grid(70, 10.7) is None
    assert samples.grid(70, 0.7) == 70


def test_memory_is_bounded() -> None:
    samples = SampleMap(capacity=10)
    for k in range(100):
        add(samples, range(10 * k, 10 * k + 10), 11 * k)
    assert samples.grid(995, 1e9) == 99 * 11 + 5
    assert samples.grid(905, 1e9) == 90 * 11 + 5
    assert samples.grid(895, 1e9) is None
