"""Heart beats in the EEG itself, from the pulse artefact, for when there is no ECG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np

from streamer.clean.eeg.heart.absolute_ring import Ring
from streamer.clean.eeg.heart.qrs_filter import vertex
from streamer.clean.eeg.heart.rhythm import Rhythm
from streamer.compiled import compiled
from streamer.messages import F64

_TICK_S = 0.020
"""The pulse artefact is below 12 Hz: one mean per tick is enough."""
_CUT_HZ = 1.0
"""High-pass against drift."""
_LIMIT_V = 0.3e-3
"""More than this is no pulse artefact and is cut off, V."""
_BEGIN_S, _STOP_S = 0.12, 0.52
"""The part of the artefact that is looked for, s after the R peak."""
_MAX_BEATS = 30
"""Beats that the template remembers."""
_LEAST_BEATS = 5
"""Beats from which on it is used."""
_SOLVE_S = 5.0
"""The filter is made anew so often, s."""
_BACKGROUND_S = 20.0
"""Memory of the spatial covariance, s."""
_LOADING = 0.1
"""Of the median channel's power, added to it: a channel that is flat weighs nothing."""
_HISTORY_S = 10.0
"""What a search without any ECG looks at, s."""
_EXPECTED, _UNEXPECTED = 0.35, 0.7
"""Least size of a pulse, of the template's: when a beat is due, and half an interval off."""
_SPREAD = 0.2
"""Of a beat around where it is due, of the interval."""
_TOO_LARGE = 4.0
"""Size from which it is movement."""
_COMPONENTS = 4
"""Principal components that a search looks at: blinks and alpha may have the first ones."""
_SCANNER_TICKS = 2.0
"""A rhythm so close to the scanner's is the scanner's; a heart that beats so is not looked for, until it changes."""
_RHYTHMIC = 0.35
"""Least autocorrelation of a course that is taken for the pulse's."""


@dataclass(frozen=True, slots=True)
class Pulsation:
    """A pulse that was found in the EEG."""

    sample: float
    """Its R peak."""
    size: float
    """Of the template's; 1 is usual."""


