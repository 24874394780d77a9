"""The EEG on its grid: gaps found, samples counted, times without jitter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from streamer.align.clock_fit import ClockFit
from streamer.contracts import Settings
from streamer.messages import F32, F64, Array, EegChunk, Flag, SessionTime


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
    """A jump beyond this is a new clock, not lost samples, s."""
    offset_step_s: float = Field(default=0.05, gt=0)
    """A jump of the clock offset beyond this starts the fit anew, s."""
    half_time_s: float = Field(default=90.0, gt=0)
    """Half-time of the fit of times, s."""
    warm_residual_s: float = Field(default=0.001, gt=0)
    """The fit is warming until its expected error is below this, s."""


@dataclass(slots=True)
class _Buffer:
    """Samples that are not on the grid yet."""

    stream: str
    data: F32
    raw: F64
    times: F64
    received: SessionTime
    flags: Flag


class EegTimeline:
    """Put EEG chunks on the sample grid and give them times without jitter.

    The grid counts every sample since the stream was opened, lost ones too: ``first_sample`` of what comes out jumps
    over a gap. The decisions are made sample by sample, from the sender's own stamps:

    - A step of the stamps is where two neighbours are not one sample apart. A step forward beyond the limit is a gap
      when the stamps stay ahead of the fitted line for ``confirm_s``; when they fall back, it was jitter of the sender.
      The limit is half a sample beyond the nominal distance while the stamps are steady, else ``gap_min_s`` and four
      times the jitter. A smaller loss inside jitter cannot be seen; the fit absorbs it.
    - A step backwards that lasts, or any step beyond ``clock_step_s``, is a new clock: ``CLOCK_STEP``, and the grid
      goes on without counting anything lost. Beyond ``clock_step_s`` the samples are flagged ``GAP`` besides.
    - A sample whose stamp was seen within the last second is a duplicate and dropped.

    Times are a recursive least-squares line through the stamps (`ClockFit`). It bridges a gap, because lost samples are
    counted, with its level loosened; a clock step starts it anew.

    Parameters
    ----------
    settings : EegTimelineSettings
    sfreq : float
        Nominal rate, Hz.
    """

    def __init__(self, settings: EegTimelineSettings, sfreq: float) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._period = 1.0 / sfreq
        self._confirm = max(2, round(settings.confirm_s * sfreq))
        self._steady = round(settings.steady_s * sfreq)
        self._fit = ClockFit(sfreq, settings.half_time_s)
        self._next: int | None = None
        self._expected = 0
        self._raw_last = self._times_last = 0.0
        self._unsteady_at = 0
        self._held: _Buffer | None = None
        self._flags = Flag.NONE
        self._seen: deque[F64] = deque()
        self._newest = 0.0
        self.lost_samples = 0
        """Samples that the stamps say were lost."""
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
        return self._fit.jitter_s

    @property
    def warming(self) -> bool:
        """Whether the fit of times has not settled."""
        return self._next is None or self._fit.age_s < 1.0 or self.residual_s >= self.settings.warm_residual_s

    def __call__(self, chunk: EegChunk) -> list[EegChunk]:
        """Take a chunk as it came; give what of it is on the grid now, in one piece per gap-free stretch.

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
        if self._next is None:
            self._start(chunk)
        missed, self._expected = chunk.first_sample - self._expected, chunk.first_sample + len(chunk.data)
        out: list[EegChunk] = []
        if missed > 0:
            self._count_missed(missed, float(chunk.times_raw[0]), float(chunk.times[0]), out)
        buffer = self._without_duplicates(self._append(chunk))
        if len(buffer.raw):
            self._drain(buffer, out)
        return out

    def _start(self, chunk: EegChunk) -> None:
        self._next = self._expected = self._unsteady_at = chunk.first_sample
        self._fit.restart(chunk.first_sample, float(chunk.times[0]))
        self._raw_last = float(chunk.times_raw[0]) - self._period
        self._times_last = float(chunk.times[0]) - self._period
        self._newest = self._raw_last

    def _append(self, chunk: EegChunk) -> _Buffer:
        raw, times = self._filled(chunk.times_raw, chunk.times)
        fresh = _Buffer(chunk.stream, chunk.data, raw, times, chunk.received, chunk.flags)
        held, self._held = self._held, None
        if held is None:
            return fresh
        return _Buffer(
            chunk.stream,
            np.concatenate([held.data, fresh.data]),
            np.concatenate([held.raw, fresh.raw]),
            np.concatenate([held.times, fresh.times]),
            fresh.received,
            held.flags | fresh.flags,
        )

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

    def _without_duplicates(self, buffer: _Buffer) -> _Buffer:
        raw = buffer.raw
        if raw[0] > self._newest and (raw[1:] > raw[:-1]).all():
            return buffer
        both = np.concatenate([*self._seen, raw])
        first = np.zeros(len(both), dtype=bool)
        first[np.unique(both, return_index=True)[1]] = True
        recent = np.maximum.accumulate(both) - both <= 1.0
        keep = (first | ~recent)[-len(raw) :]
        self.duplicates += int((~keep).sum())
        return _Buffer(buffer.stream, buffer.data[keep], raw[keep], buffer.times[keep], buffer.received, buffer.flags)

    def _count_missed(self, missed: int, raw: float, times: float, out: list[EegChunk]) -> None:
        """Take in that the source counted samples which it never handed over."""
        held, self._held = self._held, None
        if held is not None:
            self._emit(held, 0, len(held.raw), out)
        ahead = round((times - self._fit.times(self._grid, self._grid + 1)[0]) * self._sfreq)
        lost = max(missed, ahead) if abs(raw - self._raw_last) < self.settings.clock_step_s else missed
        self._gap(lost)
        self._raw_last, self._times_last = raw - self._period, times - self._period

    @property
    def _grid(self) -> int:
        assert self._next is not None
        return self._next

    def _gap(self, lost: int) -> None:
        self._next = self._grid + lost
        self.lost_samples += lost
        self.gaps += 1
        self._flags |= Flag.GAP
        self._fit.loosen()

    def _drain(self, buffer: _Buffer, out: list[EegChunk]) -> None:
        raw_step = _steps(buffer.raw, self._raw_last) - self._period
        offset_step = _steps(buffer.times, self._times_last) - self._period - raw_step
        odd = (np.abs(raw_step) > 0.25 * self._period) | (np.abs(offset_step) > self.settings.offset_step_s)
        done = 0
        if odd.any():
            steps = np.flatnonzero(odd)
            for at in steps.tolist():
                self._emit(buffer, done, at, out)
                done = at
                if not self._judge(buffer, at, raw_step, steps):
                    self._held = _Buffer(
                        buffer.stream,
                        buffer.data[at:],
                        buffer.raw[at:],
                        buffer.times[at:],
                        buffer.received,
                        buffer.flags,
                    )
                    return
        self._emit(buffer, done, len(buffer.raw), out)

    def _judge(self, buffer: _Buffer, at: int, raw_step: F64, steps: Array) -> bool:
        """Say what the step before sample ``at`` of the buffer is; False while it cannot be said."""
        step = float(raw_step[at])
        if abs(step) > self.settings.clock_step_s:
            self._clock_step(float(buffer.times[at]), Flag.GAP)
            return True
        if abs(step) <= 0.25 * self._period:
            self._clock_step(float(buffer.times[at]), Flag.NONE)
            return True
        steady = self._grid - self._unsteady_at >= self._steady
        limit = 0.5 * self._period
        if not steady:
            limit = max(limit, self.settings.gap_min_s) + 4 * self._fit.jitter_s
        stop = min(at + self._confirm, len(buffer.raw))
        ahead = buffer.times[at:stop] - self._fit.times(self._grid, self._grid + stop - at)
        if step < 0:
            # a single sample cannot be lost backwards: only a lasting set-back of the clock is more than jitter
            limit = max(limit, self.settings.gap_min_s)
            ahead = -ahead
        if abs(step) <= limit or (ahead <= limit).any():
            self._unsteady_at = self._grid
            return True
        if stop - at < self._confirm:
            return False
        if step < 0:
            self._clock_step(float(buffer.times[at]), Flag.NONE)
            return True
        further = steps[(steps > at) & (steps < stop)]
        further = further[raw_step[further] > limit]
        end = int(further[0]) - at if len(further) else len(ahead)
        self._gap(max(1, round(float(np.median(ahead[:end])) * self._sfreq)))
        return True

    def _clock_step(self, time: float, flags: Flag) -> None:
        self._seen.clear()
        self._newest = -np.inf
        self.clock_steps += 1
        self._flags |= Flag.CLOCK_STEP | flags
        self._unsteady_at = self._grid
        self._fit.restart(self._grid, time)

    def _emit(self, buffer: _Buffer, start: int, stop: int, out: list[EegChunk]) -> None:
        if start == stop:
            return
        first = self._grid
        raw = buffer.raw[start:stop]
        times = self._fit.spread(first, buffer.times[start:stop])
        out.append(
            EegChunk(
                stream=buffer.stream,
                data=buffer.data[start:stop],
                times_raw=raw,
                times=times,
                first_sample=first,
                received=buffer.received,
                flags=buffer.flags | self._flags,
            )
        )
        self._flags = Flag.NONE
        self._next = first + stop - start
        self._raw_last, self._times_last = float(raw[-1]), float(buffer.times[stop - 1])
        self._newest = max(self._newest, float(raw.max()))
        self._seen.append(raw)
        while self._newest - self._seen[0][-1] > 2.0 and len(self._seen) > 1:
            self._seen.popleft()


def _steps(values: F64, before: float) -> F64:
    """Differences between neighbours, the first one to ``before``; same shape as ``values``."""
    out = np.empty_like(values)
    out[0] = values[0] - before
    np.subtract(values[1:], values[:-1], out=out[1:])
    return out
