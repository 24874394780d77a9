from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.clean.bold.dvars import Dvars
from streamer.clean.bold.gaussian import convolve, gaussian_kernels
from streamer.clean.bold.smoothing import Smoothing

SIZE = np.array([3.0, 2.0, 4.5])
AFFINE = np.diag([*SIZE, 1.0])
SHAPE = (31, 41, 21)


def ball(radius_mm):
    return radius_mm > np.linalg.norm((np.indices(SHAPE).T - [15, 20, 10]) * SIZE, axis=-1).T


@pytest.mark.parametrize("fwhm_mm", [2.5, 4.0, 6.0, 8.0])
def test_the_width_is_the_asked_for_in_mm_along_every_axis(fwhm_mm):
    spot = np.zeros(SHAPE, np.float32)
    spot[15, 20, 10] = 1.0
    smooth = convolve(spot, gaussian_kernels(fwhm_mm, AFFINE), mirror=True).astype(float)
    assert smooth.sum() == pytest.approx(1.0, abs=1e-5)
    for axis in range(3):
        along = smooth.sum(axis=tuple(other for other in range(3) if other != axis))
        at = (np.arange(SHAPE[axis]) - (15, 20, 10)[axis]) * SIZE[axis]
        width = math.sqrt(8 * math.log(2) * float((along * at**2).sum()))
        assert width == pytest.approx(fwhm_mm, rel=0.03)


def test_an_oblique_grid_is_smoothed_by_its_voxels_sizes():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    oblique = np.eye(4)
    oblique[:3, :3] = turn @ np.diag(SIZE)
    for kernel, expected in zip(gaussian_kernels(6.0, oblique), gaussian_kernels(6.0, AFFINE), strict=True):
        np.testing.assert_allclose(kernel, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 2, 1), (12, 9, 7)])
def test_a_mirrored_constant_stays(shape):
    constant = np.full(shape, 7.0, np.float32)
    np.testing.assert_allclose(convolve(constant, gaussian_kernels(10.0, AFFINE), mirror=True), 7.0, rtol=1e-5)


def test_the_edge_of_the_head_does_not_fade_and_nothing_leaks_in():
    mask = ball(25.0)
    data = np.where(mask, 500.0, 9e6).astype(np.float32)
    smooth = Smoothing(mask, AFFINE, 6.0)(data)
    np.testing.assert_allclose(smooth[mask], 500.0, rtol=1e-5)
    assert np.isnan(smooth[~mask]).all()
    assert smooth.dtype == np.float32


def test_smoothing_is_the_weighted_mean_of_the_mask():
    rng = np.random.default_rng(1)
    mask = ball(20.0)
    data = rng.normal(500, 50, SHAPE).astype(np.float32)
    smooth = Smoothing(mask, AFFINE, 5.0)(data)
    kernels = gaussian_kernels(5.0, AFFINE)
    x, y, z = np.argwhere(mask)[rng.integers(mask.sum())]
    total = weight = 0.0
    for i, j, k in np.argwhere(mask):
        steps = (abs(i - x), abs(j - y), abs(k - z))
        if all(step < len(kernel) for step, kernel in zip(steps, kernels, strict=True)):
            share = math.prod(float(kernel[step]) for step, kernel in zip(steps, kernels, strict=True))
            total, weight = total + share * float(data[i, j, k]), weight + share
    assert smooth[x, y, z] == pytest.approx(total / weight, rel=1e-4)


def test_voxels_out_of_view_leave_the_others_alone():
    mask = ball(25.0)
    data = np.full(SHAPE, 300.0, np.float32)
    data[:, :, 9] = np.nan
    smoothing = Smoothing(mask, AFFINE, 8.0)
    smooth = smoothing(data)
    np.testing.assert_array_equal(np.isnan(smooth), ~mask | np.isnan(data))
    np.testing.assert_allclose(smooth[np.isfinite(smooth)], 300.0, rtol=1e-5)
    # and the next volume is whole again
    np.testing.assert_allclose(smoothing(np.full(SHAPE, 300.0, np.float32))[mask], 300.0, rtol=1e-5)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="empty"):
        Smoothing(np.zeros(SHAPE, bool), AFFINE, 5.0)
    with pytest.raises(ValueError, match="more than 0"):
        Smoothing(ball(20.0), AFFINE, 0.0)


def test_dvars_is_the_change_in_percent_of_the_mean():
    dvars = Dvars()
    before = np.array([100.0, 200.0, 300.0], np.float32)
    assert math.isnan(dvars(before))
    assert dvars(before + np.array([3.0, -3.0, 3.0], np.float32)) == pytest.approx(100 * 3 / 201)
    assert dvars(before + np.array([3.0, -3.0, 3.0], np.float32)) == 0.0


def test_dvars_takes_the_voxels_that_both_volumes_have():
    dvars = Dvars()
    dvars(np.array([100.0, 100.0, np.nan], np.float32))
    assert dvars(np.array([102.0, np.nan, 500.0], np.float32)) == pytest.approx(100 * 2 / 102)
    assert math.isnan(dvars(np.array([np.nan, 100.0, np.nan], np.float32)))
    dvars.reset()
    assert math.isnan(dvars(np.ones(3, np.float32)))


def test_dvars_keeps_no_hold_on_what_it_was_given():
    dvars = Dvars()
    values = np.full(4, 50.0, np.float32)
    dvars(values)
    values += 1
    assert dvars(values) == pytest.approx(100 / 51)
