"""Rigid head motion of a volume against a reference: inverse-compositional Gauss-Newton.

With F and R the smoothed volume and reference, x points of the reference in world mm about the middle of its field of
view, T the head's displacement and s a change of intensity, ``sum_i w_i [F(T x_i) - (1 + s) R(exp(xi) x_i)]²`` is made
small in (xi, s); T becomes T exp(xi)⁻¹ until the steps vanish. The derivatives belong to R, so that they are computed
once per run (Baker & Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd). Interpolation is by cubic B-splines, in
one prefilter that registration and region means share: Gaussian smoothing and the prefilter commute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, correlate1d, gaussian_filter, map_coordinates, spline_filter

from streamer.errors import FormatError
from streamer.messages import F32, F64, Array

# scipy's stubs know of float64 only
_FLOAT32: Any = np.float32
MAX_ITERATIONS = 24
MIN_POINTS = 100
_MASK_LEVEL = 0.15
_BORDER = 2
_STEP_MM = 2e-3
_STEP_RAD = 3.5e-5
_FINE_VOXEL_MM = 2.7
# Tukey's constant: 95 % efficient when the residuals are Gaussian
_TUKEY = 4.685
_FWHM_TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))


def spline_coefficients(data: Array) -> F32:
    """Cubic B-spline coefficients of a volume (x, y, z): what :meth:`Registration.__call__` and sampling work on."""
    return np.asarray(spline_filter(data, order=3, output=_FLOAT32, mode="mirror"), np.float32)


def sample(coefficients: F32, voxels: F64) -> F64:
    """Interpolate at voxel coordinates, shape (3, n_points); beyond its edges the volume is mirrored."""
    values = map_coordinates(coefficients, voxels, order=3, mode="mirror", prefilter=False, output=np.float64)
    return np.asarray(values, np.float64)


@dataclass(frozen=True, slots=True)
class Displacement:
    """Where the head is, against the reference."""

    transform: F64
    """World mm about the reference's middle to the same, shape (4, 4): where a point of the head went."""
    rms: float
    """Root mean square of the residual over the mean intensity."""
    iterations: int
    converged: bool

    @property
    def parameters(self) -> F64:
        """Translations x, y, z in mm, rotations about x, y, z in rad (applied in this order), shape (6,)."""
        m = self.transform
        angles = (np.arctan2(m[2, 1], m[2, 2]), np.arcsin(np.clip(-m[2, 0], -1.0, 1.0)), np.arctan2(m[1, 0], m[0, 0]))
        return np.array([*m[:3, 3], *angles])


