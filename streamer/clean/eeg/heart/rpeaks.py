"""Heart beats, online: from the ECG, from the EEG when that is lost, put in where one was missed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.rhythm import Rhythm
from streamer.clean.eeg.heart.rpeak_from_ecg import EcgBeats
from streamer.clean.eeg.heart.rpeak_from_eeg import EegBeats
from streamer.contracts import Settings
from streamer.messages import F64, Array

_REMEMBERED = 10
_ANNOUNCED_S = 0.1
"""Without ECG, a beat is announced so long after it was due: as late as the ECG would have it."""
_SURE = 0.9
"""Confidence from which a beat teaches what the EEG behind it looks like."""


class RPeakSettings(Settings):
    """How heart beats are found."""

    shortest_s: float = Field(default=0.33, ge=0.2, le=0.6)
    """Least interval between two beats, s: 180 per minute; the T wave lies within it."""
    longest_s: float = Field(default=1.6, ge=1.0, le=3.0)
    """Greatest plausible interval, s; a longer one is a missed beat."""
    least_v: float = Field(default=50e-6, ge=0)
    """Smallest QRS complex that is believed, V from peak to peak: a lead without a heart holds noise, and what is left
    of the gradients."""
    overdue: float = Field(default=1.25, ge=1.1, le=1.6)
    """A beat this late, in usual intervals since the last, was missed and is put in. Later, fewer are put in where
    there was only a pause; earlier, more of the artefact behind it is still to come."""
    lost_s: float = Field(default=3.0, ge=1.0, le=30.0)
    """Without a sure beat for this long the ECG is lost, s: three beats at a slow pulse."""
    coast_s: float = Field(default=3.0, ge=0.0, le=30.0)
    """Beats are put in for this long after the last that was found, s; the rhythm is not known for longer."""
    eeg: bool = True
    """Whether beats are looked for in the EEG when there is no ECG."""
    eeg_swing_s: float = Field(default=0.25, gt=0, le=0.6)
    """From the R peak to the greatest swing of its artefact, s; needed only when there never was an ECG. The pulse
    reaches the head after about 0.2 s."""

    @model_validator(mode="after")
    def _check(self) -> RPeakSettings:
        if self.shortest_s * 2 > self.longest_s:
            raise ValueError(
                f"shortest_s is {self.shortest_s}, longest_s {self.longest_s}: expected at least a factor of 2"
            )
        return self


@dataclass(frozen=True, slots=True)
class RPeakQuality:
    """How the detection is doing."""

    heart_rate: float | None
    """Beats per minute; None while the rhythm is not known."""
    confidence: float
    """Mean of the last 10 beats, 0 to 1; 0 when none came for so long that they are not put in any more."""
    source: Literal["ecg", "eeg", "none"]
    """Where beats come from now."""
    predicted: int
    """Beats put in so far that were not found."""
    implausible: int
    """Intervals between found beats so far that no heart has."""


class RPeaks:
    """Find the R peaks sample by sample.

    A beat in the ECG is known about 0.1 s behind its R peak, before its pulse artefact begins. When the ECG is lost,
    beats that were found in the EEG, half a second late, carry the rhythm on, and every beat is announced from it as
    it becomes due: `Beat.source` is ``eeg`` then, and the announced place a prediction over one interval. A beat that
    neither found is put in as ``predicted``. Two beats are never closer than ``shortest_s``; one that is found where
    another was put in shortly before moves the rhythm, but is not given.

    Parameters
    ----------
    settings : RPeakSettings
    sfreq : float
        Rate of the decimated grid, Hz.
    n_eeg, n_ecg : int
        Channels; either may be 0.
    """

    def __init__(self, settings: RPeakSettings, sfreq: float, n_eeg: int, n_ecg: int) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._shortest = settings.shortest_s * sfreq
        self._coast = settings.coast_s * sfreq
        self._lost = round(settings.lost_s * sfreq)
        self._rhythm = Rhythm(self._shortest, settings.longest_s * sfreq)
        self._ecg = EcgBeats(sfreq, n_ecg, self._rhythm, self._lost, settings.least_v) if n_ecg else None
        self._eeg = EegBeats(sfreq, n_eeg, self._rhythm, settings.eeg_swing_s) if n_eeg and settings.eeg else None
        self._tick = max(1, round(0.020 * sfreq)) if self._eeg is None else self._eeg.tick
        self._block = np.zeros((self._tick, n_eeg))
        self._filled = 0
        self._dirty = False
        self._next: int | None = None
        self._end = 0
        self._given: float | None = None
        self._recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._predicted = 0

    @property
    def quality(self) -> RPeakQuality:
        """How the detection is doing now."""
        interval = self._rhythm.interval
        source = self._source()
        return RPeakQuality(
            heart_rate=None if interval is None else 60 * self._sfreq / interval,
            confidence=sum(self._recent) / len(self._recent) if self._recent and source != "none" else 0.0,
            source=source,
            predicted=self._predicted,
            implausible=self._rhythm.implausible,
        )

    def scanner(self, tr_s: float | None) -> None:
        """Take the time from volume to volume, s: what is left of the gradients repeats with it."""
        samples = None if tr_s is None else tr_s * self._sfreq
        if self._ecg is not None:
            self._ecg.filter.scanner = samples
        if self._eeg is not None:
            self._eeg.scanner = samples

    def reset(self) -> None:
        """Forget the samples so far; thresholds, templates and the rate stay."""
        self._next = None

    def __call__(self, first: int, ecg: F64, eeg: F64, dirty: Array) -> list[Beat]:
        """Take samples; give the beats that were decided within them.

        Parameters
        ----------
        first : int
            Index of the first on the decimated grid. A jump does what `reset` does.
        ecg, eeg : ndarray, float64, shape (n_times, n_ecg), (n_times, n_eeg)
            V; the gradient artefact taken out, not band-passed.
        dirty : ndarray of bool, shape (n_times,)
            Samples that are uncorrected, settling or filled: nothing is learnt from them.
        """
        if first != self._next:
            self._restart(first)
        beats: list[Beat] = []
        start, n = 0, len(ecg)
        while start < n:
            at = first + start
            stop = min(n, start + self._tick - at % self._tick)
            if self._ecg is not None:
                block = self._ecg.filter.block
                stop = min(stop, start + block - at % block)
            piece = slice(start, stop)
            self._piece(at, ecg[piece], eeg[piece], dirty[piece], beats)
            start = stop
        self._next = self._end = first + n
        return beats

    def _restart(self, first: int) -> None:
        gap = first - self._end
        self._end = first
        if self._ecg is not None:
            self._ecg.restart(first, gap)
        if self._eeg is not None:
            self._eeg.restart()
        rhythm = self._rhythm
        if gap < 0:
            self._given = None
        if gap < 0 or gap > self._coast:
            rhythm.lose_phase()
        while rhythm.expected is not None and rhythm.expected < first:
            # what beat in the gap did so unseen
            rhythm.skip()
        # a tick whose beginning is missing is left out
        self._filled = 0 if first % self._tick == 0 else -self._tick
        self._dirty = False

    def _piece(self, at: int, ecg: F64, eeg: F64, dirty: Array, beats: list[Beat]) -> None:
        """Take samples up to the end of a tick at most."""
        n = len(ecg)
        if self._ecg is not None:
            for found in self._ecg(at, ecg, dirty):
                self._rhythm.add(found.sample, learn=not found.soiled)
                self._give(beats, Beat(found.sample, found.known, found.confidence, "ecg"))
                if self._eeg is not None and found.confidence >= _SURE and not found.soiled:
                    self._eeg.learn_from(found.sample)
        if self._eeg is not None and self._filled >= 0:
            self._block[self._filled : self._filled + n] = eeg
            self._filled += n
            self._dirty |= bool(dirty.any())
        stop = at + n
        if stop % self._tick == 0:
            if self._eeg is not None and self._filled == self._tick:
                self._look_in_eeg(self._eeg, stop)
            self._filled = 0
            self._dirty = False
            self._put_in(stop - 1, beats)

    def _alone(self, now: int) -> bool:
        """Whether the EEG has to do without the ECG."""
        if self._ecg is None or self._ecg.flat:
            return True
        good = self._ecg.good_at
        return good is None or now - good > self._lost

    def _look_in_eeg(self, eeg: EegBeats, stop: int) -> None:
        alone = self._alone(stop)
        found = eeg(stop // self._tick - 1, self._block, dirty=self._dirty, alone=alone)
        last = self._rhythm.last
        if found is None or not alone or (last is not None and found.sample - last < self._shortest):
            return
        self._rhythm.add(found.sample, from_eeg=True, learn=not self._dirty)
        if not self._dirty:
            eeg.learn_from(found.sample)

    def _put_in(self, now: int, beats: list[Beat]) -> None:
        """Announce the beat that is due, if it was not found in the ECG."""
        rhythm = self._rhythm
        due, interval, last = rhythm.expected, rhythm.interval, rhythm.last
        if due is None or interval is None or last is None:
            return
        if self._alone(now):
            late = _ANNOUNCED_S * self._sfreq
        elif self._ecg is not None and self._ecg.pending:
            return
        else:
            # the further from the last beat, the less it is known where one is due
            late = (self.settings.overdue - 1) * interval * (1 + 0.5 * rhythm.skipped)
        while now > due + late:
            if due - last <= self._coast and (self._given is None or due - self._given >= self._shortest):
                if rhythm.from_eeg:
                    self._give(beats, Beat(due, now, 0.6, "eeg"))
                else:
                    self._predicted += 1
                    self._give(beats, Beat(due, now, 0.3, "predicted"))
            rhythm.skip()
            due += interval

    def _give(self, beats: list[Beat], beat: Beat) -> None:
        if self._given is not None and beat.sample - self._given < self._shortest:
            return
        self._given = beat.sample
        self._recent.append(beat.confidence)
        beats.append(beat)

    def _source(self) -> Literal["ecg", "eeg", "none"]:
        last = self._rhythm.last
        if last is None or self._end - last > self._coast + self._rhythm.longest:
            return "none"
        return "eeg" if self._rhythm.from_eeg else "ecg"
