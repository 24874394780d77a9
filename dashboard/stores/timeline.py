"""Things that came, by their time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Timeline(Generic[T]):
    """What came in the last ``seconds``, in order of time.

    Parameters
    ----------
    seconds : float
        How far back it reaches, s.
    most : int
        Things held at most: the oldest go.
    """

    def __init__(self, seconds: float, most: int = 100_000) -> None:
        self.seconds = seconds
        self.most = most
        self.count = 0
        """Things that were taken."""
        self.revision = 0
        """Changes whenever something does."""
        self._times: list[float] = []
        self._items: list[T] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, at: float, item: T) -> None:
        """Put one; SessionTime s. NaN is refused with ValueError."""
        if at != at:  # noqa: PLR0124 (NaN is the only number that differs from itself)
            raise ValueError("a time that is not a number was given")
        if not self._times or at >= self._times[-1]:
            self._times.append(at)
            self._items.append(item)
        else:
            place = bisect_right(self._times, at)
            insort(self._times, at)
            self._items.insert(place, item)
        self.count += 1
        self.revision += 1
        gone = max(bisect_left(self._times, self._times[-1] - self.seconds), len(self._items) - self.most)
        # in one go now and then: taking the head off a list costs its length
        if gone > 64 + len(self._items) // 8 or len(self._items) > self.most:
            del self._times[:gone], self._items[:gone]

    @property
    def newest(self) -> T | None:
        """The last by time; None while there is none."""
        return self._items[-1] if self._items else None

    @property
    def newest_at(self) -> float | None:
        """Time of the last, s."""
        return self._times[-1] if self._times else None

    @property
    def first_at(self) -> float | None:
        """Time of the oldest, s."""
        return self._times[0] if self._times else None

    def at(self, time: float) -> T | None:
        """Give the last that is not after ``time``; None where there is none."""
        place = bisect_right(self._times, time)
        return self._items[place - 1] if place else None

    def between(self, begin: float, end: float) -> Sequence[T]:
        """Give all from ``begin`` to ``end``, both included."""
        return self._items[bisect_left(self._times, begin) : bisect_right(self._times, end)]

    def times(self, begin: float, end: float) -> Sequence[float]:
        """Give the times of what :meth:`between` gives."""
        return self._times[bisect_left(self._times, begin) : bisect_right(self._times, end)]
