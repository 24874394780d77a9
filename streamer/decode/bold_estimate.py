"""What the BOLD of each region would be, guessed from the EEG of the seconds before: for when volumes are late.

BOLD follows band power with a lag of a few seconds, so the power of the past tells something of the BOLD of now. The
guess is a ridge regression of region signals on principal components of log band power at smooth lags, fitted to a
calibration run that holds both. It is only shown where it predicted parts of that run that it was not fitted on better
than it predicts signals of the same spectrum with random phases.

References
----------
de Munck 2009, doi:10.1016/j.neuroimage.2009.03.049 (lags of EEG power to BOLD); Theiler 1992,
doi:10.1016/0167-2789(92)90102-S (random phases)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.messages import F32, F64, Array, Feature, Flag, SessionTime

NAME = "estimate.bold"
BIN_S = 1.0
"""Log band power is averaged over this long, s."""
PARTS = 5
"""Stretches of the run, each of which is predicted by a fit on the others."""
GAP_S = 20.0
"""Left out beside a stretch that is predicted, s: response and lags."""
RIDGES = (1.0, 10.0, 100.0, 1e3, 1e4)
MIN_VOLUMES = 60
SURROGATES = 500
ALPHA = 0.05
"""Chance that one region of a run without any relation is shown, over all regions together."""


class BoldEstimateSettings(Settings):
    """A guess of the BOLD from the EEG."""

    enabled: bool = False
    """Whether it is made; it needs a calibration run that holds both."""
    first_s: float = Field(default=1.0, ge=0, le=10)
    """Shortest lag of the BOLD behind the EEG, s."""
    last_s: float = Field(default=13.0, gt=0, le=30)
    """Longest lag, s."""
    lags: int = Field(default=5, ge=1, le=12)
    """Smooth lags (raised cosines) between them."""
    components: int = Field(default=8, ge=1, le=64)
    """Principal components of log band power."""

    @model_validator(mode="after")
    def _rising(self) -> BoldEstimateSettings:
        if self.last_s < self.first_s + 2 * BIN_S:
            raise ValueError(f"lags from {self.first_s:g} to {self.last_s:g} s: expected 2 s or more between them")
        return self

    @property
    def n_bins(self) -> int:
        """Bins of the past that enter."""
        return math.ceil(self.last_s / BIN_S) + 1

    def kernels(self) -> F64:
        """Weights of the past bins, the newest first, per smooth lag: shape (n_bins, lags)."""
        at = np.arange(self.n_bins) * BIN_S
        centres = np.linspace(self.first_s, self.last_s, self.lags)
        width = (self.last_s - self.first_s) / max(1, self.lags - 1)
        phase = np.clip((at[:, None] - centres) / width, -1, 1)
        found = 0.5 * (1 + np.cos(np.pi * phase)) * (at[:, None] >= self.first_s)
        return found / found.sum(axis=0)


@dataclass(frozen=True)
class EstimateFit:
    """A regression of region signals on the EEG."""

    mean: F64
    """Of log band power, shape (n_features,)."""
    components: F64
    """Log band power less its mean to components of unit variance, shape (n_features, n_components)."""
    weights: F64
    """Components at the smooth lags to % signal change, shape (n_components * lags, n_regions)."""
    intercept: F64
    """%, shape (n_regions,)."""
    correlation: F64
    """With the signal of stretches that were not fitted on, shape (n_regions,)."""
    limit: float
    """What the largest correlation of random phases stays below in 95 of 100 runs."""
    residual: F64
    """Root mean square of what is not predicted in those stretches, %, shape (n_regions,)."""

    @property
    def shown(self) -> Array:
        """Regions that are predicted better than by chance, shape (n_regions,)."""
        return self.correlation > self.limit

    def plain(self) -> dict[str, Any]:
        """Give it as plain values; ``of`` takes them back."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EstimateFit:
        """Take what ``plain`` gave."""
        arrays = {name: np.array(values[name], np.float64) for name in cls.__dataclass_fields__ if name != "limit"}
        return cls(limit=float(values["limit"]), **arrays)


