"""Which of the series that a scanner exports are runs of the session."""

from __future__ import annotations

import math

import numpy as np

from streamer.formats.dicom_header import DAY_S
from streamer.messages import ScannerTime, Volume


class RunChoice:
    """Passes on the volumes of the session's runs and leaves other series out.

    Without a number the first series is a run, and so is every later one of the same grid and repetition time that was
    acquired after it. Its first volume is held back until the second shows that it is a series, so that a single
    reference image starts no run; and a series that is made at the same time as the run (a filtered or corrected copy)
    is none.

    Parameters
    ----------
    number : int or None
        Number of the one series to take.
    """

    def __init__(self, number: int | None) -> None:
        self._number = number
        self._runs: list[str] = []
        self._left_out: dict[str, str] = {}
        self._newest: Volume | None = None
        self._held: Volume | None = None

    def take(self, volume: Volume) -> tuple[list[Volume], list[tuple[Volume, str]]]:
        """Decide on a volume that came.

        Returns
        -------
        passed : list of Volume
            Volumes to pass on: this one, one that was held back, or none.
        left_out : list of (Volume, str)
            Volumes that are left out for good, each with the reason.
        """
        series = volume.series
        if series in self._left_out:
            return [], [(volume, self._left_out[series])]
        if series in self._runs:
            return [volume], self._check_held(volume)
        if reason := self._unfit(volume):
            self._left_out[series] = reason
            return [], [(volume, reason)]
        if self._newest is None:
            self._begin(volume)
            return [volume], []
        held = self._held
        if held is None or held.series != series:
            self._held = volume
            return [], [] if held is None else [(held, "a single volume, and then another series")]
        both = sorted((held, volume), key=lambda each: each.index)
        self._begin(both[-1])
        return both, []

    def order(self, volume: Volume) -> tuple[int, int]:
        """Sort key: runs in the order in which they began, volumes by their numbers."""
        return self._runs.index(volume.series), volume.index

    def _begin(self, volume: Volume) -> None:
        self._runs.append(volume.series)
        self._newest, self._held = volume, None

    def _unfit(self, volume: Volume) -> str:
        if self._number is not None and volume.series.split("-")[0] != f"s{self._number}":
            return f"this run takes number {self._number}"
        newest = self._newest
        if newest is None:
            return ""
        if self._number is not None:
            return f"this run takes {newest.series}"
        size, run_size = (np.linalg.norm(each.affine[:3, :3], axis=0) for each in (volume, newest))
        if volume.data.shape != newest.data.shape or not np.allclose(size, run_size, rtol=1e-3):
            return f"grid {_grid(volume)}, the run {newest.series} has {_grid(newest)}"
        if not math.isclose(volume.tr, newest.tr, rel_tol=1e-3):
            return f"repetition time {volume.tr:g} s, the run {newest.series} has {newest.tr:g} s"
        later = _later(volume.onset, newest.onset)
        if later is not None and later < newest.tr / 2:
            return f"acquired not after the run {newest.series} but with or before it"
        return ""

    def _check_held(self, volume: Volume) -> list[tuple[Volume, str]]:
        newest, held = self._newest, self._held
        if newest is None or volume.series != newest.series or volume.index < newest.index:
            # of a run that is over, or late
            return []
        self._newest = volume
        if held is None:
            return []
        # the run goes on: what is held began beside it, unless its time says that it came after
        ahead = _later(held.onset, volume.onset)
        if ahead is not None and ahead >= volume.tr / 2:
            return []
        self._held = None
        reason = f"acquired beside the run {volume.series}"
        if ahead is not None:
            self._left_out[held.series] = reason
        return [(held, reason)]


def _later(a: ScannerTime | None, b: ScannerTime | None) -> float | None:
    # the times of day may lie on both sides of midnight
    if a is None or b is None:
        return None
    return (a - b + DAY_S / 2) % DAY_S - DAY_S / 2


def _grid(volume: Volume) -> str:
    size = np.linalg.norm(volume.affine[:3, :3], axis=0)
    return " x ".join(str(n) for n in volume.data.shape) + " of " + " x ".join(f"{mm:g}" for mm in size) + " mm"
