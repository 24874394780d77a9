"""Rigid and affine registration of two images of one head whose contrasts differ, by mutual information.

The joint histogram is Mattes': bins of the fixed image, a cubic B-spline window over those of the moving one, and the
derivative of the information with respect to the transform (Mattes et al. 2003, doi:10.1109/TMI.2003.809072). Points
are taken in the fixed image; beyond the moving one's edges there is nothing (0). From coarse to fine, from several
starts, and from mirrored ones too: what fits better mirrored than straight has a header that is wrong.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from streamer.clean.bold.gaussian import convolve, gaussian_kernels
from streamer.errors import FormatError
from streamer.messages import F32, F64, Array
from streamer.region_set.information import information, information_and_slope

Signs = tuple[int, int, int]

N_BINS = 32
_LEVELS = ((10.0, 3000), (5.0, 12000), (2.5, 40000))
"""Smoothing (full width, mm) and number of points, from coarse to fine."""
_ARM_MM = 50.0
"""Rotations, scales and shears count as the way that they move a point at this distance, mm."""
_PITCHES = (0.0, -0.35, 0.35)
"""Starts with the middles together: heads differ by their pitch most, rad. One more is what the headers say."""
_STRAIGHT: Signs = (1, 1, 1)
_MIN_POINTS = 500


@dataclass(frozen=True)
class Picture:
    """An image to register, on its grid."""

    data: F32
    """Shape (x, y, z)."""
    affine: F64
    """Voxel index to RAS+ mm, shape (4, 4)."""
    mask: Array
    """bool, shape (x, y, z): the head or brain."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a registration found."""

    matrix: F64
    """RAS mm of the fixed image to RAS mm of the moving one, shape (4, 4)."""
    information: float
    """Mutual information over the smaller of the two entropies, 0 to 1."""
    swapped: Signs
    """The best of the other orientations, as signs of x, y, z."""
    swapped_share: float
    """Its information over that of the straight one, both at the middle level."""
    spread_mm: float
    """By how much two fits, each from half of the points, differ within the mask (root mean square), mm."""


class _Level:
    """Both images at one smoothing."""

    def __init__(self, fixed: Picture, moving: Picture, fwhm_mm: float, n_points: int, part: slice) -> None:
        still = _smoothed(fixed, fwhm_mm)
        self._moving = _scaled(_smoothed(moving, fwhm_mm), moving.mask)
        index = np.argwhere(fixed.mask)
        # every k-th voxel in the order of a fixed shuffle: evenly spread, and the same in every run
        index = index[np.random.default_rng(0).permutation(len(index))[:n_points]][part]
        self._points = np.ascontiguousarray(index @ fixed.affine[:3, :3].T + fixed.affine[:3, 3])
        values = _scaled(still, fixed.mask)[tuple(index.T)]
        self._bins = np.minimum((values * N_BINS).astype(np.int64), N_BINS - 1)
        self._to_voxels = inverse(moving.affine)

    def information(self, matrix: F64) -> float:
        """Mutual information over the smaller entropy at a transform."""
        return information(self._points, self._bins, self._moving, (self._to_voxels @ matrix)[:3], N_BINS)

    def cost_and_slope(self, matrix: F64) -> tuple[float, F64]:
        """Minus the mutual information, and its derivatives by the transform's first three rows, shape (3, 4)."""
        gain, slope = information_and_slope(
            self._points, self._bins, self._moving, (self._to_voxels @ matrix)[:3], N_BINS
        )
        return -gain, -self._to_voxels[:3, :3].T @ slope


class _Model:
    """Twelve numbers, in mm, to a matrix: shift, rotation, scale, shear about the two middles, after a mirroring."""

    def __init__(self, fixed_middle: F64, moving_middle: F64, signs: Signs) -> None:
        self._from, self._to = fixed_middle, moving_middle
        self._signs = np.diag(np.array(signs, float))

    def matrix(self, numbers: F64) -> F64:
        """Make the matrix of up to twelve numbers; the rest are 0."""
        p = np.zeros(12)
        p[: len(numbers)] = numbers
        a, b, c = p[3:6] / _ARM_MM
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        shear = np.eye(3)
        shear[0, 1], shear[0, 2], shear[1, 2] = p[9:12] / _ARM_MM
        linear = about_z @ about_y @ about_x @ np.diag(np.exp(p[6:9] / _ARM_MM)) @ shear @ self._signs
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = self._to + p[:3] - linear @ self._from
        return matrix

    def fit(self, level: _Level, start: F64, free: int, steps: int = 60) -> F64:
        """Improve the first ``free`` numbers of ``start``."""

        def cost(numbers: F64) -> tuple[float, F64]:
            full = start.copy()
            full[:free] = numbers
            matrix = self.matrix(full)
            value, slope = level.cost_and_slope(matrix)
            gradient = np.empty(free)
            for k in range(free):
                nudged = full.copy()
                nudged[k] += 1e-4
                gradient[k] = np.sum(slope * (self.matrix(nudged)[:3] - matrix[:3])) * 1e4
            return value, gradient

        found = minimize(cost, start[:free], jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 12})
        best = start.copy()
        best[:free] = found.x
        return best


