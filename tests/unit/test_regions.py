from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from streamer.clean.bold.regions import (
    brain_mask,
    coverage,
    mirrored_grid,
    place_labels,
    place_spheres,
    region_means,
    same_grid,
)
from streamer.errors import FormatError

AFFINE = np.array([[-3.0, 0, 0, 30], [0, 3, 0, -30], [0, 0, 4, -20], [0, 0, 0, 1]])
SHAPE = (20, 22, 10)


def two_boxes(shape=SHAPE):
    labels = np.zeros(shape, np.int16)
    labels[4:8, 5:9, 3:6] = 1
    labels[12:16, 12:16, 5:8] = 2
    return labels


def test_labels_on_the_same_grid_stay_as_they_are():
    nudged = AFFINE.copy()
    nudged[:3, 3] += 1e-5
    np.testing.assert_array_equal(place_labels(two_boxes(), nudged, SHAPE, AFFINE), two_boxes())


def test_labels_of_another_grid_land_where_they_are_in_the_world():
    # the same boxes on a finer, flipped and shifted grid
    fine = np.array([[1.5, 0, 0, -31], [0, 1.5, 0, -33], [0, 0, 2, -22], [0, 0, 0, 1]])
    shape = (45, 48, 24)
    index = np.indices(shape).reshape(3, -1).T
    voxels = np.rint(apply_affine(np.linalg.inv(AFFINE) @ fine, index)).astype(int)
    inside = ((voxels >= 0) & (voxels < SHAPE)).all(axis=1)
    labels = np.zeros(shape, np.int16)
    labels.reshape(-1)[inside] = two_boxes()[tuple(voxels[inside].T)]
    placed = place_labels(labels, fine, SHAPE, AFFINE)
    assert placed.dtype == np.int16
    agree = (placed == two_boxes())[two_boxes() > 0].mean()
    assert agree > 0.95
    for region in (1, 2):
        ours, theirs = (
            apply_affine(a, np.argwhere(x == region)).mean(axis=0) for x, a in ((placed, AFFINE), (labels, fine))
        )
        np.testing.assert_allclose(ours, theirs, atol=1.0)


def test_flipping_the_axes_changes_nothing_in_the_world():
    canonical = nib.as_closest_canonical(nib.Nifti1Image(two_boxes(), AFFINE))
    assert not same_grid(SHAPE, AFFINE, canonical.shape, canonical.affine)
    placed = place_labels(np.asarray(canonical.dataobj), canonical.affine, SHAPE, AFFINE)
    np.testing.assert_array_equal(placed, two_boxes())


def test_labels_outside_of_the_volumes_are_refused():
    far = AFFINE.copy()
    far[:3, 3] += 500
    with pytest.raises(FormatError, match="no region has a voxel"):
        place_labels(two_boxes(), far, SHAPE, AFFINE)


def test_coverage_is_the_share_that_lies_in_the_grid():
    np.testing.assert_allclose(coverage(two_boxes(), AFFINE, 3, SHAPE, AFFINE), [1.0, 1.0, 0.0])
    # two of the four columns of the first box are cut off
    shifted = AFFINE @ np.array([[1, 0, 0, 6], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(coverage(two_boxes(), AFFINE, 2, SHAPE, shifted), [0.5, 1.0])


def test_means_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values, region = rng.normal(500, 50, 1000), rng.integers(0, 4, 1000)
    inside = rng.random(1000) > 0.3
    means = region_means(values, region, inside, 5)
    expected = [values[inside & (region == k)].mean() for k in range(4)]
    np.testing.assert_allclose(means[:4], expected, rtol=1e-6)
    assert np.isnan(means[4])
    assert means.dtype == np.float32


def test_the_brain_is_what_is_bright():
    volume = np.full((10, 10, 10), 20, np.uint16)
    volume[3:7, 3:7, 3:7] = 900
    assert brain_mask(volume).sum() == 64


def test_a_flipped_header_is_no_other_storage():
    oblique = AFFINE.copy()
    oblique[:3, :3] = AFFINE[:3, :3] @ np.array([[1, 0, 0], [0, 0.95, -0.3], [0, 0.3, 0.95]])
    for affine in (AFFINE, oblique):
        assert not mirrored_grid(SHAPE, affine, SHAPE, affine)
        # stored from the other end: the same places
        end = np.diag([-1.0, 1, 1, 1])
        end[0, 3] = SHAPE[0] - 1
        assert not mirrored_grid(SHAPE, affine, SHAPE, affine @ end)
        # the sign of x in the header, with and without the offset
        assert mirrored_grid(SHAPE, affine, SHAPE, np.diag([-1.0, 1, 1, 1]) @ affine)
        assert mirrored_grid(SHAPE, affine, SHAPE, affine @ np.diag([-1.0, 1, 1, 1]))
        # another position of the field of view
        moved = affine.copy()
        moved[:3, 3] += (4, -7, 3)
        assert not mirrored_grid(SHAPE, affine, SHAPE, moved)
        assert not mirrored_grid(SHAPE, affine, (10, 10, 10), np.diag([-1.0, 1, 1, 1]) @ affine)


def test_labels_with_a_flipped_header_are_refused():
    with pytest.raises(FormatError, match="mirror image"):
        place_labels(two_boxes(), np.diag([-1.0, 1, 1, 1]) @ AFFINE, SHAPE, AFFINE)


def test_spheres_hold_the_voxels_within_their_radius():
    centres, radii = np.array([[9.0, 0, 0], [2.0, -1, 1], [0.0, 21, 8]]), np.array([8.0, 6.0, 0.5])
    placed = place_spheres(centres, radii, SHAPE, AFFINE)
    world = apply_affine(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1))
    distance = np.linalg.norm(world[..., None, :] - centres, axis=-1)
    within = np.where(distance <= radii, distance, np.inf)
    expected = np.where(np.isfinite(within).any(axis=-1), within.argmin(axis=-1) + 1, 0)
    expected[10, 17, 7] = 3  # smaller than a voxel
    np.testing.assert_array_equal(placed, expected)
    assert (placed == 1).any()
    assert (placed == 2).any()
    # one at the edge, one outside
    outside = place_spheres(np.array([[30.0, -30, -20], [500.0, 0, 0]]), np.array([7.0, 7.0]), SHAPE, AFFINE)
    assert set(np.unique(outside)) == {0, 1}
