"""Power spectra of the last seconds, a column per quarter of a second, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import windows

from dashboard.stores import RowRing
from streamer.messages import F32, F64, Array

BANDS: dict[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
}
"""Hz; the lower edge belongs to a band, the upper does not."""
LOWEST_HZ, HIGHEST_HZ = 1.0, 45.0
HOP_S = 0.25
WINDOW_S = 2.0
_ALPHA_HZ = (7.0, 14.0)
_ALPHA_LEAST_DB = 1.5
_ALPHA_SCATTERS = 3.0
_NONE = np.iinfo(np.int64).min
_SMALLEST = 1e-12
"""µV²/Hz; below it lies nothing that is measured."""


class Spectra:
    """Power spectral densities of a numbered stream of samples.

    Column ``j`` is the periodogram of the ``WINDOW_S`` before sample ``(j + 1) * hop``, under a Hann window and without
    its mean. Means over columns are Welch's estimate [1]_.

    Parameters
    ----------
    sfreq : float
        Hz.
    n_channels : int
    seconds : float
        How far back columns are kept.
    bands : sequence of (low, high), optional
        Keep only the mean density in these bands, Hz; otherwise every frequency from 1 to 45 Hz.

    References
    ----------
    .. [1] Welch, P. (1967). The use of fast Fourier transform for the estimation of power spectra. IEEE Transactions on
       Audio and Electroacoustics 15:70-73. doi:10.1109/TAU.1967.1161901
    """

    def __init__(
        self, sfreq: float, n_channels: int, seconds: float, bands: Sequence[tuple[float, float]] | None = None
    ) -> None:
        self.sfreq = sfreq
        self.n_channels = n_channels
        self.hop = max(1, round(HOP_S * sfreq))
        """Samples between two columns."""
        self.window = max(4, round(WINDOW_S * sfreq))
        """Samples that a column speaks of."""
        every: F64 = np.arange(self.window // 2 + 1, dtype=np.float64) * (sfreq / self.window)
        self._bins = np.flatnonzero((every >= LOWEST_HZ - 1e-9) & (every <= min(HIGHEST_HZ, sfreq / 2) + 1e-9))
        self.frequencies: F64 = every[self._bins]
        """Hz, of every frequency that is looked at."""
        taper: F64 = windows.hann(self.window, sym=False)
        self._taper = taper.astype(np.float32)[:, None]
        self._scale = np.float32(2 / (sfreq * np.sum(taper**2)))
        self._parts = None if bands is None else [_within(self.frequencies, band) for band in bands]
        depth = len(self.frequencies) if bands is None else len(bands)
        self._capacity = max(1, round(seconds / HOP_S)) + 1
        self._density = np.full((self._capacity, depth, n_channels), np.nan, np.float32)
        self._numbers = np.full(self._capacity, _NONE, np.int64)
        self._mean = np.full((self._capacity, depth), np.nan)
        self._mean_numbers = self._numbers.copy()
        self._mean_of: tuple[int, ...] = ()
        self._late = 0

    def column_before(self, sample: int) -> int:
        """Give the number of the newest column that needs nothing from ``sample`` on."""
        return sample // self.hop - 1

    def end_of(self, column: int) -> int:
        """Give the number of the sample behind a column."""
        return (column + 1) * self.hop

    def update(self, rows: RowRing, column: int, most: int) -> bool:
        """Compute what is missing of the columns up to ``column``, newest first and at most ``most`` of them.

        None of them may need samples that are yet to come. A column with a sample that is not there is NaN; it is
        looked at again when a late one came. Returns whether anything changed.
        """
        if rows.late != self._late:
            self._late = rows.late
            self._numbers[np.isnan(self._density).any(axis=(1, 2))] = _NONE
        wanted = np.arange(column, column - self._capacity, -1)
        missing = wanted[self._numbers[wanted % self._capacity] != wanted][:most]
        for number in missing.tolist():
            end = self.end_of(number)
            self._density[number % self._capacity] = self._column(cast("F32", rows.between(end - self.window, end)))
            self._numbers[number % self._capacity] = number
            self._mean_numbers[number % self._capacity] = _NONE
        return bool(len(missing))

    def _column(self, samples: F32) -> F32:
        if not np.isfinite(samples).any(axis=1).all():
            return np.full(self._density.shape[1:], np.nan, np.float32)
        # a channel whose values make no sense comes out as one that is not known
        with np.errstate(over="ignore", invalid="ignore"):
            centred = (samples - samples.mean(axis=0)) * self._taper
            found = cast("NDArray[np.complex64]", scipy.fft.rfft(centred, axis=0))[self._bins]
            power = (found.real**2 + found.imag**2) * self._scale
        if self._parts is None:
            return power
        parts = [power[part].mean(axis=0) if part.size else np.full(self.n_channels, np.nan) for part in self._parts]
        return np.array(parts, np.float32)

    def mean(self, column: int, count: int, channels: Sequence[int]) -> F64:
        """Give the mean over ``channels`` of the ``count`` columns up to ``column``, shape (count, n_frequencies).

        Channels that are NaN do not count; NaN where a column is not known (yet).
        """
        if tuple(channels) != self._mean_of:
            self._mean_of = tuple(channels)
            self._mean_numbers[:] = _NONE
        wanted = np.arange(column - count + 1, column + 1)
        places = wanted % self._capacity
        known = (self._numbers[places] == wanted) & (column - wanted < self._capacity)
        new = places[known & (self._mean_numbers[places] != wanted)]
        self._mean[new] = mean_of_known(self._density[new][:, :, list(channels)], axis=2)
        self._mean_numbers[new] = self._numbers[new]
        made = np.full((count, self._mean.shape[1]), np.nan)
        made[known] = self._mean[places[known]]
        return made

    def columns(self, column: int, count: int) -> F32:
        """Give the ``count`` columns up to ``column``, µV²/Hz, shape (count, n_frequencies or n_bands, n_channels).

        NaN where one is not known (yet).
        """
        wanted = np.arange(column - count + 1, column + 1)
        places = wanted % self._capacity
        known = (self._numbers[places] == wanted) & (column - wanted < self._capacity)
        made = np.full((count, *self._density.shape[1:]), np.nan, np.float32)
        made[known] = self._density[places[known]]
        return made


def mean_of_known(values: Array, axis: int) -> F64:
    """Give the mean of what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _within(frequencies: F64, band: tuple[float, float]) -> Array:
    return np.flatnonzero((frequencies >= band[0] - 1e-9) & (frequencies < band[1] - 1e-9))


