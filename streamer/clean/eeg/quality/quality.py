"""How well the EEG is cleaned, live: what is left of gradients, pulse and mains, and how sure the heart beats are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from streamer.clean.eeg.heart.beat import Beat
from streamer.clean.eeg.quality.quality_heart import MIN_BEATS, HeartWatch
from streamer.clean.eeg.quality.quality_lines import LinePower, LineTargets
from streamer.contracts import Settings
from streamer.messages import F64, Array

_HOP_S = 0.1


class QualitySettings(Settings):
    """On what the figures of quality stand."""

    window_s: float = Field(default=10.0, ge=4, le=60)
    """Length of a spectral window, s: it tells lines apart that are 2 / window_s Hz apart. A new one begins every half
    window, and then all figures are made anew."""
    average: int = Field(default=4, ge=1, le=50)
    """Newest clean windows whose power is averaged: one alone is uncertain by several dB."""
    beats: int = Field(default=20, ge=MIN_BEATS, le=100)
    """Newest beats that the R-locked average is made of."""
    keep_s: float = Field(default=60.0, gt=0)
    """A window, or a beat, that is older than this says nothing more, s."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure per channel and for all; NaN where it is not known. Larger is worse."""

    channels: F64
    """Now, shape (n_channels,)."""
    median: float
    """Now, over the good channels."""
    worst: float
    """Now, over the good channels."""
    session_mean: F64
    """Over the session while the channel was good, shape (n_channels,)."""
    session_max: F64
    """Over the session while the channel was good, shape (n_channels,)."""


@dataclass(frozen=True, slots=True)
class Course:
    """One number and its course; NaN while it is not known."""

    now: float
    session_mean: float
    session_min: float
    session_max: float


@dataclass(frozen=True, slots=True)
class EegFigures:
    """The quality of cleaned EEG at a border between half windows."""

    at: int
    """All samples before this index of the decimated grid were looked at."""
    slice_residual_db: Figure
    """Power at the slice harmonics (k = 1 to 4, below 72 Hz) over that of their neighbours, dB: 0 when nothing of the
    gradient artefact is left, below it when the correction ate EEG."""
    pulse_residual_db: Figure
    """Power of the R-locked average over what chance leaves in an average of as many beats, dB: 0 when nothing of the
    pulse artefact is left."""
    pulse_residual_v: Figure
    """What the R-locked average has above chance, rms in V."""
    line_50_db: Figure
    """Power at 50 Hz over that of its neighbours, dB."""
    line_60_db: Figure
    """Power at 60 Hz over that of its neighbours, dB."""
    heart_rate_bpm: Course
    """From the median interval of the beats of the last window, 1/min."""
    r_confidence: Course
    """Mean confidence of the beats of the last window, 0 to 1."""


