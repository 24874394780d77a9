"""Which items a fault takes, and when it happens: by the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from streamer.rig.faults import RigFaults


class Draw:
    """Every fault draws from a generator of its own: turning one on leaves what the others take.

    Parameters
    ----------
    faults : RigFaults
    seed : int
    start_s, stop_s : float
        What is played, s on the recording's axis.
    """

    def __init__(self, faults: RigFaults, seed: int, start_s: float, stop_s: float) -> None:
        self.faults, self.start_s, self.stop_s = faults, start_s, stop_s
        self._seed = seed

    def rng(self, name: str) -> np.random.Generator:
        """Give a fault's own generator: the same from its beginning at each call."""
        return np.random.default_rng([self._seed, crc32(name.encode())])

    def since(self, name: str) -> float:
        """From when on a fault acts, s on the recording's axis."""
        return self.faults.at.get(name, -np.inf)

    def hits(self, name: str, at: Sequence[float]) -> list[bool]:
        """Tell which of the items of these times a fault takes."""
        drawn = self.rng(name).random(len(at)) < getattr(self.faults, name)
        return (drawn & (np.asarray(at) >= self.since(name))).tolist()

    def stretch(self, name: str) -> tuple[float, float] | None:
        """Give the beginning and end of a fault that lasts for a while, once; None when it is off or not played."""
        begin = self.moment(name)
        return None if begin is None else (begin, begin + getattr(self.faults, name))

    def moment(self, name: str) -> float | None:
        """When a fault happens that happens once, s on the recording's axis; None when it is off or not played."""
        drawn = self.start_s + float(self.rng(name).uniform(0.2, 0.8)) * (self.stop_s - self.start_s)
        at = self.faults.at.get(name, drawn)
        return at if getattr(self.faults, name) and self.start_s <= at < self.stop_s else None
