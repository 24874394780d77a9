"""The EEG lane: from the amplifier's grid to cleaned EEG on the decimated grid.

::

    5 kHz    grid chunk ─ hops ─ high-pass ─ gradient ─ residual ─ decimate ─┐      front.py
             volume trigger, pose ──────────────┘  ▲                         │
                                                   └── pulse estimate ──┐    │      front.py
    250 Hz   CleanEeg ─ reference ─ ocular ─ line ─ band-pass ─ pulse ──┴────┘      back.py

The pulse artefact that was found is taken out of the samples that later gradient templates are made of: the one loop
in the lane, from 250 Hz back to 5 kHz. It closes over a volume at least, so that nothing waits for it.

Everything is causal but for declared holds, and every output sample is made by the same operations on the same numbers
however the input was chunked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.clean.eeg.back import Back
from streamer.clean.eeg.front import Front
from streamer.clean.eeg.gradient.sync import SyncWatch
from streamer.clean.eeg.heart.pulse import PulseOut
from streamer.clean.eeg.hops import HopBlocks, Hops
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.clean.eeg.ocular import OcularFit
from streamer.clean.eeg.quality.quality import EegFigures
from streamer.errors import ConfigError
from streamer.messages import F64, ChannelInfo, CleanEeg, EegChunk, Flag

PART_S = 0.1
"""Samples go through the lane in parts of at most this length, s."""
JITTER_US = 5.0
"""From here on a hold serves: it costs 1.5 dB at the slice harmonics."""
DRIFT_MAX_PPM = 100.0
"""No crystal is further off."""


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
    """Output samples so far with a clipped channel."""
    gaps: int
    """Restarts of the filters so far."""
    triggers_ignored: int
    """Volume triggers too close to another, or too late."""
    reasons: dict[str, tuple[str, ...]]
    """What is wrong with each bad channel."""
    figures: EegFigures | None
    """What is left of the artefacts; None before the first were known."""
    notes: tuple[str, ...]
    """What the operator should know."""

    def overall(self) -> dict[str, float]:
        """Sum up as numbers by name; NaN while not known."""
        unknown = float("nan")
        out = {
            "template_epochs": float(self.template_epochs),
            "template_age_s": unknown if self.template_age_s is None else self.template_age_s,
            "bad_channels": float(len(self.bad_channels)),
        }
        f = self.figures
        for name in ("slice_residual_db", "pulse_residual_db", "line_50_db", "line_60_db"):
            out[name] = unknown if f is None else getattr(f, name).median
        for name in ("heart_rate_bpm", "r_confidence"):
            out[name] = unknown if f is None else getattr(f, name).now
        return out


def decimation(settings: EegLaneSettings, sfreq: float) -> int:
    """Say how many incoming samples make one of the cleaned EEG."""
    return max(1, round(sfreq / settings.rate_hz))


def output_rate(settings: EegLaneSettings, sfreq: float) -> float:
    """Say the rate of the cleaned EEG for one of the incoming EEG, Hz."""
    return sfreq / decimation(settings, sfreq)


class EegLane:
    """Clean the EEG.

    Parameters
    ----------
    settings : EegLaneSettings
    sfreq : float
        Rate of the grid, Hz.
    channels : tuple of ChannelInfo
        Of the incoming chunks. Only those of kind ``eeg`` come out; all are corrected for the gradient.
    ocular : OcularFit or None
        Takes eye artefacts out, as fitted on a calibration run.

    Raises
    ------
    ConfigError
        If there is no EEG channel, or the settings do not fit the stream.
    """

    def __init__(
        self,
        settings: EegLaneSettings,
        sfreq: float,
        channels: tuple[ChannelInfo, ...],
        ocular: OcularFit | None = None,
    ) -> None:
        self.settings = settings
        self.factor = decimation(settings, sfreq)
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
        self._hops = HopBlocks(hop, len(channels))
        self._front = Front(settings, sfreq, self.factor, channels)
        self._back = Back(settings, self.sfreq_out, self.factor, channels, self._front.hold_s, ocular)
        self._block = self._back.bad_channels.block * self.factor
        # at absolute places only, whatever the chunks: what was found in one part goes back before the next
        self._pulses: list[PulseOut] = []
        self._part = hop * max(1, round(PART_S * sfreq / hop))
        self.delay_s = self._front.delay_s + self._back.delay_s
        """Delay of all filters at 10 Hz, s; the output's times are corrected for it."""
        self.hold_s = self._back.hold_s
        """By how much the output is held back on purpose, s: it is so much older when it comes."""
        self._sync = SyncWatch(sfreq)
        self._clock = self._sync.status(0)

    @property
    def head(self) -> tuple[ChannelInfo, ...]:
        """The channels on the head: EEG, then EOG."""
        return self._back.head

    @property
    def unmixed(self) -> list[F64] | None:
        """Set to a list to collect what ocular correction is fitted on: clean, filtered EEG and EOG, V, (n, n_head)."""
        return self._back.unmixed

    @unmixed.setter
    def unmixed(self, stretches: list[F64] | None) -> None:
        self._back.unmixed = stretches

    @property
    def bad_channels(self) -> tuple[str, ...]:
        """Names of the channels that are bad now."""
        return tuple(self.channels[i].name for i in np.flatnonzero(self._back.bad_channels.bad))

    @property
    def quality(self) -> EegQuality:
        """How the lane is doing now."""
        gradient = self._front.gradient
        return EegQuality(
            template_epochs=0 if gradient is None else gradient.epochs,
            template_age_s=None if gradient is None else gradient.age_s,
            synced=gradient is not None and gradient.synced,
            bad_channels=self.bad_channels,
            clipped_hops=self._front.clipped_outputs,
            gaps=self._front.gaps,
            triggers_ignored=0 if gradient is None else gradient.ignored,
            reasons=self._back.bad_channels.reasons([c.name for c in self.channels]),
            figures=self._back.monitor.figures,
            notes=self._notes(),
        )

    @property
    def bad_shares(self) -> dict[str, dict[str, float]]:
        """In which share of the session each channel was bad, and why."""
        return self._back.bad_channels.shares([c.name for c in self.channels])

    def _notes(self) -> tuple[str, ...]:
        notes: list[str] = []
        gradient = self._front.gradient
        if gradient is not None and self._clock.clock in {"lost", "free"}:
            notes.append(self._clock.sentence)
        if gradient is not None and gradient.hold == 0 and (gradient.rhythm.jitter_us or 0.0) > JITTER_US:
            notes.append(
                f"volumes jitter by {gradient.rhythm.jitter_us:.0f} µs: clean.eeg.gradient.hold_s = 0.064 would help"
            )
        if self._back.note:
            notes.append(self._back.note)
        if self._back.reference.note:
            notes.append(self._back.reference.note)
        return tuple(notes)

    def phase_rad(self, at_hz: float) -> float:
        """Phase that the filters leave at ``at_hz`` once their delay at 10 Hz is taken off the times, rad."""
        return self._front.phase_rad(at_hz) + self._back.phase_rad(at_hz) + 2 * np.pi * at_hz * self.delay_s

    def trigger(self, sample: int) -> None:
        """Take a volume trigger at grid index ``sample``; before, with or after the chunk that holds it."""
        self._sync.trigger(sample)
        if self._front.gradient is not None:
            self._front.gradient.trigger(sample)

    def marker(self, label: str, sample: int) -> None:
        """Take another marker: the amplifier's ``Sync On`` tells that it hears the scanner's clock."""
        self._sync.marker(label, sample)

    def pose(self, sample: int, motion: F64) -> None:
        """Take the head's pose in the volume that began at ``sample``: mm and rad, shape (6,)."""
        if self._front.gradient is not None:
            self._front.gradient.pose(sample, motion)

    def take_beats(self) -> list[float]:
        """Give the R peaks that were found since the last call, s after sample 0 of the raw grid."""
        # a sample of the decimated grid has the time of the last of the raw ones that it is made of
        sfreq = self.factor * self.sfreq_out
        raw = [((beat.sample + 1.0) * self.factor - 1.0) / sfreq for beat in self._back.beats]
        taken = [at - self._front.delay_s for at in raw]
        self._back.beats.clear()
        return taken

    def new_series(self, sample: int) -> None:
        """Another series of volumes began at ``sample``: its artefact is another."""
        if self._front.gradient is not None:
            self._front.gradient.forget(sample)

    def chunk(self, chunk: EegChunk) -> list[CleanEeg]:
        """Take a chunk on the grid; give the samples that it completes, one record per stretch of equal flags.

        Samples that are not numbers are replaced by the channel's last value; where more than half the channels have
        none, the output is flagged ``GAP``.
        """
        hops = self._hops(chunk)
        if hops is None:
            return []
        out: list[CleanEeg] = []
        start, n = 0, len(hops.data)
        while start < n:
            at = hops.first + start
            if at % self._block == 0:
                self._compare_notes(at)
            if at % self._part == 0:
                # the loop from 250 Hz back to 5 kHz: templates to come are made without the pulse artefact
                self._front.without_pulse(self._pulses)
                self._pulses.clear()
                self._back.look_at_pulse()
            stop = min(n, start + self._block - at % self._block, start + self._part - at % self._part)
            for decimated in self._front(hops if stop - start == n else _piece(hops, start, stop)):
                records, pulses = self._back(decimated)
                out += records
                self._pulses += pulses
            start = stop
        return out

    def _compare_notes(self, at: int) -> None:
        # between blocks only: else it would depend on the chunking when one half hears what the other found
        self._front.good = self._back.good
        gradient = self._front.gradient
        if gradient is None:
            return
        tr, slices, ppm, jitter_us = gradient.rhythm
        self._back.rpeaks.scanner(tr)
        self._back.monitor.rhythm(at // self.factor, tr, slices / tr if tr and slices else None)
        # a TR that is no whole number of ms looks like a drift of hundreds of ppm
        drift = ppm if ppm is not None and abs(ppm) < DRIFT_MAX_PPM else None
        self._sync.artefact(drift, None if jitter_us is None else 1e-6 * jitter_us)
        self._clock = self._sync.status(at)


def _piece(hops: Hops, start: int, stop: int) -> Hops:
    after = hops.after if start == 0 else Flag.NONE
    return Hops(hops.first + start, hops.data[start:stop], hops.times[start:stop], hops.flags, after)
