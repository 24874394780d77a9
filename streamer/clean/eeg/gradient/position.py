"""Where volumes really begin: the line through the places that the artefact itself told."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from streamer.messages import F64

_KEPT = 16
_OUTLIER = 4.0
_FLOOR = 0.003
"""Samples (0.6 µs at 5 kHz): no closer than this are places told."""


class Forecast(NamedTuple):
    """Where the next volume is expected."""

    place: float
    """Samples."""
    sd: float
    """Expected error, samples."""


class Rhythm(NamedTuple):
    """What the artefact tells of the scanner; None what is not known."""

    tr_s: float | None
    """From volume to volume on the amplifier's clock, s."""
    slices: int | None
    """Shots per volume, where an even number of them fits the artefact's spectrum."""
    drift_ppm: float | None
    """How much faster the amplifier's clock runs than the scanner's, against the TR of whole milliseconds that comes
    nearest."""
    jitter_us: float | None
    """Robust sd of where volumes begin around the line through them, µs."""


class Track:
    """The places of the last volumes, and the line through them: a phase-locked loop over volumes.

    The scanner's clock runs at a steady rate against the amplifier's: the k-th volume begins at ``a + b k``. Places off
    the line by more than four times the usual do not count. When every place is a whole sample within what can be told,
    the clocks are one, and forecasts are whole numbers, exactly.
    """

    def __init__(self) -> None:
        self._places: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        self._fit: tuple[float, float, float, F64] | None = None
        self._miss: float | None = None
        self.jitter = 0.0
        """Robust sd of the places around the line, samples; 0 while there are fewer than four."""
        self.whole = True
        """Whether all volumes so far begin on a sample."""

    def __len__(self) -> int:
        return len(self._places)

    def restart(self) -> None:
        """Forget everything."""
        self.__init__()

    def move(self, by: float) -> None:
        """Put all places ``by`` samples later: what was lost was miscounted."""
        self._places = deque([(k, p + by) for k, p in self._places], maxlen=_KEPT)
        self._refit()

    def add(self, volume: int, place: float) -> None:
        """Take the place of a volume, samples.

        Two places in a row that miss the line by the same are a step of the clock: the rate is kept.
        """
        forecast = self.forecast(volume)
        miss = None if forecast is None or len(self._places) < 4 else place - forecast.place
        last, self._miss = self._miss, miss
        limit = max(_OUTLIER * self.jitter, 10.0 * _FLOOR)
        if miss is not None and last is not None and min(abs(miss), abs(last)) > limit and abs(miss - last) < limit:
            newest = self._places.pop()
            self.move(0.5 * (miss + last))
            self._places.append(newest)
            self._miss = None
        self._places.append((volume, place))
        self._refit()

    def forecast(self, volume: int) -> Forecast | None:
        """Expect volume number ``volume``; None before two places."""
        if self._fit is None:
            return None
        centre, mean, slope, _ = self._fit
        place = mean + slope * (volume - centre)
        # the sd of a place, and what the line's own ends may be off by
        sd = max(self.jitter, _FLOOR) * (1.0 + 3.0 / len(self._places))
        if len(self._places) < 4:
            sd += 0.3
        return Forecast(float(round(place)) if self.whole else place, sd)

    @property
    def period(self) -> float | None:
        """Samples per volume by the line; None before two places."""
        return None if self._fit is None else self._fit[2]

    def ppm(self, sfreq: float) -> float | None:
        """How much longer volumes are than the whole milliseconds that come nearest, 1e-6; None before four places."""
        if self._fit is None or len(self._places) < 4:
            return None
        slope = self._fit[2]
        nominal = round(1e3 * slope / sfreq) * 1e-3 * sfreq
        return 0.0 if self.whole else 1e6 * (slope / nominal - 1.0)

    def _refit(self) -> None:
        if len(self._places) < 2:
            self._fit = None
            return
        k = np.array([float(a) for a, _ in self._places])
        p = np.array([b for _, b in self._places])
        origin = p[-1]
        p = p - origin
        keep = np.ones(len(k), np.bool_)
        centre, mean, slope = _line(k, p)
        for _ in range(3 if len(k) > 3 else 0):
            rest = p - mean - slope * (k - centre)
            limit = _OUTLIER * max(robust_sd(rest), _FLOOR)
            new = np.abs(rest) <= limit
            if new.sum() < 3 or bool((new == keep).all()):
                break
            keep = new
            centre, mean, slope = _line(k[keep], p[keep])
        rest = p - mean - slope * (k - centre)
        self.jitter = robust_sd(rest) * float(np.sqrt(len(k) / (len(k) - 2))) if len(k) > 3 else 0.0
        self._fit = centre, mean + origin, slope, rest
        off = p + origin - np.rint(p + origin)
        if len(k) < 4:
            self.whole = float(np.abs(off).max()) <= 5.0 * _FLOOR
        else:
            # by second differences: a steady clock that is off by little is no noise
            noise = max(robust_sd(np.diff(p, 2)) / np.sqrt(6.0), _FLOOR)
            near = abs(float(np.mean(off[keep]))) <= 0.005 + 3.0 * noise / np.sqrt(len(k))
            # a clock that slips by whole samples is off by nothing on average
            self.whole = noise < 0.1 and bool(near) and float(np.median(np.abs(off))) <= 0.005 + 2.0 * noise


def _line(k: F64, p: F64) -> tuple[float, float, float]:
    centre, mean = float(k.mean()), float(p.mean())
    return centre, mean, float(np.sum((k - centre) * (p - mean)) / np.sum(np.square(k - centre)))


def robust_sd(x: F64) -> float:
    """Standard deviation by the median distance from the median."""
    return 1.4826 * float(np.median(np.abs(x - np.median(x))))