class PowerBins:
    """Log band power, averaged over bins of the absolute grid of steps.

    Parameters
    ----------
    step_s : float
        Length of a feature step, s.
    """

    def __init__(self, step_s: float) -> None:
        self._per_bin = round(BIN_S / step_s)
        self._index = -1
        self._steps: list[F64] = []

    def __call__(self, index: int, log_power: F64 | None) -> tuple[int, F64 | None] | None:
        """Take a step (None when it is not valid); give the bin that it completes, None in it where a step is missing.

        Parameters
        ----------
        index : int
            Of the step on the absolute grid.
        log_power : ndarray, shape (n_features,), or None
        """
        bin_index, within = divmod(index, self._per_bin)
        if bin_index != self._index:
            self._index, self._steps = bin_index, []
        if log_power is not None:
            self._steps.append(log_power)
        if within != self._per_bin - 1:
            return None
        whole = len(self._steps) == self._per_bin
        return bin_index, np.mean(self._steps, axis=0) if whole else None


class BoldEstimate:
    """Guess region signals, a bin of EEG at a time.

    Parameters
    ----------
    settings : BoldEstimateSettings
    fit : EstimateFit
    regions : sequence of str
    step_s : float
        Length of a feature step, s.

    Raises
    ------
    ValueError
        The fit is of other lags or regions.
    """

    def __init__(self, settings: BoldEstimateSettings, fit: EstimateFit, regions: Sequence[str], step_s: float) -> None:
        expected = (fit.components.shape[1] * settings.lags, len(regions))
        if fit.weights.shape != expected:
            raise ValueError(f"an estimate of the BOLD was fitted as {fit.weights.shape}: expected {expected}")
        self.fit = fit
        self._regions = tuple(regions)
        self._kernels = settings.kernels()
        self._bins = PowerBins(step_s)
        self._past = np.full((len(self._kernels), fit.components.shape[1]), np.nan)
        self._newest: int | None = None

    def __call__(self, index: int, log_power: F64 | None, end: SessionTime, flags: Flag) -> Feature | None:
        """Take a feature step; give a guess when it completes a bin.

        Parameters
        ----------
        index : int
        log_power : ndarray, shape (n_features,), or None
            None when the step is not valid.
        end : SessionTime
            Of the step's last sample.
        flags : Flag
            Of the step.
        """
        found = self._bins(index, log_power)
        if found is None:
            return None
        number, power = found
        ahead = 1 if self._newest is None else number - self._newest
        if ahead < 1:
            self._past[:] = np.nan
        else:
            shift = min(ahead, len(self._past))
            self._past[shift:] = self._past[: len(self._past) - shift].copy()
            self._past[:shift] = np.nan
        self._newest = number
        self._past[0] = np.nan if power is None else (power - self.fit.mean) @ self.fit.components
        values = (self._kernels.T @ self._past).reshape(-1) @ self.fit.weights + self.fit.intercept
        known = bool(np.isfinite(values).all())
        shown = [float(v) if known and there else math.nan for v, there in zip(values, self.fit.shown, strict=True)]
        return Feature(
            name=NAME,
            sample=number,
            about=end,
            delay_s=0.0,
            labels=tuple(f"{region} (% signal change, guessed from the EEG)" for region in self._regions),
            values=tuple(shown),
            uncertainty=tuple(float(v) for v in self.fit.residual),
            valid=known and bool(self.fit.shown.any()),
            flags=flags,
        )


