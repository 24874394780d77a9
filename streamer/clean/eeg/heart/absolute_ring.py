"""The last samples of a signal, kept so that chunking cannot matter."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64


class Ring:
    """The last samples, at places that depend on their absolute index alone.

    Everything is written twice, a length apart, so that any stretch is contiguous: products over it are made from the
    same numbers at the same places however the signal was chunked.
    """

    def __init__(self, length: int, width: int) -> None:
        self.length = length
        self.width = width
        self._data = np.zeros((2 * length, width))

    def put(self, first: int, rows: F64) -> None:
        """Write rows; at most ``length`` at once."""
        at = first % self.length
        n = len(rows)
        head = min(n, self.length - at)
        self._data[at : at + head] = rows[:head]
        self._data[at + self.length : at + self.length + head] = rows[:head]
        if head < n:
            self._data[: n - head] = rows[head:]
            self._data[self.length : self.length + n - head] = rows[head:]

    def last(self, stop: int, n: int) -> F64:
        """View the ``n`` rows before index ``stop``."""
        end = (stop - 1) % self.length + self.length + 1
        return self._data[end - n : end]
