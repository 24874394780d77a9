"""Take out of the EEG what reference channels see: recursive regression on carbon-wire loops and their like."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64, Array

# the references' power is a mean over this many samples, at most
_POWER_SAMPLES = 5000
_TINY = 1e-30


class ReferenceRegression:
    """Recursive least squares of every channel on the references, with weights that wander.

    A Kalman filter whose state is the weights [1]_. They are drawn back to 0 so slowly that it only keeps their
    variance at 1 or below where the references are silent. The covariance depends on the references alone, so one
    serves all channels. A sample is cleaned with the weights of the samples before it.

    What the references see of the brain is taken out as well: loops must not touch the scalp.

    Parameters
    ----------
    n_references, n_channels : int
    n_lags : int
        Earlier samples of each reference that join the newest one.
    memory : float
        Samples after which weights are learnt anew, for one reference alone.

    References
    ----------
    .. [1] Haykin, S. (2014). Adaptive Filter Theory, 5th ed., chapter 10 (recursive least squares as Kalman filter).
    """

    def __init__(self, n_references: int, n_channels: int, n_lags: int, memory: float) -> None:
        self._n_lags = n_lags
        self._walk = 1.0 / memory**2
        n = n_references * (n_lags + 1)
        self._weights = np.zeros((n, n_channels))
        self._covariance = np.eye(n)
        self._idle = self._walk * np.eye(n)
        self._past: F64 | None = None
        self._power = 0.0
        self.learnt = 0
        """Samples that the weights were learnt from."""

    def __call__(self, data: F64, references: F64, dirty: Array) -> F64:
        """Take the next samples; give what the references explain, V, shape (n_times, n_channels).

        Parameters
        ----------
        data : ndarray, shape (n_times, n_channels)
            V.
        references : ndarray, shape (n_times, n_references)
            V, without offset.
        dirty : ndarray of bool, shape (n_times,)
            Samples that must not teach anything.
        """
        explained = np.zeros(data.shape)
        if not len(data):
            return explained
        if self._past is None:
            self._past = np.repeat(references[:1], self._n_lags, axis=0)
        seen = np.concatenate([self._past, references])
        n = len(references)
        self._past = seen[n:]
        regressors = np.concatenate([seen[lag : lag + n] for lag in range(self._n_lags, -1, -1)], axis=1)
        powers = np.add.reduce(references**2, axis=1) / references.shape[1]
        weights, covariance = self._weights, self._covariance
        for i, (row, power, spoilt) in enumerate(zip(regressors, powers.tolist(), dirty.tolist(), strict=True)):
            explained[i] = row @ weights
            if spoilt:
                continue
            self.learnt += 1
            self._power += (power - self._power) / min(self.learnt, _POWER_SAMPLES)
            covariance *= 1.0 - self._walk
            covariance += self._idle
            reach = covariance @ row
            # the references' own power stands for the noise: what amplifier or unit they come in does not matter
            scale = 1.0 / (float(row @ reach) + self._power + _TINY)
            covariance -= scale * np.multiply.outer(reach, reach)
            weights += np.multiply.outer(scale * reach, data[i] - explained[i])
        return explained

    def reset(self) -> None:
        """Begin anew after a gap; the weights stay."""
        self._past = None
