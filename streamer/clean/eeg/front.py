"""The first half of the EEG lane: from the amplifier's grid to the decimated one, all channels.

::

    hops ─ holes filled ─ high-pass ─ gradient ─ residual ─ decimate ─ Decimated
                                         ▲
             pulse estimate at 5 kHz ────┘  (`without_pulse`)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.clean.eeg.decimate import Decimator
from streamer.clean.eeg.gradient.corrected import Corrected, Span
from streamer.clean.eeg.gradient.gradient import Gradient
from streamer.clean.eeg.gradient.residual import Residual
from streamer.clean.eeg.heart.pulse import PulseOut
from streamer.clean.eeg.hops import Hops
from streamer.clean.eeg.labels import LabelQueue, Labels
from streamer.clean.eeg.lane_settings import DELAY_HZ, EegLaneSettings
from streamer.clean.eeg.upsample import Upsampler
from streamer.compiled import compiled
from streamer.filters import SosFilter, highpass, sos_delay_s, sos_phase_rad
from streamer.messages import F32, F64, Array, ChannelInfo, Flag

_GAP = int(Flag.GAP)
_SWING = 1.5
"""Periods of the high-pass's edge after which its start is forgotten, to a thousandth."""


@dataclass(frozen=True, slots=True)
class Decimated:
    """Consecutive samples of the decimated grid, all channels."""

    first: int
    data: F64
    """V, shape (n, n_channels)."""
    labels: Labels
    restart: bool
    """Whether they do not follow those before: what remembers must begin anew."""