def rigid(translation: F64, rotation: F64) -> F64:
    """Matrix of translations in mm and rotations about x, then y, then z in rad; shape (4, 4)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation), np.sin(rotation)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = translation
    return matrix


class Registration:
    """Registers volumes to one reference.

    Parameters
    ----------
    reference : array, shape (x, y, z)
    affine : array, shape (4, 4)
        Voxel index to world mm of the reference.
    fwhm_mm : float or None
        Full width of the Gaussian that both images are smoothed with; None takes 8 mm, and 5 mm for voxels under
        2.7 mm.
    step : int
        Every how many voxels a point is taken, along each axis.

    Raises
    ------
    FormatError
        The reference has too little signal to register to.
    """

    def __init__(self, reference: Array, affine: F64, fwhm_mm: float | None = None, step: int = 2) -> None:
        self.affine = affine
        self.shape = tuple(reference.shape)
        size = np.linalg.norm(affine[:3, :3], axis=0)
        self.fwhm_mm = fwhm_mm or (5.0 if float(np.cbrt(np.prod(size))) < _FINE_VOXEL_MM else 8.0)
        self._to_middle = np.eye(4)
        self._to_middle[:3, 3] = -(affine @ [*((np.array(self.shape) - 1) / 2), 1.0])[:3]
        self._from_middle = np.linalg.inv(self._to_middle)
        smooth = self._smooth(spline_coefficients(reference), affine)
        weights = np.array([1.0, 4.0, 1.0]) / 6.0
        values = _along_axes(smooth, [weights] * 3)
        index = self._points(values, step)
        self._values: F64 = values[index].astype(np.float64)
        world = self._to_middle @ affine @ np.vstack([*index, np.ones(len(index[0]))])
        self._world: F64 = world
        slope = np.array([-0.5, 0.0, 0.5])
        in_voxels = np.stack(
            [
                _along_axes(smooth, [slope if axis == other else weights for other in range(3)])[index]
                for axis in range(3)
            ]
        )
        gradient = np.linalg.inv(affine[:3, :3]).T @ in_voxels
        self._jacobian: F64 = np.vstack([gradient, np.cross(world[:3].T, gradient.T).T, self._values]).T

    def _points(self, values: F32, step: int) -> tuple[Array, ...]:
        head = binary_dilation(values > _MASK_LEVEL * values.max())
        chosen = np.zeros(self.shape, bool)
        inner = tuple(
            slice(_BORDER, n - _BORDER, step) if n > 3 * _BORDER else slice(None, None, step) for n in self.shape
        )
        chosen[inner] = head[inner]
        if values.max() <= 0 or np.count_nonzero(chosen) < MIN_POINTS:
            raise FormatError(
                f"a volume of {self.shape} has {np.count_nonzero(chosen)} points with signal: expected at least "
                f"{MIN_POINTS} to register to"
            )
        return np.nonzero(chosen)

    def _smooth(self, coefficients: F32, affine: F64) -> F32:
        sigma = self.fwhm_mm * _FWHM_TO_SIGMA / np.linalg.norm(affine[:3, :3], axis=0)
        return np.asarray(gaussian_filter(coefficients, sigma, mode="mirror", truncate=3.0), np.float32)

    def voxels(self, transform: F64, world: F64, affine: F64) -> F64:
        """Say where in a volume with ``affine`` the reference's points ``world`` (4, n) are; shape (3, n)."""
        return (np.linalg.inv(affine) @ self._from_middle @ transform @ world)[:3]

    def world(self, index: tuple[Array, ...]) -> F64:
        """Say where voxels of the reference are: mm about its middle, homogeneous, shape (4, n)."""
        return self._to_middle @ self.affine @ np.vstack([*index, np.ones(len(index[0]))])

    def __call__(self, coefficients: F32, affine: F64, start: F64 | None = None) -> Displacement:
        """Register one volume.

        Parameters
        ----------
        coefficients : array, shape (x, y, z)
            Of :func:`spline_coefficients`.
        affine : array, shape (4, 4)
            Of the volume.
        start : array, shape (4, 4), or None
            Where to start from; the reference's own place by default. When this does not converge, that is tried too.
        """
        smooth = self._smooth(coefficients, affine)
        found = self._fit(smooth, affine, np.eye(4) if start is None else start)
        if start is None or found.converged:
            return found
        again = self._fit(smooth, affine, np.eye(4))
        return again if again.converged or again.rms < found.rms else found

    def _fit(self, smooth: F32, affine: F64, transform: F64) -> Displacement:
        last = np.array(smooth.shape)[:, None] - 1.0
        scale, rms, iteration = 1.0, np.inf, 0
        for iteration in range(1, MAX_ITERATIONS + 1):
            voxels = self.voxels(transform, self._world, affine)
            inside: Array = np.all((voxels >= 0) & (voxels <= last), axis=0)
            residual = sample(smooth, voxels) - self._values
            weight = inside * _tukey(residual - (scale - 1.0) * self._values, inside)
            weighted = self._jacobian * weight[:, None]
            try:
                step = np.linalg.solve(weighted.T @ self._jacobian, weighted.T @ residual)
            except np.linalg.LinAlgError:
                break
            scale = 1.0 + float(step[6])
            if not (np.isfinite(step).all() and scale > 0.05):
                break
            twist: F64 = np.asarray(step[:6] / scale, np.float64)
            transform = transform @ np.linalg.inv(_exponential(twist))
            rms = float(np.sqrt(np.average((residual - step[6] * self._values) ** 2, weights=inside)))
            if np.linalg.norm(twist[:3]) < _STEP_MM and np.linalg.norm(twist[3:]) < _STEP_RAD:
                return Displacement(transform, rms / (scale * float(self._values.mean())), iteration, converged=True)
        return Displacement(transform, rms / float(self._values.mean()), iteration, converged=False)


def _along_axes(data: F32, kernels: list[F64]) -> F32:
    for axis, kernel in enumerate(kernels):
        data = np.asarray(correlate1d(data, kernel, axis=axis, mode="mirror"), np.float32)
    return data


def _tukey(residual: F64, inside: Array) -> F64:
    # points that changed for another reason than motion (vessels, activation, spikes) lose their say
    spread = 1.4826 * float(np.median(np.abs(residual[inside]))) if inside.any() else 0.0
    if spread <= 0.0:
        return np.ones_like(residual)
    scaled = np.clip(residual / (_TUKEY * spread), -1.0, 1.0)
    return (1.0 - scaled**2) ** 2


def _exponential(twist: F64) -> F64:
    # Rodrigues' formula, with the translation taken along the rotation
    angle = float(np.linalg.norm(twist[3:]))
    x, y, z = twist[3:]
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-8:
        turn, along = np.eye(3) + skew, np.eye(3) + skew / 2
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
        turn = np.eye(3) + a * skew + b * skew @ skew
        along = np.eye(3) + b * skew + (1 - a) / angle**2 * skew @ skew
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, along @ twist[:3]
    return matrix
