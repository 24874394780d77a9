"""Regions in the run's own grid, from labels or spheres, and their means."""

from __future__ import annotations

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F32, F64, Array

_BRAIN_LEVEL = 0.25


def same_grid(shape: tuple[int, ...], affine: F64, other_shape: tuple[int, ...], other_affine: F64) -> bool:
    """Whether two grids agree to a thousandth of a millimetre at their far corners."""
    if tuple(shape) != tuple(other_shape):
        return False
    corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in shape), 1]], float).T
    return bool(
        np.allclose(affine @ corners, other_affine @ corners, atol=1e-3)
        and np.allclose(affine, other_affine, atol=1e-3)
    )


def mirrored_grid(shape: tuple[int, ...], affine: F64, other_shape: tuple[int, ...], other_affine: F64) -> bool:
    """Whether one of two grids is the other with an axis flipped in its header, but not in its voxels.

    An image that is stored from right to left where the other is stored from left to right fills the same places: that
    is no mirroring. A flipped header fills those on the other side, of the world's zero or of the first voxel.
    """
    if tuple(shape) != tuple(other_shape) or _same_box(shape, affine, other_affine, 0.5):
        return False
    flips = [np.diag([*(-1.0 if axis == k else 1.0 for k in range(3)), 1.0]) for axis in range(3)]
    return any(
        _same_box(shape, affine, flip @ other_affine, 0.01) or same_grid(shape, affine, shape, other_affine @ flip)
        for flip in flips
    )


def _same_box(shape: tuple[int, ...], affine: F64, other_affine: F64, tolerance: float) -> bool:
    # the same places, in voxels, whichever end each axis begins at
    between = np.linalg.inv(affine) @ other_affine
    middle = np.array([*((n - 1) / 2 for n in shape), 1.0])
    turned = np.abs(between[:3, :3]) * np.array(shape)
    return bool(
        np.abs(between @ middle - middle).max() <= tolerance
        and np.abs(turned - np.diag(shape)).max() <= max(tolerance, 1e-2)
    )


def place_spheres(centres: F64, radii_mm: F64, shape: tuple[int, int, int], affine: F64) -> Array:
    """Draw spheres on a grid.

    Parameters
    ----------
    centres : array, shape (n_regions, 3)
        RAS+ mm.
    radii_mm : array, shape (n_regions,)
    shape, affine
        The grid.

    Returns
    -------
    placed : array of int16, shape ``shape``
        i + 1 where a voxel's middle lies within sphere i; in more than one, that of the nearest centre. A sphere so
        small that it holds no voxel's middle takes the voxel that its centre is in.
    """
    placed = np.zeros(shape, np.int16)
    nearest = np.full(shape, np.inf)
    to_voxels = np.linalg.inv(affine)
    for number, (centre, radius) in enumerate(zip(centres, radii_mm, strict=True), start=1):
        middle = to_voxels[:3, :3] @ centre + to_voxels[:3, 3]
        reach = radius * np.linalg.norm(to_voxels[:3, :3], axis=1)
        low = np.maximum(np.ceil(middle - reach), 0).astype(int)
        high = np.minimum(np.floor(middle + reach) + 1, shape).astype(int)
        box = tuple(slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        index = np.mgrid[box].astype(float)
        offset = np.tensordot(affine[:3, :3], index, axes=1) + (affine[:3, 3] - centre)[:, None, None, None]
        distance = np.sqrt((offset**2).sum(axis=0))
        mine = (distance <= radius) & (distance < nearest[box])
        placed[box][mine] = number
        nearest[box][mine] = distance[mine]
        own = np.rint(middle).astype(int)
        if not np.any(distance <= radius) and np.all((own >= 0) & (own < shape)) and not placed[tuple(own)]:
            placed[tuple(own)] = number
    return placed


def place_labels(labels: Array, labels_affine: F64, shape: tuple[int, int, int], affine: F64) -> Array:
    """Bring a label image onto a grid, nearest neighbour.

    Parameters
    ----------
    labels : array of int16, shape (a, b, c)
        0 outside, i + 1 in region i.
    labels_affine : array, shape (4, 4)
        Voxel index to RAS+ mm of the labels.
    shape, affine
        The grid.

    Returns
    -------
    placed : array of int16, shape ``shape``

    Raises
    ------
    FormatError
        No region has a voxel in the grid, or the labels' grid is the mirror image of this one.
    """
    if mirrored_grid(shape, affine, labels.shape, labels_affine):
        raise FormatError(
            f"the labels' grid of {labels.shape} is the mirror image of the volumes': left and right, front and back, "
            "or up and down are swapped in the header of one of them"
        )
    outside = f"no region has a voxel in the volumes' grid of {shape}: expected labels in the volumes' space"
    if same_grid(labels.shape, labels_affine, shape, affine):
        placed = labels.astype(np.int16)
    else:
        # nilearn takes 1.5 s to import, and a run whose labels are on its own grid does not need it
        import nibabel as nib
        from nilearn.image import resample_img
        from nilearn.image.resampling import BoundingBoxError

        source = nib.Nifti1Image(labels.astype(np.int16), labels_affine)
        try:
            moved = resample_img(
                source,
                target_affine=affine,
                target_shape=shape,
                interpolation="nearest",
                force_resample=True,
                copy_header=True,
            )
        except BoundingBoxError as error:
            raise FormatError(outside) from error
        placed = np.asarray(moved.dataobj).astype(np.int16)
    if not placed.any():
        raise FormatError(outside)
    return placed


def coverage(labels: Array, labels_affine: F64, n_regions: int, shape: tuple[int, int, int], affine: F64) -> F64:
    """Tell which share of each region lies in the grid, 0..1, shape (n_regions,); 0 for a region without voxels."""
    index = np.nonzero(labels)
    number = labels[index].astype(np.int64) - 1
    voxels = (np.linalg.inv(affine) @ labels_affine @ np.vstack([*index, np.ones(len(number))]))[:3]
    inside: Array = np.all((voxels >= -0.5) & (voxels < np.array(shape)[:, None] - 0.5), axis=0)
    total = np.bincount(number, minlength=n_regions)
    held = np.bincount(number, weights=inside, minlength=n_regions)
    return held / np.maximum(total, 1)


def brain_mask(volume: Array) -> Array:
    """Label the voxels above a quarter of the bright ones' intensity 1: the one region of a run without labels."""
    bright = float(np.percentile(volume, 99.5))
    return (volume > _BRAIN_LEVEL * bright).astype(np.int16)


def region_means(values: F64, region: Array, inside: Array, n_regions: int) -> F32:
    """Mean of each region.

    Parameters
    ----------
    values : array, shape (n_points,)
    region : array of int, shape (n_points,)
        Region of each point, from 0.
    inside : array of bool, shape (n_points,)
        Points to take.
    n_regions : int

    Returns
    -------
    means : array of float32, shape (n_regions,)
        NaN for a region without points.
    """
    count = np.bincount(region[inside], minlength=n_regions)
    total = np.bincount(region[inside], weights=values[inside], minlength=n_regions)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
