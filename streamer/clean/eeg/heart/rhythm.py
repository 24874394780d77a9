"""When the next heart beat is due."""

from __future__ import annotations

from collections import deque
from statistics import median

_REMEMBERED = 7
"""Intervals whose median is the usual one."""
_BREATH = 5
"""Intervals in about a breath."""
_EARLY = 0.85
"""An interval shorter than this, of the usual, ends with an ectopic beat."""
_SUDDEN = 0.25
"""Change of the interval, of it, that no rhythm makes from beat to beat."""
_GOES_ON = 4
"""So many such changes in a row are a new rhythm."""


class Rhythm:
    """The running interval between beats, and what follows from it.

    Parameters
    ----------
    shortest, longest : float
        Plausible intervals, samples.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self.shortest = shortest
        self.longest = longest
        self.last: float | None = None
        """The newest beat that was found, sample."""
        self.from_eeg = False
        """Whether that one was found in the EEG."""
        self.interval: float | None = None
        """Usual interval, samples."""
        self.implausible = 0
        """Intervals so far outside ``shortest`` to ``longest``."""
        self.expected: float | None = None
        """Where the next beat is due, sample."""
        self.skipped = 0
        """Beats since the last that were due and not found."""
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)
        self._strange: list[float] = []

    def learn(self, beats: list[float]) -> None:
        """Begin anew with these beats."""
        self._intervals.clear()
        self._strange.clear()
        self.last = None
        for beat in beats:
            self.add(beat)

    def add(self, beat: float, *, from_eeg: bool = False, learn: bool = True) -> None:
        """Take a beat that was found; the usual interval is learnt from it only with ``learn``."""
        last, self.last, self.from_eeg = self.last, beat, from_eeg
        gap = None if last is None else beat - last
        if gap is not None and not self.shortest <= gap <= self.longest:
            self.implausible += 1
            gap = None
        usual = self._next_interval()
        if gap is not None and learn:
            self._take(gap)
        due = self._next_interval()
        if due is None:
            return
        if gap is not None and usual is not None and gap < _EARLY * usual:
            # after an ectopic beat the next mostly comes when it would have come anyway
            due = usual + min(usual - gap, 0.5 * usual)
        self.expected = beat + due
        self.skipped = 0

    def lose_phase(self) -> None:
        """The rhythm goes on, but where in it we are is not known any more."""
        self.last = self.expected = None
        self.skipped = 0

    def skip(self) -> None:
        """The beat that was due did not come: expect the one after it."""
        assert self.expected is not None
        assert self.interval is not None
        self.expected += self.interval
        self.skipped += 1

    def _next_interval(self) -> float | None:
        """The mean of five: that is about a breath, with which the heart's interval swings."""
        if not self._intervals:
            return None
        recent = list(self._intervals)[-_BREATH:]
        return sum(recent) / len(recent)

    def _take(self, gap: float) -> None:
        usual = self.interval
        if usual is not None and self._intervals and abs(gap / usual - 1) > _SUDDEN:
            # ectopics and missed beats are not the rhythm, unless they go on
            self._strange.append(gap)
            if len(self._strange) < _GOES_ON:
                return
            self._intervals.clear()
            self._intervals.extend(self._strange)
        else:
            self._intervals.append(gap)
        self._strange.clear()
        self.interval = median(self._intervals)
