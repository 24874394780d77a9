"""EEG as it came, thinned out for looking at: least and largest of every stretch, so that no artefact is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from streamer.messages import F32, F64, ChannelInfo, EegChunk, Flag
from streamer.wire.preview_bytes import encode_preview

_HELD_S = 1.0
"""s for which a chunk waits until it is known where on the grid it lies; nothing is held back for so long."""


class SampleGrid(Protocol):
    """Knows what grid sample a sample of the source became."""

    def grid(self, sample: int, at: float) -> int | None:
        """Tell the grid index of the source's ``sample``, taken at about ``at`` (s); None where it has none (yet)."""
        ...

    def passed(self, sample: int) -> bool:
        """Whether the source has counted beyond ``sample`` already."""
        ...


class RawPreview:
    """Thin the incoming EEG out to pairs of samples on the grid of the cleaned EEG.

    A pair stands for two samples of the cleaned grid: the least and the largest of what came in their time, in the
    order in which they came. Samples are numbered so that a number means the same time as in the cleaned EEG. What a
    gap leaves of a pair is left out: the numbers jump.

    Parameters
    ----------
    grid : SampleGrid
        Of the timeline that takes each chunk before it is given here.
    sfreq : float
        Of the incoming EEG, Hz.
    factor : int
        Incoming samples per cleaned one.
    channels : sequence of ChannelInfo
        Of the incoming chunks; those of kind ``eeg`` are shown.
    delay_s : float
        Delay that is taken off the times of the cleaned EEG, s.
    span_s : float
        Length of a preview, s; at least a pair.
    """

    def __init__(
        self,
        grid: SampleGrid,
        sfreq: float,
        factor: int,
        channels: Sequence[ChannelInfo],
        delay_s: float,
        span_s: float,
    ) -> None:
        self._grid = grid
        self._sfreq = sfreq
        self._factor = factor
        self._shift = round(delay_s * sfreq)
        self._pair = 2 * factor
        self._span = self._pair * max(1, round(span_s * sfreq / self._pair))
        self._eeg = np.array([i for i, c in enumerate(channels) if c.kind == "eeg"], np.int64)
        self._waiting: deque[EegChunk] = deque()
        self._rows: list[F32] = []
        self._times: list[F64] = []
        self._start = self._next = 0
        self._flags = Flag.NONE

    def take(self, chunk: EegChunk) -> list[bytes]:
        """Take a chunk as it came; give the previews that it completes, as bytes (:mod:`streamer.wire.preview_bytes`).

        A chunk that the timeline still holds back waits for the next one.
        """
        if not len(chunk.data):
            return []
        self._waiting.append(chunk)
        out: list[bytes] = []
        while self._waiting:
            oldest = self._waiting[0]
            placed = self._grid.passed(oldest.first_sample + len(oldest.data) - 1)
            if not placed and chunk.received - oldest.received < _HELD_S:
                break
            self._waiting.popleft()
            for start, stop, at in self._runs(oldest, 0, len(oldest.data)):
                out += self._add(oldest, start, stop, at + self._shift)
        return out

    def _runs(self, chunk: EegChunk, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Cut where the grid does not count on: rows from, rows to, grid index of the first."""
        first, last = (self._place(chunk, row) for row in (start, stop - 1))
        if first is not None and last is not None and last - first == stop - 1 - start:
            yield start, stop, first
        elif stop - start > 1:
            middle = (start + stop) // 2
            yield from self._runs(chunk, start, middle)
            yield from self._runs(chunk, middle, stop)

    def _place(self, chunk: EegChunk, row: int) -> int | None:
        at = float(chunk.times[row])
        return self._grid.grid(chunk.first_sample + row, at if np.isfinite(at) else float(chunk.received))

    def _add(self, chunk: EegChunk, start: int, stop: int, at: int) -> list[bytes]:
        out: list[bytes] = []
        if not self._rows or at != self._next:
            out = self._flush()
            # numbers rise, whatever the source counts
            skip = max(0, self._next - at)
            skip += -(at + skip) % self._pair
            start, at = start + skip, at + skip
            if start >= stop:
                return out
            self._flags = Flag.GAP if self._next else Flag.NONE
            self._start = at
        self._rows.append(chunk.data[start:stop])
        self._times.append(chunk.times[start:stop])
        self._flags |= chunk.flags
        self._next = at + stop - start
        return out + (self._give() if self._next - self._start >= self._span else [])

    def _flush(self) -> list[bytes]:
        out = self._give()
        self._rows, self._times = [], []
        return out

    def _give(self) -> list[bytes]:
        """Give all whole pairs; the rest stays."""
        whole = (self._next - self._start) // self._pair * self._pair
        if not whole:
            return []
        rows, times = np.concatenate(self._rows), np.concatenate(self._times)
        preview = encode_preview(
            _extremes(rows[:whole], self._pair)[:, self._eeg] * np.float32(1e6),
            first_sample=self._start // self._factor,
            t0=self._time(times[:whole]),
            sfreq=self._sfreq / self._factor,
            flags=self._flags,
            bad=[],
            interpolated=[],
            hold_s=0.0,
            raw=True,
        )
        self._start += whole
        # copied: a few rows must not keep a whole preview alive
        self._rows, self._times, self._flags = [rows[whole:].copy()], [times[whole:].copy()], Flag.NONE
        return [preview]

    def _time(self, times: F64) -> float:
        """Tell when the last sample of the first stretch was taken: its place on the line through all stamps."""
        begun = times - np.arange(len(times)) / self._sfreq
        known = begun[np.isfinite(begun)]
        return (float(known.mean()) if len(known) else 0.0) + (self._factor - 1) / self._sfreq


def _extremes(rows: F32, stretch: int) -> F32:
    """Give two samples per stretch and channel, the one that came first first; NaN where none is a number."""
    pieces = rows.reshape(-1, stretch, rows.shape[1])
    low, high = pieces.min(axis=1), pieces.max(axis=1)
    # NaN and infinity show in the extremes
    if np.isfinite(low).all() and np.isfinite(high).all():
        rising = pieces.argmin(axis=1) < pieces.argmax(axis=1)
    else:
        known = np.isfinite(pieces)
        below, above = np.where(known, pieces, np.inf), np.where(known, pieces, -np.inf)
        some = known.any(axis=1)
        low, high = (np.where(some, x, np.nan) for x in (below.min(axis=1), above.max(axis=1)))
        rising = below.argmin(axis=1) < above.argmax(axis=1)
    out = np.empty((2 * len(pieces), rows.shape[1]), np.float32)
    out[0::2], out[1::2] = np.where(rising, low, high), np.where(rising, high, low)
    return out
