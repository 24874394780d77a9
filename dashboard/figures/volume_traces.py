"""Region signals and motion as they are looked at: times of missing volumes, breaks, z, the limit of motion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.figures.blocks import setting
from streamer.messages import F64

FD_LIMIT_MM = 0.5
"""Usual limit of framewise displacement for censoring (Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018)."""
_PAUSE = 2.5
_LATE_VOLUMES = 3
_LATE_S = 4.0
_LARGEST = 1e6


def credible(values: F64) -> F64:
    """Give values, NaN where they are beyond any percent or mm: those come of a division by nearly nothing."""
    return np.where(np.abs(values) <= _LARGEST, values, np.nan)


def at_volumes(times: F64) -> F64:
    """Give missing volumes a time between their neighbours', shape (n,)."""
    known = np.isfinite(times)
    if known.all() or not known.any():
        return times
    number = np.arange(len(times))
    return np.interp(number, number[known], times[known])


def with_breaks(times: F64, values: F64) -> tuple[F64, F64]:
    """Put NaN between two volumes that a pause lies between, so that no line crosses it.

    Parameters
    ----------
    times : array, shape (n,)
        s, all finite.
    values : array, shape (n, n_lines)
    """
    step = np.diff(times)
    if len(step) < 2:
        return times, values
    before = np.flatnonzero(step > _PAUSE * np.median(step)) + 1
    return np.insert(times, before, times[before]), np.insert(values, before, np.nan, axis=0)


def between_volumes(times: F64) -> float | None:
    """Tell the repetition time from times of volumes, s; None while there are no two in a row."""
    step = np.diff(times)
    step = step[np.isfinite(step) & (step > 0)]
    return float(np.median(step)) if len(step) else None


def silent_for(times: F64, now: float) -> float | None:
    """Tell for how long no volume has come, s, where that is longer than it should be; else None."""
    known, tr = times[np.isfinite(times)], between_volumes(times)
    gone = now - float(known[-1]) if len(known) else 0.0
    return gone if tr is not None and gone > _LATE_VOLUMES * tr + _LATE_S else None


def fd_limit(settings: Mapping[str, Any]) -> tuple[float, bool]:
    """Give the limit of framewise displacement, mm, and whether it is the session's own."""
    told = setting(settings, "clean", "bold", "fd_limit_mm")
    if isinstance(told, int | float) and math.isfinite(told) and told > 0:
        return float(told), True
    return FD_LIMIT_MM, False


def above(fd: F64, limit: float) -> NDArray[np.bool_]:
    """Tell the volumes that moved more than ``limit``, shape (n,)."""
    return np.nan_to_num(fd, nan=0.0) > limit


def run_begin(times: F64, number: int, tr: float) -> float | None:
    """Tell when volume 0 began; None where the volumes do not keep their pace, as after a series that began anew.

    Parameters
    ----------
    times : array, shape (n,)
        Middle of each volume, s; NaN where missing.
    number : int
        Of the first of them.
    tr : float
        Between two volumes, s.
    """
    known = np.flatnonzero(np.isfinite(times))
    if not len(known) or not tr > 0:
        return None
    zeros = times[known] - (number + known) * tr
    zero = float(np.median(zeros))
    return zero - tr / 2 if float(np.abs(zeros - zero).max()) < tr else None
