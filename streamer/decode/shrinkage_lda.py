"""Linear discriminant analysis of two classes with a shrunk covariance: many features, few independent samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.decode.tangent import oas
from streamer.messages import F64


def fit_lda(x: F64, target: NDArray[np.bool_], weight: F64, n_samples: float) -> tuple[F64, float]:
    """Fit log-odds of the target for classes that are equally likely.

    Every feature is scaled to a standard deviation of 1 within the classes; their covariance is shrunk to the identity
    (OAS).

    Parameters
    ----------
    x : ndarray, shape (n, p)
    target : ndarray, bool, shape (n,)
    weight : ndarray, shape (n,)
        How much each row counts.
    n_samples : float
        How many of the rows are independent: the fewer, the more the covariance is shrunk.

    Returns
    -------
    slopes : ndarray, shape (p,)
        Log-odds per unit of each feature; 0 for one that does not vary.
    intercept : float

    Raises
    ------
    ValueError
        One of the classes has no weight.

    References
    ----------
    Blankertz 2011, doi:10.1016/j.neuroimage.2010.06.048; Chen 2010, doi:10.1109/TSP.2010.2053029
    """
    means: list[F64] = []
    within = np.empty_like(x)
    share = np.empty(len(x))
    for rows in (~target, target):
        total = float(weight[rows].sum())
        if not total > 0:
            raise ValueError("discriminant analysis of one class: expected rows of both")
        share[rows] = 0.5 * weight[rows] / total
        means.append(2.0 * share[rows] @ x[rows])
        within[rows] = x[rows] - means[-1]
    sd = np.sqrt(share @ np.square(within))
    varies = sd > 1e-12 * max(1.0, float(np.abs(x).max(initial=0.0)))
    slopes = np.zeros(x.shape[1])
    if varies.any():
        z = within[:, varies] / sd[varies]
        covariance = oas((z * share[:, None]).T @ z, n_samples)
        difference = (means[1] - means[0])[varies] / sd[varies]
        slopes[varies] = np.linalg.solve(covariance, difference) / sd[varies]
    return slopes, float(-slopes @ (means[0] + means[1]) / 2)
