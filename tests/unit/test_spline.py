from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, spline_filter

from streamer.clean.bold.displacement import rigid
from streamer.clean.bold.resample import Resampler
from streamer.clean.bold.spline import padded, row_spans, sample, sample_rows, spline_coefficients

SHAPES = [(14, 11, 9), (40, 3, 5), (1, 12, 7), (9, 1, 1), (2, 2, 2), (150, 4, 6)]


def volume(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_are_scipys(shape):
    data = volume(shape)
    expected = spline_filter(data, order=3, mode="mirror")
    np.testing.assert_allclose(spline_coefficients(data), expected, atol=0.02)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.float64, ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_type_and_memory_order_change_no_bit(dtype, order):
    data = volume((13, 12, 10))
    given = np.asarray(data.astype(dtype), order=order)
    given.flags.writeable = False
    made = spline_coefficients(given)
    assert made.dtype == np.float32
    assert made.flags.f_contiguous
    np.testing.assert_array_equal(made, spline_coefficients(data))


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_at_voxels_are_the_voxels(shape):
    data = volume(shape, np.uint16)
    index = np.indices(shape).reshape(3, -1).astype(float)
    np.testing.assert_allclose(sample(spline_coefficients(data), index), data.reshape(-1), atol=0.01)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_samples_anywhere_are_scipys(shape):
    coefficients = spline_coefficients(volume(shape))
    points = np.random.default_rng(1).uniform(-40, 60, (3, 500))
    expected = map_coordinates(coefficients, points, order=3, mode="mirror", prefilter=False, output=np.float64)
    np.testing.assert_allclose(sample(coefficients, points), expected, atol=0.01)


def test_a_point_that_is_nowhere_has_no_value():
    coefficients = spline_coefficients(volume((8, 8, 8)))
    points = np.array([[3.0, np.nan, np.inf], [3.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    np.testing.assert_array_equal(np.isnan(sample(coefficients, points)), [False, True, True])


def placed(rotation_deg, shift, flip=(1, 1, 1)):
    move = rigid(np.asarray(shift, float), np.deg2rad(rotation_deg))
    return move @ np.diag([*flip, 1.0])


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(4),
        placed([0.3, -0.5, 0.8], [0.4, -0.3, 0.2]),
        placed([12.0, -25.0, 40.0], [3.0, 8.0, -4.0]),
        placed([0.5, 0.2, 0.1], [130.0, 0.4, 11.0], (-1, 1, -1)),
        placed([0.0, 0.0, 0.0], [500.0, 0.0, 0.0]),
    ],
)
@pytest.mark.parametrize("shape", [(140, 14, 12), (20, 18, 1)])
def test_rows_give_what_points_give_and_nothing_out_of_view(matrix, shape):
    coefficients = spline_coefficients(volume(shape))
    mask = np.random.default_rng(2).random(shape) < 0.8
    got = Resampler(shape, mask)(coefficients, matrix)
    index = np.nonzero(mask)
    points = (matrix @ np.vstack([*index, np.ones(len(index[0]))]))[:3]
    end = np.array(shape)[:, None] - 0.5
    inside = np.all((points >= -0.5) & (points <= end), axis=0)
    expected = np.where(inside, sample(coefficients, points), np.nan)
    np.testing.assert_allclose(got[index], expected, atol=0.01)
    assert np.isnan(got[~mask]).all()
    assert got.dtype == np.float32


def test_a_whole_grid_is_filled_without_a_mask():
    data = volume((20, 16, 9))
    got = Resampler(data.shape)(spline_coefficients(data), np.eye(4))
    np.testing.assert_allclose(got, data, atol=0.01)


def test_a_volume_of_nan_has_no_values():
    got = Resampler((9, 8, 7))(spline_coefficients(np.full((9, 8, 7), np.nan, np.float32)), np.eye(4))
    assert np.isnan(got).all()


def test_a_mask_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="expected the same"):
        Resampler((4, 4, 4), np.ones((4, 4, 5), bool))


def test_rows_hold_the_voxels_of_a_mask_in_their_order():
    mask = np.random.default_rng(3).random((15, 7, 6)) < 0.5
    rows = row_spans(mask)
    voxels = [(z, y, x) for z, y, begin, n in rows for x in range(begin, begin + n)]
    np.testing.assert_array_equal(voxels, np.argwhere(mask.T))
    assert row_spans(np.zeros((3, 3, 3), bool)).shape == (0, 4)


def test_a_margin_of_none_ends_at_the_outermost_voxels():
    coefficients = spline_coefficients(volume((6, 5, 4)))
    rows = row_spans(np.ones((6, 5, 4), bool))
    shift = np.eye(4)
    shift[0, 3] = 0.25
    values = np.empty(120, np.float32)
    sample_rows(padded(coefficients), shift, rows, 0.0, values)
    np.testing.assert_array_equal(np.isnan(values.reshape(4, 5, 6)), np.broadcast_to(np.arange(6) == 5, (4, 5, 6)))
