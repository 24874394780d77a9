"""Heart beat and breath as regressors of a region's signal, at the time that its slices were acquired [1]_.

``cos(m phi), sin(m phi)``, m = 1, 2, for the phase of the heart beat and that of the breath: 8 columns. A region that
lies in several slices gets the mean of their columns, weighed by its voxels in each.

References
----------
.. [1] Glover, G. H., Li, T.-Q., Ress, D. (2000). Image-based method for retrospective correction of physiological
   motion effects in fMRI: RETROICOR. Magnetic Resonance in Medicine 44, 162-167.
   doi:10.1002/1522-2594(200007)44:1<162::AID-MRM23>3.0.CO;2-E
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np
from pydantic import Field

from streamer.contracts import Settings
from streamer.messages import F64, Array

_BEATS = 128
_INTERVALS = 7
_MISSED = 1.6
_BINS = 100
_BREATH_HZ = 25.0
_SLOPE_S = 0.4
_COURSE_S = 30.0
_LEAST_S = 20.0
_LATE_S = 0.5


class RetroicorSettings(Settings):
    """Phases of heart beat and breath."""

    longest_s: float = Field(default=3.0, ge=1, le=10)
    """From beat to beat at most, s: in a longer pause the phase is unknown."""
    histogram_s: float = Field(default=120.0, ge=30)
    """Breath whose depths are compared, s."""


class Heart:
    """Phase of the heart beat from R peaks.

    Between two beats it grows evenly; behind the last one it grows as the median of the last intervals has it. An
    interval that has room for more beats than one counts as so many.

    Parameters
    ----------
    longest_s : float
        Longest interval, s.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest = longest_s
        self._times: deque[float] = deque(maxlen=_BEATS)
        self._counts: deque[int] = deque(maxlen=_BEATS)
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    def beat(self, at: float) -> None:
        """Take an R peak at ``at``, s; one that is not later than the last is left out."""
        if not self._times:
            self._times.append(at)
            self._counts.append(0)
            return
        gap = at - self._times[-1]
        if gap <= 0:
            return
        beats = 1
        if self._intervals and gap > _MISSED * median(self._intervals):
            beats = round(gap / median(self._intervals))
        elif gap <= self._longest:
            self._intervals.append(gap)
        self._times.append(at)
        self._counts.append(self._counts[-1] + beats)

    def phase(self, times: F64) -> F64:
        """Phase at ``times``, s: rad from 0 to 2π, shape as ``times``; NaN where it is unknown."""
        out = np.full(times.shape, np.nan)
        if not self._intervals:
            return out
        beats, counts = np.array(self._times), np.array(self._counts, np.float64)
        place = np.searchsorted(beats, times, side="right") - 1
        follower = np.minimum(place + 1, len(beats) - 1)
        last: Array = place == len(beats) - 1
        gap = np.where(last, times - beats[-1], beats[follower] - beats[place])
        beyond = counts[-1] + (times - beats[-1]) / median(self._intervals)
        turns = np.where(last, beyond, np.interp(times, beats, counts))
        known: Array = (place >= 0) & (gap <= self._longest)
        out[known] = 2.0 * np.pi * (turns[known] % 1.0)
        return out


class Breathing:
    """Phase of the breath from a respiration trace: how deep, compared with the breaths so far, and which way.

    Parameters
    ----------
    sfreq : float
        Rate of the trace, Hz.
    histogram_s : float
        Length of the past that depths are compared with, s.
    """

    def __init__(self, sfreq: float, histogram_s: float) -> None:
        self._factor = max(1, round(sfreq / _BREATH_HZ))
        self._step = self._factor / sfreq
        self._depths: deque[float] = deque(maxlen=round(histogram_s / self._step))
        self._course: deque[float] = deque(maxlen=round(_COURSE_S / self._step))
        self._next: int | None = None
        self._part: list[float] = []
        self._end = 0.0

    def trace(self, first: int, values: Array) -> None:
        """Take samples of the trace, any unit; ``first`` is the index of the first. After a gap it begins anew."""
        factor = self._factor
        if not len(values):
            return
        if first != self._next:
            self._course.clear()
            self._part = []
        self._next = first + len(values)
        if not self._part:
            # blocks lie at fixed places, however the samples come
            skip = -first % factor
            first, values = first + skip, values[skip:]
        begins = first - len(self._part)
        joined = np.concatenate([np.array(self._part), values])
        whole = len(joined) // factor
        means = joined[: whole * factor].reshape(whole, factor).mean(axis=1)
        self._part = joined[whole * factor :].tolist()
        if not whole:
            return
        finite: list[float] = [value for value in means.tolist() if np.isfinite(value)]
        if len(finite) < whole:
            self._course.clear()
            self._depths.extend(finite)
            return
        self._depths.extend(finite)
        self._course.extend(finite)
        # the middle of the newest block
        self._end = (begins + whole * factor - 0.5 * (factor + 1)) * self._step / factor

    def phase(self, times: F64) -> F64:
        """Phase at ``times``, s since sample 0: rad from -π to π, shape as ``times``; NaN where it is unknown."""
        out = np.full(times.shape, np.nan)
        depths, course = np.array(self._depths), np.array(self._course)
        if len(depths) * self._step < _LEAST_S or len(course) < 2 or not np.ptp(depths) > 0:
            return out
        at = self._end + self._step * np.arange(1 - len(course), 1)
        known: Array = (times >= at[0]) & (times <= at[-1] + _LATE_S)
        count, edges = np.histogram(depths, _BINS)
        share = np.concatenate([[0.0], np.cumsum(count)]) / len(depths)
        depth = np.interp(np.interp(times, at, course), edges, share)
        # the trace's slope over a moment, so that its noise does not turn the sign
        area = np.concatenate([[0.0], np.cumsum(0.5 * (course[1:] + course[:-1]))])

        def mean(start: F64, stop: F64) -> F64:
            start, stop = np.clip(start, at[0], at[-1]), np.clip(stop, at[0], at[-1])
            wide = np.maximum((stop - start) / self._step, 1e-9)
            level = (np.interp(stop, at, area) - np.interp(start, at, area)) / wide
            return np.where(wide > 1e-6, level, np.interp(stop, at, course))

        rising = mean(times, times + _SLOPE_S) - mean(times - _SLOPE_S, times)
        out[known] = (np.pi * depth * np.where(rising >= 0, 1.0, -1.0))[known]
        return out


