"""Regions in the run's own grid, and their means."""

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
        No region has a voxel in the grid.
    """
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
