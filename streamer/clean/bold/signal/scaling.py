"""Values against their own past: running moments, z, and the range that feedback is shown in."""

from __future__ import annotations

import math
from bisect import insort
from statistics import median

import numpy as np

from streamer.messages import F64, Array

_EARLY = 20
_TAIL = 0.05


class RunningMoments:
    """Mean and standard deviation of everything so far, or of the recent past.

    West's recursion with weights that forget; without forgetting it is Welford's [1]_.

    Parameters
    ----------
    n_regions : int
    tau_s : float
        Time constant of forgetting, s; 0 forgets nothing.

    References
    ----------
    .. [1] Welford, B. P. (1962). Note on a method for calculating corrected sums of squares and products.
       Technometrics 4, 419-420. doi:10.1080/00401706.1962.10490022
    """

    def __init__(self, n_regions: int, tau_s: float) -> None:
        self._tau = tau_s
        self.count: Array = np.zeros(n_regions, np.int64)
        """Values taken, shape (n_regions,)."""
        self._weight: F64 = np.zeros(n_regions)
        self._squared_weight: F64 = np.zeros(n_regions)
        self._squares: F64 = np.zeros(n_regions)
        self.mean: F64 = np.zeros(n_regions)
        """Shape (n_regions,)."""

    @property
    def deviation(self) -> F64:
        """Standard deviation, of one value less than there are; 0 before two, shape (n_regions,)."""
        weight = np.maximum(self._weight, 1e-300)
        degrees = self._weight - self._squared_weight / weight
        return np.sqrt(np.where(degrees > 0, self._squares / np.maximum(degrees, 1e-300), 0.0))

    def add(self, values: F64, gone_s: float = 1.0) -> None:
        """Take values ``gone_s`` after those before, shape (n_regions,); NaN is left out."""
        there: Array = np.isfinite(values)
        keep = math.exp(-gone_s / self._tau) if self._tau else 1.0
        weight = keep * self._weight + there
        off = np.where(there, values - self.mean, 0.0)
        share = np.where(there, 1.0 / np.maximum(weight, 1.0), 0.0)
        self._squares = keep * self._squares + off * off * (1.0 - share)
        self.mean = self.mean + share * off
        self._weight = weight
        self._squared_weight = keep * keep * self._squared_weight + there
        self.count = self.count + there


class RunningZ:
    """Values in standard deviations of their own past.

    Parameters
    ----------
    n_regions : int
    tau_s : float
        The past fades with this time constant, s: several blocks long, or the blocks fade too. 0 keeps all of it.
    needed : int
        Volumes before the first z.
    """

    def __init__(self, n_regions: int, tau_s: float, needed: int) -> None:
        self._made_with = n_regions, tau_s
        self._needed = needed
        self.restart()

    def restart(self) -> None:
        """Begin a run."""
        self._moments = RunningMoments(*self._made_with)

    def __call__(self, values: F64, gone_s: float, *, learn: bool) -> F64:
        """Take the next values, shape (n_regions,); give their z against those before, NaN while they are few."""
        past = self._moments
        known: Array = (past.count >= self._needed) & (past.deviation > 0)
        z = np.full(len(values), np.nan)
        np.divide(values - past.mean, past.deviation, out=z, where=known)
        if learn:
            past.add(values, gone_s)
        return z


class DynamicRange:
    """The range that one feedback signal is shown in: it widens and narrows with what the signal did so far [1]_.

    Before 20 values it reaches from the least to the greatest, and from ``-initial`` to ``initial`` at least; from then
    on from the median of the lowest to the median of the highest 5 %.

    Parameters
    ----------
    initial : float
        In the signal's unit.

    References
    ----------
    .. [1] Koush, Y., Ashburner, J., Prilepin, E., Sladky, R., Zeidman, P., Bibikov, S., Scharnowski, F., Nikonorov, A.,
       Van De Ville, D. (2017). OpenNFT: An open-source Python/Matlab framework for real-time fMRI neurofeedback
       training based on activity, connectivity and multivariate pattern analysis. NeuroImage 156, 489-503.
       doi:10.1016/j.neuroimage.2017.06.039
    """

    def __init__(self, initial: float = 0.5) -> None:
        if not initial > 0:
            raise ValueError(f"initial range is ±{initial}: expected more than 0")
        self._initial = initial
        self.restart()

    def restart(self) -> None:
        """Begin a run."""
        self._sorted: list[float] = []

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper end."""
        known = self._sorted
        if len(known) < _EARLY:
            ends = (known[0], known[-1]) if known else (0.0, 0.0)
            return min(-self._initial, ends[0]), max(self._initial, ends[1])
        tail = max(1, round(_TAIL * len(known)))
        return median(known[:tail]), median(known[-tail:])

    def __call__(self, value: float, *, learn: bool = True) -> float:
        """Take the next value; give where it lies in the range, 0 to 1. NaN stays NaN and teaches nothing."""
        if not math.isfinite(value):
            return math.nan
        if learn:
            insort(self._sorted, value)
        low, high = self.limits
        if high <= low:
            return 0.5
        return min(1.0, max(0.0, (value - low) / (high - low)))
