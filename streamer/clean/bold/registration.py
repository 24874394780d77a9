"""Rigid head motion of a volume against a reference: inverse-compositional Gauss-Newton.

With F and R the smoothed volume and reference, x points of the reference in world mm about the middle of its field of
view, T the head's displacement and s a change of intensity, ``sum_i w_i [F(T x_i) - (1 + s) R(exp(xi) x_i)]²`` is made
small in (xi, s); T becomes T exp(xi)⁻¹ until the steps vanish. The derivatives belong to R, so that they are computed
once per run (Baker & Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd). Interpolation is by cubic B-splines, in
one prefilter that registration and resampling share: Gaussian smoothing and the prefilter commute.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation, correlate1d

from streamer.clean.bold.displacement import Displacement, exponential
from streamer.clean.bold.gaussian import convolve, gaussian_kernels
from streamer.clean.bold.normal import normal_equations
from streamer.clean.bold.spline import padded, row_spans, sample_rows, spline_coefficients
from streamer.errors import FormatError
from streamer.messages import F32, F64, Array

MAX_ITERATIONS = 24
MIN_POINTS = 100
_MASK_LEVEL = 0.15
_BORDER = 2
_STEP_MM = 2e-3
_STEP_RAD = 3.5e-5
# a thin stack may go round in circles of a few µm, as points fall in and out of view
_PATIENCE = 10
_IMPATIENT = 10.0
_FINE_VOXEL_MM = 2.7
_COARSE_FWHM_MM = 14.0
# the coarse images stop where the fine ones take over
_COARSE_STEPS = 25.0
# a point on the volume's outermost voxel stays in view in spite of rounding
_EDGE = 1e-3
# less of the head in view, and what is seen could be anything
_MIN_IN_VIEW = 0.3
# what is left, of the reference's own contrast, when the two images are not of the same thing
_UNLIKE = 0.5
# against the last volume: the registration may be in a wrong place
_JUMP = 3.0
# below it the volume is the reference itself, which says nothing of what others leave
_SAME = 1e-4
_BETTER = 0.98
# Tukey's constant: 95 % efficient when the residuals are Gaussian
_TUKEY = 4.685
_MAD_TO_SIGMA = 1.4826
_MEDIAN_OF = 2048


class _Level:
    """The reference, smoothed: points, their values and derivatives."""

    def __init__(self, coefficients: F32, affine: F64, to_middle: F64, fwhm_mm: float, step: int) -> None:
        self.fwhm_mm = fwhm_mm
        smooth = convolve(coefficients, gaussian_kernels(fwhm_mm, affine), mirror=True)
        weights = np.array([1.0, 4.0, 1.0]) / 6.0
        slope = np.array([-0.5, 0.0, 0.5])
        values = _along_axes(smooth, [weights] * 3)
        chosen = _points(values, step)
        self.rows = row_spans(chosen)
        z, y, x = np.nonzero(chosen.T)
        world = (to_middle @ affine @ np.vstack([x, y, z, np.ones(len(x))]))[:3]
        in_voxels = np.stack(
            [
                _along_axes(smooth, [slope if axis == other else weights for other in range(3)])[x, y, z]
                for axis in range(3)
            ]
        )
        gradient = np.linalg.inv(affine[:3, :3]).T @ in_voxels
        self.values: F32 = values[x, y, z]
        turning = np.cross(world.T, gradient.T).T
        self.jacobian: F32 = np.ascontiguousarray(np.vstack([gradient, turning, self.values]), np.float32)
        self.mean = float(self.values.mean(dtype=np.float64))
        self.contrast = float(self.values.std(dtype=np.float64))
        self.found: F32 = np.empty(len(self.values), np.float32)


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
        Every how many rows (along y) a point is taken; in a row and from slice to slice at every voxel.

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
        coefficients = spline_coefficients(reference)
        self._fine = _Level(coefficients, affine, self._to_middle, self.fwhm_mm, step)
        self._coarse = _Level(coefficients, affine, self._to_middle, max(_COARSE_FWHM_MM, self.fwhm_mm), step)
        self._usual = np.inf

    def voxels(self, transform: F64, world: F64, affine: F64) -> F64:
        """Say where in a volume with ``affine`` the reference's points ``world`` (4, n) are; shape (3, n)."""
        return (np.linalg.inv(affine) @ self._from_middle @ transform @ world)[:3]

    def world(self, index: tuple[Array, ...]) -> F64:
        """Say where voxels of the reference are: mm about its middle, homogeneous, shape (4, n)."""
        return self._to_middle @ self.affine @ np.vstack([*index, np.ones(len(index[0]))])

    def matrix(self, transform: F64, affine: F64) -> F64:
        """Voxel index of the reference to voxel index of a volume with ``affine``, shape (4, 4)."""
        return np.linalg.inv(affine) @ self._from_middle @ transform @ self._to_middle @ self.affine

    def __call__(self, coefficients: F32, affine: F64, start: F64 | None = None) -> Displacement:
        """Register one volume.

        Parameters
        ----------
        coefficients : array of float32, shape (x, y, z)
            Of :func:`streamer.clean.bold.spline.spline_coefficients`.
        affine : array, shape (4, 4)
            Of the volume.
        start : array, shape (4, 4), or None
            Where to start from; the reference's own place by default. When this does not converge, or leaves much
            more than the last volume did, coarser images are tried from there and from the reference's own place.

        Returns
        -------
        displacement : Displacement
            Where the volume shows too little of the head, or something else, ``converged`` is False and ``transform``
            is ``start``.
        """
        starts = [np.eye(4)] if start is None else [start, np.eye(4)]
        smooth = self._smooth(coefficients, affine, self._fine)
        found = self._fit(self._fine, smooth, affine, starts[0])
        if not found.converged or found.rms > _JUMP * self._usual:
            coarse = self._smooth(coefficients, affine, self._coarse)
            for begin in starts:
                near = self._fit(self._coarse, coarse, affine, begin, _COARSE_STEPS).transform
                again = self._fit(self._fine, smooth, affine, near)
                if again.converged and not (found.converged and again.rms > _BETTER * found.rms):
                    found = again
        if not found.converged:
            return replace(found, transform=starts[0])
        if found.rms > _SAME:
            self._usual = found.rms
        return found

    @staticmethod
    def _smooth(coefficients: F32, affine: F64, level: _Level) -> F32:
        return padded(convolve(coefficients, gaussian_kernels(level.fwhm_mm, affine), mirror=True))

    def _fit(self, level: _Level, smooth: F32, affine: F64, transform: F64, loose: float = 1.0) -> Displacement:
        scale, rms, share, iteration = 1.0, np.inf, 0.0, 0
        for iteration in range(1, MAX_ITERATIONS + 1):
            sample_rows(smooth, self.matrix(transform, affine), level.rows, _EDGE, level.found)
            spread = _spread(level.found, level.values, scale)
            sides, right, squares, inside = normal_equations(
                level.found, level.values, level.jacobian, scale, _TUKEY * spread
            )
            share = inside / len(level.values)
            if not (share >= _MIN_IN_VIEW and np.isfinite(spread)):
                break
            try:
                step = np.linalg.solve(sides, right)
            except np.linalg.LinAlgError:
                break
            scale = 1.0 + float(step[6])
            if not (np.isfinite(step).all() and scale > 0.05):
                break
            twist: F64 = np.asarray(step[:6] / scale, np.float64)
            transform = transform @ np.linalg.inv(exponential(twist))
            rms = float(np.sqrt(squares / inside)) / (scale * level.mean)
            limit = loose if iteration <= _PATIENCE else loose * _IMPATIENT
            if np.linalg.norm(twist[:3]) < limit * _STEP_MM and np.linalg.norm(twist[3:]) < limit * _STEP_RAD:
                alike = spread < _UNLIKE * scale * level.contrast
                return Displacement(transform, rms, iteration, bool(alike), scale, share)
        return Displacement(transform, rms, iteration, converged=False, scale=scale, in_view=share)


