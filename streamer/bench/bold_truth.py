"""Volumes of a head whose moves are known: what the registration is measured on.

The head is the MNI152 T1 of 1 mm that nilearn ships, its contrast turned to that of an EPI. Nothing here shares code
with the cleaning: splines of order 5 on the 1 mm grid, matrices from scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter
from scipy.spatial.transform import Rotation

from streamer.messages import F64, Array

MOVE_MM, MOVE_DEG = 0.8, 0.6
MOVE_SIGMAS = (0.1, 0.3, 1.0, 2.0)
"""Volumes after the first take these in turn, times ``MOVE_MM`` and ``MOVE_DEG`` along and about each axis."""
NOISE = 8.0
"""Standard deviation of the Rician noise; the brain's mean is ``BRIGHTNESS``."""
BRIGHTNESS = 830.0
ACTIVATION = 0.02
ACTIVE_SHARE = 0.1
_BLUR_MM = 2.5 / np.sqrt(8.0 * np.log(2.0))
_ORDER = 5
_MARGIN = 12
# the field's bumps, at the frontal sinus and the ear canals: places (MNI), widths, heights along the phase encoding, mm
_FIELD = (((0.0, 52.0, -22.0), 16.0, 5.0), ((-48.0, -22.0, -28.0), 13.0, -3.0), ((48.0, -22.0, -28.0), 13.0, -3.0))
_FIELD_PER_DEG = 0.2
_SPIN_HISTORY = 0.03
_WITHIN = 0.2


@dataclass(frozen=True)
class Grid:
    """Where voxels are."""

    shape: tuple[int, int, int]
    size_mm: tuple[float, float, float]

    @property
    def name(self) -> str:
        """As the tables call it."""
        return "×".join(str(n) for n in self.shape)

    @property
    def affine(self) -> F64:
        """Voxel index to RAS+ mm, shape (4, 4): first axis to the left; the world's origin lies in the middle."""
        axes = np.array([-1.0, 1.0, 1.0]) * self.size_mm
        affine = np.diag([*axes, 1.0])
        affine[:3, 3] = -axes * (np.array(self.shape) - 1) / 2
        return affine


COARSE = Grid((64, 64, 36), (3.4, 3.4, 4.0))
FINE = Grid((96, 96, 60), (2.3, 2.3, 2.4))


@dataclass(frozen=True)
class Hardships:
    """What makes volumes differ by more than a move and noise."""

    distortion: bool = False
    """Susceptibility: bumps up to 5 mm along the second axis, which grow by 20 % for each degree of nodding or leaning;
    signal piles up where the image is pressed together."""
    activation: bool = False
    """2 % in a tenth of the brain, in every other five volumes."""
    spin_history: bool = False
    """Stripes across slices, up to 3 %, by how far the head went along the slices since the volume before."""
    within: bool = False
    """The head goes on moving while the slices are taken, interleaved; what is true is the pose in the middle."""


CASES = {
    "moves alone": Hardships(),
    "with distortion": Hardships(distortion=True),
    "with activation": Hardships(activation=True),
    "with spin history": Hardships(spin_history=True),
    "with motion within the volume": Hardships(within=True),
    "with all of these": Hardships(distortion=True, activation=True, spin_history=True, within=True),
}


@dataclass(frozen=True)
class PlantedVolumes:
    """Volumes of a moving head."""

    grid: Grid
    volumes: Array
    """uint16, shape (n, x, y, z); the first is the reference."""
    poses: F64
    """World mm about the grid's middle to the same, shape (n, 4, 4): where a point of the head went. The first: 1."""
    brain: F64
    """Points of the brain in the reference, world mm, homogeneous, shape (4, n_points)."""

    def errors(self, estimated: F64) -> F64:
        """RMS over the brain of how far the estimated poses (n, 4, 4) lead past the true ones, mm, shape (n,)."""
        wrong = np.linalg.inv(self.poses) @ estimated - np.eye(4)
        return root_mean_square(wrong, self.brain)


