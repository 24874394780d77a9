"""Gaussian filters given in millimetres, along the axes of a volume."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import ive

from streamer.clean.bold.loops import convolve_inner, convolve_rows
from streamer.messages import F32, F64

_FWHM_TO_SIGMA = 1.0 / math.sqrt(8.0 * math.log(2.0))
_LEFT_OUT = 1e-3


def gaussian_kernels(fwhm_mm: float, affine: F64) -> tuple[F32, F32, F32]:
    """Discrete Gaussians for the axes x, y, z of a grid: their variance is right however wide the voxels are.

    Lindeberg 1990, doi:10.1109/34.49051.

    Returns
    -------
    kernels : three arrays of float32, shape (reach + 1,)
        From the middle to the end; the other half is the same.
    """
    x, y, z = (_kernel(float(fwhm_mm * _FWHM_TO_SIGMA / size)) for size in np.linalg.norm(affine[:3, :3], axis=0))
    return x, y, z


@lru_cache(maxsize=64)
def _kernel(sigma: float) -> F32:
    reach = math.ceil(5.0 * sigma) + 3
    kernel = ive(np.arange(reach + 1), sigma * sigma)
    held = kernel[0] + 2.0 * np.cumsum([0.0, *kernel[1:]])
    kept = kernel[: 1 + int(np.argmax(held >= 1.0 - _LEFT_OUT))]
    kernel = (kept / (kept[0] + 2.0 * kept[1:].sum())).astype(np.float32)
    kernel.flags.writeable = False
    return kernel


def convolve(data: F32, kernels: tuple[F32, F32, F32], *, mirror: bool) -> F32:
    """Convolve a volume (x, y, z) along its axes.

    Parameters
    ----------
    data : array of float32, shape (x, y, z)
    kernels : three arrays
        Of :func:`gaussian_kernels`.
    mirror : bool
        Beyond its edges the volume is mirrored; False: zero.

    Returns
    -------
    result : array of float32, shape (x, y, z)
        With x fastest in memory.
    """
    source = np.ascontiguousarray(data.T)
    nz, ny, nx = source.shape
    along_z, along_y = np.empty_like(source), np.empty_like(source)
    convolve_rows(source.reshape(1, nz, ny * nx), kernels[2], mirror, along_z.reshape(1, nz, ny * nx))
    convolve_rows(along_z, kernels[1], mirror, along_y)
    convolve_inner(along_y.reshape(nz * ny, nx), kernels[0], mirror, along_z.reshape(nz * ny, nx))
    return along_z.T
