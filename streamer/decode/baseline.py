"""Log band power against a baseline: what the model sees of the EEG.

The amplitude of an EEG depends on skull, cap and amplifier; its change does not. So every channel and band is z-scored
against a calibration run of the same participant. Without one, the run's own past serves and the windows say so
(``Flag.UNCALIBRATED``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F32, F64

POWER_FLOOR = 1e-18
"""V²: (1 nV)², far below any amplifier's noise; keeps the logarithm finite."""


def log_power(power: F32) -> F64:
    """Take the natural logarithm of band power in V², floored at ``POWER_FLOOR``."""
    return np.log(np.maximum(power, POWER_FLOOR, dtype=np.float64))


@dataclass(frozen=True)
class PowerBaseline:
    """Mean and standard deviation of log band power.

    Parameters
    ----------
    mean, sd : ndarray, float64, shape (n_channels * n_bands,)
        Of the natural logarithm of power in V².
    """

    mean: F64
    sd: F64

    def __post_init__(self) -> None:
        if self.mean.shape != self.sd.shape or self.mean.ndim != 1:
            raise ValueError(f"baseline mean {self.mean.shape} and sd {self.sd.shape}: expected two equal vectors")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.sd).all() and (self.sd > 0).all()):
            raise ValueError("baseline: mean must be finite, sd finite and above 0")

    def z(self, log_power_steps: F64) -> F32:
        """Z-score log power, shape (n_steps, n_channels * n_bands)."""
        return ((log_power_steps - self.mean) / self.sd).astype(np.float32)


class RunningBaseline:
    """Mean and variance of log band power so far (Welford's recursion).

    Parameters
    ----------
    n_features : int
        Channels times bands.
    """

    def __init__(self, n_features: int) -> None:
        self.n = 0
        self._mean = np.zeros(n_features)
        self._m2 = np.zeros(n_features)

    def add(self, log_power_step: F64) -> None:
        """Add one step, shape (n_features,)."""
        self.n += 1
        delta = log_power_step - self._mean
        self._mean = self._mean + delta / self.n
        self._m2 = self._m2 + delta * (log_power_step - self._mean)

    def freeze(self) -> PowerBaseline:
        """Give the baseline as it stands; needs at least two steps."""
        if self.n < 2:
            raise ValueError(f"a baseline of {self.n} steps: expected at least 2")
        sd = np.sqrt(self._m2 / (self.n - 1))
        return PowerBaseline(self._mean.copy(), np.maximum(sd, 1e-6))
