"""Amplitude of low-frequency fluctuations of each region, over a sliding window, volume by volume.

ALFF is the mean amplitude of the spectrum within a band (Zang 2007, doi:10.1016/j.braindev.2006.07.002), fALFF its part
of the amplitude at all frequencies (Zou 2008, doi:10.1016/j.jneumeth.2008.04.012). The window is transformed anew with
every volume, which takes less time than a volume has, and no rounding adds up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from streamer.clean.bold.dynamics.chosen import chosen_regions, record
from streamer.clean.bold.signal.volume_order import VolumeOrder
from streamer.contracts import Settings
from streamer.messages import F64, Array, BoldFrame, Feature, Flag

_MISSING_MAX = 0.2


class AlffSettings(Settings):
    """Slow fluctuations of the regions."""

    enabled: bool = False
    """Whether they are given out."""
    band_hz: tuple[float, float] = (0.01, 0.1)
    """Edges of the band, Hz."""
    window_s: float = Field(default=100.0, ge=20, le=1000)
    """Length of the window, s: one period of the band's lower edge at least."""
    regions: tuple[str, ...] = ()
    """Regions that are given; none: all."""

    @model_validator(mode="after")
    def _fits(self) -> AlffSettings:
        low, high = self.band_hz
        if not 0 < low < high:
            raise ValueError(f"band_hz is {low:g} to {high:g}: expected rising edges above 0")
        if self.window_s * low < 1 - 1e-9:
            raise ValueError(f"window_s is {self.window_s:g}: expected {1 / low:g} or more for {low:g} Hz")
        return self


class Alff:
    """ALFF and fALFF of each region with every volume.

    The window's mean and linear trend are taken out. What is missing (a volume that did not come, one flagged
    ``MOTION``, a value that is none) is filled by a straight line between its neighbours; with more than a fifth
    missing the region is NaN.

    Parameters
    ----------
    settings : AlffSettings
    regions : sequence of str
        Names of all regions, in order.

    Raises
    ------
    ConfigError
        A region is not there.
    """

    def __init__(self, settings: AlffSettings, regions: Sequence[str]) -> None:
        self.settings = settings
        self._chosen = chosen_regions("ALFF", settings.regions, regions)
        names = [regions[i] for i in self._chosen]
        self._labels = (*(f"alff {name} (%)" for name in names), *(f"falff {name}" for name in names))
        self._order = VolumeOrder()
        self._tr = math.nan
        self._window: deque[F64] = deque()
        self._flags: deque[Flag] = deque()

    def _restart(self, tr: float) -> None:
        self._tr = tr
        n = math.ceil(self.settings.window_s / tr - 1e-9)
        self._window = deque(maxlen=n)
        self._flags = deque(maxlen=n)
        frequencies = np.fft.rfftfreq(n, tr)
        low, high = self.settings.band_hz
        self._band: Array = (frequencies >= low - 1e-9) & (frequencies <= high + 1e-9)
        ramp = np.arange(n) - (n - 1) / 2
        self._ramp: F64 = ramp / np.sqrt(ramp @ ramp)

    def __call__(self, frame: BoldFrame) -> list[Feature]:
        """Take the next cleaned volume; give a record, none for a volume that comes late."""
        place = self._order(frame)
        if place.begins:
            self._restart(frame.tr)
        if place.late or frame.flags & Flag.LATE:
            return []
        values = frame.regions[self._chosen].astype(np.float64)
        gap = np.full(len(self._chosen), np.nan)
        for _ in range(min(round(place.gone_s / frame.tr) - 1, self._window.maxlen or 0)):
            if self._window:
                self._window.append(gap)
                self._flags.append(Flag.GAP)
        self._window.append(gap if frame.flags & Flag.MOTION else values)
        self._flags.append(frame.flags)
        return self._record(frame)

    def _record(self, frame: BoldFrame) -> list[Feature]:
        flags = Flag.NONE
        for each in self._flags:
            flags |= each
        full = len(self._window) == self._window.maxlen
        out = np.full(2 * len(self._chosen), np.nan)
        if full:
            out = np.concatenate(self._amplitudes(np.array(self._window)))
        else:
            flags |= Flag.WARMING
        delay = self._tr * (len(self._window) - 1) / 2
        return record("bold.alff", frame, delay, self._labels, out, None, valid=full, flags=flags)

    def _amplitudes(self, window: F64) -> tuple[F64, F64]:
        n = len(window)
        there: Array = np.isfinite(window)
        usable: Array = np.count_nonzero(~there, axis=0) <= _MISSING_MAX * n
        if not there.all():
            window, at = window.copy(), np.arange(n)
            for r in np.flatnonzero(usable & ~there.all(axis=0)).tolist():
                known = there[:, r]
                window[:, r] = np.interp(at, at[known], window[known, r])
            window[:, ~usable] = 0.0
        window = window - window.mean(axis=0)
        window -= np.outer(self._ramp, self._ramp @ window)
        # of a sine whose period fits the window: its own amplitude
        amplitude = np.abs(np.fft.rfft(window, axis=0)) * (2.0 / n)
        within = amplitude[self._band].sum(axis=0)
        total = amplitude[1:].sum(axis=0)
        alff = np.where(usable, within / max(1, int(np.count_nonzero(self._band))), np.nan)
        falff = np.full(len(alff), np.nan)
        np.divide(within, total, out=falff, where=usable & (total > 0))
        return alff, falff