class Retroicor:
    """Columns of heart and breath for every region of a volume.

    All times are s since sample 0 of the EEG's grid.

    Parameters
    ----------
    settings : RetroicorSettings
    n_regions : int
    trace_hz : float or None
        Rate of the respiration trace, Hz; None when there is none.
    """

    def __init__(self, settings: RetroicorSettings, n_regions: int, trace_hz: float | None = None) -> None:
        self._n_regions = n_regions
        self._times: F64 = np.empty(0)
        self._shares: F64 = np.empty((n_regions, 0))
        self._heart = Heart(settings.longest_s)
        self._breath = None if trace_hz is None else Breathing(trace_hz, settings.histogram_s)

    def place(self, slice_times: Array, shares: Array) -> None:
        """Say when and where the regions are acquired, from the next volume on.

        Parameters
        ----------
        slice_times : array, shape (n_slices,)
            s after a volume's onset.
        shares : array, shape (n_regions, n_slices)
            Share of each region's voxels in each slice; rows add up to 1. See :func:`slice_shares`.

        Raises
        ------
        ValueError
            Shares do not fit regions and slice times.
        """
        if shares.shape != (self._n_regions, len(slice_times)):
            raise ValueError(
                f"shares of shape {shares.shape} with {len(slice_times)} slice times: expected one for each of "
                f"{self._n_regions} regions in each slice"
            )
        # bands that were excited at once share their columns
        self._times, band = np.unique(np.asarray(slice_times, np.float64), return_inverse=True)
        self._shares = np.zeros((self._n_regions, len(self._times)))
        np.add.at(self._shares.T, band.ravel(), shares.T)

    def beat(self, at_s: float) -> None:
        """Take an R peak, in the order in which they were found."""
        self._heart.beat(at_s)

    def trace(self, first: int, values: Array) -> None:
        """Take samples of the respiration trace, shape (n_times,), the first at index ``first``."""
        if self._breath is not None:
            self._breath.trace(first, values)

    def __call__(self, onset_s: float) -> F64:
        """Give the columns of the volume that began at ``onset_s``.

        Returns
        -------
        columns : array, shape (n_regions, 8)
            Heart, then breath: cos φ, sin φ, cos 2φ, sin 2φ; NaN where a phase is unknown, and before anybody said
            when the slices are acquired.
        """
        if not len(self._times):
            return np.full((self._n_regions, 8), np.nan)
        times = onset_s + self._times
        unknown = np.full(times.shape, np.nan)
        waves = [
            wave(m * phase)
            for phase in (self._heart.phase(times), unknown if self._breath is None else self._breath.phase(times))
            for m in (1, 2)
            for wave in (np.cos, np.sin)
        ]
        return self._shares @ np.array(waves).T


def slice_shares(labels: Array, n_regions: int) -> F64:
    """Tell which share of each region's voxels lies in each slice, shape (n_regions, n_slices).

    Parameters
    ----------
    labels : array of int, shape (x, y, z)
        0, or i + 1 in region i, on the volumes' own grid; slices along the last axis.
    n_regions : int
        Regions without voxels get equal shares of all slices.
    """
    n_slices = labels.shape[2]
    index = np.nonzero(labels)
    place = (labels[index].astype(np.int64) - 1) * n_slices + index[2]
    count = np.bincount(place, minlength=n_regions * n_slices).reshape(n_regions, n_slices).astype(np.float64)
    total = count.sum(axis=1, keepdims=True)
    return np.where(total > 0, count / np.maximum(total, 1.0), 1.0 / n_slices)