class EegBeats:
    """Find beats with a matched filter over channels and time.

    Template A (ticks x channels) is the average of the EEG behind R peaks, the filter ``A S⁻¹`` with the EEG's spatial
    covariance S, so that alpha and blinks, which have other maps, are left out. It is learnt while the ECG is good.
    When there never was one, the most rhythmic of the EEG's first principal components gives the first beats, and the
    R peaks are taken to lie a usual time before the greatest swing.

    Parameters
    ----------
    sfreq : float
        Hz.
    n_eeg : int
        EEG channels.
    rhythm : Rhythm
        When the next beat is due. Only read, but for a new start.
    swing_s : float
        Usual time from the R peak to the artefact's greatest swing, s.
    """

    def __init__(self, sfreq: float, n_eeg: int, rhythm: Rhythm, swing_s: float) -> None:
        self.tick = max(1, round(_TICK_S * sfreq))
        """Samples per tick."""
        self._rhythm = rhythm
        self._swing = swing_s * sfreq
        rate = sfreq / self.tick
        self._rate = rate
        self._begin = _BEGIN_S * sfreq
        self._ticks = 1 + round((_STOP_S - _BEGIN_S) * rate)
        self._n_eeg = n_eeg
        self._decay = 1 - math.exp(-2 * math.pi * _CUT_HZ / rate)
        self._history = Ring(round(_HISTORY_S * rate), n_eeg)
        self._level: F64 | None = None
        self._course = np.zeros((1, n_eeg))
        _follow(np.zeros((self.tick, n_eeg)), np.zeros(n_eeg), 0.0, self._course[0])
        self._clean_from = 0
        self._template = np.zeros((self._ticks, n_eeg))
        self._beats = 0
        self._covariance = np.zeros((n_eeg, n_eeg))
        self._seconds = 0
        self._filter: F64 | None = None
        self._per_second = round(rate)
        self._solve_every = round(_SOLVE_S)
        self._waiting: list[float] = []
        self._outputs = (0.0, 0.0)
        self._last: float | None = None
        self.scanner: float | None = None
        """Samples from volume to volume: what repeats with it is no heart."""

    @property
    def ready(self) -> bool:
        """Whether the pulse artefact's shape is known."""
        return self._filter is not None

    def restart(self) -> None:
        """Begin with no past; what was learnt stays."""
        self._level = None
        self._waiting.clear()
        self._outputs = (0.0, 0.0)
        self._last = None

    def learn_from(self, beat: float) -> None:
        """Take a sure R peak: the EEG behind it is learnt from when it is there."""
        self._waiting.append(beat)

    def __call__(self, number: int, eeg: F64, *, dirty: bool, alone: bool) -> Pulsation | None:
        """Take a whole tick.

        Parameters
        ----------
        number : int
            Of the tick: it begins at sample ``number * tick``.
        eeg : ndarray, float64, shape (tick, n_eeg)
            V.
        dirty : bool
            Whether any of it is uncorrected or unsettled.
        alone : bool
            Whether there is no ECG, so that beats must be found and the template learnt here.
        """
        level = self._level
        if level is None:
            self._level = level = np.add.reduce(eeg, axis=0) / self.tick
            self._clean_from = number
        if dirty:
            self._clean_from = number + 1
        _follow(eeg, level, self._decay, self._course[0])
        self._history.put(number, self._course)
        while self._waiting and self._end_tick(self._waiting[0]) <= number:
            self._learn(self._waiting.pop(0), number)
        if (number + 1) % self._per_second == 0:
            self._second(number, alone=alone)
        return self._find(number) if self._filter is not None else None

    def _end_tick(self, beat: float) -> int:
        """Last tick of a beat's window."""
        return round((beat + self._begin) / self.tick - 0.5) + self._ticks - 1

    def _beat_of(self, last_tick: float) -> float:
        """The R peak whose window ends with a tick, sample."""
        return (last_tick - self._ticks + 1 + 0.5) * self.tick - 0.5 - self._begin

    def _learn(self, beat: float, number: int) -> None:
        last = self._end_tick(beat)
        age = number - last
        if last - self._ticks + 1 < self._clean_from or age + self._ticks > self._history.length:
            return
        self._beats = min(self._beats + 1, _MAX_BEATS)
        self._template += (self._history.last(last + 1, self._ticks) - self._template) / self._beats

    def _second(self, number: int, *, alone: bool) -> None:
        second = (number + 1) // self._per_second
        n = self._per_second
        if number + 1 - n >= self._clean_from:
            stretch = self._history.last(number + 1, n)
            self._seconds = min(self._seconds + 1, round(_BACKGROUND_S))
            self._covariance += (stretch.T @ stretch / n - self._covariance) / self._seconds
        if second % self._solve_every == 0 and self._beats >= _LEAST_BEATS:
            self._solve()
        elif alone and self._beats < _LEAST_BEATS and second % 2 == 1:
            self._search(number)

    def _solve(self) -> None:
        own = np.diag(self._covariance)
        loaded = self._covariance + (_LOADING * float(np.median(own)) + 1e-15) * np.eye(self._n_eeg)
        weights = cast("F64", np.linalg.solve(loaded, self._template.T).T)
        gain = float(np.sum(weights * self._template))
        if gain > 0:
            self._filter = (weights / gain).reshape(-1)

    def _find(self, number: int) -> Pulsation | None:
        assert self._filter is not None
        size = float(np.dot(self._filter, self._history.last(number + 1, self._ticks).reshape(-1)))
        before, at = self._outputs
        self._outputs = (at, size)
        if not (before < at >= size and at < _TOO_LARGE):
            return None
        beat = self._beat_of(number - 1 + vertex(np.array([before, at, size]), 1))
        interval = self._rhythm.interval
        apart = self._rhythm.shortest if interval is None else max(self._rhythm.shortest, 0.6 * interval)
        if at < self._threshold(beat) or (self._last is not None and abs(beat - self._last) < apart):
            return None
        self._last = beat
        return Pulsation(beat, at)

    def _threshold(self, beat: float) -> float:
        due, interval = self._rhythm.expected, self._rhythm.interval
        if due is None or interval is None:
            return _UNEXPECTED
        beats = (beat - due) / interval
        off = abs(beats - round(beats)) / _SPREAD
        return _UNEXPECTED + (_EXPECTED - _UNEXPECTED) * math.exp(-0.5 * off * off)

    def _search(self, number: int) -> None:
        """Look for a rhythm in the EEG, knowing nothing, and learn from the beats that it has."""
        n = min(self._history.length, number + 1 - self._clean_from)
        if n < 0.6 * self._history.length:
            return
        stretch = self._history.last(number + 1, n)
        maps = np.linalg.eigh(self._covariance)[1][:, : -_COMPONENTS - 1 : -1]
        courses = stretch @ maps
        low = round(0.45 * self._rate)
        high = round(1.5 * self._rate)
        best, course, period = 0.0, courses[:, 0], 0
        for k in range(courses.shape[1]):
            one = courses[:, k]
            limit = 3.0 * 1.4826 * float(np.median(np.abs(one)))
            one = np.clip(one, -limit, limit)
            spectrum = np.abs(np.fft.rfft(one, 2 * n)) ** 2
            same = np.fft.irfft(spectrum)[: high + 2] / np.arange(n, n - high - 2, -1)
            if same[0] <= 0:
                continue
            lag = low + int(np.argmax(same[low : high + 1]))
            height = float(same[lag] / same[0])
            if self.scanner is not None and abs(lag - self.scanner / self.tick) < _SCANNER_TICKS:
                continue
            if height > best and same[lag - 1] <= same[lag] >= same[lag + 1]:
                best, course, period = height, one, lag
        if best < _RHYTHMIC:
            return
        swings = _swings(course if np.mean(course**3) >= 0 else -course, period)
        first = number + 1 - n
        beats = [(first + k + 0.5) * self.tick - self._swing for k in swings]
        self._template[:] = 0.0
        self._beats = 0
        for beat in beats:
            if self._end_tick(beat) <= number:
                self._learn(beat, number)
        gaps = [b - a for a, b in pairwise(beats)]
        if self._beats >= _LEAST_BEATS and gaps:
            self._rhythm.learn(beats)
            self._solve()


def _swings(course: F64, period: int) -> list[int]:
    """Find the greatest swing of every beat of about this period."""
    start = int(np.argmax(course[:period]))
    found = [start]
    while found[-1] + round(1.3 * period) < len(course):
        low = found[-1] + round(0.7 * period)
        found.append(low + int(np.argmax(course[low : found[-1] + round(1.3 * period) + 1])))
    return found


@compiled
def _follow(eeg: F64, level: F64, decay: float, course: F64) -> None:
    """Give the mean of a tick above the level, cut off, and let the level follow."""
    n = len(eeg)
    for c in range(len(level)):
        total = 0.0
        for i in range(n):
            total += eeg[i, c]
        above = total / n - level[c]
        level[c] += decay * above
        course[c] = min(max(above, -_LIMIT_V), _LIMIT_V)
