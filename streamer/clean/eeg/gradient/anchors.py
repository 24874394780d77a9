"""Which trigger begins which volume: triggers may come late, double or not at all."""

from __future__ import annotations

from bisect import insort
from collections import deque

TR_MIN_S = 0.2
TR_MAX_S = 8.0


class Anchors:
    """The train of volume triggers.

    The period is the mean of the last regular intervals; the next volume is expected one period after the last one, or
    where `expected` says. When its trigger comes, before or after that sample, it confirms or corrects what was
    expected.

    Parameters
    ----------
    sfreq : float
        Hz.
    coast_max : int
        Volumes in a row that may begin without a trigger.
    """

    def __init__(self, sfreq: float, coast_max: int) -> None:
        self._tr_min, self._tr_max = round(TR_MIN_S * sfreq), round(TR_MAX_S * sfreq)
        self._coast_max = coast_max
        self._ahead: list[int] = []
        self._steps: deque[tuple[int, int]] = deque(maxlen=16)
        self.period: float | None = None
        """Samples from volume to volume; None before two triggers."""
        self.last: int | None = None
        """The newest confirmed trigger."""
        self.coasted = 0
        """Volumes begun without a trigger since the newest one."""
        self.expected: float | None = None
        """Where the next volume is thought to begin, samples; None where only the triggers tell."""
        self.slack = 1.5
        """Samples by which a trigger may be off that place and still mean it."""
        self.ignored = 0
        """Triggers too close to another, off the beat while the sequence goes on, or too late to be of use."""

    @property
    def tolerance(self) -> float:
        """Samples by which a trigger may be off its place and still be regular."""
        period = self.period
        return 2.0 if period is None else max(2.0, 0.002 * period)

    @property
    def coasting(self) -> bool:
        """Whether the next volume may begin without a trigger."""
        return self.period is not None and self.coasted < self._coast_max

    def announce(self, sample: int) -> None:
        """Keep a trigger whose sample has not passed yet."""
        if sample not in self._ahead:
            insort(self._ahead, sample)

    def next(self) -> int | None:
        """The sample at which the next volume begins; None when nothing is known of it."""
        ahead = self._ahead[0] if self._ahead else None
        if not self.coasting or self.last is None or self.period is None:
            return ahead
        place = self.last + (self.coasted + 1) * self.period if self.expected is None else self.expected
        if ahead is not None and ahead <= place + self.tolerance and abs(ahead - place) > self.slack:
            return ahead
        return round(place)

    def due(self, sample: int) -> int | None:
        """Take the announced trigger that belongs to the volume beginning at ``sample`` off the list."""
        if self._ahead and self._ahead[0] <= sample + self.slack + 1.0:
            return self._ahead.pop(0)
        return None

    def fits(self, sample: int, *, loose: bool) -> int | None:
        """Volumes from the newest trigger to this one; 0 when it is too close, None when it is off the beat.

        With ``loose``, samples may have been lost without being counted: no place is off the beat.
        """
        if self.last is None:
            return None
        since = sample - self.last
        period = self.period
        if period is None:
            return 0 if since < self._tr_min else 1 if since <= self._tr_max else None
        if since < 0.5 * period:
            return 0
        n = max(1, round(since / period))
        regular = loose or abs(since - n * period) <= self.tolerance
        return n if regular and n <= self._coast_max + 2 else None

    def confirm(self, sample: int, n: int, *, counted: bool) -> None:
        """Take the trigger at ``sample``, ``n`` volumes after the one before, for the present volume."""
        if self.last is not None and counted:
            self._steps.append((sample - self.last, n))
            self.period = sum(d for d, _ in self._steps) / sum(m for _, m in self._steps)
        self.last = sample
        self.coasted = 0

    def coast(self) -> None:
        """Begin a volume without a trigger."""
        self.coasted += 1

    def begin(self, sample: int) -> None:
        """Forget everything but that a volume begins at ``sample``."""
        self._steps.clear()
        self.period = None
        self.last = sample
        self.coasted = 0
        self.expected = None

    def stop(self) -> None:
        """Begin no more volumes until a trigger comes."""
        self.coasted = max(self.coasted, self._coast_max)
