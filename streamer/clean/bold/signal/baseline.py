"""Percent signal change against a mean level that follows slow drift."""

from __future__ import annotations

import math

import numpy as np

from streamer.messages import F64


class Baseline:
    """The level that a region's signal is a change of.

    Parameters
    ----------
    settle_s : float
        Where no level is given: the first stretch of a run, whose mean is taken, s.
    drift_tau_s : float
        Time constant with which the level follows the signal, s; 0 keeps it.
    given : array, shape (n_regions,), or None
        Mean intensity at rest, from a calibration.
    """

    def __init__(self, settle_s: float, drift_tau_s: float, given: F64 | None) -> None:
        self._settle_s = settle_s
        self._tau = drift_tau_s
        self._given = given
        self._level = given
        self._settling: list[F64] = []

    @property
    def known(self) -> bool:
        """Whether there is a level yet."""
        return self._level is not None

    def restart(self) -> None:
        """Begin a run: a level that was not given is taken anew."""
        self._level = self._given
        self._settling.clear()

    def __call__(self, means: F64, elapsed_s: float, gone_s: float, *, late: bool, moved: bool) -> F64:
        """Take the next volume; give its change, %.

        Parameters
        ----------
        means : array, shape (n_regions,)
        elapsed_s, gone_s : float
            Since the run's first volume and since the one before, s.
        late, moved : bool
            Such a volume is not followed; a late one is no part of the first stretch either.

        Returns
        -------
        change : array, shape (n_regions,)
            NaN while there is no level, and where a mean is none.
        """
        level = self._level
        if level is None:
            if late:
                return np.full(len(means), np.nan)
            if elapsed_s < self._settle_s or not self._settling:
                self._settling.append(means)
                return np.full(len(means), np.nan)
            self._level = level = np.asarray(np.mean(self._settling, axis=0), np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.where(level > 0, 100.0 * (means - level) / level, np.nan)
        if self._tau and not late and not moved:
            follow = 1.0 - math.exp(-gone_s / self._tau)
            # a region that left the field of view for a while keeps its level
            self._level = np.where(np.isfinite(means), level + follow * (means - level), level)
        return change
