"""Parallel slices put together: the geometry and the timing that all layouts of single slices share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamer.errors import FormatError
from streamer.messages import F64, Array


def stored_order(planes: Array) -> Array:
    """Turn images (slices, rows, columns) into a volume (columns, rows bottom up, slices), C-contiguous."""
    return np.ascontiguousarray(planes.transpose(2, 1, 0)[:, ::-1])


def stack_affine(across: F64, down: F64, spacing: F64, positions: F64, step: float, rows: int, name: str) -> F64:
    """Voxel index of a volume of :func:`stored_order` to RAS+ mm, shape (4, 4).

    Parameters
    ----------
    across, down : array, shape (3,)
        Directions of a row and of a column (LPS).
    spacing : array, shape (2,)
        Between rows, between columns, mm.
    positions : array, shape (n_slices, 3)
        Centre of the first pixel of each slice (LPS, mm), in the order of the slices.
    step : float
        Distance of the slices by the header, mm; used when there is only one.
    rows : int
        Rows of a slice.
    name : str
        How errors call the file.

    Raises
    ------
    FormatError
        The slices are not evenly spaced along their normal.
    """
    normal = np.cross(across, down)
    n_slices = len(positions)
    step_z = (positions[-1] - positions[0]) / (n_slices - 1) if n_slices > 1 else normal * step
    along = float(np.linalg.norm(step_z))
    expected = positions[0] + np.arange(n_slices)[:, None] * step_z
    if not along > 0 or np.abs(positions - expected).max() > 0.1 * along + 0.01 or normal @ step_z < 0.98 * along:
        raise FormatError(f"{name}: {n_slices} slices that are not evenly spaced along their normal")
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = across * spacing[1], -down * spacing[0], step_z
    lps[:3, 3] = positions[0] + down * spacing[0] * (rows - 1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def relative_times(times: Sequence[float | None], tr: float) -> tuple[float, ...]:
    """Slice times (s after the first slice) from times of acquisition; empty when they are none.

    Every time must be there, all within a TR, and each as often as every other (once, or once per band): headers that
    carry one time for the whole volume, or one for some of its slices only, say nothing of the slices.
    """
    known = [value for value in times if value is not None]
    if not known or len(known) < len(times):
        return ()
    first = min(known)
    seconds = [round(value - first, 6) for value in known]
    counts = {seconds.count(value) for value in set(seconds)}
    if len(seconds) > 1 and (len(counts) > 1 or max(seconds) == 0.0 or max(seconds) >= tr):
        return ()
    return tuple(seconds)