def fit_estimate(
    settings: BoldEstimateSettings, bins: Mapping[int, F64], bin_end_s: F64, volumes_s: F64, regions: F32, seed: int = 0
) -> EstimateFit | None:
    """Fit region signals to the EEG before them.

    Parameters
    ----------
    settings : BoldEstimateSettings
    bins : mapping of int to ndarray, shape (n_features,)
        Log band power of the bins that are whole, by their number.
    bin_end_s : ndarray, shape (n_bins,)
        When each bin ended, in the order of their numbers, s.
    volumes_s : ndarray, shape (n_volumes,)
        What time the volumes speak of, s, ascending.
    regions : ndarray, float32, shape (n_volumes, n_regions)
        % signal change.
    seed : int
        Of the random phases.

    Returns
    -------
    EstimateFit or None
        None where there is too little to fit and to judge.
    """
    if len(bins) <= settings.n_bins or len(volumes_s) < MIN_VOLUMES:
        return None
    numbers = np.array(sorted(bins))
    power = np.stack([bins[int(number)] for number in numbers])
    mean = power.mean(axis=0)
    n_components = min(settings.components, *power.shape)
    _, sizes, rows = np.linalg.svd(power - mean, full_matrices=False)
    sd = np.maximum(sizes[:n_components] / math.sqrt(len(power)), 1e-12)
    components = rows[:n_components].T / sd
    full = np.full((numbers[-1] - numbers[0] + settings.n_bins, n_components), np.nan)
    full[numbers - numbers[0] + settings.n_bins - 1] = (power - mean) @ components
    past = np.lib.stride_tricks.sliding_window_view(full, settings.n_bins, axis=0)[:, :, ::-1]
    lagged = (past @ settings.kernels()).transpose(0, 2, 1).reshape(len(past), -1)
    # the newest bin that had ended when the volume's time came
    at = np.searchsorted(bin_end_s, volumes_s + 1e-6) - 1
    usable = (at >= 0) & np.isfinite(regions).all(axis=1)
    row = np.where(usable, numbers[np.maximum(at, 0)] - numbers[0], 0)
    usable &= np.isfinite(lagged[row]).all(axis=1)
    if int(usable.sum()) < MIN_VOLUMES:
        return None
    x, y, times = lagged[row[usable]], regions[usable].astype(np.float64), volumes_s[usable]
    guesses = {ridge: _held_out(x, y, times, ridge) for ridge in RIDGES}
    ridge = min(guesses, key=lambda each: float(np.square(guesses[each] - y).mean(axis=0).sum()))
    weights, intercept = _ridge(x, y, ridge)
    guess = guesses[ridge]
    return EstimateFit(
        mean,
        components,
        weights,
        intercept,
        _correlation(guess, y),
        _limit(guess, y, np.random.default_rng(seed)),
        np.sqrt(np.square(guess - y).mean(axis=0)),
    )


def _ridge(x: F64, y: F64, ridge: float) -> tuple[F64, F64]:
    centre, level = x.mean(axis=0), y.mean(axis=0)
    inner = x - centre
    weights = np.linalg.solve(inner.T @ inner + ridge * np.eye(x.shape[1]), inner.T @ (y - level))
    return weights, level - centre @ weights


def _held_out(x: F64, y: F64, times: F64, ridge: float) -> F64:
    edges = np.linspace(times[0], times[-1] + 1e-3, PARTS + 1)
    guess = np.empty_like(y)
    for start, stop in pairwise(edges):
        inside = (times >= start) & (times < stop)
        fitted = (times < start - GAP_S) | (times >= stop + GAP_S)
        weights, intercept = _ridge(x[fitted], y[fitted], ridge)
        guess[inside] = x[inside] @ weights + intercept
    return guess


def _correlation(first: F64, second: F64) -> F64:
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.where(scale > 0, (a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0), 0.0)


def _limit(guess: F64, y: F64, rng: np.random.Generator) -> float:
    spectrum = np.fft.rfft(y - y.mean(axis=0), axis=0)
    largest = np.empty(SURROGATES)
    for k in range(SURROGATES):
        # one set of phases for all regions: what they share stays shared
        phases = np.exp(2j * np.pi * rng.random((len(spectrum), 1)))
        largest[k] = _correlation(guess, np.fft.irfft(spectrum * phases, n=len(y), axis=0)).max()
    return float(np.quantile(largest, 1.0 - ALPHA))
