"""The second half of the EEG lane, on the decimated grid: pulse artefact, filters, ocular, channels, reference.

::

    Decimated ─┬─ ECG ─ R peaks ─ beats ─┐
               └─ EEG, EOG ─ pulse ──────┴─┬─ band-pass ─ line ─ ocular ─┬─ reference ─ CleanEeg
                                           └─ quality                    └─ bad channels
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

from streamer.clean.eeg.channels.channels import BadChannels
from streamer.clean.eeg.channels.reference import Reference
from streamer.clean.eeg.front import Decimated
from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.pulse import Pulse, PulseOut
from streamer.clean.eeg.heart.rpeaks import RPeaks
from streamer.clean.eeg.labels import LabelQueue, Labels
from streamer.clean.eeg.lane_settings import DELAY_HZ, EegLaneSettings
from streamer.clean.eeg.line import LineFilter
from streamer.clean.eeg.ocular import OcularFit, SpatialFilter
from streamer.clean.eeg.quality.quality import EegMonitor
from streamer.filters import SosFilter, bandpass, sos_delay_s, sos_phase_rad
from streamer.messages import F32, F64, Array, ChannelInfo, CleanEeg, Flag

_BEATS_KEPT = 256
DIRTY = int(Flag.WARMING | Flag.UNSYNCED | Flag.GAP)
"""Flags of samples that nothing may be learnt from."""


class Back:
    """Clean decimated EEG.

    Parameters
    ----------
    settings : EegLaneSettings
    sfreq : float
        Rate of the decimated grid, Hz.
    factor : int
        Samples of the raw grid per sample of the decimated one.
    channels : tuple of ChannelInfo
        Of the incoming data.
    front_hold_s : float
        By how much what came before holds its output back, s.
    ocular : OcularFit or None
        Takes eye artefacts out: fitted on a calibration run.
    """

    def __init__(
        self,
        settings: EegLaneSettings,
        sfreq: float,
        factor: int,
        channels: tuple[ChannelInfo, ...],
        front_hold_s: float = 0.0,
        ocular: OcularFit | None = None,
    ) -> None:
        kinds = [c.kind for c in channels]
        eeg, eog = ([i for i, kind in enumerate(kinds) if kind == wanted] for wanted in ("eeg", "eog"))
        self.channels = tuple(channels[i] for i in eeg)
        """The channels that come out."""
        self._n_eeg = len(eeg)
        self._factor = factor
        self._sfreq = sfreq
        self._head = np.array([*eeg, *eog])
        self._ecg = np.array([i for i, kind in enumerate(kinds) if kind == "ecg"], np.int64)
        self._references = np.array([i for i, kind in enumerate(kinds) if kind == "ref"], np.int64)
        self.rpeaks = RPeaks(settings.r_peaks, sfreq, self._n_eeg, len(self._ecg))
        self.pulse = Pulse(settings.pulse, sfreq, len(self._head), len(self._references))
        low, high = settings.band_hz
        self._band = SosFilter(bandpass(low, high, sfreq))
        self._line = LineFilter(settings.line, sfreq, len(self._head))
        self.head = tuple(channels[i] for i in self._head)
        """Channels on the head: EEG, then EOG."""
        self.beats: deque[Beat] = deque(maxlen=_BEATS_KEPT)
        """The newest heart beats, for whoever takes them out."""
        self._ocular = None if ocular is None else SpatialFilter(ocular.matrix)
        self._leaves_out = ocular is not None and ocular.method == "ica"
        names = [c.name for c in self.head]
        self._inputs = np.array([] if ocular is None else [names.index(name) for name in ocular.inputs], np.int64)
        self.bad_channels = BadChannels(settings.channels, sfreq, self._n_eeg)
        self.unmixed: list[F64] | None = None
        """Set to a list to collect clean, filtered EEG and EOG before the ocular correction."""
        self.reference = Reference(settings.reference, names[: len(eeg)])
        self.monitor = EegMonitor(settings.quality, sfreq, self._n_eeg)
        self.delay_s = sos_delay_s(self._band.sos, DELAY_HZ, sfreq) + self._line.delay_s(DELAY_HZ)
        """Delay at 10 Hz, s."""
        self.hold_s = front_hold_s + self.pulse.hold / sfreq
        """By how much the output is held back on purpose, s, by what came before too."""
        self._mode = settings.pulse.mode
        self._learns_pulse = False
        self.note = ""
        """What the operator should know of the pulse artefact's correction."""
        self._labels = LabelQueue(self._n_eeg)
        self._bad_max = settings.channels.bad_max * self._n_eeg
        self.good: Array = np.arange(self._n_eeg)
        """Indices of the good channels."""
        self._bad: tuple[int, ...] = ()

    def phase_rad(self, at_hz: float) -> float:
        """Phase of the filters' response at ``at_hz``, rad."""
        return sos_phase_rad(self._band.sos, at_hz, self._sfreq) + self._line.phase_rad(at_hz)

    def look_at_pulse(self) -> None:
        """See whether beats come, and whether enough were learnt from; at absolute places only."""
        beats = self.rpeaks.quality.source != "none"
        self._learns_pulse = beats and self.pulse.warming
        lost = not beats and self._mode in {"fast", "balanced", "best"}
        self.note = "no heart beat is found: the pulse artefact stays in the EEG" if lost else ""

    def __call__(self, piece: Decimated) -> tuple[list[CleanEeg], list[PulseOut]]:
        """Take samples; give those that are cleaned, and the pulse artefact that was found in them."""
        found: list[PulseOut] = []
        records: list[CleanEeg] = []
        if piece.restart:
            held = self.pulse.flush()
            found.append(held)
            records += self._finish(held)
            self._band.reset()
            if piece.labels.flags[0] & int(Flag.CLOCK_STEP):
                # over a mere gap the lines' phases run on
                self._line.reset()
        dirty: Array = (piece.labels.flags & DIRTY) != 0
        head = np.take(piece.data, self._head, axis=1)
        self._labels.put(piece.first, piece.labels)
        beats = self.rpeaks(piece.first, np.take(piece.data, self._ecg, axis=1), head[:, : self._n_eeg], dirty)
        self.monitor.beats(beats)
        self.beats.extend(beats)
        out = self.pulse(piece.first, head, np.take(piece.data, self._references, axis=1), beats, dirty)
        found.append(out)
        return records + self._finish(out), found

    def _finish(self, out: PulseOut) -> list[CleanEeg]:
        # channels are judged at the end of a block, and no piece may reach over it
        block = self.bad_channels.block
        first, n = out.first, len(out.data)
        borders = [0, *range(block - first % block, n, block), n]
        return [record for a, b in pairwise(borders) if a < b for record in self._cleaned(first + a, out.data[a:b])]

    def _cleaned(self, first: int, head: F64) -> list[CleanEeg]:
        labels = self._labels.take(first, len(head))
        flags = labels.flags.copy()
        dirty: Array = (flags & DIRTY) != 0
        self.monitor(first, head[:, : self._n_eeg], dirty, self.good)
        filtered = self._line(first, self._band(head), dirty)
        if self.unmixed is not None:
            self.unmixed.append(filtered[~dirty if labels.clipped is None else ~dirty & ~labels.clipped.any(axis=1)])
        own = filtered[:, : self._n_eeg]
        eeg = own if self._ocular is None else self._ocular(np.take(filtered, self._inputs, axis=1))
        if labels.clipped is not None:
            flags[labels.clipped[:, self.good].any(axis=1)] |= int(Flag.CLIPPED)
        if self._n_eeg - len(self.good) > self._bad_max:
            flags |= int(Flag.BAD_CHANNELS)
        if self._learns_pulse:
            flags |= int(Flag.WARMING)
        data = self.reference(eeg, self.good).astype(np.float32)
        if self.reference.fell_back:
            flags |= int(Flag.BAD_CHANNELS)
        records = self._records(first, data, labels.times - self.delay_s, flags)
        self._judge(first, own, labels, dirty=bool(dirty.any()))
        return records

    def _judge(self, first: int, data: F64, labels: Labels, *, dirty: bool) -> None:
        clipped, still = (None if what is None else what.sum(axis=0) for what in (labels.clipped, labels.still))
        before = self.bad_channels.bad
        self.bad_channels(first, data, clipped, dirty=dirty, still=still)
        if before is not self.bad_channels.bad and not np.array_equal(before, self.bad_channels.bad):
            self.good, bad = np.flatnonzero(~self.bad_channels.bad), np.flatnonzero(self.bad_channels.bad)
            self._bad = tuple(bad.tolist())
            if self._ocular is not None and self._leaves_out:
                self._ocular.leave_out(bad)

    def _records(self, first: int, data: F32, times: F64, flags: Array) -> list[CleanEeg]:
        changes: list[int] = [] if (flags == flags[0]).all() else (np.flatnonzero(np.diff(flags)) + 1).tolist()
        cuts = [0, *changes, len(flags)]
        return [
            CleanEeg(
                data=data[a:b],
                times=times[a:b],
                first_sample=first + a,
                sample_end=(first + b) * self._factor,
                flags=Flag(int(flags[a])),
                pulse=self._mode,
                hold=self.hold_s,
                bad=self._bad,
            )
            for a, b in pairwise(cuts)
        ]
