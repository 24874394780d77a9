"""How regions go together now: correlations over an exponential window, volume by volume.

=============  =====================================================================================================
measure        what it is
=============  =====================================================================================================
correlation    of two regions' signals
partial        of what all other regions leave of both; from a correlation matrix that is shrunk towards the identity
               by as much as so short a window asks for (Chen 2010, doi:10.1109/TSP.2010.2053029), so that it exists
               with fewer volumes than regions
=============  =====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.bold.dynamics.chosen import chosen_regions, record
from streamer.clean.bold.signal.volume_order import VolumeOrder
from streamer.contracts import Settings
from streamer.errors import ConfigError
from streamer.messages import F64, Array, BoldFrame, Feature, Flag

MAX_REGIONS = 40
_NEVER = Flag.MOTION | Flag.LATE
_ONE = 1.0 - 1e-9
_THERE_MIN = 0.8


class RegionConnectivitySettings(Settings):
    """Connectivity between regions."""

    enabled: bool = False
    """Whether it is given out."""
    measure: Literal["correlation", "partial"] = "correlation"
    """``correlation`` or ``partial``."""
    fisher_z: bool = False
    """Whether values are given as atanh of the correlation, whose scatter is the same at all sizes."""
    tau_s: float = Field(default=30.0, ge=5, le=600)
    """Time constant of the exponential window, s."""
    min_s: float = Field(default=60.0, ge=10)
    """Signal that must have come before a value is valid, s."""
    regions: tuple[str, ...] = ()
    """Regions whose pairs are given; none: all, of which there may be 40."""


class RegionConnectivity:
    """One value per pair of regions with each volume.

    ``W = k W + 1; d = x - m; m += d / W; S = k S + (1 - 1 / W) d d'`` with ``k = exp(-TR / tau)`` gives mean and
    covariance under exponential weights exactly. A volume flagged ``MOTION`` is left out. A region without a value
    counts as at its mean; its pairs are NaN while that holds for more than a fifth of the window. Where nothing came
    for longer than ``tau_s``, the window begins anew.

    The uncertainty is that of a correlation over as many independent volumes as the window holds, given how much each
    pair's signals repeat themselves from volume to volume (Bartlett 1935, doi:10.2307/2342284).

    Parameters
    ----------
    settings : RegionConnectivitySettings
    regions : sequence of str
        Names of all regions, in order.

    Raises
    ------
    ConfigError
        A region is not there; fewer than two or more than 40 are asked for.
    """

    def __init__(self, settings: RegionConnectivitySettings, regions: Sequence[str]) -> None:
        self.settings = settings
        self._chosen = chosen_regions("BOLD connectivity", settings.regions, regions)
        n = len(self._chosen)
        if not 2 <= n <= MAX_REGIONS:
            raise ConfigError("BOLD connectivity", [f"{n} regions: expected 2 to {MAX_REGIONS}; name them in regions"])
        names = [regions[i] for i in self._chosen]
        first, second = zip(*combinations(range(n), 2), strict=True)
        self._first, self._second = np.array(first), np.array(second)
        start = "z " if settings.fisher_z else ""
        self._labels = tuple(f"{start}{settings.measure} {a}~{b}" for a, b in combinations(names, 2))
        self._order = VolumeOrder()
        self._restart()

    def _restart(self) -> None:
        n = len(self._chosen)
        self._weight = self._squared_weight = self._age = 0.0
        self._seen_s = self._since_s = 0.0
        self._flags = Flag.NONE
        self._mean: F64 = np.zeros(n)
        self._sums: F64 = np.zeros((n, n))
        self._lagged: F64 = np.zeros(n)
        self._before: F64 | None = None
        self._there: F64 = np.zeros(n)

    def __call__(self, frame: BoldFrame) -> list[Feature]:
        """Take the next cleaned volume; give a record, none for a volume that comes late."""
        place = self._order(frame)
        if place.begins:
            self._restart()
        if place.late or frame.flags & Flag.LATE:
            return []
        values = frame.regions[self._chosen].astype(np.float64)
        usable = not frame.flags & _NEVER and bool(np.isfinite(values).any())
        self._since_s += place.gone_s
        if usable and self._since_s > self.settings.tau_s:
            self._restart()
        self._flags |= frame.flags
        if usable:
            self._add(values, self._since_s, frame.tr)
            self._since_s = 0.0
        return self._record(frame, usable=usable)

    def _add(self, values: F64, gone_s: float, tr: float) -> None:
        keep = math.exp(-gone_s / self.settings.tau_s)
        there: Array = np.isfinite(values)
        self._mean = np.where(there & (self._there == 0.0), values, self._mean)
        self._there = keep * self._there + there
        x = np.where(there, values, self._mean)
        self._age = keep * (self._age + self._weight * gone_s)
        self._weight = keep * self._weight + 1.0
        self._squared_weight = keep * keep * self._squared_weight + 1.0
        off = x - self._mean
        share = 1.0 / self._weight
        self._sums = keep * self._sums + (1.0 - share) * np.outer(off, off)
        self._mean = self._mean + share * off
        rest = x - self._mean
        self._lagged = keep * self._lagged + (0.0 if self._before is None else self._before * rest)
        self._before = rest
        self._seen_s += tr

    def _record(self, frame: BoldFrame, *, usable: bool) -> list[Feature]:
        valid = usable and self._seen_s >= self.settings.min_s
        flags = self._flags & ~Flag.WARMING | (frame.flags & Flag.WARMING)
        values = sd = np.full(len(self._first), np.nan)
        if self._seen_s >= self.settings.min_s:
            values, sd = self._values()
        else:
            flags |= Flag.WARMING
        delay = self._age / self._weight if self._weight else 0.0
        return record("bold.connectivity", frame, delay, self._labels, values, sd, valid=valid, flags=flags)

    def _values(self) -> tuple[F64, F64]:
        variance = np.diagonal(self._sums)
        alive: Array = (self._there >= _THERE_MIN * self._weight) & (variance > 0)
        spread = np.sqrt(np.where(alive, variance, 1.0))
        matrix = np.where(np.outer(alive, alive), self._sums / np.outer(spread, spread), np.eye(len(spread)))
        repeat = np.clip(np.where(alive, self._lagged / np.where(alive, variance, 1.0), 0.0), 0.0, 0.95)
        volumes = self._weight**2 / self._squared_weight
        taken = 1
        if self.settings.measure == "partial":
            used = np.flatnonzero(alive)
            matrix[np.ix_(used, used)] = partial_correlation(matrix[np.ix_(used, used)], volumes)
            taken += max(0, len(used) - 2)
        r = np.clip(matrix[self._first, self._second], -_ONE, _ONE)
        together = repeat[self._first] * repeat[self._second]
        independent = np.maximum(volumes * (1.0 - together) / (1.0 + together) - taken, 1.0)
        sd = 1.0 / np.sqrt(independent)
        there: Array = alive[self._first] & alive[self._second]
        values = np.arctanh(r) if self.settings.fisher_z else r
        sd = sd if self.settings.fisher_z else sd * (1.0 - r * r)
        return np.where(there, values, np.nan), np.where(there, sd, np.nan)


def partial_correlation(matrix: F64, volumes: float) -> F64:
    """Partial correlations of a correlation matrix.

    Parameters
    ----------
    matrix : array, shape (n, n)
    volumes : float
        Number of volumes that it was made of: the fewer, the more it is shrunk towards the identity. See the module's
        reference.

    Returns
    -------
    partial : array, shape (n, n)
    """
    n = len(matrix)
    if n < 2:
        return matrix
    squares = float(np.sum(matrix * matrix))
    above = (1.0 - 2.0 / n) * squares + n * n
    below = (volumes + 1.0 - 2.0 / n) * (squares - n)
    shrink = 1.0 if below <= above else above / below
    inverse = np.linalg.inv((1.0 - shrink) * matrix + shrink * np.eye(n))
    scale = np.sqrt(np.diagonal(inverse))
    out = -inverse / np.outer(scale, scale)
    np.fill_diagonal(out, 1.0)
    return out
