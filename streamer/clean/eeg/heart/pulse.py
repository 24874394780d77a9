"""Take the pulse artefact (ballistocardiogram) out of the EEG.

A beat is the mean of past beats plus a few components of how beats differ, over time and channels at once; how much of
each is found as the beat unfolds. The modes differ in how much later data a sample waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.clean.eeg.heart.absolute_ring import Ring
from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.heart.pulse_basis import BEFORE, FRACTIONS, Basis
from streamer.clean.eeg.heart.pulse_fit import BeatFit, warm_up
from streamer.clean.eeg.heart.pulse_model import Epoch, PulseModel
from streamer.clean.eeg.heart.reference_regression import ReferenceRegression
from streamer.contracts import Settings
from streamer.errors import ConfigError
from streamer.messages import F64, Array

PulseMode = Literal["off", "fast", "balanced", "best", "reference"]

# learning goes on by one step at every multiple of this many samples
_STEP = 5
# a beat shorter than this is an artefact of detection, s
_SHORTEST_S = 0.35
_WAITING = 2


class PulseSettings(Settings):
    """How the pulse artefact is taken out."""

    mode: PulseMode = "fast"
    """``fast`` holds nothing back, ``balanced`` and ``best`` wait for more of the beat; ``reference`` regresses on
    reference channels instead, which must see the artefact and nothing of the brain."""
    balanced_hold_s: float = Field(default=0.3, ge=0, le=2)
    """Delay of ``balanced``, s."""
    best_hold_s: float = Field(default=1.2, ge=0, le=2)
    """Delay of ``best``, s: a whole beat."""
    start_s: float = Field(default=0.05, ge=-0.2, le=0.3)
    """From the R peak to where a beat's artefact may begin, s: the pulse takes time to the head."""
    length_s: float = Field(default=1.2, ge=0.6, le=2)
    """Longest artefact of a beat, s; the next beat ends it sooner."""
    n_beats: int = Field(default=60, ge=10, le=200)
    """Beats that template and components are made of."""
    n_components: int = Field(default=5, ge=1, le=12)
    """Components at most: those that cannot be told from EEG are left out."""
    mean_s: float = Field(default=0.02, ge=0.01, le=0.1)
    """Spacing of the mean's knots, s: nothing faster than about 25 Hz."""
    component_s: float = Field(default=0.036, ge=0.01, le=0.1)
    """Spacing of the components' knots, s: nothing faster than about 14 Hz."""
    reference_memory_s: float = Field(default=4.0, ge=0.1, le=600)
    """``reference``: time in which a reference's weights are learnt, s."""
    reference_lag_s: float = Field(default=0.0, ge=0, le=0.1)
    """``reference``: how much earlier samples of the references count, s."""


@dataclass(frozen=True, slots=True)
class PulseOut:
    """Consecutive samples from which the artefact is taken."""

    first: int
    data: F64
    """V, shape (n_times, n_channels)."""
    estimate: F64
    """What was taken out, V, of the same shape; 0 where nothing was."""


@dataclass(frozen=True, slots=True)
class PulseQuality:
    """How the correction is doing."""

    mode: PulseMode
    hold_s: float
    beats: int
    """Beats in the template."""
    newest_beat_age_s: float | None
    """Since the newest beat of the template ended, s; None while there is none."""
    warming: bool
    """Nothing is taken out yet."""


