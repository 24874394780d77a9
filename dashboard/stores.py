"""What the panels show, in arrays: numpy only, no Qt, no clock.

Everything is addressed by the number that the sender counted (sample, volume, window). So a gap is a row of NaN, a late
row lands where it belongs, and a row that comes twice is counted and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.messages import F64

LARGEST = 2**53
"""No honest count comes that far."""


class RowRing:
    """The newest ``capacity`` rows of a numbered series.

    Parameters
    ----------
    capacity : int
        Rows held.
    width : int
        Values per row.
    """

    def __init__(self, capacity: int, width: int) -> None:
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
        self._rows = np.full((capacity, width), np.nan)
        self._held = np.zeros(capacity, dtype=bool)

    def holds(self, number: int) -> bool:
        """Tell whether row ``number`` is here."""
        return self.end - self.capacity <= number < self.end and bool(self._held[number % self.capacity])

    def put(self, first: int, rows: F64) -> None:
        """Put rows ``first``, ``first + 1``, …; shape (n, width), else ValueError."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"rows of shape {rows.shape} given, expected (n, {self.width})")
        if abs(first) > LARGEST:
            raise ValueError(f"row {first} given, expected a number up to {LARGEST}")
        if self.empty:
            self.end = first
            self.empty = False
        old = min(max(self.end - first, 0), len(rows))
        if old:
            self._fill(first, rows[:old])
        if old < len(rows):
            self._extend(first + old, rows[old:])

    def _fill(self, first: int, rows: F64) -> None:
        numbers = np.arange(first, first + len(rows))
        inside = numbers >= self.end - self.capacity
        self.expired += int(np.sum(~inside))
        at = numbers[inside] % self.capacity
        new = ~self._held[at]
        self.doubled += int(np.sum(~new))
        self.late += int(np.sum(new))
        self.missing = max(0, self.missing - int(np.sum(new)))
        self._rows[at[new]] = rows[inside][new]
        self._held[at[new]] = True

    def _extend(self, first: int, rows: F64) -> None:
        skipped = first - self.end
        if skipped:
            self.missing += skipped
            at = np.arange(max(self.end, first - self.capacity), first) % self.capacity
            self._rows[at] = np.nan
            self._held[at] = False
        self.end = first + len(rows)
        kept = rows[-self.capacity :]
        at = np.arange(self.end - len(kept), self.end) % self.capacity
        self._rows[at] = kept
        self._held[at] = True

    def read(self) -> F64:
        """Copy all rows in order, newest last, shape (capacity, width); NaN where nothing is held."""
        return np.roll(self._rows, -(self.end % self.capacity), axis=0)


class EegStore:
    """The last seconds of cleaned EEG.

    Parameters
    ----------
    n_channels : int
        EEG channels.
    sfreq : float
        Hz, of the preview.
    seconds : float
        Length that is held.
    """

    def __init__(self, n_channels: int, sfreq: float, seconds: float = 10.0) -> None:
        if not sfreq > 0:
            raise ValueError(f"preview at {sfreq!r} Hz: expected above 0")
        self.sfreq = sfreq
        self.seconds = seconds
        self.rows = RowRing(max(2, round(seconds * sfreq)), n_channels)
        self.newest = np.nan
        """SessionTime of the end of the newest sample."""
        self.bad: frozenset[int] = frozenset()
        """Indices of bad channels."""
        self.revision = 0
        """Changes whenever the picture would."""

    def put(self, first_sample: int, t0: float, data_uv: Sequence[Sequence[float | None]]) -> None:
        """Put one preview; ``data_uv`` has one list per channel, µV, None where unknown."""
        data = np.array(data_uv, dtype=np.float64).T
        newer = self.rows.empty or first_sample + len(data) > self.rows.end
        self.rows.put(first_sample, data)
        if newer:
            self.newest = t0 + len(data) / self.sfreq
        self.revision += 1

    def traces(self, lag: float = 0.0) -> F64:
        """Give what the panel draws, µV, shape (n_times, n_channels); the last ``lag`` s are empty (NaN)."""
        data = self.rows.read()
        ahead = min(max(round(lag * self.sfreq), 0), len(data))
        if ahead:
            data = np.concatenate([data[ahead:], np.full((ahead, data.shape[1]), np.nan)])
        return data


