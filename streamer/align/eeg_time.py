"""The EEG on its grid: gaps found, samples counted, times without jitter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field

from streamer.align.clock_fit import ClockFit
from streamer.align.duplicates import Duplicates
from streamer.align.sample_map import SampleMap
from streamer.contracts import Settings
from streamer.messages import F32, F64, Array, EegChunk, Flag, SessionTime

_SILENCE_S = 1.0


class EegTimelineSettings(Settings):
    """How gaps are told from jitter, and how time stamps are smoothed."""

    gap_min_s: float = Field(default=0.004, gt=0)
    """While stamps jitter, a gap is a jump of at least this and four times the jitter, s; while they are steady, half a
    sample is enough."""
    confirm_s: float = Field(default=0.05, gt=0)
    """A jump must last this long to be a gap, s; samples after it are held back meanwhile."""
    steady_s: float = Field(default=2.0, gt=0)
    """Stamps without a jump for this long are steady, s."""
    clock_step_s: float = Field(default=10.0, gt=0)
    """A jump beyond this without as long a silence is a new clock, not lost samples, s."""
    offset_step_s: float = Field(default=0.05, gt=0)
    """A jump of the clock offset beyond this starts the fit anew, s."""
    half_time_s: float = Field(default=90.0, gt=0)
    """Half-time of the fit of times, s."""
    warm_residual_s: float = Field(default=0.001, gt=0)
    """The fit is warming until its expected error is below this, s."""


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Samples that are not on the grid yet."""

    stream: str
    data: F32
    raw: F64
    times: F64
    heard: F64
    """When each came, s."""
    source: Array
    """The source's number of each."""
    received: SessionTime
    flags: Flag

    def take(self, rows: Array | slice) -> _Buffer:
        """Keep some of the samples."""
        return _Buffer(
            self.stream,
            self.data[rows],
            self.raw[rows],
            self.times[rows],
            self.heard[rows],
            self.source[rows],
            self.received,
            self.flags,
        )

    def then(self, after: _Buffer) -> _Buffer:
        """Put what came later behind."""
        return _Buffer(
            after.stream,
            np.concatenate([self.data, after.data]),
            np.concatenate([self.raw, after.raw]),
            np.concatenate([self.times, after.times]),
            np.concatenate([self.heard, after.heard]),
            np.concatenate([self.source, after.source]),
            after.received,
            self.flags | after.flags,
        )


@dataclass(frozen=True, slots=True)
class _Steps:
    """How far neighbouring samples are from being one sample apart, s; and where that matters."""

    raw: F64
    offset: F64
    odd: Array