class Front:
    """Correct the gradient artefact and decimate.

    Parameters
    ----------
    settings : EegLaneSettings
    sfreq : float
        Rate of the grid, Hz.
    factor : int
        Input samples per output sample.
    channels : tuple of ChannelInfo
        Of the incoming chunks.
    """

    def __init__(self, settings: EegLaneSettings, sfreq: float, factor: int, channels: tuple[ChannelInfo, ...]) -> None:
        n = len(channels)
        self.settings = settings
        self._factor = factor
        self._n_channels = n
        self._sfreq = sfreq
        self._eeg = np.array([i for i, c in enumerate(channels) if c.kind == "eeg"])
        self.good: Array = np.arange(len(self._eeg))
        """Indices of the good EEG channels: clipping of others spoils nothing."""
        self._highpass = SosFilter(highpass(settings.gradient.highpass_hz, sfreq))
        self.gradient: Gradient | None = None
        self.residual = Residual(settings.residual, sfreq, n, np.array([c.kind == "ecg" for c in channels]))
        if settings.gradient.enabled:
            keep = self.residual.enabled
            self.gradient = Gradient(settings.gradient, sfreq, n, step=factor, keep_taken=keep)
        self._decimate = Decimator(sfreq, factor, n)
        self.delay_s = sos_delay_s(self._highpass.sos, DELAY_HZ, sfreq) + self._decimate.delay_s(DELAY_HZ)
        """Delay at 10 Hz, s."""
        self.hold_s = 0.0 if self.gradient is None else self.gradient.hold / sfreq
        """By how much the output is held back on purpose, s."""
        self._head = np.array([i for kind in ("eeg", "eog") for i, c in enumerate(channels) if c.kind == kind])
        self._upsample = Upsampler(factor, round(self._decimate.delay_s(DELAY_HZ) * sfreq))
        self._labels = LabelQueue(len(self._eeg))
        self._settle = round(settings.settle_s * sfreq / factor)
        self._bridge = round(settings.bridge_s * sfreq)
        self._next: int | None = None
        self._last_wrong = 0
        self._restart = False
        self._restarts = 0
        self._after: deque[tuple[int, int]] = deque()
        rail = settings.channels.rail_v
        self._rail = np.float32(np.inf if rail is None else rail)
        self._last = np.zeros(n, np.float32)
        self._offset = np.zeros(n)
        self.clipped_outputs = 0
        """Output samples so far with a good channel at the rail."""
        self.gaps = 0
        """Restarts of the filters so far."""
        _look(np.zeros((factor, n), np.float32), factor, self._rail)

    def __call__(self, hops: Hops) -> list[Decimated]:
        """Take whole hops; give what they complete."""
        out: list[Decimated] = []
        if self._next is None:
            self._last_wrong = hops.first // self._factor - 1
            self._begin_baseline(hops)
        elif hops.first != self._next or (hops.after is not Flag.NONE and hops.after & Flag.GAP):
            out += self.flush()
            self._begin_anew(hops)
        self._next = hops.first + len(hops.data)
        odd, still = _look(hops.data, self._factor, self._rail)
        data, holes = self._filled(hops.data) if odd else (hops.data, None)
        self._keep_labels(hops, holes, self._clipping(data) if odd else None, self._stillness(data) if still else None)
        slow = self._highpass(data).astype(np.float32)
        self._last = data[-1].copy()
        self._offset = self._last - slow[-1].astype(np.float64)
        if self.gradient is None:
            whole = [Span(hops.first, self._next, Flag.NONE)]
            return [*out, self._decimated(Corrected(hops.first, slow, whole, slow[:0], []))]
        return out + [self._decimated(piece) for piece in self.gradient(hops.first, slow)]

    def phase_rad(self, at_hz: float) -> float:
        """Phase of the filters' response at ``at_hz``, rad."""
        return sos_phase_rad(self._highpass.sos, at_hz, self._sfreq) + self._decimate.phase_rad(at_hz)

    def flush(self) -> list[Decimated]:
        """Give what is held back."""
        return [] if self.gradient is None else [self._decimated(piece) for piece in self.gradient.flush()]

    def without_pulse(self, found: Sequence[PulseOut]) -> None:
        """Take the pulse artefact out of the samples that later gradient templates are made of."""
        gradient, start = self.gradient, 0
        if gradient is None:
            return
        for stop in range(1, len(found) + 1):
            before = found[stop - 1]
            if stop < len(found) and found[stop].first == before.first + len(before.estimate):
                continue
            estimate = np.concatenate([out.estimate for out in found[start:stop]])
            everywhere = np.zeros((len(estimate), self._n_channels), np.float32)
            everywhere[:, self._head] = estimate
            at, fine = self._upsample(found[start].first, everywhere)
            if fine is not None:
                gradient.without_pulse(at, fine)
            start = stop

    def _begin_baseline(self, hops: Hops) -> None:
        """Keep the high-pass's own swing out of the template, where it had to begin in the midst of the artefact."""
        loud = np.median(np.ptp(hops.data[: self._factor], axis=0)) > self.settings.gradient.activity_v
        if self.gradient is not None and loud:
            swing = round(_SWING / self.settings.gradient.highpass_hz * self._sfreq)
            self.gradient.spoil(hops.first, hops.first + swing)

    def _begin_anew(self, hops: Hops) -> None:
        assert self._next is not None
        first, after = hops.first, hops.after
        self.gaps += 1
        self._decimate.reset()
        self._restart = True
        lost_clock = bool(after & Flag.CLOCK_STEP)
        if lost_clock or first - self._next > self._bridge:
            self._highpass.reset()
            self._begin_baseline(hops)
        else:
            self._bridge_gap(self._next, first)
        if lost_clock and self.gradient is not None:
            self.gradient.lose()
        self._last_wrong = first // self._factor - 1

    def _bridge_gap(self, start: int, stop: int) -> None:
        """Let the high-pass see what probably was lost: without that bit of artefact it would ring for a second."""
        period = None if self.gradient is None else self.gradient.rhythm.tr_s
        if self.gradient is None or period is None:
            return
        back = round(period * self._sfreq)
        lost = self.gradient.past(start - back, stop - back) if stop - start <= back else None
        if lost is not None:
            # high-passed samples of the volume before, on top of what the high-pass takes off at present
            self._highpass(lost.astype(np.float64) + self._offset)

    def _filled(self, data: F32) -> tuple[F32, Array | None]:
        """Replace what is no number by the last value; say per output sample where most channels had none."""
        bad = ~np.isfinite(data)
        if not bad.any():
            return data, None
        data = data.copy()
        rows = np.maximum.accumulate(np.where(bad, -1, np.arange(len(data))[:, None]), axis=0)
        held = np.where(rows >= 0, np.take_along_axis(data, np.maximum(rows, 0), axis=0), self._last)
        data[bad] = held[bad]
        most: Array = np.asarray(2 * bad.sum(axis=1) > data.shape[1])
        holes: Array = np.any(most.reshape(-1, self._factor), axis=1)
        return data, holes if holes.any() else None

    def _clipping(self, data: F32) -> Array | None:
        """Find EEG channels at the rail per output sample, shape (n, n_eeg) bool; None when there are none."""
        beyond: Array = np.asarray(np.abs(data[:, self._eeg]) >= self._rail)
        if not beyond.any():
            return None
        return np.any(beyond.reshape(-1, self._factor, len(self._eeg)), axis=1)

    def _stillness(self, data: F32) -> Array | None:
        """Find EEG channels that hold one value, shape (n, n_eeg) bool; None when there are none."""
        if self._factor == 1:
            return None
        blocks = data.reshape(-1, self._factor, data.shape[1])
        still: Array = np.all(blocks == blocks[:, :1], axis=1)[:, self._eeg]
        return still if still.any() else None

    def _keep_labels(self, hops: Hops, holes: Array | None, clipped: Array | None, still: Array | None) -> None:
        flags = np.full(len(hops.data) // self._factor, int(hops.flags))
        if hops.after:
            self._after.append((hops.first // self._factor, int(hops.after)))
        if holes is not None:
            flags[holes] |= int(Flag.GAP)
            self._spoil(hops.first, holes)
        if clipped is not None:
            hit: Array = np.any(clipped[:, self.good], axis=1)
            self.clipped_outputs += int(hit.sum())
            self._spoil(hops.first, hit)
        times = hops.times[self._factor - 1 :: self._factor] - self.delay_s
        self._labels.put(hops.first // self._factor, Labels(times, flags, clipped, still))

    def _spoil(self, first: int, outputs: Array) -> None:
        """Keep the raw samples of these output samples (bool) out of the gradient template."""
        if self.gradient is not None:
            for i in np.flatnonzero(outputs).tolist():
                self.gradient.spoil(first + i * self._factor, first + (i + 1) * self._factor)

    def _decimated(self, piece: Corrected) -> Decimated:
        first = piece.first // self._factor
        labels = self._labels.take(first, len(piece.data) // self._factor)
        data = self._decimate(self._less_residual(piece, labels) if self.residual.enabled else piece.data)
        flags = self._with_spans(first, labels.flags, piece.spans)
        restart, self._restart = self._restart and len(data) > 0, self._restart and not len(data)
        return Decimated(first, data, Labels(labels.times, flags, labels.clipped, labels.still), restart)

    def _less_residual(self, piece: Corrected, labels: Labels) -> F32:
        assert self.gradient is not None
        if self.gradient.restarts != self._restarts:
            self._restarts = self.gradient.restarts
            self.residual.reset()
        wrong: Array = np.asarray((labels.flags & _GAP) != 0)
        if labels.clipped is not None:
            wrong |= labels.clipped.any(axis=1)
        dirty = np.repeat(wrong, self._factor)
        for span in piece.spans:
            if span.flags:
                dirty[span.start - piece.first : span.stop - piece.first] = True
        return self.residual(piece.first, piece.data, piece.taken, piece.starts, dirty)

    def _with_spans(self, first: int, flags: Array, spans: list[Span]) -> Array:
        """Add what holds for raw samples, and ``WARMING`` while the filters settle after something wrong."""
        # the usual case, that nothing is wrong or was a while ago
        late = first - self._last_wrong > self._settle
        if (
            late
            and not self._after
            and not any(span.flags is not Flag.NONE for span in spans)
            and not (flags & _GAP).any()
        ):
            return flags
        flags = flags.copy()
        wrong: Array = np.asarray((flags & _GAP) != 0)
        for span in spans:
            if span.flags:
                reached = slice(
                    max(0, span.start // self._factor - first), max(0, -(-span.stop // self._factor) - first)
                )
                flags[reached] |= int(span.flags)
                wrong[reached] = True
        index = np.arange(first, first + len(flags))
        last = np.maximum.accumulate(np.where(wrong, index, self._last_wrong))
        settling = ~wrong & (index - last <= self._settle)
        if len(last):
            self._last_wrong = int(last[-1])
        flags[settling] |= int(Flag.WARMING)
        while self._after and self._after[0][0] < first + len(flags):
            at, after = self._after.popleft()
            flags[at - first] |= after
        return flags


@compiled
def _look(data: F32, factor: int, rail: np.float32) -> tuple[int, int]:
    """Count values that are no number or at the rail, and channels that end a block as they began it."""
    n_times, n_channels = data.shape
    odd = still = 0
    for i in range(n_times):
        row = data[i]
        for c in range(n_channels):
            odd += not abs(row[c]) < rail
    for i in range(0, n_times, factor):
        first, last = data[i], data[i + factor - 1]
        for c in range(n_channels):
            still += first[c] == last[c]
    return odd, still
