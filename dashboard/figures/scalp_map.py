"""Maps of the scalp: where electrodes lie on a disc, and what the disc shows between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.interpolate import RBFInterpolator

from streamer.messages import F32, F64, Array

LEAST = 4
"""Electrodes that a map needs."""
_SMOOTHING = 1e-4


def places(positions: Sequence[Sequence[float] | None]) -> F64:
    """Give directions from the centre of the head, shape (n, 3); NaN where a position is unknown or makes no sense."""
    made = np.full((len(positions), 3), np.nan)
    for i, position in enumerate(positions):
        if position is not None and len(position) == 3:
            length = float(np.linalg.norm(position))
            if np.isfinite(length) and length > 0:
                made[i] = np.asarray(position, np.float64) / length
    return made


def on_disc(directions: F64) -> F64:
    """Lay directions on a disc seen from above, x to the right and y to the front, shape (n, 2).

    The distance from the middle is the angle from the vertex (azimuthal equidistant): 1 is the plane of nasion and
    ears.
    """
    z = np.clip(directions[:, 2], -1.0, 1.0)
    angle = np.arccos(z) / (np.pi / 2)
    flat = np.hypot(directions[:, 0], directions[:, 1])
    share = np.divide(angle, flat, out=np.zeros_like(angle), where=flat > 1e-12)
    return directions[:, :2] * share[:, None]


def from_disc(points: F64) -> F64:
    """Give the directions of points on the disc, the inverse of :func:`on_disc`; shape (n, 3)."""
    radius = np.hypot(points[:, 0], points[:, 1])
    angle = radius * np.pi / 2
    share = np.divide(np.sin(angle), radius, out=np.zeros_like(angle), where=radius > 1e-12)
    return np.column_stack([points * share[:, None], np.cos(angle)])


def map_matrix(directions: F64, size: int, reach: float = 1.0) -> F32:
    """Make the matrix from values at electrodes to the pixels of a map, by thin-plate splines through space [1]_.

    Parameters
    ----------
    directions : array, shape (n, 3)
        Of at least ``LEAST`` electrodes.
    size : int
        Pixels of a side.
    reach : float
        Half a side in units of the disc's radius.

    Returns
    -------
    array of float32, shape (size * size, n)
        Rows of pixels from the front to the back; what all electrodes share stays.

    Raises
    ------
    ValueError
        Fewer electrodes.

    References
    ----------
    .. [1] Perrin, F., Pernier, J., Bertrand, O., Giard, M. H., Echallier, J. F. (1987). Mapping of scalp potentials by
       surface spline interpolation. Electroencephalography and Clinical Neurophysiology 66:75-81.
       doi:10.1016/0013-4694(87)90141-6
    """
    if len(directions) < LEAST:
        raise ValueError(f"a map of {len(directions)} electrodes: expected at least {LEAST}")
    side = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(side * reach, -side * reach)
    pixels = from_disc(np.column_stack([x.ravel(), y.ravel()]))
    # a spline carries a plane with it, which needs electrodes that do not lie in one themselves
    solid = len(directions) > LEAST and np.linalg.matrix_rank(directions - directions.mean(axis=0), tol=1e-3) == 3
    kernel, degree = ("thin_plate_spline", 1) if solid else ("linear", 0)
    spline = RBFInterpolator(directions, np.eye(len(directions)), kernel=kernel, degree=degree, smoothing=_SMOOTHING)
    return cast("Array", spline(pixels)).astype(np.float32)
