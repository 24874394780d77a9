"""Logistic regression of a few columns, with a Gaussian prior on the slopes: what a short run can bear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.messages import F64

MAX_ROUNDS = 50
_TOLERANCE = 1e-9
_FLATTEST, _STEEPEST = 0.01, 20.0


def fit_logistic(x: F64, target: NDArray[np.bool_], weight: F64, *, prior_sd: float = 1.0) -> tuple[F64, float]:
    """Fit log-odds that are linear in ``x``.

    The columns are scaled to a standard deviation of 1 within, so that the prior means the same for each; the slopes
    that are given back are those of ``x`` as it came. The intercept has no prior.

    Parameters
    ----------
    x : ndarray, shape (n, p)
    target : ndarray, bool, shape (n,)
    weight : ndarray, shape (n,)
        How much each row counts; their sum is the number of independent observations.
    prior_sd : float
        Standard deviation of the slopes' prior, log-odds per standard deviation of a column.

    Returns
    -------
    slopes : ndarray, shape (p,)
    intercept : float

    Raises
    ------
    ValueError
        One of the classes has no weight.
    """
    if not (weight[target].sum() > 0 and weight[~target].sum() > 0):
        raise ValueError("logistic regression on one class: expected rows of both")
    share = weight / weight.sum()
    mean = share @ x
    sd = np.sqrt(share @ np.square(x - mean))
    scale = np.where(sd > 0, sd, 1.0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1], prior_sd**-2), 0.0)
    wanted = np.where(target, 1.0, 0.0)
    beta = np.zeros(z.shape[1])
    value = _loss(z, wanted, weight, penalty, beta)
    for _ in range(MAX_ROUNDS):
        p = _expit(z @ beta)
        gradient = z.T @ (weight * (p - wanted)) + penalty * beta
        curvature = (z * (weight * p * (1 - p))[:, None]).T @ z + np.diag(penalty)
        # a curvature that vanishes where all is certain would send the intercept anywhere
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(beta)), gradient)
        length = 1.0
        while (after := _loss(z, wanted, weight, penalty, beta - length * step)) > value and length > 1e-6:
            length /= 2
        beta = beta - length * step
        if value - after < _TOLERANCE * (1.0 + abs(value)):
            break
        value = after
    slopes = beta[:-1] / scale
    return slopes, float(beta[-1] - slopes @ mean)


def fit_shift(log_odds: F64, target: NDArray[np.bool_], weight: F64, *, prior_sd: float = 1.0) -> float:
    """Find what has to be added to log-odds to make them likeliest, with a Gaussian prior around nothing.

    Parameters
    ----------
    log_odds : ndarray, shape (n,)
    target : ndarray, bool, shape (n,)
    weight : ndarray, shape (n,)
        How much each row counts; their sum is the number of independent observations.
    prior_sd : float
        Of the shift.
    """
    shift = 0.0
    for _ in range(MAX_ROUNDS):
        p = _expit(log_odds + shift)
        gradient = float(weight @ (p - target)) + shift / prior_sd**2
        # the curvature is at least that of the prior: the step cannot run away
        step = gradient / (float(weight @ (p * (1 - p))) + prior_sd**-2)
        shift -= step
        if abs(step) < _TOLERANCE:
            break
    return shift


def fit_slope(log_odds: F64, target: NDArray[np.bool_], weight: F64) -> float:
    """Find the factor that makes log-odds likeliest: one over their temperature.

    Held between 0.01 (which says next to nothing) and 20. Log-odds that go with the wrong class get the least.

    Parameters
    ----------
    log_odds : ndarray, shape (n,)
        Of the target; of data that they were not fitted on.
    target : ndarray, bool, shape (n,)
    weight : ndarray, shape (n,)

    References
    ----------
    Guo 2017, arXiv:1706.04599
    """
    sign = np.where(target, 1.0, -1.0) * log_odds
    low, high = _FLATTEST, _STEEPEST

    def falling(slope: float) -> bool:
        # the loss is convex in the slope
        return float(weight @ (sign * _expit(-slope * sign))) > 0

    if not falling(low):
        return low
    if falling(high):
        return high
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if falling(middle) else (low, middle)
    return round((low * high) ** 0.5, 6)


def _loss(z: F64, wanted: F64, weight: F64, penalty: F64, beta: F64) -> float:
    logits = z @ beta
    return float(weight @ (np.logaddexp(0.0, logits) - wanted * logits) + 0.5 * penalty @ np.square(beta))


def _expit(x: F64) -> F64:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
