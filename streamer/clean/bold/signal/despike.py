"""Spikes of a region's signal are held back for one volume; a step goes through at its second."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.bold.signal.scaling import RunningMoments
from streamer.contracts import Settings
from streamer.messages import F64, Array

_NEEDED = 10


class DespikeSettings(Settings):
    """Spikes of the region signals."""

    mode: Literal["off", "hold", "kalman"] = "off"
    """``hold`` gives every value that is no spike as it is; ``kalman`` gives the filter's estimate, which is smoother
    and about 1.5 volumes late."""
    process: float = Field(default=0.25, gt=0, le=10)
    """Variance of the signal's walk from volume to volume, of the measured variance."""
    threshold: float = Field(default=0.9, gt=0, le=10)
    """Correction by the filter beyond which a value is a spike, in standard deviations of the signal."""


class Despike:
    """A Kalman filter of a random walk for every region, with a threshold on its correction [1]_.

    ``P' = P + Q; K = P' / (P' + R); d = K (y - x)`` with ``R`` the variance of the region's own past and
    ``Q = process * R``. Where ``|d|`` is within ``threshold`` standard deviations, the estimate ``x`` takes the
    correction. Where it is not, the output before is held for this one volume; when the next volume deviates to the
    same side again, it was a step, and the value is taken. Before ten volumes are known, everything goes through.

    Parameters
    ----------
    settings : DespikeSettings
    n_regions : int

    References
    ----------
    .. [1] Koush, Y., Zvyagintsev, M., Dyck, M., Mathiak, K. A., Mathiak, K. (2012). Signal quality and Bayesian signal
       processing in neurofeedback based on real-time fMRI. NeuroImage 59, 478-489.
       doi:10.1016/j.neuroimage.2011.07.076
    """

    def __init__(self, settings: DespikeSettings, n_regions: int) -> None:
        self.settings = settings
        self.n_regions = n_regions
        self.held = 0
        """Values held back so far."""
        self.restart()

    def restart(self) -> None:
        """Begin a run."""
        n = self.n_regions
        self._moments = RunningMoments(n, 0.0)
        self._estimate: F64 = np.full(n, np.nan)
        self._share: F64 = np.zeros(n)
        self._side: F64 = np.zeros(n)
        self._given: F64 = np.full(n, np.nan)

    def __call__(self, values: F64) -> F64:
        """Take the next volume's values, shape (n_regions,); give what is believed of them. NaN stays NaN."""
        if self.settings.mode == "off":
            return values
        there: Array = np.isfinite(values)
        variance = np.square(self._moments.deviation)
        ready: Array = there & (self._moments.count >= _NEEDED) & np.isfinite(self._estimate) & (variance > 0)
        before = np.where(ready, self._estimate, values)
        # P in units of R: the gain knows nothing of the signal's size
        wide = self._share + self.settings.process
        gain = wide / (wide + 1.0)
        step = np.where(ready, gain * (values - before), 0.0)
        side = np.sign(step)
        far: Array = ready & (np.abs(step) > self.settings.threshold * self._moments.deviation)
        again: Array = far & (side == self._side)
        spike: Array = far & ~again
        self.held += int(np.count_nonzero(spike))
        # what is held back tells nothing of the signal's usual size
        self._moments.add(np.where(spike, np.nan, values))
        estimate = np.where(again, values, before + step)
        self._estimate = np.where(there & ~spike, estimate, self._estimate)
        self._share = np.where(spike, wide, np.where(ready, gain, self._share))
        self._side = np.where(spike, side, 0.0)
        passed = estimate if self.settings.mode == "kalman" else values
        out = np.where(spike, self._given, passed)
        self._given = np.where(there, out, self._given)
        return out
