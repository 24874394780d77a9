"""Motion and region signals, a row per volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.stores.rows import RowRing
from streamer.messages import F64

_LEAD = 10
"""Columns before the regions: time, received, FD, DVARS, six of motion."""


@dataclass(frozen=True, slots=True)
class VolumeTraces:
    """Per volume, oldest first; NaN where a volume is missing."""

    times: F64
    """SessionTime s, shape (n,)."""
    fd: F64
    """Framewise displacement, mm, shape (n,)."""
    dvars: F64
    """% of the mean intensity, shape (n,)."""
    motion: F64
    """mm, mm, mm, rad, rad, rad; shape (n, 6)."""
    regions: F64
    """% signal change, shape (n, n_regions)."""
    z: F64
    """The same against their own past, in standard deviations, shape (n, n_regions)."""

    def until(self, time: float) -> VolumeTraces:
        """Give those whose time is not after ``time``, and the missing ones among them."""
        known = np.flatnonzero(self.times <= time)
        end = int(known[-1]) + 1 if len(known) else 0
        return VolumeTraces(
            self.times[:end], self.fd[:end], self.dvars[:end], self.motion[:end], self.regions[:end], self.z[:end]
        )  # fmt: skip


class VolumeStore:
    """Region traces and motion of the last volumes.

    A series that starts anew (numbers run back) is put after the one before, so that the history stays.

    Parameters
    ----------
    n_regions : int
        Regions per volume; 0 when the session has none.
    capacity : int
        Volumes held.
    """

    def __init__(self, n_regions: int, capacity: int = 600) -> None:
        self.rows = RowRing(capacity, _LEAD + 2 * n_regions)
        self.n_regions = n_regions
        self.count = 0
        """Volumes taken."""
        self.revision = 0
        self._shift = 0
        self._received = -np.inf

    def put(
        self,
        index: int,
        acquired: float | None,
        received: float,
        regions: Iterable[float | None],
        motion: Sequence[float],
        fd: float,
        dvars: float | None = None,
        z: Sequence[float | None] = (),
    ) -> None:
        """Put one volume; ``motion`` is mm x 3, rad x 3, ``dvars`` in %, ``z`` like ``regions`` or nothing."""
        values = [np.nan if v is None else v for v in regions]
        if len(motion) != 6 or len(values) != self.n_regions:
            raise ValueError(
                f"volume {index} has {len(values)} regions and {len(motion)} motion values: "
                f"expected {self.n_regions} and 6"
            )
        scores = [np.nan if v is None else v for v in z] if len(z) == self.n_regions else [np.nan] * self.n_regions
        number = index + self._shift
        behind = not self.rows.empty and number < self.rows.end
        if behind and received > self._received and (self.rows.holds(number) or self._out_of_reach(number)):
            self._shift += self.rows.end - number
            number = self.rows.end
        if not self.rows.holds(number):
            self.count += 1
        when = received if acquired is None else acquired
        change = np.nan if dvars is None else dvars
        self.rows.put(number, np.array([[when, received, fd, change, *motion, *values, *scores]]))
        self._received = max(self._received, received)
        self.revision += 1

    def _out_of_reach(self, number: int) -> bool:
        return number < self.rows.end - self.rows.capacity

    def traces(self) -> VolumeTraces:
        """Give all volumes that are held, from the first to the newest."""
        rows = self.rows.read()
        held = np.flatnonzero(np.isfinite(rows[:, 1]))
        rows = rows[held[0] :] if len(held) else rows[:0]
        return VolumeTraces(
            times=rows[:, 0],
            fd=rows[:, 2],
            dvars=rows[:, 3],
            motion=rows[:, 4:_LEAD],
            regions=rows[:, _LEAD : _LEAD + self.n_regions],
            z=rows[:, _LEAD + self.n_regions :],
        )
