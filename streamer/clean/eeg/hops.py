"""Re-block what arrives to whole hops on an absolute grid, so that chunking cannot matter downstream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.messages import F32, F64, EegChunk, Flag


@dataclass(frozen=True, slots=True)
class Hops:
    """Consecutive whole hops."""

    first: int
    """Grid index of the first sample: a multiple of the hop."""
    data: F32
    """V, shape (n_hops * hop, n_channels), C-contiguous; the chunk's own where that is whole hops."""
    times: F64
    """SessionTime s, shape (n_hops * hop,)."""
    flags: Flag
    """Of the chunks that these samples came in, but for ``GAP`` and ``CLOCK_STEP``."""
    after: Flag
    """``GAP`` and ``CLOCK_STEP`` when that lies just before ``first``."""


_BREAKS = Flag.GAP | Flag.CLOCK_STEP


class HopBlocks:
    """Cut grid chunks into hops that begin at multiples of ``hop``.

    A gap (``first_sample`` jumps, or the chunk is flagged ``GAP``) drops the unfinished hop; the next one begins at the
    first multiple of ``hop`` after it.

    Parameters
    ----------
    hop : int
        Samples per hop.
    n_channels : int
        Width of a sample.
    """

    def __init__(self, hop: int, n_channels: int) -> None:
        self.hop = hop
        self._rest = np.empty((hop, n_channels), np.float32)
        self._rest_times = np.empty(hop)
        self._held = 0
        self._skip = 0
        self._next: int | None = None
        self._flags = Flag.NONE
        self._after = Flag.NONE

    def __call__(self, chunk: EegChunk) -> Hops | None:
        """Take a chunk on the grid; give the hops that it completes, if any.

        Raises
        ------
        ValueError
            If the chunk's samples lie before those that came already, or have another number of channels.
        """
        data, times, first = chunk.data, chunk.times, chunk.first_sample
        if data.ndim != 2 or data.shape[1] != self._rest.shape[1]:
            raise ValueError(f"EEG chunk of shape {data.shape}: expected (n_times, {self._rest.shape[1]})")
        if self._next is not None and first < self._next:
            raise ValueError(f"EEG samples from {first} given, expected {self._next} or later")
        if self._next is None or first > self._next or (chunk.flags is not Flag.NONE and chunk.flags & Flag.GAP):
            self._restart(first, lost=self._next is not None)
        if chunk.flags is not Flag.NONE:
            self._after |= chunk.flags & _BREAKS
            self._flags |= chunk.flags & ~_BREAKS
        self._next = first + len(data)
        if self._skip:
            skip = min(self._skip, len(data))
            self._skip -= skip
            data, times, first = data[skip:], times[skip:], first + skip
        return self._cut(data, times, first)

    def _restart(self, first: int, *, lost: bool) -> None:
        self._held = 0
        self._skip = -first % self.hop
        self._flags = Flag.NONE
        if lost:
            self._after |= Flag.GAP

    def _cut(self, data: F32, times: F64, first: int) -> Hops | None:
        total = self._held + len(data)
        whole = total - total % self.hop
        start = first - self._held
        if not whole:
            self._keep(data, times)
            return None
        held, taken = self._held, whole - self._held
        if held or not data.flags.carray:
            out, out_times = np.empty((whole, data.shape[1]), np.float32), np.empty(whole)
            out[:held], out_times[:held] = self._rest[:held], self._rest_times[:held]
            out[held:], out_times[held:] = data[:taken], times[:taken]
        else:
            out, out_times = data[:taken], times[:taken]
        hops = Hops(start, out, out_times, self._flags, self._after)
        self._held, self._after = 0, Flag.NONE
        if taken < len(data):
            self._keep(data[taken:], times[taken:])
        else:
            self._flags = Flag.NONE
        return hops

    def _keep(self, data: F32, times: F64) -> None:
        stop = self._held + len(data)
        self._rest[self._held : stop], self._rest_times[self._held : stop] = data, times
        self._held = stop
