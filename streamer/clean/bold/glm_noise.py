"""Correlation of the noise from volume to volume, one number for all voxels.

Residuals of least squares are correlated otherwise than the noise that they are left of (Worsley et al. 2002,
doi:10.1006/nimg.2001.0933): the estimate is the first-order autoregression under which residuals of this very design
have the correlation that is seen, on average over the voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq

from streamer.messages import F64, Array

_LARGEST = 0.9


def autocorrelation(values: F64, rows: F64, numbers: Array) -> float:
    """Estimate the correlation of neighbouring volumes.

    Parameters
    ----------
    values : array, shape (n, n_voxels)
    rows : array, shape (n, n_columns)
        The design, of full column rank, with fewer columns than rows.
    numbers : array of int, shape (n,)
        Numbers of the volumes; only those that follow each other directly are neighbours.

    Returns
    -------
    rho : float
        0 to 0.9; 0 where nothing can be said.
    """
    basis = np.linalg.qr(rows).Q
    leaves = np.eye(len(values)) - basis @ basis.T
    residuals = leaves @ values
    power = np.square(residuals).sum(axis=0)
    # rounding of a voxel that never changes is no noise
    alive = np.isfinite(power) & (power > 1e-18 * np.square(values).sum(axis=0))
    neighbours = np.diff(numbers) == 1
    if not alive.any() or not neighbours.any():
        return 0.0
    products = (residuals[:-1, alive] * residuals[1:, alive])[neighbours].sum(axis=0)
    seen = float(np.mean(products / power[alive]))
    apart: Array = np.abs(numbers[:, None] - numbers)

    def beyond(rho: float) -> float:
        covariance = leaves @ rho**apart @ leaves
        return float(np.diagonal(covariance, 1)[neighbours].sum() / np.trace(covariance)) - seen

    if beyond(0.0) >= 0.0:
        return 0.0
    if beyond(_LARGEST) <= 0.0:
        return _LARGEST
    root: Any = brentq(beyond, 0.0, _LARGEST, xtol=1e-6)
    return float(root)