def root_mean_square(matrices: F64, points: F64) -> F64:
    """RMS length of what matrices (n, 4, 4) make of points (4, m), shape (n,)."""
    lengths = np.square((matrices @ points)[:, :3]).sum(axis=1)
    return np.asarray(np.sqrt(lengths.mean(axis=1)), np.float64)


class Head:
    """The head at 1 mm: intensities at any place."""

    def __init__(self) -> None:
        # nilearn takes more than a second to import
        from nilearn.datasets import load_mni152_template

        image = cast("Any", load_mni152_template(resolution=1))
        whole = np.asarray(image.dataobj, np.float32)
        index = np.array(np.nonzero(whole))
        least, most = index.min(axis=1), index.max(axis=1)
        self._middle = np.asarray((image.affine @ [*((least + most) / 2), 1.0])[:3], np.float64)
        # what lies farther out than the blur and the splines reach is 0
        first = np.maximum(least - _MARGIN, 0)
        t1 = whole[tuple(slice(a, b + _MARGIN + 1) for a, b in zip(first, most, strict=True))]
        inside: Array = t1 > 0
        contrast = np.where(inside, 1.2 - t1, 0.0)
        smooth = np.asarray(gaussian_filter(contrast * (BRIGHTNESS / contrast[inside].mean()), _BLUR_MM), np.float64)
        self._to_index = np.linalg.inv(image.affine)
        self._to_index[:3, 3] -= first
        self._inside = inside
        self._coefficients = np.asarray(spline_filter(smooth, order=_ORDER, mode="constant"), np.float64)

    def _index(self, points: F64) -> F64:
        there = points + self._middle.reshape(3, *[1] * (points.ndim - 1))
        return np.einsum("ij,j...->i...", self._to_index[:3, :3], there) + self._to_index[:3, 3].reshape(
            3, *[1] * (points.ndim - 1)
        )

    def intensity(self, points: F64) -> F64:
        """At points (3, …), mm about the head's middle, RAS+."""
        return np.asarray(
            map_coordinates(self._coefficients, self._index(points), order=_ORDER, mode="constant", prefilter=False),
            np.float64,
        )

    def inside(self, points: F64) -> Array:
        """Whether points (3, …) lie in the brain."""
        return np.asarray(map_coordinates(self._inside.astype(np.uint8), self._index(points), order=0) > 0)

    def field(self, points: F64) -> F64:
        """Shift along the phase encoding at points (3, …), mm, when the head lies straight."""
        out = np.zeros(points.shape[1:])
        for place, width, height in _FIELD:
            away = points - (np.array(place) - self._middle).reshape(3, *[1] * (points.ndim - 1))
            out += height * np.exp(-np.square(away).sum(axis=0) / (2 * width**2))
        return out