def _spread(found: F32, values: F32, scale: float) -> float:
    """Robust standard deviation of the residual."""
    every = max(1, len(found) // _MEDIAN_OF)
    left = np.abs(found[::every] - np.float32(scale) * values[::every])
    left = left[np.isfinite(left)]
    return _MAD_TO_SIGMA * float(np.median(left)) if left.size else np.inf


def _points(values: F32, step: int) -> Array:
    head = binary_dilation(values > _MASK_LEVEL * values.max())
    chosen = np.zeros(values.shape, bool)
    inner = tuple(
        slice(_BORDER, n - _BORDER, every) if n > 3 * _BORDER else slice(None, None, every)
        for n, every in zip(values.shape, (1, step, 1), strict=True)
    )
    chosen[inner] = head[inner]
    if values.max() <= 0 or np.count_nonzero(chosen) < MIN_POINTS:
        raise FormatError(
            f"a volume of {values.shape} has {np.count_nonzero(chosen)} points with signal: expected at least "
            f"{MIN_POINTS} to register to"
        )
    return chosen


def _along_axes(data: F32, kernels: list[F64]) -> F32:
    for axis, kernel in enumerate(kernels):
        data = np.asarray(correlate1d(data, kernel, axis=axis, mode="mirror"), np.float32)
    return data