class EegMonitor:
    """Look at cleaned EEG before its band-pass, and say every half window how clean it is.

    The power of a line is that of Hann windows which overlap by half [1]_, at the line's very frequency, against that
    at frequencies beside it which fall between the multiples of 1/TR. A window with a dirty or missing sample says
    nothing, and neither does such a beat. The cost is spread: each 100 ms of samples are multiplied once with the waves
    of all frequencies. All is done at absolute indices, so that the figures do not depend on how the samples came.

    Parameters
    ----------
    settings : QualitySettings
    sfreq : float
        Rate of the decimated grid, Hz.
    n_channels : int

    References
    ----------
    .. [1] Welch, P. (1967). The use of fast Fourier transform for the estimation of power spectra. IEEE Transactions on
       Audio and Electroacoustics 15, 70-73. doi:10.1109/TAU.1967.1161901
    """

    def __init__(self, settings: QualitySettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._n_channels = n_channels
        self._hop = max(1, round(_HOP_S * sfreq))
        self._half = self._hop * max(1, round(0.5 * settings.window_s * sfreq / self._hop))
        self._keep = round(settings.keep_s * sfreq)
        self._rest = np.zeros((self._hop, n_channels))
        self._held = 0
        self._rest_dirty = False
        self._good: Array = np.arange(n_channels)
        self._lines = LinePower(LineTargets(sfreq, None, None), sfreq, self._hop, self._half, n_channels)
        self._rhythm: tuple[float | None, float | None] = (None, None)
        self._coming: deque[tuple[int, float | None, float | None]] = deque()
        self._windows: deque[tuple[int, F64]] = deque(maxlen=settings.average)
        self._heart = HeartWatch(sfreq, self._hop, n_channels, settings.beats, self._keep)
        self._tallies = {name: _Tally(n_channels) for name in ("slice", "pulse", "volt", "50", "60", "rate", "sure")}
        unknown = np.full(n_channels, np.nan)
        self._pulse: tuple[F64, F64, bool] = (unknown, unknown, False)
        self._figures: EegFigures | None = None

    @property
    def figures(self) -> EegFigures | None:
        """The newest figures; None before the first border."""
        return self._figures

    def rhythm(self, known: int, tr_s: float | None, slice_hz: float | None) -> None:
        """Take the scanner's rhythm; it counts from the next border between half windows on.

        Parameters
        ----------
        known : int
            First index of the decimated grid that may know of it.
        tr_s : float or None
            Period of the volumes, s.
        slice_hz : float or None
            Excitations per second; None while it is not known.
        """
        newest = self._coming[-1][1:] if self._coming else self._rhythm
        if not all(_alike(a, b) for a, b in zip(newest, (tr_s, slice_hz), strict=True)):
            self._coming.append((known, tr_s, slice_hz))

    def beats(self, beats: Iterable[Beat]) -> None:
        """Take beats, before the samples that may know of them."""
        self._heart.expect(beats)

    def __call__(self, first: int, data: F64, dirty: Array, good: Array | None = None) -> None:
        """Take the next samples.

        Parameters
        ----------
        first : int
            Index of the first on the decimated grid; samples that were left out are taken as lost.
        data : ndarray, float64, shape (n_times, n_channels)
            V, after the pulse artefact's correction.
        dirty : ndarray of bool, shape (n_times,)
            Uncorrected, settling or filled samples.
        good : ndarray of int, optional
            Indices of the channels that count for `Figure.median`, `Figure.worst` and the session; by default all.
        """
        if good is not None:
            self._good = good
        start, n, hop = 0, len(data), self._hop
        while start < n:
            at = (first + start) % hop
            take = min(hop - at, n - start)
            if at == 0:
                self._held, self._rest_dirty = 0, False
            elif at != self._held:
                # a hole: this hop will not be whole
                self._held = -hop
            if self._held >= 0:
                self._rest[at : at + take] = data[start : start + take]
                self._rest_dirty |= bool(dirty[start : start + take].any())
            self._held += take
            start += take
            if at + take == hop:
                self._whole(first + start - hop, clean=self._held == hop and not self._rest_dirty)

    def _whole(self, index: int, *, clean: bool) -> None:
        end = index + self._hop
        self._lines.add(index, self._rest, clean=clean)
        self._heart.add(index, self._rest, clean=clean)
        if (end + self._hop) % self._half == 0:
            # a hop before the rest, so that no call has to do both
            self._pulse = self._heart.residual(end)
        if end % self._half == 0:
            power = self._lines.finish()
            if power is not None:
                self._windows.append((end, power))
            self._figures = self._make(end, new_window=power is not None)
            self._change_rhythm(end)

    def _change_rhythm(self, border: int) -> None:
        known = [self._coming.popleft() for _ in range(sum(at <= border for at, _, _ in self._coming))]
        if known:
            self._rhythm = known[-1][1:]
            targets = LineTargets(self._sfreq, *self._rhythm)
            self._lines = LinePower(targets, self._sfreq, self._hop, self._half, self._n_channels)
            self._windows.clear()

    def _make(self, at: int, *, new_window: bool) -> EegFigures:
        while self._windows and self._windows[0][0] <= at - self._keep:
            self._windows.popleft()
        targets = self._lines.targets
        unknown = np.full(self._n_channels, np.nan)
        power = np.add.reduce([p for _, p in self._windows]) / len(self._windows) if self._windows else None
        slices, line_50, line_60 = (
            unknown if power is None else targets.ratio_db(power, group) for group in (targets.slices, *targets.lines)
        )
        pulse_db, pulse_v, new_beats = self._pulse
        rate, confidence = self._heart.rhythm(at, 2 * self._half)
        return EegFigures(
            at=at,
            slice_residual_db=self._figure("slice", slices, new=new_window),
            pulse_residual_db=self._figure("pulse", pulse_db, new=new_beats),
            pulse_residual_v=self._figure("volt", pulse_v, new=new_beats),
            line_50_db=self._figure("50", line_50, new=new_window),
            line_60_db=self._figure("60", line_60, new=new_window),
            heart_rate_bpm=self._course("rate", rate),
            r_confidence=self._course("sure", confidence),
        )

    def _figure(self, name: str, channels: F64, *, new: bool) -> Figure:
        tally = self._tallies[name]
        good = channels[self._good]
        if new:
            tally.add(self._good, good)
        known = good[np.isfinite(good)]
        median, worst = (float(np.median(known)), float(known.max())) if len(known) else (np.nan, np.nan)
        return Figure(channels, median, worst, tally.mean, tally.highest)

    def _course(self, name: str, value: float) -> Course:
        tally = self._tallies[name]
        tally.add(np.arange(1), np.array([value]))
        return Course(value, float(tally.mean[0]), float(tally.lowest[0]), float(tally.highest[0]))


class _Tally:
    """Mean and extremes per channel over the session."""

    def __init__(self, n_channels: int) -> None:
        self._n = np.zeros(n_channels)
        self._sum = np.zeros(n_channels)
        self._low = np.full(n_channels, np.inf)
        self._high = np.full(n_channels, -np.inf)

    def add(self, channels: Array, values: F64) -> None:
        known = np.isfinite(values)
        at, values = channels[known], values[known]
        self._n[at] += 1
        self._sum[at] += values
        self._low[at] = np.minimum(self._low[at], values)
        self._high[at] = np.maximum(self._high[at], values)

    @property
    def mean(self) -> F64:
        return np.where(self._n > 0, self._sum / np.maximum(self._n, 1.0), np.nan)

    @property
    def lowest(self) -> F64:
        return np.where(self._n > 0, self._low, np.nan)

    @property
    def highest(self) -> F64:
        return np.where(self._n > 0, self._high, np.nan)


def _alike(a: float | None, b: float | None) -> bool:
    # a period that is measured ever more exactly is the same rhythm: the fourth harmonic moves by less than 0.01 Hz
    return a is b if a is None or b is None else abs(a - b) <= 1e-4 * abs(a)
