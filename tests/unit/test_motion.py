from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from streamer.clean.bold.motion import Displacement, Registration, rigid, sample, spline_coefficients
from streamer.errors import FormatError

FINE_MM = 2.0
HALF_MM = 110.0


@pytest.fixture(scope="module")
def head():
    # a head on a fine grid, scanned below by interpolation that the registration does not use: another grid, with noise
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(-HALF_MM, HALF_MM + 1, FINE_MM)] * 3, indexing="ij")).astype(np.float32)
    radius = np.sqrt((grid[0] / 68) ** 2 + (grid[1] / 85) ** 2 + (grid[2] / 62) ** 2)
    head = 900.0 * (radius < 1) - 250.0 * (radius < 0.85)
    for _ in range(20):
        centre = rng.uniform(-0.6, 0.6, 3) * np.array([68, 85, 62])
        width = rng.uniform(5, 16)
        distance = ((grid - centre[:, None, None, None]) ** 2).sum(axis=0)
        head += rng.uniform(-300, 300) * np.exp(-distance / 2 / width**2) * (radius < 1)
    return spline_filter(gaussian_filter(np.clip(head, 0, None), 1.2), order=3)


def scan(head, shape, affine, moved, rng, noise=8.0):
    index = np.vstack([np.indices(shape).reshape(3, -1), np.ones((1, np.prod(shape)))])
    middle = affine @ [*((np.array(shape) - 1) / 2), 1.0]
    world = affine @ index
    world[:3] -= middle[:3, None]
    points = (np.linalg.inv(moved) @ world)[:3]
    values = map_coordinates(head, (points + HALF_MM) / FINE_MM, order=3, prefilter=False).reshape(shape)
    return np.rint(np.hypot(values + rng.normal(0, noise, shape), rng.normal(0, noise, shape))).astype(np.uint16)


def grid(size):
    affine = np.diag([-size[0], size[1], size[2], 1.0])
    affine[:3, 3] = (90, -80, -30)
    return affine


def error_mm(registration, mask, found, true):
    world = registration.world(np.nonzero(mask))
    wrong = (np.linalg.inv(true) @ found - np.eye(4)) @ world
    return float(np.sqrt((wrong[:3] ** 2).sum(axis=0).mean()))


@pytest.mark.parametrize(
    ("shape", "size", "median_mm", "worst_mm"),
    [
        ((64, 64, 16), (3.0, 3.0, 4.0), 0.03, 0.06),
        ((64, 64, 36), (3.4, 3.4, 4.0), 0.03, 0.06),
    ],
)
def test_known_moves_are_found(head, shape, size, median_mm, worst_mm):
    rng = np.random.default_rng(2)
    affine = grid(size)
    reference = scan(head, shape, affine, np.eye(4), rng)
    registration = Registration(reference, affine)
    errors = []
    for k in range(8):
        scale = (0.1, 0.3, 1.0, 2.0)[k % 4]
        true = rigid(rng.normal(0, 0.8 * scale, 3), np.deg2rad(rng.normal(0, 0.6 * scale, 3)))
        found = registration(spline_coefficients(scan(head, shape, affine, true, rng)), affine)
        assert found.converged
        assert found.rms < 0.1
        errors.append(error_mm(registration, reference > 200, found.transform, true))
    assert np.median(errors) < median_mm
    assert max(errors) < worst_mm


def test_a_change_of_gain_is_not_taken_for_motion(head):
    rng = np.random.default_rng(3)
    shape, affine = (48, 48, 20), grid((4.0, 4.0, 5.0))
    reference = scan(head, shape, affine, np.eye(4), rng)
    registration = Registration(reference, affine)
    true = rigid(np.array([0.4, -0.3, 0.2]), np.deg2rad([0.3, -0.2, 0.4]))
    moved = scan(head, shape, affine, true, rng)
    for gain in (0.6, 1.0, 1.8):
        found = registration(spline_coefficients(moved * gain), affine)
        assert found.converged
        assert error_mm(registration, reference > 200, found.transform, true) < 0.04


def test_a_bright_spot_elsewhere_is_not_taken_for_motion(head):
    rng = np.random.default_rng(4)
    shape, affine = (48, 48, 20), grid((4.0, 4.0, 5.0))
    reference = scan(head, shape, affine, np.eye(4), rng)
    registration = Registration(reference, affine)
    spoilt = scan(head, shape, affine, np.eye(4), rng).astype(np.float32)
    spoilt[14:20, 30:36, 8:12] *= 1.6
    found = registration(spline_coefficients(spoilt), affine)
    assert error_mm(registration, reference > 200, found.transform, np.eye(4)) < 0.04


def test_a_volume_on_another_grid_is_registered_in_the_world(head):
    rng = np.random.default_rng(5)
    reference = scan(head, (56, 56, 24), grid((3.6, 3.6, 5.0)), np.eye(4), rng)
    affine = grid((4.0, 4.0, 4.5))
    # both are scanned about the middle of their own field of view
    shift = (grid((3.6, 3.6, 5.0)) @ [27.5, 27.5, 11.5, 1]) - (affine @ [23.5, 23.5, 13.5, 1])
    affine[:3, 3] += shift[:3]
    true = rigid(np.array([0.5, 0.2, -0.4]), np.deg2rad([0.5, 0.1, -0.3]))
    moved = scan(head, (48, 48, 28), affine, true, rng)
    registration = Registration(reference, grid((3.6, 3.6, 5.0)))
    found = registration(spline_coefficients(moved), affine)
    assert found.converged
    assert error_mm(registration, reference > 200, found.transform, true) < 0.04


def test_a_bad_start_is_recovered_from(head):
    rng = np.random.default_rng(6)
    shape, affine = (48, 48, 20), grid((4.0, 4.0, 5.0))
    reference = scan(head, shape, affine, np.eye(4), rng)
    registration = Registration(reference, affine)
    far = rigid(np.array([60.0, -80.0, 50.0]), np.deg2rad([40.0, 0.0, 60.0]))
    found = registration(spline_coefficients(reference), affine, far)
    assert found.converged
    assert error_mm(registration, reference > 200, found.transform, np.eye(4)) < 0.01


def test_the_reference_itself_has_not_moved(head):
    shape, affine = (48, 48, 20), grid((4.0, 4.0, 5.0))
    reference = scan(head, shape, affine, np.eye(4), np.random.default_rng(7))
    found = Registration(reference, affine)(spline_coefficients(reference), affine)
    np.testing.assert_allclose(found.parameters, np.zeros(6), atol=1e-5)


def test_parameters_are_those_the_matrix_was_made_of():
    translation, rotation = np.array([1.0, -2.0, 0.5]), np.array([0.1, -0.2, 0.3])
    found = Displacement(rigid(translation, rotation), 0.0, 1, converged=True)
    np.testing.assert_allclose(found.parameters, [*translation, *rotation], atol=1e-12)


def test_samples_at_voxels_are_the_voxels():
    data = np.random.default_rng(8).integers(0, 4000, (12, 11, 10)).astype(np.uint16)
    index = np.indices(data.shape).reshape(3, -1).astype(float)
    np.testing.assert_allclose(sample(spline_coefficients(data), index), data.reshape(-1), atol=0.01)


def test_a_reference_without_signal_is_refused():
    with pytest.raises(FormatError, match="points with signal"):
        Registration(np.zeros((20, 20, 20), np.uint16), np.eye(4))
    tiny = np.zeros((20, 20, 20), np.uint16)
    tiny[10, 10, 10] = 1000
    with pytest.raises(FormatError, match="points with signal"):
        Registration(tiny, np.diag([4.0, 4, 4, 1]))
