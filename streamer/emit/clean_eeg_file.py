"""The cleaned EEG as a BrainVision recording, with its markers and with what time each sample has.

::

    clean_eeg.vhdr .eeg .vmrk   the cleaned channels at their own rate, float32; markers at their cleaned samples
    clean_eeg.tsv               what turns samples of the file into session time, and the flags

The file holds the samples that there are, and nothing in their place where some were lost: a gap is a ``New Segment``
marker whose date tells how long it was. A recording knows no time of day, so the dates count from 1925-01-01 for the
first sample.

``clean_eeg.tsv`` has a row wherever a segment begins, the flags change, or the times leave the nominal rate by more
than 10 µs: ``sample`` (place in the file), ``grid`` (``CleanEeg.first_sample``: the count at the cleaned rate since the
stream was opened, lost samples included), ``time`` (s, session time) and ``flags``. The time of sample ``n`` is that of
the last row at or before it plus ``(n - sample) / sfreq``. It is the time at which the signal was at the electrodes:
the delay of the filters is taken off.

A marker stands at the cleaned sample that is nearest in time. Those without one, in a gap, before the first or after
the last cleaned sample, are left out and counted.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from streamer.emit.file_thread import FileThread
from streamer.errors import UsageError
from streamer.formats.brainvision import NEW_SEGMENT, BrainVisionWriter, FileMarker
from streamer.formats.brainvision_header import SEGMENT_DATE
from streamer.formats.nominal_date import nominal_date
from streamer.messages import F64, ChannelInfo, CleanEeg, Flag, Marker, Output
from streamer.wire import flag_names

CLEAN_EEG = "clean_eeg.vhdr"
CLEAN_EEG_TIMES = "clean_eeg.tsv"
TOLERANCE_S = 1e-5
"""How far the time that the table gives for a sample may be from its own, s."""

_KEPT_S = 60.0
_WAITING = 10_000


class CleanEegFile:
    """Writes cleaned EEG from a thread of its own.

    ``put`` and ``mark`` queue up to ``capacity`` records; one more is dropped and counted. Where the disk refuses a
    record the file ends; all that comes after is counted. A marker that comes more than a minute after its sample
    finds it no more.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    channels : sequence of ChannelInfo
        Of the cleaned EEG.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    capacity : int
    waits : bool
        A full queue makes ``put`` wait instead of dropping: for replays.

    Raises
    ------
    UsageError
        The directory holds cleaned EEG already: nothing is overwritten.
    """

    name = "clean_eeg"

    def __init__(
        self,
        directory: Path,
        channels: Sequence[ChannelInfo],
        sfreq: float,
        capacity: int = 8192,
        *,
        waits: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        vhdr = directory / CLEAN_EEG
        for path in (vhdr, vhdr.with_suffix(".eeg"), vhdr.with_suffix(".vmrk"), directory / CLEAN_EEG_TIMES):
            if path.exists():
                raise UsageError(f"{path} exists: expected a directory without results")
        self._placed = _Placed(sfreq)
        self._table = (directory / CLEAN_EEG_TIMES).open("xb", buffering=0)
        self._table.write(b"sample\tgrid\ttime\tflags\n")
        self._writer = BrainVisionWriter(vhdr, sfreq, channels, resolution=None)
        self._sfreq = sfreq
        self._next: int | None = None
        self._flags = Flag.NONE
        self._origin = 0.0
        self._row = (0, 0.0)
        self._broken = ""
        self._thread = FileThread[CleanEeg | Marker](self.name, self._store, self._finish, capacity, waits=waits)

    def put(self, item: Output) -> None:
        """Queue cleaned EEG; other outputs are passed over."""
        if isinstance(item, CleanEeg):
            self._thread.put("record", item)

    def mark(self, marker: Marker) -> None:
        """Queue a marker; its sample may have come, or come later."""
        self._thread.put("marker", marker)

    def losses(self) -> Mapping[str, int]:
        return self._thread.losses()

    @property
    def counts(self) -> Mapping[str, int]:
        """What was written; whole after ``finish``."""
        placed = self._placed
        return {"samples": self._writer.n_samples, "markers": placed.placed, "markers_outside": placed.outside}

    async def close(self) -> None:
        """Write out what is queued and close the files. May be called twice."""
        await asyncio.to_thread(self.finish)

    def finish(self) -> None:
        """Do what ``close`` does, from outside a loop."""
        self._thread.finish()

    def _store(self, item: CleanEeg | Marker) -> None:
        found = self._placed.mark(item) if isinstance(item, Marker) else self._clean(item)
        for sample, marker in found:
            self._writer.mark(FileMarker("Marker", " ".join(marker.label.split()), sample))

    def _clean(self, item: CleanEeg) -> list[tuple[int, Marker]]:
        if not len(item.data):
            return []
        start = self._writer.n_samples
        if self._broken:
            # where the last write ended is not known: more would be shifted against its channels
            raise OSError(self._broken)
        try:
            self._writer.append(item.data)
        except OSError as error:
            self._broken = f"{CLEAN_EEG} ends at sample {start}: {error}"
            raise
        if item.first_sample != self._next:
            self._segment(start, float(item.times[0]))
        self._rows(start, item)
        self._next, self._flags = item.first_sample + len(item.data), item.flags
        return self._placed.clean(start, item.times)

    def _segment(self, start: int, at: float) -> None:
        if self._next is None:
            self._origin = at
        date = nominal_date(max(0.0, at - self._origin)).strftime(SEGMENT_DATE)
        self._writer.mark(FileMarker(NEW_SEGMENT, "", start, date))

    def _rows(self, start: int, item: CleanEeg) -> None:
        at = 0
        if item.first_sample != self._next or item.flags != self._flags:
            self._write_row(start, item, 0)
            at = 1
        while at < len(item.times):
            sample, time = self._row
            line = time + (np.arange(start + at, start + len(item.times)) - sample) / self._sfreq
            off = np.flatnonzero(np.abs(item.times[at:] - line) > TOLERANCE_S)
            if not len(off):
                return
            at += int(off[0])
            self._write_row(start, item, at)
            at += 1

    def _write_row(self, start: int, item: CleanEeg, at: int) -> None:
        time = float(item.times[at])
        flags = "+".join(flag_names(item.flags)) or "none"
        self._table.write(f"{start + at}\t{item.first_sample + at}\t{time:.7f}\t{flags}\n".encode())
        self._row = (start + at, time)

    def _finish(self) -> None:
        self._placed.end()
        try:
            self._writer.close()
        finally:
            self._table.close()


class _Placed:
    """Finds the cleaned sample of each marker, whichever of the two comes first."""

    def __init__(self, sfreq: float) -> None:
        self._half = 0.5 / sfreq + 1e-6
        self._kept: deque[tuple[int, F64]] = deque()
        self._waiting: list[tuple[float, int, Marker]] = []
        self._count = 0
        self.placed = 0
        self.outside = 0

    def clean(self, start: int, times: F64) -> list[tuple[int, Marker]]:
        """Take the times of samples from ``start`` on; give the markers that they settle with their samples."""
        kept = self._kept
        kept.append((start, times))
        while kept and abs(times[-1] - kept[0][1][-1]) > _KEPT_S:
            kept.popleft()
        found: list[tuple[int, Marker]] = []
        while self._waiting and self._waiting[0][0] <= times[-1] + self._half:
            found += self._look_up(heapq.heappop(self._waiting)[2])
        return found

    def mark(self, marker: Marker) -> list[tuple[int, Marker]]:
        """Take a marker; give it with its sample if that is there."""
        if self._kept and marker.at <= self._kept[-1][1][-1] + self._half:
            return self._look_up(marker)
        if len(self._waiting) >= _WAITING or not np.isfinite(marker.at):
            self.outside += 1
            return []
        heapq.heappush(self._waiting, (float(marker.at), self._count, marker))
        self._count += 1
        return []

    def end(self) -> None:
        """Give up on the markers that still wait."""
        self.outside += len(self._waiting)
        self._waiting.clear()

    def _look_up(self, marker: Marker) -> list[tuple[int, Marker]]:
        best: tuple[float, int] | None = None
        for start, times in reversed(self._kept):
            if times[0] - self._half <= marker.at <= times[-1] + self._half:
                nearest = int(np.argmin(np.abs(times - marker.at)))
                distance = abs(float(times[nearest]) - float(marker.at))
                if best is None or distance < best[0]:
                    best = distance, start + nearest
            elif best is not None:
                break
        if best is None:
            self.outside += 1
            return []
        self.placed += 1
        return [(best[1], marker)]
