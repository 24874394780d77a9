"""The EEG lane: from the amplifier's grid to cleaned EEG on the decimated grid.

::

    grid chunk ─ hops ─ high-pass ─ gradient ─ decimate ─ band-pass, notch ─ average reference ─ CleanEeg
                                        │                         └ bad channels ┘
    volume trigger ─────────────────────┘

Everything is causal, and every output sample is made by the same operations on the same numbers however the input was
chunked.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.eeg.channels import BadChannels, ChannelSettings
from streamer.clean.eeg.decimate import Decimator
from streamer.clean.eeg.filters import SosFilter, bandpass, highpass, notch, sos_delay_s
from streamer.clean.eeg.gradient import Gradient, GradientSettings, Span
from streamer.clean.eeg.hops import HopBlocks, Hops
from streamer.clean.eeg.reference import average_reference
from streamer.contracts import Settings
from streamer.errors import ConfigError
from streamer.messages import F32, F64, Array, ChannelInfo, CleanEeg, EegChunk, Flag

DELAY_HZ = 10.0
"""Delays are declared and corrected at this frequency, Hz."""


class EegLaneSettings(Settings):
    """How the EEG is cleaned."""

    hop_s: float = Field(default=0.004, gt=0)
    """Length of a hop, s; rounded to a whole number of output samples."""
    rate_hz: float = Field(default=250.0, gt=0)
    """The output rate is the input rate over the whole number that comes nearest to this, Hz."""
    gradient: GradientSettings = GradientSettings()
    """The gradient artefact."""
    band_hz: tuple[float, float] = (1.0, 40.0)
    """Edges of the band-pass, Hz."""
    line_hz: Literal[50, 60] | None = None
    """Mains frequency to notch out, Hz."""
    channels: ChannelSettings = ChannelSettings()
    """Bad channels."""
    reference: Literal["average", "none"] = "average"
    """Reference of the output."""
    settle_s: float = Field(default=1.0, ge=0)
    """Output is flagged ``WARMING`` for this long after a start, a gap or uncorrected samples, s."""
    bridge_s: float = Field(default=10.0, ge=0)
    """The high-pass keeps its baseline over gaps up to this, s: a new one would be taken from the artefact's midst."""


@dataclass(frozen=True, slots=True)
class EegQuality:
    """How the EEG lane is doing."""

    template_epochs: int
    template_age_s: float | None
    """Since the newest epoch of the template ended, s; None while there is none."""
    synced: bool
    """Whether gradient correction is on."""
    bad_channels: tuple[str, ...]
    clipped_hops: int
    """Hops so far with a clipped channel."""
    gaps: int
    """Restarts of the filters so far."""
    triggers_ignored: int
    """Volume triggers too close to another, or too late."""


_UNCORRECTED = Flag.WARMING | Flag.UNSYNCED


