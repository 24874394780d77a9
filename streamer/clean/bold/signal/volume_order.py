"""Where a volume lies in its run: a new series begins a new run, and some volumes come late."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.messages import BoldFrame, Volume


@dataclass(frozen=True, slots=True)
class Place:
    """Of one volume."""

    begins: bool
    """Whether it is the first of its series."""
    late: bool
    """Whether it comes after a later one of its series, or after a later series began."""
    current: bool
    """Whether it belongs to the newest series."""
    elapsed_s: float
    """From the run's first volume to this one, s; below 0 for a volume from before the first that came."""
    gone_s: float
    """From the newest volume before it to this one, s; a TR at least."""


class VolumeOrder:
    """Say of each volume where it lies."""

    def __init__(self) -> None:
        self._series: list[str] = []
        self._first = self._last = 0

    def __call__(self, frame: BoldFrame | Volume) -> Place:
        """Take the next volume, in the order in which they come."""
        begins = frame.series not in self._series
        if begins:
            self._series.append(frame.series)
            self._first = self._last = frame.index
        current = frame.series == self._series[-1]
        late = not current or (frame.index <= self._last and not begins)
        gone = max(1, frame.index - self._last)
        if not late:
            self._last = frame.index
        return Place(begins, late, current, (frame.index - self._first) * frame.tr, gone * frame.tr)
