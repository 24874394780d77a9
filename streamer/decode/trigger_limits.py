"""How often triggers may come: a refractory time, a cap for any minute and one for the run."""

from __future__ import annotations

import math
from collections import deque

MINUTE_S = 60.0


class TriggerLimits:
    """Counts triggers.

    Where time jumps back, the refractory time starts anew and the caps still count every trigger.

    Parameters
    ----------
    refractory_s : float
        No other trigger for this long, s.
    per_minute, per_run : int
        At most.
    """

    def __init__(self, refractory_s: float, per_minute: int, per_run: int) -> None:
        self._refractory_s = refractory_s
        self._per_minute = per_minute
        self._per_run = per_run
        self._until = -math.inf
        self._fired: deque[float] = deque(maxlen=per_minute)
        self.n = 0
        """Triggers so far."""

    def refractory(self, at: float) -> bool:
        """Whether the last trigger was a moment ago."""
        return at < self._until

    def back(self, at: float) -> None:
        """Take note that time jumped back to ``at``: what counts from the old time must not come off early."""
        if self._until > -math.inf:
            self._until = at + self._refractory_s
        self._fired = deque((min(fired, at) for fired in self._fired), maxlen=self._fired.maxlen)

    def reasons(self, at: float) -> list[str]:
        """Say which caps are reached."""
        found: list[str] = []
        if sum(at - fired < MINUTE_S for fired in self._fired) >= self._per_minute:
            found.append(f"{self._per_minute} triggers in a minute")
        if self.n >= self._per_run:
            found.append(f"{self._per_run} triggers in the run")
        return found

    def fired(self, at: float) -> int:
        """Count a trigger; gives its number, from 0."""
        self._fired.append(at)
        self._until = at + self._refractory_s
        self.n += 1
        return self.n - 1
