"""The haemodynamic lag: what EEG of a moment would look like in the BOLD signal, seconds later."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64

_FINE = 50


def hrf_kernel(step_s: float, length_s: float) -> F64:
    """Sample the canonical haemodynamic response.

    The double gamma of SPM, as nilearn has it: peak at 5 s, undershoot at 15 s.

    Parameters
    ----------
    step_s : float
        Distance of the samples, s.
    length_s : float
        How much of it is kept, s.

    Returns
    -------
    array, shape (round(length_s / step_s),)
        Sum 1, so that a constant stays what it is.

    References
    ----------
    Friston et al. (1998), doi:10.1006/nimg.1997.0306.
    """
    from nilearn.glm.first_level import spm_hrf

    fine = np.asarray(spm_hrf(step_s, oversampling=_FINE, time_length=length_s), np.float64)
    n = round(length_s / step_s)
    # the mean over a step, because what it is convolved with is a mean over a step too
    kernel = fine[: n * _FINE].reshape(n, _FINE).mean(axis=1)
    return kernel / kernel.sum()


def causal_mix(kernel: F64, n_steps: int) -> F64:
    """Give the matrix that convolves a history with a kernel and keeps its newest steps.

    Parameters
    ----------
    kernel : array, shape (n_kernel,)
        Weight of the present first, of the past after it.
    n_steps : int
        Steps to keep.

    Returns
    -------
    array, shape (n_steps, n_steps + n_kernel - 1)
        To be multiplied with a history, oldest first.
    """
    n = len(kernel)
    mix = np.zeros((n_steps, n_steps + n - 1))
    for row in range(n_steps):
        mix[row, row : row + n] = kernel[::-1]
    return mix
