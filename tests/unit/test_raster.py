"""Many traces as one picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dashboard.drawing import raster as module
from dashboard.drawing.raster import LEVELS, N_COLOURS, Columns, draw_with_numpy, raster, spans, use_compiled, warm_up

SHADES = np.arange(N_COLOURS, dtype=np.uint8)


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    before = module._way.draw
    module._way.draw = draw_with_numpy
    if request.param == "compiled":
        use_compiled()
        assert module._way.draw is not draw_with_numpy
    yield request.param
    module._way.draw = before


def picture(data: np.ndarray, width: int, height: int, per_row: float) -> np.ndarray:
    """Draw all of ``data``, as the newest samples of a stream."""
    columns = Columns.before(len(data), float(len(data)), width)
    padded = np.full((columns.end - columns.first, data.shape[1]), np.nan, np.float32)
    padded[-columns.first : len(data) - columns.first] = data
    image = np.full((height, width), 99, np.uint8)
    raster(image, padded, columns, per_row, SHADES)
    return image


def test_no_spike_is_lost() -> None:
    data = np.zeros((10_000, 1))
    data[4321] = 40.0
    image = picture(data, 200, 100, per_row=100.0)
    column = 4321 * 200 // 10_000
    tops = [int(np.flatnonzero(image[:, x])[0]) for x in range(200)]
    # the trace lies in the middle, a row of 50 pixels is 100 units
    assert tops[column] == 50 - 20
    assert tops[column - 5] >= 48


def test_a_gap_stays_empty_and_neighbours_have_two_tints() -> None:
    data = np.zeros((400, 2))
    data[100:200] = np.nan
    image = picture(data, 100, 60, per_row=10.0)
    assert not image[:, 26:49].any()
    assert image[:, :24].any(axis=0).all()
    assert image[:, 51:].any(axis=0).all()
    upper, lower = image[:30], image[30:]
    assert 1 <= upper[upper > 0].min() <= upper.max() <= LEVELS
    assert LEVELS < lower[lower > 0].min() <= lower.max() <= 2 * LEVELS


def test_few_samples_over_many_pixels_are_one_line() -> None:
    image = picture(np.array([[0.0], [10.0], [-10.0], [0.0]]), 120, 80, per_row=20.0)
    # before the first sample and after the last there is nothing to draw a line to
    assert image[:, :90].any(axis=0).all()
    tops = [np.flatnonzero(image[:, x])[0] for x in range(90)]
    # half of its thickness stands above it
    assert min(tops) == tops[30] == 40 - 20 - 1
    assert tops[20] > 24 < tops[40]


def test_columns_touch() -> None:
    rng = np.random.default_rng(0)
    data = np.cumsum(rng.normal(size=(3002, 3)), axis=0).astype(np.float32)
    columns = Columns.before(3001, 3000.0, 500)
    low, high = spans(data, columns.starts, columns.shares)
    assert (low[1:] <= high[:-1] + 1e-9).all()
    assert (high[1:] >= low[:-1] - 1e-9).all()


def test_columns_do_not_move_with_the_window() -> None:
    rng = np.random.default_rng(1)
    data = np.cumsum(rng.normal(size=(2000, 2)), axis=0).astype(np.float32)
    seen = []
    for last in (1501, 1507):
        columns = Columns.before(last, 1000.0, 300)
        image = np.empty((80, 300), np.uint8)
        raster(image, data[columns.first : columns.end], columns, 5.0, SHADES)
        seen.append(image)
    # the window went on by 2 columns
    np.testing.assert_array_equal(seen[0][:, 5:-3], seen[1][:, 3:-5])


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_nothing_leaves_the_ground(shape: tuple[int, int]) -> None:
    image = np.full((10, 20), 7, np.uint8)
    raster(image, np.zeros(shape, np.float32), Columns.before(5, 5.0, 20), 1.0, SHADES)
    assert not image.any()


def test_both_ways_draw_the_same() -> None:
    rng = np.random.default_rng(2)
    table = rng.integers(1, 2**32, N_COLOURS, dtype=np.uint32)
    for n_samples, width, last in ((2500.0, 1000, 5003), (700.0, 1000, 5003), (30.0, 200, 11), (333.3, 111, -40)):
        columns = Columns.before(last, n_samples, width)
        data = rng.normal(size=(columns.end - columns.first, 16)).astype(np.float32) * 30
        data[len(data) // 3 : len(data) // 3 + 9] = np.nan
        data[len(data) // 2 :, 5] = np.nan
        drawn = []
        for way in (draw_with_numpy, None):
            if way is None:
                use_compiled()
            else:
                module._way.draw = way
            drawn.append(np.empty((300, width), np.uint32))
            raster(drawn[-1], data, columns, 50.0, table)
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert len(np.unique(drawn[0])) > 50


def test_warming_up_ends_with_the_compiled_way() -> None:
    module._way.draw = draw_with_numpy
    warm_up().join(60.0)
    assert module._way.draw is not draw_with_numpy
