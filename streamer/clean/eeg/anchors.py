"""Where volumes begin on the sample grid: triggers where they came, predictions where they have not (yet)."""

from __future__ import annotations

from bisect import insort
from collections import deque

TR_MIN_S = 0.2
TR_MAX_S = 8.0


class Anchors:
    """The beginnings of volumes, from triggers that may come late, double or not at all.

    The period is the mean of the last regular intervals; the next volume is predicted one period after the last one.
    When its trigger comes, before or after that sample, it confirms or corrects the prediction.

    Parameters
    ----------
    sfreq : float
        Hz.
    coast_max : int
        Predicted volumes in a row at most.
    """

    def __init__(self, sfreq: float, coast_max: int) -> None:
        self._tr_min, self._tr_max = round(TR_MIN_S * sfreq), round(TR_MAX_S * sfreq)
        self._coast_max = coast_max
        self._ahead: list[int] = []
        self._steps: deque[tuple[int, int]] = deque(maxlen=16)
        self.last: int | None = None
        """The newest confirmed trigger."""
        self.current: int | None = None
        """First sample of the volume that is passing."""
        self.confirmed = False
        """Whether the current volume has a trigger."""
        self.coasted = 0
        """Volumes begun by prediction since the newest trigger."""
        self.ignored = 0
        """Triggers too close to another, or too late to be of use."""

    @property
    def period(self) -> float | None:
        """Samples from volume to volume; None before two triggers."""
        if not self._steps:
            return None
        return sum(d for d, _ in self._steps) / sum(n for _, n in self._steps)

    @property
    def tolerance(self) -> float:
        """Samples by which a trigger may be off its place and still be regular."""
        period = self.period
        return 2.0 if period is None else max(2.0, 0.002 * period)

    @property
    def coasting(self) -> bool:
        """Whether the next volume may begin by prediction."""
        return self.period is not None and self.coasted < self._coast_max

    def announce(self, sample: int) -> None:
        """Keep a trigger whose sample has not passed yet."""
        if sample not in self._ahead:
            insort(self._ahead, sample)

    def next(self) -> int | None:
        """The sample at which the next volume begins; None when nothing is known of it."""
        ahead = self._ahead[0] if self._ahead else None
        if not self.coasting or self.last is None:
            return ahead
        assert self.period is not None
        predicted = self.last + round((self.coasted + 1) * self.period)
        return ahead if ahead is not None and ahead <= predicted + self.tolerance else predicted

    def due(self, sample: int) -> bool:
        """Take the announced trigger at ``sample`` off the list; False when there is none."""
        if self._ahead and self._ahead[0] <= sample:
            return self._ahead.pop(0) == sample
        return False

    def fits(self, sample: int) -> int | None:
        """Volumes from the newest trigger to this one; 0 when it is too close, None when it is off the beat."""
        if self.last is None:
            return None
        since = sample - self.last
        period = self.period
        if period is None:
            return 0 if since < self._tr_min else 1 if since <= self._tr_max else None
        if since < 0.5 * period:
            return 0
        n = round(since / period)
        regular = abs(since - n * period) <= self.tolerance and n <= self._coast_max + 2
        return n if regular else None

    def confirm(self, sample: int, n: int) -> None:
        """Take the trigger at ``sample``, ``n`` volumes after the one before, for the current volume."""
        if self.last is not None:
            self._steps.append((sample - self.last, n))
        self.last = self.current = sample
        self.confirmed = True
        self.coasted = 0

    def predict(self, sample: int) -> None:
        """Begin a volume at ``sample`` without a trigger."""
        self.current = sample
        self.confirmed = False
        self.coasted += 1

    def begin(self, sample: int) -> None:
        """Forget everything but that a volume begins at ``sample``."""
        self._steps.clear()
        self.last = self.current = sample
        self.confirmed = True
        self.coasted = 0

    def stop(self) -> None:
        """Begin no more volumes by prediction until a trigger comes."""
        self.coasted = max(self.coasted, self._coast_max)
