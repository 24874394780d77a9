"""Which sample began the volume that began at a time."""

from __future__ import annotations

from collections import deque


class VolumeStarts:
    """The newest volume triggers as they were handed on: time and sample."""

    def __init__(self) -> None:
        self._starts: deque[tuple[float, int]] = deque(maxlen=64)

    def add(self, time: float, sample: int) -> None:
        """Take a trigger at SessionTime ``time``, s, that lies at grid index ``sample``."""
        self._starts.append((time, sample))

    def at(self, onset: float, within: float) -> int | None:
        """Give the sample of the trigger nearest to ``onset``, s; None when none is within ``within``, s."""
        if not self._starts:
            return None
        time, sample = min(self._starts, key=lambda start: abs(start[0] - onset))
        return sample if abs(time - onset) <= within else None
