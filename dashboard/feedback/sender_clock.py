"""The session's clock, as far as it can be told from messages."""

from __future__ import annotations

from collections import deque

HORIZON_S = 60.0
"""Older comparisons count no longer: clocks of two machines drift by some ms in that time."""
SAME_CLOCK_S = 0.5
"""Messages that are so young by our clock come from a machine whose clock is ours."""
AHEAD_S = 1.0
"""No honest message speaks of a time so far ahead."""


class SenderClock:
    """Tells session time from the comparison of when messages were made and when they came.

    The quickest message of the last minute gives the offset. On the sender's own machine there is none: both read the
    same LSL clock. Where the machines differ, session time is told late by the shortest way of a message, never by
    more.
    """

    def __init__(self) -> None:
        # later and smaller ones only: the first is the smallest of the horizon
        self._differences: deque[tuple[float, float]] = deque()

    def hear(self, arrival: float, ready: float) -> bool:
        """Compare a message; False, and nothing learned, when it comes from the future.

        Parameters
        ----------
        arrival : float
            When it came, s on our clock.
        ready : float
            When it was made, s on the sender's.
        """
        now = self.now(arrival)
        if now is not None and ready > now + AHEAD_S:
            return False
        difference = arrival - ready
        while self._differences and self._differences[-1][1] >= difference:
            self._differences.pop()
        self._differences.append((arrival, difference))
        return True

    def offset(self, local: float) -> float | None:
        """Give what our clock is ahead of the sender's, s; None while nothing is known."""
        while self._differences and local - self._differences[0][0] > HORIZON_S:
            self._differences.popleft()
        if not self._differences:
            return None
        least = self._differences[0][1]
        return 0.0 if 0.0 <= least <= SAME_CLOCK_S else least

    def now(self, local: float) -> float | None:
        """Tell session time, s, at ``local`` s on our clock; None while nothing is known."""
        offset = self.offset(local)
        return None if offset is None else local - offset
