"""Boxes of scanner space as regions: a volume becomes a coarse volume, cell by cell.

A network that takes volumes needs the same grid of every participant. The cells' grid is fixed in size and shape and is
laid on the middle of the head; what a cell holds is the mean of its voxels, as of any region.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from streamer.errors import FormatError
from streamer.formats.nifti import LabelImage
from streamer.messages import F64, Array

_NAME = re.compile(r"cell_(\d+)_(\d+)_(\d+)")
_HEAD_LEVEL = 0.25
LEAST_HEAD = 0.1
"""A cell with a smaller share of head has no label: its changes would be those of noise."""


def make_cells(
    volume: Array, affine: F64, shape: tuple[int, int, int] = (16, 16, 11), size_mm: float | None = 12.0
) -> LabelImage:
    """Divide the box around a head into cells: a voxel belongs to the cell that its middle lies in.

    Parameters
    ----------
    volume : ndarray, shape (x, y, z)
        A volume of the run, or the reference.
    affine : ndarray, float64, shape (4, 4)
        Voxel index to RAS+ mm.
    shape : tuple of int
        Cells along x, y and z.
    size_mm : float or None
        Edge of a cell, mm; the box is centred on the head. None makes the box that of the volume, whatever size the
        cells come to.

    Returns
    -------
    cells : LabelImage
        On the volume's grid, named ``cell_i_j_k`` along the world's x, y and z (right, front, up), x slowest and z
        fastest. A cell without head, or narrower than a voxel, has a name and no voxel.

    Raises
    ------
    FormatError
        The volume has not three axes or no signal, or there are more cells than labels.
    """
    if volume.ndim != 3 or not volume.size or not np.isfinite(volume).all() or not volume.max() > volume.min():
        raise FormatError(f"a volume of shape {volume.shape}: expected three axes and a signal to lay cells on")
    if min(shape) < 1 or int(np.prod(shape)) > np.iinfo(np.int16).max or (size_mm is not None and not size_mm > 0):
        raise FormatError(f"{shape} cells of {size_mm} mm: expected 1 to {np.iinfo(np.int16).max} of more than 0 mm")
    index = np.indices(volume.shape).reshape(3, -1).astype(np.float64)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    head = volume.reshape(-1) > _HEAD_LEVEL * np.percentile(volume, 99.5)
    extent = np.array(shape, np.float64)[:, None]
    if size_mm is None:
        edge = np.abs(affine[:3, :3]).sum(axis=1)[:, None] / 2
        low, high = place.min(axis=1, keepdims=True) - edge, place.max(axis=1, keepdims=True) + edge
        at = (place - low) / (high - low) * extent
    else:
        middle = (place[:, head].min(axis=1, keepdims=True) + place[:, head].max(axis=1, keepdims=True)) / 2
        at = (place - middle) / size_mm + extent / 2
    # a middle on an edge belongs to the cell above it, whatever the rounding
    cell = np.floor(at + 1e-9).astype(np.int64)
    inside = ((cell >= 0) & (cell < extent)).all(axis=0)
    i, j, k = np.clip(cell, 0, extent.astype(np.int64) - 1)
    number = (i * shape[1] + j) * shape[2] + k
    n_cells = int(np.prod(shape))
    voxels = np.bincount(number[inside], minlength=n_cells)
    of_head = np.bincount(number[inside & head], minlength=n_cells)
    kept = of_head >= LEAST_HEAD * np.maximum(voxels, 1)
    labels = np.where(inside & kept[number], number + 1, 0).astype(np.int16)
    names = tuple(f"cell_{i}_{j}_{k}" for i, j, k in np.ndindex(shape))
    return LabelImage(labels.reshape(volume.shape), affine, names)


def cells_shape(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Read the shape of the box off the names of its cells; None when these are not all cells of one box, in order."""
    found = _NAME.fullmatch(names[-1]) if names else None
    if found is None:
        return None
    i, j, k = (int(number) + 1 for number in found.groups())
    whole = i * j * k == len(names) and all(
        name == f"cell_{a}_{b}_{c}" for name, (a, b, c) in zip(names, np.ndindex(i, j, k), strict=True)
    )
    return (i, j, k) if whole else None