def fit_affine(fixed: Picture, moving: Picture, free: int = 12, *, symmetric: bool = False) -> Fit:
    """Register two images.

    Parameters
    ----------
    fixed, moving : Picture
        Points are taken within the fixed one's mask; that of the moving one places and scales it.
    free : int
        6 for a rigid transform, 12 for an affine one.
    symmetric : bool
        The moving image is its own mirror image, so that its left cannot be told from its right.

    Raises
    ------
    FormatError
        The mask has too few voxels to register by.
    """
    if fixed.mask.sum() < _MIN_POINTS or moving.mask.sum() < _MIN_POINTS:
        raise FormatError(
            f"{int(min(fixed.mask.sum(), moving.mask.sum()))} voxels with signal: expected at least {_MIN_POINTS} to "
            "register by"
        )
    sampled = Picture(fixed.data, fixed.affine, _widened(fixed))
    middles = _middle(fixed), _middle(moving)
    coarse, medium = (_Level(sampled, moving, *level, slice(None)) for level in _LEVELS[:2])
    signs: list[Signs] = [(x, y, z) for x, y, z in itertools.product((1, -1), repeat=3) if not symmetric or x > 0]
    found: list[tuple[float, Signs, F64]] = []
    for each in signs:
        model = _Model(*middles, each)
        starts = [_best_start(coarse, model, free, start) for start in _starts(*middles)]
        values = [coarse.information(model.matrix(numbers)) for numbers in starts]
        found.append((max(values), each, starts[int(np.argmax(values))]))
    # the straight one, and the best of the others
    compared: list[tuple[Signs, float, F64]] = []
    for _, each, start in (found[0], max(found[1:], key=lambda other: other[0])):
        model = _Model(*middles, each)
        best = model.fit(medium, start, free)
        compared.append((each, medium.information(model.matrix(best)), best))
    straight, other = compared
    model = _Model(*middles, _STRAIGHT)
    fine = _Level(sampled, moving, *_LEVELS[2], slice(None))
    matrix = model.matrix(model.fit(fine, straight[2], free))
    halves = [
        model.matrix(model.fit(_Level(sampled, moving, *_LEVELS[2], half), straight[2], free))
        for half in (slice(0, None, 2), slice(1, None, 2))
    ]
    return Fit(
        matrix,
        fine.information(matrix),
        other[0],
        other[1] / max(straight[1], 1e-12),
        _difference(halves[0], halves[1], fixed),
    )


def _starts(fixed_middle: F64, moving_middle: F64) -> list[F64]:
    starts = [np.zeros(12) for _ in (*_PITCHES, None)]
    for start, pitch in zip(starts, _PITCHES, strict=False):
        start[3] = pitch * _ARM_MM
    starts[-1][:3] = fixed_middle - moving_middle
    return starts


def _best_start(level: _Level, model: _Model, free: int, start: F64) -> F64:
    found = model.fit(level, start, 6, steps=30)
    return model.fit(level, found, min(free, 9), steps=30) if free > 6 else found


def inverse(matrix: F64) -> F64:
    """Give the transform the other way round, shape (4, 4)."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def information_at(fixed: Picture, moving: Picture, matrix: F64) -> float:
    """Mutual information over the smaller entropy at a transform that was given."""
    sampled = Picture(fixed.data, fixed.affine, _widened(fixed))
    return _Level(sampled, moving, *_LEVELS[1], slice(None)).information(matrix)


def overlap(fixed: Picture, moving: Picture, matrix: F64) -> float:
    """Share of the fixed mask's voxels that lie within the moving mask, 0 to 1."""
    index = np.argwhere(fixed.mask)
    world = index @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    to_voxels = inverse(moving.affine) @ matrix
    places = (world @ to_voxels[:3, :3].T + to_voxels[:3, 3]).T
    return float(map_coordinates(moving.mask.astype(np.float32), places, order=1).mean())


def _smoothed(image: Picture, fwhm_mm: float) -> F32:
    return convolve(np.asarray(image.data, np.float32), gaussian_kernels(fwhm_mm, image.affine), mirror=False)


def _scaled(data: F32, mask: Array) -> F32:
    top = float(np.percentile(data[mask], 99.0))
    return np.clip(data / top, 0.0, 1.0) if top > 0 else np.zeros_like(data)


def _middle(image: Picture) -> F64:
    return np.asarray((image.affine @ [*np.argwhere(image.mask).mean(axis=0), 1.0])[:3], np.float64)


def _widened(image: Picture) -> Array:
    # what lies around the brain is half of what tells where it ends
    from scipy.ndimage import distance_transform_edt

    size = np.linalg.norm(image.affine[:3, :3], axis=0)
    return np.asarray(distance_transform_edt(~image.mask.astype(bool), sampling=size)) <= 10.0


def _difference(one: F64, other: F64, image: Picture) -> float:
    world = np.argwhere(image.mask) @ image.affine[:3, :3].T + image.affine[:3, 3]
    change = one - other
    return float(np.sqrt(((world @ change[:3, :3].T + change[:3, 3]) ** 2).sum(axis=1).mean()))
