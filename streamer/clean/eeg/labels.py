"""What is known of samples beside their values, kept while a stage holds the values back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from streamer.messages import F64, Array


@dataclass(frozen=True, slots=True)
class Labels:
    """Consecutive samples of the decimated grid."""

    times: F64
    """SessionTime s, shape (n,)."""
    flags: Array
    """`Flag` as int, shape (n,)."""
    clipped: Array | None
    """Whether a channel is at the rail, bool, shape (n, n_eeg); None when none is."""
    still: Array | None
    """Whether a channel holds one raw value, bool, shape (n, n_eeg); None when none does."""

    def part(self, start: int, stop: int) -> Labels:
        """Cut out samples ``start`` to ``stop`` (excluded)."""
        clipped, still = (None if what is None else what[start:stop] for what in (self.clipped, self.still))
        return Labels(self.times[start:stop], self.flags[start:stop], clipped, still)


class LabelQueue:
    """Labels by absolute index, in order: put when samples go into a stage, taken when they come out."""

    def __init__(self, n_eeg: int) -> None:
        self._n_eeg = n_eeg
        self._parts: deque[tuple[int, Labels]] = deque()

    def put(self, first: int, labels: Labels) -> None:
        """Keep the labels of samples ``first`` onwards."""
        if len(labels.times):
            self._parts.append((first, labels))

    def take(self, first: int, n: int) -> Labels:
        """Give the labels of samples ``first`` to ``first + n`` (excluded); what lies before is dropped.

        Raises
        ------
        ValueError
            Samples are asked for that were not put, or were taken before.
        """
        if not n:
            return Labels(np.empty(0), np.empty(0, np.int64), None, None)
        if self._parts and self._parts[0][0] == first and len(self._parts[0][1].times) == n:
            # the usual case, that what went in comes out
            return self._parts.popleft()[1]
        found: list[Labels] = []
        at, end = first, first + n
        while at < end and self._parts:
            start, labels = self._parts[0]
            stop = start + len(labels.times)
            if stop <= at:
                self._parts.popleft()
                continue
            if start > at:
                break
            upto = min(stop, end)
            found.append(labels.part(at - start, upto - start))
            if upto == stop:
                self._parts.popleft()
            at = upto
        if at < end:
            raise ValueError(f"labels of samples {first} to {end} asked for, those from {at} on are not there")
        return found[0] if len(found) == 1 else self._joined(found)

    def _joined(self, found: list[Labels]) -> Labels:
        return Labels(
            np.concatenate([part.times for part in found]),
            np.concatenate([part.flags for part in found]),
            self._stacked([(len(part.times), part.clipped) for part in found]),
            self._stacked([(len(part.times), part.still) for part in found]),
        )

    def _stacked(self, parts: list[tuple[int, Array | None]]) -> Array | None:
        if all(part is None for _, part in parts):
            return None
        return np.concatenate([np.zeros((n, self._n_eeg), bool) if part is None else part for n, part in parts])