class Pulse:
    """Correct for the pulse artefact.

    Parameters
    ----------
    settings : PulseSettings
    sfreq : float
        Hz.
    n_channels : int
    n_references : int
        Used in mode ``reference`` only.

    Raises
    ------
    ConfigError
        If the mode is ``reference`` and there is none.
    """

    def __init__(self, settings: PulseSettings, sfreq: float, n_channels: int, n_references: int = 0) -> None:
        if settings.mode == "reference" and not n_references:
            raise ConfigError("pulse", ["mode is reference, with 0 reference channels: expected at least one"])
        self.settings = settings
        holds = {"balanced": settings.balanced_hold_s, "best": settings.best_hold_s}
        self.hold = round(holds.get(settings.mode, 0.0) * sfreq)
        """Samples by which the output lags."""
        self._sfreq, self._n_channels = sfreq, n_channels
        self._length = round(settings.length_s * sfreq)
        self._offset = settings.start_s * sfreq
        self._regression = None
        self._model = None
        if settings.mode == "reference":
            lags = round(settings.reference_lag_s * sfreq)
            memory = settings.reference_memory_s * sfreq
            self._regression = ReferenceRegression(n_references, n_channels, lags, memory)
        elif settings.mode != "off":
            self._fine = Basis(self._length, settings.mean_s * sfreq)
            self._coarse = Basis(self._length, settings.component_s * sfreq, rising=True)
            self._model = PulseModel(
                self._fine, self._coarse, n_channels, settings.n_beats, settings.n_components, sfreq
            )
            warm_up(self._fine, self._coarse, n_channels)
        self._past = Ring(self.hold + 3 * self._length, n_channels)
        self._trust = Ring(self.hold + 3 * self._length, 1)
        self._beats: deque[Beat] = deque()
        self._fits: list[BeatFit] = []
        self._over: deque[Epoch] = deque(maxlen=_WAITING)
        self._job: Iterator[None] | None = None
        self._next: int | None = None
        self._at = 0
        self._begun = 0
        self._out = 0
        self._spoilt = 0

    @property
    def quality(self) -> PulseQuality:
        """How the correction is doing now."""
        model = self._model
        newest = None if model is None else model.newest
        return PulseQuality(
            mode=self.settings.mode,
            hold_s=self.hold / self._sfreq,
            beats=0 if model is None else min(model.count, self.settings.n_beats),
            newest_beat_age_s=None if newest is None else (self._at - newest) / self._sfreq,
            warming=self.warming,
        )

    @property
    def warming(self) -> bool:
        """Whether nothing is taken out yet: too few beats, or samples of references, were seen."""
        if self._regression is not None:
            return self._regression.learnt < self.settings.reference_memory_s * self._sfreq
        return self._model is not None and self._model.shape is None

    def __call__(self, first: int, data: F64, references: F64, beats: Sequence[Beat], dirty: Array) -> PulseOut:
        """Take the next samples; give those that are ready.

        Parameters
        ----------
        first : int
            Index of the first sample. After a `flush` it may jump.
        data : ndarray, shape (n_times, n_channels)
            EEG without gradient artefact and offset, V.
        references : ndarray, shape (n_times, n_references)
            V; looked at in mode ``reference`` only.
        beats : sequence of Beat
            Those not given before, in the order in which they got known; with or before the samples at which they did.
        dirty : ndarray of bool, shape (n_times,)
            Samples that must not be learnt from.

        Raises
        ------
        ValueError
            If ``first`` jumps without a `flush`.
        """
        if self._next is None:
            self._begin(first)
        elif first != self._next:
            raise ValueError(f"samples from {first} given, expected {self._next}: a gap comes after a flush")
        self._next = self._at = first + len(data)
        if self._model is None:
            self._out = self._next
            estimate = np.zeros(data.shape)
            if self._regression is not None:
                estimate = self._regression(data, references, dirty)
            return PulseOut(first, data - estimate, estimate)
        self._beats.extend(beats)
        out, at, stop = self._out, first, first + len(data)
        trust, spoils = 1.0 - dirty[:, None], bool(dirty.any())
        pieces: list[tuple[F64, F64]] = []
        while at < stop:
            while self._beats and self._beats[0].known <= at:
                self._take(self._beats.popleft(), at)
            end = self._until(at, stop)
            part = slice(at - first, end - first)
            self._past.put(at, data[part])
            self._trust.put(at, trust[part])
            if spoils and dirty[part].any():
                self._spoilt = first + part.start + int(np.flatnonzero(dirty[part])[-1]) + 1
            self._follow(at, end)
            at = end
            if at % _STEP == 0:
                self._learn(self._model)
            pieces.append(self._give(at - self.hold))
        if len(pieces) == 1:
            return PulseOut(out, *pieces[0])
        pieces.append(self._give(self._out))
        return PulseOut(out, np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces]))

    def flush(self) -> PulseOut:
        """Give what is held, at the end or before a gap."""
        first = self._out
        held = self._next is not None and self._model is not None
        data, estimate = self._give(self._at if held else first)
        self._next = None
        return PulseOut(first, data, estimate)

    def _begin(self, first: int) -> None:
        """Start after a gap: the beat under way goes on, but is not learnt from."""
        self._begun = self._out = self._spoilt = first
        self._fits = [fit for fit in self._fits[-1:] if fit.stop > first]
        for fit in self._fits:
            fit.skip(max(0, first - fit.start - fit.seen))
        self._over.clear()
        self._trust.put(first - 1, np.zeros((1, 1)))
        if self._regression is not None:
            self._regression.reset()

    def _until(self, at: int, stop: int) -> int:
        """Where the samples that can be taken together from ``at`` on end: nothing is decided between."""
        end = min(stop, at - at % _STEP + _STEP)
        if self._beats:
            end = min(end, self._beats[0].known)
        if self._fits and at < self._fits[-1].stop:
            end = min(end, self._fits[-1].stop)
        return end

    def _take(self, beat: Beat, at: int) -> None:
        """Let a beat take over from the one before it; catch up with what passed of it before it was known."""
        assert self._model is not None
        phase = beat.sample + self._offset
        start = ceil(phase)
        if start + self._length <= at or (self._fits and start <= self._fits[-1].start):
            return
        if self._fits and self._fits[-1].stop > start:
            if self._fits[-1].stop > at:
                self._end(self._fits[-1], start)
            self._fits[-1].stop = start
        fraction = round((start - phase) * FRACTIONS)
        learnable = beat.source != "predicted"
        fit = BeatFit(start, fraction, self._model.shape, self._fine, self._coarse, learnable=learnable)
        lost = max(0, min(self._begun, at) - start)
        fit.skip(lost)
        self._feed(fit, start + lost, at)
        self._fits.append(fit)

    def _follow(self, at: int, end: int) -> None:
        if not self._fits:
            return
        fit = self._fits[-1]
        start, stop = max(at, fit.start), min(end, fit.stop)
        self._feed(fit, start, stop)
        if start < stop == fit.stop:
            self._end(fit, stop)

    def _feed(self, fit: BeatFit, start: int, stop: int) -> None:
        if start < stop:
            n = stop - start + BEFORE
            fit.advance(self._past.last(stop, n), self._trust.last(stop, n))

    def _end(self, fit: BeatFit, stop: int) -> None:
        """Have a beat learnt from that ended at ``stop``."""
        clean = self._spoilt < fit.start
        if fit.learnable and clean and stop - fit.start >= _SHORTEST_S * self._sfreq:
            self._over.append(Epoch(fit.start, fit.fraction, stop))

    def _learn(self, model: PulseModel) -> None:
        if self._job is None:
            if not self._over:
                return
            epoch = self._over.popleft()
            start = epoch.start - BEFORE
            self._job = model.learn(epoch, self._past.last(start + BEFORE + self._length, BEFORE + self._length).copy())
        if next(self._job, self) is self:
            self._job = None

    def _give(self, stop: int) -> tuple[F64, F64]:
        """Clean up to sample ``stop``, from the first that was not given yet; the data, and what was taken out."""
        start = self._out
        stop = max(start, stop)
        estimate = np.zeros((stop - start, self._n_channels))
        for fit in self._fits:
            a, b = max(start, fit.start), min(stop, fit.stop)
            if a < b and fit.shape is not None:
                estimate[a - start : b - start] = fit.estimate(a, b, self.hold)
        self._fits = [fit for fit in self._fits[:-1] if fit.stop > stop] + self._fits[-1:]
        self._out = stop
        return self._past.last(stop, stop - start) - estimate, estimate
