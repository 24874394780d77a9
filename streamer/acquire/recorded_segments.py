"""Stretches of one recording with pauses between them: which sample was taken when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array


@dataclass(frozen=True)
class Segments:
    """Where the recording went on after a pause."""

    first: Array
    """First sample of each segment, shape (n_segments,); the first is 0."""
    late_s: F64
    """How much later the segment is than if nothing had been lost before it, s, shape (n_segments,); never falls."""
    problems: tuple[str, ...] = ()

    def times(self, samples: Array, sfreq: float) -> F64:
        """Give the times of samples, s after the first one."""
        segment = np.searchsorted(self.first, samples, "right") - 1
        return np.asarray(samples / sfreq + self.late_s[segment], np.float64)

    def samples(self, times: F64, sfreq: float) -> Array:
        """Give the sample that is nearest to each time, s; of a time in a pause, the first one after it."""
        # half a sample early is still the first sample of the segment
        begins = self.first / sfreq + self.late_s - 0.5 / sfreq
        segment = np.maximum(np.searchsorted(begins, times, "right") - 1, 0)
        at = np.rint((times - self.late_s[segment]) * sfreq).astype(np.int64)
        ends = np.append(self.first[1:], np.iinfo(np.int64).max)[segment]
        return np.minimum(at, ends)


WHOLE = Segments(np.zeros(1, np.int64), np.zeros(1))
"""A recording without a pause."""