class EegLane:
    """Clean the EEG.

    Parameters
    ----------
    settings : EegLaneSettings
    sfreq : float
        Rate of the grid, Hz.
    channels : tuple of ChannelInfo
        Of the incoming chunks. Only those of kind ``eeg`` come out; all are corrected for the gradient.

    Raises
    ------
    ConfigError
        If there is no EEG channel, or the band does not fit below half the output rate.
    """

    def __init__(self, settings: EegLaneSettings, sfreq: float, channels: tuple[ChannelInfo, ...]) -> None:
        self.settings = settings
        self.factor = max(1, round(sfreq / settings.rate_hz))
        """Input samples per output sample."""
        self.sfreq_out = sfreq / self.factor
        """Rate of the output, Hz."""
        self.channels = tuple(c for c in channels if c.kind == "eeg")
        """The channels that come out."""
        low, high = settings.band_hz
        problems = [] if self.channels else [f"none of {len(channels)} channels is of kind eeg: expected at least one"]
        if not 0 < low < high < self.sfreq_out / 2:
            problems.append(
                f"band_hz is {low} to {high} Hz: expected rising edges between 0 and {self.sfreq_out / 2:g} Hz, half"
                " the output rate"
            )
        if problems:
            raise ConfigError("EEG lane", problems)
        hop = self.factor * max(1, round(settings.hop_s * self.sfreq_out))
        self._sfreq = sfreq
        self._eeg = np.array([i for i, c in enumerate(channels) if c.kind == "eeg"])
        self._hops = HopBlocks(hop, len(channels))
        self._highpass = SosFilter(highpass(settings.gradient.highpass_hz, sfreq))
        self._gradient = Gradient(settings.gradient, sfreq, len(channels)) if settings.gradient.enabled else None
        self._decimate = Decimator(sfreq, self.factor, len(channels))
        sos = bandpass(low, high, self.sfreq_out)
        if settings.line_hz is not None and settings.line_hz < self.sfreq_out / 2:
            sos = np.concatenate([sos, notch(settings.line_hz, self.sfreq_out)])
        self._filter = SosFilter(sos)
        self._bad = BadChannels(settings.channels, self.sfreq_out, len(self.channels))
        self._good: Array = np.arange(len(self.channels))
        self.delay_s = (
            sos_delay_s(self._highpass.sos, DELAY_HZ, sfreq)
            + self._decimate.delay_s(DELAY_HZ)
            + sos_delay_s(sos, DELAY_HZ, self.sfreq_out)
        )
        """Delay of the whole lane at 10 Hz, s; the output's times are corrected for it."""
        self._settle = round(settings.settle_s * sfreq)
        self._bridge = round(settings.bridge_s * sfreq)
        self._next: int | None = None
        self._warm_until = 0
        self._last = np.zeros(len(channels), np.float32)
        self._clipped_hops = 0
        self._gaps = 0

    @property
    def quality(self) -> EegQuality:
        """How the lane is doing now."""
        gradient = self._gradient
        return EegQuality(
            template_epochs=0 if gradient is None else gradient.epochs,
            template_age_s=None if gradient is None else gradient.age_s,
            synced=gradient is not None and gradient.synced,
            bad_channels=tuple(self.channels[i].name for i in np.flatnonzero(self._bad.bad)),
            clipped_hops=self._clipped_hops,
            gaps=self._gaps,
            triggers_ignored=0 if gradient is None else gradient.ignored,
        )

    def trigger(self, sample: int) -> None:
        """Take a volume trigger at grid index ``sample``; before, with or after the chunk that holds it."""
        if self._gradient is not None:
            self._gradient.trigger(sample)

    def chunk(self, chunk: EegChunk) -> list[CleanEeg]:
        """Take a chunk on the grid; give the samples that it completes, one record per stretch of equal flags.

        Samples that are not numbers are replaced by the channel's last value; where more than half the channels have
        none, the output is flagged ``GAP``.
        """
        hops = self._hops(chunk)
        if hops is None:
            return []
        out: list[CleanEeg] = []
        # channels are judged between blocks, so that no call may reach over the end of one
        block = self._bad.block * self.factor
        start, n = 0, len(hops.data)
        while start < n:
            stop = min(n, start + block - (hops.first + start) % block)
            piece = hops if stop - start == n else _piece(hops, start, stop)
            out.extend(self._clean(piece))
            start = stop
        return out

    def _clean(self, hops: Hops) -> list[CleanEeg]:
        first, after = hops.first, hops.after
        if self._next is None:
            self._warm_until = first + self._settle
        elif first != self._next or after & Flag.GAP:
            self._restart(first, after)
        self._next = first + len(hops.data)
        data, holes = self._filled(first, hops.data)
        clipped = self._clipping(first, data)
        slow = self._highpass(data).astype(np.float32)
        if self._gradient is None:
            fast, spans = slow, [Span(first, self._next, Flag.NONE)]
        else:
            fast, spans = self._gradient(first, slow)
        filtered = self._filter(np.take(self._decimate(fast), self._eeg, axis=1))
        flags = self._flags(hops, spans, clipped, holes)
        n_clipped = None if clipped is None else clipped[:, self._eeg].sum(axis=0)
        dirty = bool((flags & int(_UNCORRECTED | Flag.GAP)).any())
        index = first // self.factor
        out = average_reference(filtered, self._good) if self.settings.reference == "average" else filtered
        self._bad(index, filtered, n_clipped, dirty=dirty)
        self._good = np.flatnonzero(~self._bad.bad)
        times = hops.times[self.factor - 1 :: self.factor] - self.delay_s
        return self._records(index, out.astype(np.float32), times, flags)

    def _restart(self, first: int, after: Flag) -> None:
        assert self._next is not None
        self._gaps += 1
        self._decimate.reset()
        self._filter.reset()
        lost_clock = bool(after & Flag.CLOCK_STEP)
        if lost_clock or first - self._next > self._bridge:
            self._highpass.reset()
        if lost_clock and self._gradient is not None:
            self._gradient.lose()
        self._warm_until = first + self._settle

    def _filled(self, first: int, data: F32) -> tuple[F32, Array | None]:
        """Replace what is no number by the last value; say per output sample where most channels had none."""
        finite = np.isfinite(data)
        if finite.all():
            self._last = data[-1]
            return data, None
        bad = ~finite
        data = data.copy()
        rows = np.maximum.accumulate(np.where(bad, -1, np.arange(len(data))[:, None]), axis=0)
        held = np.where(rows >= 0, np.take_along_axis(data, np.maximum(rows, 0), axis=0), self._last)
        data[bad] = held[bad]
        self._last = data[-1]
        most: Array = np.asarray(2 * bad.sum(axis=1) > data.shape[1])
        holes: Array = np.any(most.reshape(-1, self.factor), axis=1)
        if not holes.any():
            return data, None
        self._spoil(first, holes)
        return data, holes

    def _clipping(self, first: int, data: F32) -> Array | None:
        """Find clipped channels per output sample, shape (n, n_channels) bool; None when there are none."""
        rail = self.settings.channels.rail_v
        if rail is None or (data.max() < rail and data.min() > -rail):
            return None
        beyond: Array = np.asarray(np.abs(data) >= rail)
        clipped: Array = np.any(beyond.reshape(-1, self.factor, data.shape[1]), axis=1)
        good = self._eeg[self._good]
        hit: Array = np.any(clipped[:, good], axis=1)
        self._clipped_hops += int(hit.sum())
        self._spoil(first, hit)
        return clipped

    def _spoil(self, first: int, outputs: Array) -> None:
        """Keep the raw samples of these output samples (bool) out of the gradient template."""
        if self._gradient is not None:
            for i in np.flatnonzero(outputs).tolist():
                self._gradient.spoil(first + i * self.factor, first + (i + 1) * self.factor)

    def _flags(self, hops: Hops, spans: list[Span], clipped: Array | None, holes: Array | None) -> Array:
        """Flags per output sample, int."""
        first, factor = hops.first, self.factor
        flags = np.full(len(hops.data) // factor, int(hops.flags))
        flags[0] |= int(hops.after)
        if clipped is not None:
            flags[clipped[:, self._eeg[self._good]].any(axis=1)] |= int(Flag.CLIPPED)
        if self._bad.bad.sum() > self.settings.channels.bad_max * len(self.channels):
            flags |= int(Flag.BAD_CHANNELS)
        wrong = [(span.start, span.stop, span.flags) for span in spans if span.flags]
        if holes is not None:
            at = (first + np.flatnonzero(holes) * factor).tolist()
            wrong += [(start, start + factor, Flag.GAP) for start in at]
        if wrong or self._warm_until > first:
            uncorrected = np.zeros(len(flags), dtype=bool)
            settling = np.zeros(len(flags), dtype=bool)
            settling[_outputs(first, self._warm_until, first, factor)] = True
            for start, stop, flag in wrong:
                stretch = _outputs(start, stop, first, factor)
                flags[stretch] |= int(flag)
                uncorrected[stretch] = True
                settling[_outputs(stop, stop + self._settle, first, factor)] = True
                self._warm_until = max(self._warm_until, stop + self._settle)
            flags[settling & ~uncorrected] |= int(Flag.WARMING)
        return flags

    def _records(self, index: int, data: F32, times: F64, flags: Array) -> list[CleanEeg]:
        cuts = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
        return [
            CleanEeg(
                data=data[a:b],
                times=times[a:b],
                first_sample=index + a,
                sample_end=(index + b) * self.factor,
                flags=Flag(int(flags[a])),
            )
            for a, b in pairwise(cuts)
        ]


def _piece(hops: Hops, start: int, stop: int) -> Hops:
    after = hops.after if start == 0 else Flag.NONE
    return Hops(hops.first + start, hops.data[start:stop], hops.times[start:stop], hops.flags, after)


def _outputs(start: int, stop: int, first: int, factor: int) -> slice:
    """Output samples that raw samples ``start`` to ``stop`` reach into, counted from ``first``."""
    return slice(max(0, (start - first) // factor), max(0, -(-(stop - first) // factor)))
