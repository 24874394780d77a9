"""Slices that come one by one, in any order, become volumes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.errors import FormatError
from streamer.formats.dicom_header import DAY_S
from streamer.formats.dicom_slice import Slice
from streamer.formats.dicom_stack import relative_times, stack_affine, stored_order
from streamer.messages import ScannerTime, SessionTime, Volume

_SAME_PLACE_MM = 0.05


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A volume of which slices are missing."""

    series: str
    volume: int
    """Acquisition number, from 0."""
    n_slices: int
    """Slices that came."""
    expected: int | None
    """Slices that it has; None where no header tells."""

    def __str__(self) -> str:
        return f"volume {self.volume + 1} of series {self.series}: {self.n_slices} of {self.expected or 'its'} slices"


class Assembler:
    """Collects slices until their volume is complete.

    Parameters
    ----------
    n_slices : int or None
        Slices of a volume, for series whose headers do not tell.

    Attributes
    ----------
    counts : Counter of str
        ``duplicates`` (a slice that had come before; it is dropped) and ``contradictions`` (one of them that differs).
    """

    def __init__(self, n_slices: int | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._n_slices = n_slices
        self._open: dict[tuple[str, int], list[Slice]] = {}
        self._done: set[tuple[str, int]] = set()

    def feed(self, piece: Slice) -> Volume | None:
        """Take a slice; give its volume when it is the last one that was missing.

        Raises
        ------
        FormatError
            The slices of a volume do not fit together. They are dropped.
        """
        key = (piece.series, piece.volume)
        if key in self._done:
            self.counts["duplicates"] += 1
            return None
        there = self._open.setdefault(key, [])
        for other in there:
            if abs(other.place - piece.place) < _SAME_PLACE_MM:
                self.counts["duplicates"] += 1
                self.counts["contradictions"] += not np.array_equal(other.pixels, piece.pixels)
                return None
        there.append(piece)
        if len(there) < (piece.n_slices or self._n_slices or math.inf):
            return None
        self._done.add(key)
        return join_slices(self._open.pop(key))

    def incomplete(self) -> tuple[Incomplete, ...]:
        """Volumes that wait for slices, in the order of their numbers."""
        return tuple(
            Incomplete(series, volume, len(there), there[0].n_slices or self._n_slices)
            for (series, volume), there in sorted(self._open.items())
        )

    def give_up(self, series: str, volume: int) -> None:
        """Forget a volume that waits for slices; slices of it that come later are dropped."""
        self._open.pop((series, volume), None)
        self._done.add((series, volume))


def join_slices(slices: Sequence[Slice], *, scaled: bool = True) -> Volume:
    """Put the slices of one volume together.

    Parameters
    ----------
    slices : sequence of Slice
        All slices of a volume, each once, in any order.
    scaled : bool
        Whether to apply the slope and intercept of the headers, which makes the data float32 unless they are 1 and 0;
        else the stored values are given.

    Returns
    -------
    volume : Volume
        In the storage order of dcm2niix: columns, rows bottom up, slices along rows x columns.

    Raises
    ------
    FormatError
        They differ in what is one for a volume, or are not evenly spaced.
    """
    ordered = sorted(slices, key=lambda piece: piece.place)
    first = ordered[0]
    name = f"volume {first.volume + 1} of series {first.series}"
    for other in ordered[1:]:
        same = (other.series, other.volume, other.tr) == (first.series, first.volume, first.tr)
        if not same or other.pixels.shape != first.pixels.shape or other.pixels.dtype != first.pixels.dtype:
            raise FormatError(f"{name}: its slices differ in grid, number or repetition time")
        if not np.allclose(other.orientation, first.orientation, atol=1e-3) or not np.allclose(
            other.spacing, first.spacing, rtol=1e-3
        ):
            raise FormatError(f"{name}: its slices differ in orientation or pixel size")
    across, down = first.orientation[:3], first.orientation[3:]
    rows = first.pixels.shape[0]
    positions = np.array([piece.position for piece in ordered])
    data = stored_order(np.stack([piece.pixels for piece in ordered]))
    if scaled and any((piece.slope, piece.intercept) != (1.0, 0.0) for piece in ordered):
        slopes = np.array([piece.slope for piece in ordered])
        data = (data * slopes + np.array([piece.intercept for piece in ordered])).astype(np.float32)
    onset, times = _times(ordered)
    return Volume(
        data=data,
        affine=stack_affine(across, down, first.spacing, positions, first.step, rows, name),
        series=first.series,
        index=first.volume,
        onset=onset,
        tr=first.tr,
        slice_times=times,
        received=SessionTime(math.nan),
    )


def _times(ordered: Sequence[Slice]) -> tuple[ScannerTime | None, tuple[float, ...]]:
    first = ordered[0]
    acquired = [piece.acquired for piece in ordered]
    if first.vendor != "GE":
        known = [value for value in acquired if value is not None]
        if len(known) < len(ordered):
            return None, ()
        if max(known) - min(known) > DAY_S / 2:
            known = [ScannerTime(value + DAY_S if value < DAY_S / 2 else value) for value in known]
        return ScannerTime(min(known) % DAY_S), relative_times(known, first.tr)
    # a GE header has the time at which the series began, and in some versions a timer that counts from there
    timers = [piece.timer for piece in ordered]
    measured = relative_times(timers, first.tr) if len(ordered) > 1 else ()
    began = first.acquired
    onset = None
    if began is not None and measured:
        onset = ScannerTime((began + min(value for value in timers if value is not None)) % DAY_S)
    return onset, _protocol_times(ordered) or measured


def _protocol_times(ordered: Sequence[Slice]) -> tuple[float, ...]:
    first, n_slices = ordered[0], len(ordered)
    if not first.order or not 0 <= first.pause < first.tr:
        return ()
    by_instance = sorted(range(n_slices), key=lambda k: ordered[k].instance)
    if first.order == "interleaved":
        by_instance = by_instance[::2] + by_instance[1::2]
    times = [0.0] * n_slices
    for rank, place in enumerate(by_instance):
        times[place] = round(rank * (first.tr - first.pause) / n_slices, 6)
    return tuple(times)
