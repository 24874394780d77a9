"""A fixed-capacity ring of samples, addressed by absolute sample index.

Appending costs the same however large the ring is; gaps are explicit (NaN) and the newest ``capacity`` samples stay.
"""

from __future__ import annotations

import numpy as np

from streamer.messages import F32


class Ring:
    """The newest ``capacity`` samples of a stream.

    Parameters
    ----------
    capacity : int
        Samples kept.
    n_channels : int
        Width of a sample.
    """

    def __init__(self, capacity: int, n_channels: int) -> None:
        if capacity < 1 or n_channels < 1:
            raise ValueError(f"ring of {capacity} x {n_channels}: both must be at least 1")
        self.capacity = capacity
        self._data = np.full((capacity, n_channels), np.nan, dtype=np.float32)
        self.end = 0
        """Index of the sample after the newest."""
        self.start = 0
        """Index of the first sample ever appended."""

    @property
    def width(self) -> int:
        """Channels of a sample."""
        return self._data.shape[1]

    @property
    def oldest(self) -> int:
        """Index of the oldest sample that is still held."""
        return max(self.start, self.end - self.capacity)

    def append(self, data: F32, first_sample: int | None = None) -> None:
        """Append samples, shape (n_times, n_channels).

        ``first_sample`` beyond ``end`` leaves an explicit gap of NaN; before ``end`` it is refused with ValueError.
        """
        if first_sample is not None and first_sample != self.end:
            if self.start == self.end:
                self.start = self.end = first_sample
            elif first_sample < self.end:
                raise ValueError(f"samples from {first_sample} given, expected {self.end} or later")
            else:
                gap = first_sample - self.end
                self._write(np.full((min(gap, self.capacity), data.shape[1]), np.nan, np.float32), first_sample)
        self._write(data, self.end + len(data))

    def _write(self, data: F32, end: int) -> None:
        data = data[-self.capacity :]
        n = len(data)
        at = (end - n) % self.capacity
        head = min(n, self.capacity - at)
        self._data[at : at + head] = data[:head]
        self._data[: n - head] = data[head:]
        self.end = end

    def read(self, start: int, stop: int) -> F32:
        """Copy samples ``start`` to ``stop`` (excluded), shape (stop - start, n_channels); NaN where not held."""
        if stop < start:
            raise ValueError(f"range {start}..{stop} runs backwards")
        out = np.full((stop - start, self._data.shape[1]), np.nan, dtype=np.float32)
        lo, hi = max(start, self.oldest), min(stop, self.end)
        if lo < hi:
            at = lo % self.capacity
            head = min(hi - lo, self.capacity - at)
            out[lo - start : lo - start + head] = self._data[at : at + head]
            out[lo - start + head : hi - start] = self._data[: hi - lo - head]
        return out