def plant_volumes(head: Head, grid: Grid, hardships: Hardships, n: int = 20, seed: int = 7) -> PlantedVolumes:
    """Make volumes of a head that moves.

    Parameters
    ----------
    head : Head
    grid : Grid
    hardships : Hardships
        The moves and the noise are the same with and without.
    n : int
        Volumes, the reference included.
    seed : int
    """
    for_moves, for_noise, for_blobs, for_stripes, for_within = np.random.default_rng(seed).spawn(5)
    voxels = np.indices(grid.shape, np.float64)
    points = np.einsum("ij,jxyz->ixyz", grid.affine[:3, :3], voxels) + grid.affine[:3, 3].reshape(3, 1, 1, 1)
    inside = head.inside(points)
    brain = np.vstack([points[:, inside], np.ones(int(inside.sum()))])
    active = _Blobs(brain[:3], for_blobs)
    when = _slice_times(grid.shape[2])
    poses = np.empty((n, 4, 4))
    volumes = np.empty((n, *grid.shape), np.uint16)
    for k in range(n):
        sigma = MOVE_SIGMAS[(k - 1) % len(MOVE_SIGMAS)] if k else 0.0
        poses[k] = _move(for_moves, sigma)
        drift = _twist(for_within, _WITHIN * sigma if hardships.within else 0.0)
        away = np.stack([np.linalg.inv(poses[k] @ expm(t * drift)) for t in when])
        image = _image(head, points, away, hardships, active if k // 5 % 2 else None)
        if hardships.spin_history and k:
            gone = float(poses[k, 2, 3] - poses[k - 1, 2, 3])
            image *= _stripes(for_stripes, grid.shape[2], gone)
        noise = for_noise.normal(0.0, NOISE, (2, *grid.shape))
        volumes[k] = np.rint(np.hypot(image + noise[0], noise[1])).astype(np.uint16)
    return PlantedVolumes(grid, volumes, poses, brain)


def _image(head: Head, points: F64, away: F64, hardships: Hardships, active: _Blobs | None) -> F64:
    def in_head(at: F64) -> F64:
        turned = np.einsum("zij,jxyz->ixyz", away[:, :3, :3], at)
        return np.asarray(turned + away[:, :3, 3].T[:, None, None, :], np.float64)

    if not hardships.distortion:
        there = in_head(points)
        image = head.intensity(there)
    else:
        turned = np.rad2deg(Rotation.from_matrix(np.linalg.inv(away)[:, :3, :3]).as_rotvec())
        grown = 1.0 + _FIELD_PER_DEG * turned[:, :2].sum(axis=1)
        shift = head.field(in_head(points)) * grown
        shifted = points.copy()
        shifted[1] += shift
        there = in_head(shifted)
        # what a voxel holds is spread over as much of the head as the shift's slope says
        image = head.intensity(there) * np.maximum(0.0, 1.0 + np.gradient(shift, points[1, 0, :, 0], axis=1))
    if hardships.activation and active is not None:
        image *= 1.0 + ACTIVATION * active(there)
    return np.maximum(image, 0.0)


class _Blobs:
    """Balls about a few places of the brain, which take up a tenth of it."""

    def __init__(self, brain: F64, rng: np.random.Generator, n: int = 8) -> None:
        self._middles = brain[:, rng.choice(brain.shape[1], n, replace=False)]
        self._radius = float(np.quantile(self._distance(brain), ACTIVE_SHARE))

    def _distance(self, points: F64) -> F64:
        to = points[:, None] - self._middles.reshape(3, -1, *[1] * (points.ndim - 1))
        return np.asarray(np.sqrt(np.square(to).sum(axis=0).min(axis=0)), np.float64)

    def __call__(self, points: F64) -> F64:
        return 1.0 / (1.0 + np.exp(self._distance(points) - self._radius))


def _slice_times(n: int) -> F64:
    """When slices are taken, of the repetition time about its middle: the even ones first."""
    order = [*range(0, n, 2), *range(1, n, 2)]
    times = np.empty(n)
    times[order] = (np.arange(n) + 0.5) / n - 0.5
    return times


def _move(rng: np.random.Generator, sigma: float) -> F64:
    pose = np.eye(4)
    shift, turn = rng.normal(size=(2, 3)) * sigma
    pose[:3, :3] = Rotation.from_rotvec(MOVE_DEG * turn, degrees=True).as_matrix()
    pose[:3, 3] = MOVE_MM * shift
    return pose


def _twist(rng: np.random.Generator, sigma: float) -> F64:
    shift, turn = rng.normal(size=(2, 3)) * sigma
    x, y, z = np.deg2rad(MOVE_DEG) * turn
    twist = np.zeros((4, 4))
    twist[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    twist[:3, 3] = MOVE_MM * shift
    return twist


def _stripes(rng: np.random.Generator, n: int, gone_mm: float) -> F64:
    signs = np.where(np.arange(n) % 2, -1.0, 1.0)
    return 1.0 + _SPIN_HISTORY * np.tanh(abs(gone_mm)) * (0.5 * signs + 0.5 * np.clip(rng.normal(size=n), -2, 2))
