"""Planes and projections of a volume in RAS, and the tables that turn its bytes into colours.

A volume is looked at on a lattice along the axes right, anterior, superior (RAS+, mm). Where the voxel axes run along
these, lattice points are the voxels themselves: nothing is resampled, only turned. Of an oblique volume every lattice
point, at the distance of the smallest voxel side, shows the voxel that it lies in: no value is made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dashboard.figures.place import Mm, Scale
from streamer.messages import F64, Array
from streamer.wire import VolumeMessage
from streamer.wire.volume_bytes import UNKNOWN

Steps = NDArray[np.int8]
Table = NDArray[np.uint8]
"""RGBA by byte, shape (256, 4); or RGB from the lowest value to the largest, shape (n, 3)."""
ALIGNED = 1e-3
"""Voxel axes that are turned less than so much (as a sine) count as along the head's."""
MAX_LATTICE = 4_000_000
AXES = (0, 1, 2)
"""Axes that a plane lies across: sagittal, coronal, axial."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the voxels of a volume lie, and the lattice that they are looked at on."""

    shape: tuple[int, int, int]
    """Voxels along x, y, z of the volume."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    inverse: F64
    first: F64
    """Centre of the first lattice point, RAS+ mm, shape (3,)."""
    pitch: F64
    """Between lattice points to the right, anterior, superior, mm, shape (3,)."""
    index: NDArray[np.int32]
    """Voxel in each lattice point, of the raveled volume, shape (right, anterior, superior); -1 outside of it."""
    oblique: bool

    def voxel(self, mm: Mm) -> tuple[int, int, int] | None:
        """Tell the voxel that holds a place; None outside."""
        x, y, z = np.rint(self.inverse[:3, :3] @ np.array(mm) + self.inverse[:3, 3]).astype(int).tolist()
        inside = all(0 <= v < n for v, n in zip((x, y, z), self.shape, strict=True))
        return (x, y, z) if inside else None

    def point(self, mm: Mm) -> tuple[int, int, int]:
        """Tell the lattice point nearest to a place."""
        place = np.rint((np.array(mm) - self.first) / self.pitch)
        x, y, z = place.clip(0, np.array(self.index.shape) - 1).astype(int).tolist()
        return x, y, z

    def centre(self, point: tuple[int, int, int]) -> Mm:
        """Give the place of a lattice point, RAS+ mm; of one outside the lattice, of the nearest."""
        held = np.array(point).clip(0, np.array(self.index.shape) - 1)
        x, y, z = (self.first + held * self.pitch).tolist()
        return x, y, z

    def size_mm(self, axis: int) -> float:
        """Tell the length of the lattice along an axis, mm."""
        return float(self.index.shape[axis] * self.pitch[axis])

    def plane(self, steps: Steps, axis: int, at: int) -> Steps:
        """Cut a plane.

        Parameters
        ----------
        steps : array of int8, shape (x, y, z)
            A volume on this grid.
        axis : int
            That it lies across: 0 sagittal, 1 coronal, 2 axial.
        at : int
            Lattice point along ``axis``.

        Returns
        -------
        plane : array of int8
            Rows from superior (axial: anterior) downwards, columns from left (sagittal: posterior) on; unknown outside.
        """
        return upright(_taken(steps, np.take(self.index, at, axis=axis)))

    def lattice(self, steps: Steps) -> Steps:
        """Give a volume on the lattice, unknown outside; see :attr:`index`."""
        return _taken(steps, self.index)


def projection(lattice: Steps, axis: int) -> Steps:
    """Give the strongest value along an axis, with its sign, laid out as :meth:`Grid.plane` does."""
    # the unknown is lower than all that is known
    high = lattice.max(axis=axis)
    low = np.where(lattice == UNKNOWN, np.int8(127), lattice).min(axis=axis)
    strongest = np.where((low < 0) & (-low > high), low, high)
    return upright(np.where(high == UNKNOWN, np.int8(UNKNOWN), strongest))


def shadow(lattice: Steps, axis: int) -> Steps:
    """Give the mean along an axis, the brightest as 127, laid out as :meth:`Grid.plane` does."""
    total = np.maximum(lattice, np.int8(0)).sum(axis=axis, dtype=np.int32)
    largest = int(total.max(initial=0))
    return upright(np.rint(total * (127 / max(largest, 1))).astype(np.int8))


def _taken(steps: Steps, index: NDArray[np.int32]) -> Steps:
    return np.where(index < 0, np.int8(UNKNOWN), steps.ravel()[index])


def upright(plane: Steps) -> Steps:
    """Lay a plane (first axis to the right, second upwards) out as rows from the top."""
    return np.ascontiguousarray(plane.T[::-1])


def grid_of(message: VolumeMessage) -> Grid | None:
    """Find the grid of a volume; None when its affine leads nowhere."""
    affine = np.asarray(message.affine, np.float64)
    return _grid(message.shape, tuple(affine.ravel().tolist()))


@lru_cache(maxsize=4)
def _grid(shape: tuple[int, int, int], numbers: tuple[float, ...]) -> Grid | None:
    affine = np.array(numbers).reshape(4, 4)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 1e-6 * np.prod(sides):
        return None
    inverse = np.linalg.inv(affine)
    ends = np.array(np.meshgrid(*((0, n - 1) for n in shape))).reshape(3, -1)
    corners = affine[:3, :3] @ ends + affine[:3, 3:]
    low, high = corners.min(axis=1), corners.max(axis=1)
    cosines = np.abs(affine[:3, :3]) / sides
    nearest = cosines.argmax(axis=1)
    oblique = len(set(nearest.tolist())) < 3 or bool(np.any(np.sort(cosines, axis=1)[:, :2] > ALIGNED))
    pitch = np.full(3, sides.min()) if oblique else sides[nearest]
    n = np.rint((high - low) / pitch).astype(int) + 1
    if np.prod(n.astype(float)) > MAX_LATTICE:
        pitch *= (np.prod(n.astype(float)) / MAX_LATTICE) ** (1 / 3)
        n = np.rint((high - low) / pitch).astype(int) + 1
    # lattice points along each axis move the voxel index by fixed amounts: their sums are all indices
    along = [inverse[:3, i, None] * (low[i] + np.arange(n[i]) * pitch[i]) for i in range(3)]
    flat = np.zeros(tuple(n.tolist()), np.int32)
    inside = np.ones(flat.shape, bool)
    for axis, size in enumerate(shape):
        moved = along[0][axis][:, None, None] + along[1][axis][None, :, None] + along[2][axis][None, None, :]
        at = np.rint(moved + inverse[axis, 3]).astype(np.int32)
        inside &= (at >= 0) & (at < size)
        flat = flat * size + at
    return Grid(shape, affine, inverse, low, pitch, np.where(inside, flat, -1).astype(np.int32), oblique)


def head_centre(steps: Steps, grid: Grid) -> Mm:
    """Give the centre of what is bright, at a lattice point, RAS+ mm."""
    bright = steps > 127 * 0.2
    if not bright.any():
        bright = np.ones(steps.shape, bool)
    at = np.array([np.average(np.arange(n), weights=bright.sum(axis=_others(i))) for i, n in enumerate(steps.shape)])
    x, y, z = (grid.affine[:3, :3] @ at + grid.affine[:3, 3]).tolist()
    return grid.centre(grid.point((x, y, z)))


def _others(axis: int) -> tuple[int, int]:
    a, b = (i for i in range(3) if i != axis)
    return a, b


def white_step(steps: Steps, share: float = 0.995) -> int:
    """Find the byte that is shown white: all but the brightest voxels of the head lie below it."""
    counts = np.bincount(steps[steps > 0].ravel(), minlength=128).cumsum()
    return max(1, int(np.searchsorted(counts, share * counts[-1]))) if counts[-1] else 127


def grey_table(white: int, gamma: float = 0.8) -> Table:
    """Make the table of a mean image: black at 0, white at ``white``, clear where unknown."""
    share = (np.arange(128) / white).clip(0, 1) ** gamma
    table = np.zeros((256, 4), np.uint8)
    table[:128, :3] = np.round(245 * share)[:, None]
    table[:128, 3] = 255
    table[129:] = (0, 0, 0, 255)
    return table


def heat_colour(share: Array, colours: Table) -> Table:
    """Give the colours of values, as shares of the limit from -1 to 1, shape (n, 3); see :func:`heat_table`."""
    return colours[np.rint((np.clip(share, -1, 1) + 1) / 2 * (len(colours) - 1)).astype(int)]


def heat_table(step: float, scale: Scale, colours: Table, opacity: float = 0.85) -> Table:
    """Make the table of a map: clear below the threshold and where unknown.

    Parameters
    ----------
    step : float
        Value of one step of the map.
    scale : Scale
        In the same unit.
    colours : array of uint8, shape (n, 3)
        From the negative limit to the positive.
    opacity : float
        Of what is shown.
    """
    values = np.arange(256).astype(np.uint8).view(np.int8) * float(step)
    table = np.zeros((256, 4), np.uint8)
    table[:, :3] = heat_colour(values / scale.limit, colours)
    table[:, 3] = np.where((np.abs(values) >= scale.threshold) & (values != 0), round(255 * opacity), 0)
    table[UNKNOWN % 256] = 0
    return table


def nearest_region(mm: Mm, names: list[str], centres: list[list[float] | None]) -> tuple[str, float] | None:
    """Tell the region whose centre is nearest, and how far that is, mm; None where no centre is known."""
    known = [
        (float(np.linalg.norm(np.array(centre) - np.array(mm))), name)
        for name, centre in zip(names, centres, strict=False)
        if centre is not None and len(centre) == 3 and np.isfinite(centre).all()
    ]
    if not known:
        return None
    distance, name = min(known)
    return name, distance