class EegTimeline:
    """Put EEG chunks on the sample grid and give them times without jitter.

    The grid counts every sample since the stream was opened, lost ones too: ``first_sample`` of what comes out jumps
    over a gap, and ``samples`` tells what grid sample a sample of the source became. The decisions are made sample by
    sample, from the source's count and the sender's own stamps; a change of the clock offset alone makes no gap.

    - Samples that the source counted and never handed over are lost: exactly as many.
    - A step of the stamps is where two neighbours are not one sample apart. A step forward beyond the limit is a gap
      when the stamps stay ahead of the fitted line for ``confirm_s``; when they fall back, it was jitter of the sender.
      The limit is half a sample beyond the nominal distance while the stamps are steady, else ``gap_min_s`` and four
      times the jitter. A smaller loss inside jitter cannot be seen; the fit follows it.
    - A step backwards that lasts is a new clock: ``CLOCK_STEP``, and the grid goes on without counting anything lost.
      So is any step beyond ``clock_step_s``, flagged ``GAP`` besides, unless the stream was silent for as long: then
      it is a gap, however long. A new clock whose offset is known already loses what the offset says.
    - A sample whose stamp and values were seen within the last second is a duplicate and dropped.

    Times are a recursive least-squares line through the stamps (`ClockFit`). It bridges a gap, because lost samples are
    counted, with its level loosened; a clock step starts it anew. What leaves while it has not settled is flagged
    ``WARMING``.

    Parameters
    ----------
    settings : EegTimelineSettings
    sfreq : float
        Nominal rate, Hz.
    block : int
        ``WARMING`` ends at a multiple of so many samples.
    """

    def __init__(self, settings: EegTimelineSettings, sfreq: float, block: int = 1) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._period = 1.0 / sfreq
        self._confirm = max(2, round(settings.confirm_s * sfreq))
        self._steady = round(settings.steady_s * sfreq)
        self._raw_fit = ClockFit(sfreq, settings.half_time_s)
        self._fit = ClockFit(sfreq, settings.half_time_s, settled_s=settings.warm_residual_s, block=block)
        self._next: int | None = None
        self._expected = 0
        self._raw_last = self._times_last = self._heard_last = 0.0
        self._unsteady_at = 0
        self._held: _Buffer | None = None
        self._flags = Flag.NONE
        self._duplicates = Duplicates()
        self.samples = SampleMap()
        """From the source's numbers to the grid's."""
        self.lost_samples = 0
        """Samples that were lost, by the source's count or the stamps."""
        self.duplicates = 0
        """Samples that came twice and were dropped."""
        self.gaps = 0
        """Gaps so far."""
        self.clock_steps = 0
        """Clock steps so far."""

    @property
    def residual_s(self) -> float:
        """Expected error of the fitted times, s."""
        return self._fit.residual_s

    @property
    def jitter_s(self) -> float:
        """Root mean square of the stamps against the fit, s."""
        return self._raw_fit.jitter_s

    @property
    def warming(self) -> bool:
        """Whether the fit of times has not settled."""
        return self._next is None or not self._fit.settled(self._next)

    def __call__(self, chunk: EegChunk) -> list[EegChunk]:
        """Take a chunk as it came; give what of it is on the grid now, in one piece per stretch of equal flags.

        Raises
        ------
        ValueError
            If data and stamps differ in length.
        """
        if not len(chunk.data) == len(chunk.times_raw) == len(chunk.times):
            raise ValueError(
                f"EEG chunk with {len(chunk.data)} samples, {len(chunk.times_raw)} raw stamps and {len(chunk.times)}"
                " times: expected as many of each"
            )
        if not len(chunk.data):
            return []
        buffer = self._buffer(chunk)
        if self._next is None:
            self._start(chunk.first_sample, buffer)
        out: list[EegChunk] = []
        missed, self._expected = chunk.first_sample - self._expected, chunk.first_sample + len(chunk.data)
        if missed > 0:
            self._count_missed(missed, buffer, out)
        held, self._held = self._held, None
        if held is not None:
            buffer = held.then(buffer)
        fresh = self._duplicates.fresh(buffer.raw, buffer.data)
        if fresh is not None:
            self.duplicates += int((~fresh).sum())
            buffer = buffer.take(fresh)
        if len(buffer.raw):
            self._drain(buffer, out)
        return out

    def _start(self, first: int, buffer: _Buffer) -> None:
        self._next = self._expected = self._unsteady_at = first
        self._raw_fit.restart(first, float(buffer.raw[0]))
        self._fit.restart(first, float(buffer.times[0]))
        self._raw_last = float(buffer.raw[0]) - self._period
        self._times_last = float(buffer.times[0]) - self._period
        self._heard_last = float(buffer.received)

    def _buffer(self, chunk: EegChunk) -> _Buffer:
        raw, times = self._filled(chunk.times_raw, chunk.times)
        n = len(raw)
        source = np.arange(chunk.first_sample, chunk.first_sample + n)
        heard = np.full(n, float(chunk.received))
        return _Buffer(chunk.stream, chunk.data, raw, times, heard, source, chunk.received, chunk.flags)

    def _filled(self, raw: F64, times: F64) -> tuple[F64, F64]:
        """Count stamps that are not numbers on from the one before."""
        bad = ~(np.isfinite(raw) & np.isfinite(times))
        if not bad.any():
            return raw, times
        raw, times = raw.copy(), times.copy()
        before = (
            (self._raw_last, self._times_last) if self._held is None else (self._held.raw[-1], self._held.times[-1])
        )
        for i in np.flatnonzero(bad):
            last = before if i == 0 else (raw[i - 1], times[i - 1])
            raw[i], times[i] = last[0] + self._period, last[1] + self._period
        return raw, times

    def _count_missed(self, missed: int, buffer: _Buffer, out: list[EegChunk]) -> None:
        """Take in that the source counted samples which it never handed over."""
        held, self._held = self._held, None
        if held is not None:
            self._drain(held, out, final=True)
        span = missed * self._period
        gone = (float(buffer.raw[0]) - self._raw_last, float(buffer.heard[0]) - self._heard_last)
        if min(abs(span - s) for s in gone) > self.settings.clock_step_s:
            # neither stamps nor arrival bear it out: the source began to count at another number
            return
        self._gap(missed)
        self._raw_last += span
        self._times_last += span
        self._heard_last += span

    @property
    def _grid(self) -> int:
        assert self._next is not None
        return self._next

    def _gap(self, lost: int) -> None:
        self._next = self._grid + lost
        self.lost_samples += lost
        self.gaps += 1
        self._flags |= Flag.GAP

    def _drain(self, buffer: _Buffer, out: list[EegChunk], *, final: bool = False) -> None:
        raw = _steps(buffer.raw, self._raw_last) - self._period
        offset = _steps(buffer.times, self._times_last) - self._period - raw
        odd = (np.abs(raw) > 0.25 * self._period) | (np.abs(offset) > self.settings.offset_step_s)
        done = 0
        if odd.any():
            steps = _Steps(raw, offset, np.flatnonzero(odd))
            for at in steps.odd.tolist():
                self._emit(buffer, done, at, out)
                done = at
                if not self._judge(buffer, at, steps, final=final):
                    self._held = buffer.take(slice(at, None))
                    return
        self._emit(buffer, done, len(buffer.raw), out)

    def _judge(self, buffer: _Buffer, at: int, steps: _Steps, *, final: bool) -> bool:
        """Say what the step before sample ``at`` of the buffer is; False while it cannot be said."""
        s = self.settings
        step, offset = float(steps.raw[at]), float(steps.offset[at])
        silent = float(buffer.heard[at]) - (float(buffer.heard[at - 1]) if at else self._heard_last)
        borne_out = abs(step + offset - silent) <= _SILENCE_S
        new_offset = abs(offset) > s.offset_step_s
        if abs(step) > 0.25 * self._period:
            if new_offset and borne_out and abs(step) > s.offset_step_s:
                self._new_clock(buffer, at, step + offset)
                return True
            if abs(step) > s.clock_step_s and not borne_out:
                self._clock_step(buffer, at, Flag.GAP)
                return True
            if not self._judge_step(buffer, at, steps, final=final):
                return False
        if new_offset:
            self._clock_step(buffer, at, Flag.NONE, raw=False)
        return True

    def _judge_step(self, buffer: _Buffer, at: int, steps: _Steps, *, final: bool) -> bool:
        step = float(steps.raw[at])
        limit = 0.5 * self._period
        if self._grid - self._unsteady_at < self._steady:
            limit = max(limit, self.settings.gap_min_s) + 4 * self.jitter_s
        stop = min(at + self._confirm, len(buffer.raw))
        ahead = buffer.raw[at:stop] - self._raw_fit.times(self._grid, self._grid + stop - at)
        if step < 0:
            # a single sample cannot be lost backwards: only a lasting set-back of the clock is more than jitter
            limit = max(limit, self.settings.gap_min_s)
            ahead = -ahead
        if abs(step) <= limit or (ahead <= limit).any():
            self._unsteady_at = self._grid
            return True
        if stop - at < self._confirm and not final:
            return False
        if step < 0:
            self._clock_step(buffer, at, Flag.NONE)
            return True
        further = steps.odd[(steps.odd > at) & (steps.odd < stop)]
        further = further[steps.raw[further] > limit]
        end = int(further[0]) - at if len(further) else len(ahead)
        self._gap(max(1, round(float(np.median(ahead[:end])) * self._sfreq)))
        self._raw_fit.loosen()
        self._fit.loosen()
        return True

    def _new_clock(self, buffer: _Buffer, at: int, step: float) -> None:
        """Go over to another clock of the sender; by its offset ``step`` (s) of session time was lost."""
        lost = round(step * self._sfreq)
        if lost > 0:
            self._gap(lost)
            self._fit.loosen()
        fit = abs(step - lost * self._period) > self.settings.offset_step_s
        self._clock_step(buffer, at, Flag.NONE, fit=fit)

    def _clock_step(self, buffer: _Buffer, at: int, flags: Flag, *, raw: bool = True, fit: bool = True) -> None:
        """Start the fits of raw stamps and of times anew at sample ``at``."""
        self.clock_steps += 1
        self._flags |= Flag.CLOCK_STEP | flags
        self._unsteady_at = self._grid
        if raw:
            self._duplicates.forget()
            self._raw_fit.restart(self._grid, float(buffer.raw[at]))
        if fit:
            self._fit.restart(self._grid, float(buffer.times[at]))

    def _emit(self, buffer: _Buffer, start: int, stop: int, out: list[EegChunk]) -> None:
        if start == stop:
            return
        first = self._grid
        data, raw = buffer.data[start:stop], buffer.raw[start:stop]
        times, settled = self._fit.spread(first, buffer.times[start:stop])
        self._raw_fit.spread(first, raw)
        self.samples.add(buffer.source[start:stop], first, times)
        cuts = [0, *(np.flatnonzero(settled[1:] != settled[:-1]) + 1).tolist(), len(raw)]
        for a, b in pairwise(cuts):
            flags = buffer.flags | self._flags | (Flag.NONE if settled[a] else Flag.WARMING)
            piece = EegChunk(buffer.stream, data[a:b], raw[a:b], times[a:b], first + a, buffer.received, flags)
            out.append(piece)
            self._flags = Flag.NONE
        self._next = first + stop - start
        self._raw_last, self._times_last = float(raw[-1]), float(buffer.times[stop - 1])
        self._heard_last = float(buffer.heard[stop - 1])
        self._duplicates.add(raw, data)


def _steps(values: F64, before: float) -> F64:
    """Differences between neighbours, the first one to ``before``; same shape as ``values``."""
    out = np.empty_like(values)
    out[0] = values[0] - before
    np.subtract(values[1:], values[:-1], out=out[1:])
    return out