@dataclass(frozen=True, slots=True)
class VolumeTraces:
    """Per volume, oldest first; NaN where a volume is missing."""

    times: F64
    """SessionTime s, shape (n,)."""
    fd: F64
    """Framewise displacement, mm, shape (n,)."""
    motion: F64
    """mm, mm, mm, rad, rad, rad; shape (n, 6)."""
    regions: F64
    """% signal change, shape (n, n_regions)."""


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
        self.rows = RowRing(capacity, 9 + n_regions)
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
    ) -> None:
        """Put one volume; ``motion`` is mm x 3, rad x 3."""
        values = [np.nan if v is None else v for v in regions]
        if len(motion) != 6 or len(values) != self.n_regions:
            raise ValueError(
                f"volume {index} has {len(values)} regions and {len(motion)} motion values: "
                f"expected {self.n_regions} and 6"
            )
        number = index + self._shift
        behind = not self.rows.empty and number < self.rows.end
        if behind and received > self._received and (self.rows.holds(number) or self._out_of_reach(number)):
            self._shift += self.rows.end - number
            number = self.rows.end
        if not self.rows.holds(number):
            self.count += 1
        when = received if acquired is None else acquired
        self.rows.put(number, np.array([[when, received, fd, *motion, *values]]))
        self._received = max(self._received, received)
        self.revision += 1

    def _out_of_reach(self, number: int) -> bool:
        return number < self.rows.end - self.rows.capacity

    def traces(self) -> VolumeTraces:
        """Give all volumes that are held, from the first to the newest."""
        rows = self.rows.read()
        held = np.flatnonzero(np.isfinite(rows[:, 1]))
        rows = rows[held[0] :] if len(held) else rows[:0]
        return VolumeTraces(times=rows[:, 0], fd=rows[:, 2], motion=rows[:, 3:9], regions=rows[:, 9:])


@dataclass(frozen=True, slots=True)
class Mark:
    """A trigger that fired or was held back."""

    at: float
    """SessionTime s that it speaks of."""
    fired: bool
    text: str


class PredictionStore:
    """Class probabilities of the last seconds, with triggers and vetoes.

    Parameters
    ----------
    classes : sequence of str
        In the order of the model.
    tick_hz : float
        Decisions per second.
    seconds : float
        Length that is held.
    """

    def __init__(self, classes: Sequence[str], tick_hz: float, seconds: float = 60.0) -> None:
        if not tick_hz > 0:
            raise ValueError(f"{tick_hz!r} decisions per second: expected above 0")
        self.classes = tuple(classes)
        self.seconds = seconds
        self.rows = RowRing(max(2, round(seconds * tick_hz)), 1 + len(self.classes))
        self.marks: dict[str, Mark] = {}
        self.triggers = 0
        self.vetoes = 0
        self.revision = 0

    def put(self, seq: int, about: float, probabilities: dict[str, float]) -> None:
        """Put one prediction; a class that it does not name is NaN."""
        values = [probabilities.get(name, np.nan) for name in self.classes]
        self.rows.put(seq, np.array([[about, *values]]))
        self.revision += 1

    def mark(self, key: str, mark: Mark) -> None:
        """Note a trigger or veto once per ``key``."""
        if key in self.marks:
            return
        self.marks[key] = mark
        self.triggers += mark.fired
        self.vetoes += not mark.fired
        # a veto comes at every tick while its reason lasts: hold no more than a picture can show
        while len(self.marks) > self.rows.capacity:
            del self.marks[next(iter(self.marks))]
        self.revision += 1

    def traces(self) -> tuple[F64, F64]:
        """Give times, shape (n,), and probabilities, shape (n, n_classes); NaN where one is missing."""
        rows = self.rows.read()
        return rows[:, 0], rows[:, 1:]