def decibels(density: Array) -> Array:
    """Turn µV²/Hz into dB µV²/Hz; NaN stays, nothing is below -120 dB."""
    return 10 * np.log10(np.maximum(density, _SMALLEST))


@dataclass(frozen=True, slots=True)
class Peak:
    """A peak of a spectrum."""

    frequency: float
    """Hz."""
    height_db: float
    """Above what lies beside it."""


def alpha_peak(frequencies: F64, spectrum_db: F64) -> Peak | None:
    """Find the peak between 7 and 14 Hz above the line through the spectrum beside it.

    Parameters
    ----------
    frequencies : array, shape (n,)
        Hz.
    spectrum_db : array, shape (n,)

    Returns
    -------
    Peak or None
        None where no peak stands above the line by 1.5 dB and by three times what the spectrum scatters about it. Its
        place is that of a parabola through the three highest points.

    Notes
    -----
    The line is fitted over the logarithm of frequency, from 2 to 30 Hz without alpha, as peaks are told from the
    background in [1]_.

    References
    ----------
    .. [1] Donoghue, T., et al. (2020). Parameterizing neural power spectra into periodic and aperiodic components.
       Nature Neuroscience 23:1655-1665. doi:10.1038/s41593-020-00744-x
    """
    beside = (frequencies >= 2) & (frequencies <= 30) & ~_inside(frequencies, _ALPHA_HZ) & np.isfinite(spectrum_db)
    inside = np.flatnonzero(_inside(frequencies, _ALPHA_HZ) & np.isfinite(spectrum_db))
    if beside.sum() < 4 or len(inside) < 3:
        return None
    line = np.polynomial.Polynomial.fit(np.log(frequencies[beside]), spectrum_db[beside], 1)
    above = spectrum_db - line(np.log(frequencies))
    top = int(inside[np.argmax(above[inside])])
    # a rhythm beside alpha must not count as scatter: hence the median
    scatter = 1.4826 * float(np.median(np.abs(above[beside])))
    # at an edge it may be the flank of something else
    if top in {inside[0], inside[-1]} or above[top] < max(_ALPHA_LEAST_DB, _ALPHA_SCATTERS * scatter):
        return None
    before, at, after = above[top - 1 : top + 2]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    step = frequencies[1] - frequencies[0]
    return Peak(float(frequencies[top] + shift * step), float(above[top]))


def _inside(frequencies: F64, band: tuple[float, float]) -> Array:
    return (frequencies >= band[0]) & (frequencies <= band[1])
