"""The newest rows of a numbered series."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from streamer.messages import Array

LARGEST = 2**53
"""No honest count comes that far."""
_FIRST_ROWS = 4096


class RowRing:
    """The newest ``capacity`` rows of a numbered series; memory is taken as rows come.

    Parameters
    ----------
    capacity : int
        Rows held.
    width : int
        Values per row.
    dtype : dtype
        Floating.
    """

    def __init__(self, capacity: int, width: int, dtype: DTypeLike = np.float64) -> None:
        if capacity < 1 or width < 1:
            raise ValueError(f"ring of {capacity} x {width}: both must be at least 1")
        self.capacity = capacity
        self.width = width
        self.end = 0
        """Number of the row after the newest."""
        self.empty = True
        self.missing = 0
        """Rows that were skipped and never came."""
        self.late = 0
        """Rows that came after a newer one and were put where they belong."""
        self.doubled = 0
        """Rows that came again."""
        self.expired = 0
        """Rows that came when their place was no longer held."""
        self._dtype = dtype
        self._begin = 0
        self._rows, self._held = self._make(min(capacity, _FIRST_ROWS))

    def _make(self, size: int) -> tuple[Array, Array]:
        return np.full((size, self.width), np.nan, self._dtype), np.zeros(size, dtype=bool)

    @property
    def first(self) -> int:
        """Number of the oldest row that can be held."""
        return max(self._begin, self.end - self.capacity)

    def holds(self, number: int) -> bool:
        """Tell whether row ``number`` is here."""
        return self.first <= number < self.end and bool(self._held[number % len(self._held)])

    def put(self, first: int, rows: Array) -> None:
        """Put rows ``first``, ``first + 1``, …; shape (n, width), else ValueError."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"rows of shape {rows.shape} given, expected (n, {self.width})")
        if abs(first) > LARGEST:
            raise ValueError(f"row {first} given, expected a number up to {LARGEST}")
        if self.empty:
            self.end = self._begin = first
            self.empty = False
        old = min(max(self.end - first, 0), len(rows))
        if old:
            self._fill(first, rows[:old])
        if old < len(rows):
            self._extend(first + old, rows[old:])

    def _fill(self, first: int, rows: Array) -> None:
        reach = max(first, self.end - self.capacity)
        if reach < self._begin:
            self._reserve(reach, self.end)
            self._begin = reach
        numbers = np.arange(first, first + len(rows))
        inside = numbers >= self.first
        self.expired += int(np.sum(~inside))
        at = numbers[inside] % len(self._held)
        new = ~self._held[at]
        self.doubled += int(np.sum(~new))
        self.late += int(np.sum(new))
        self.missing = max(0, self.missing - int(np.sum(new)))
        self._rows[at[new]] = rows[inside][new]
        self._held[at[new]] = True

    def _extend(self, first: int, rows: Array) -> None:
        end = first + len(rows)
        self._reserve(max(self._begin, end - self.capacity), end)
        size = len(self._held)
        skipped = first - self.end
        if skipped:
            self.missing += skipped
            at = np.arange(max(self.end, first - size), first) % size
            self._rows[at] = np.nan
            self._held[at] = False
        self.end = end
        kept = rows[-self.capacity :]
        at = np.arange(self.end - len(kept), self.end) % size
        self._rows[at] = kept
        self._held[at] = True

    def _reserve(self, begin: int, end: int) -> None:
        """Make room for rows ``begin`` to ``end``, at most as many as are ever held."""
        size = len(self._held)
        if end - begin <= size or size == self.capacity:
            return
        while size < min(end - begin, self.capacity):
            size = min(2 * size, self.capacity)
        rows, held = self._make(size)
        numbers = np.arange(max(self.first, self.end - len(self._held)), self.end)
        old = numbers % len(self._held)
        rows[numbers % size], held[numbers % size] = self._rows[old], self._held[old]
        self._rows, self._held = rows, held

    def between(self, first: int, end: int) -> Array:
        """Copy rows ``first`` to ``end`` (excluded) in order, shape (n, width); NaN where nothing is held."""
        made = np.full((max(0, end - first), self.width), np.nan, self._dtype)
        low, high = max(first, self.first, self.end - len(self._held)), min(end, self.end)
        if low < high:
            made[low - first : high - first] = self._rows[np.arange(low, high) % len(self._held)]
        return made

    def read(self) -> Array:
        """Copy all rows that can be held, oldest first, shape (n, width); NaN where nothing is held."""
        return self.between(self.first, self.end)
