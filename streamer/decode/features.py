"""Band power of the cleaned EEG, step by step on an absolute grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from pydantic import Field, field_validator

from streamer.contracts import Settings
from streamer.decode.grid import block_at
from streamer.errors import ConfigError
from streamer.filters import SosFilter, bandpass, sos_delay_s
from streamer.messages import F32, F64, Array, CleanEeg, Flag, SessionTime


class BandPowerSettings(Settings):
    """Which bands, and how often."""

    bands: dict[str, tuple[float, float]] = Field(
        default={"theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}, min_length=1
    )
    """Edges per band, Hz."""
    step_s: float = Field(default=0.1, gt=0)
    """Length of a step, s."""
    settle_s: float = Field(default=1.0, ge=0)
    """Steps are not valid for this long after a start or a gap, s."""

    @field_validator("bands")
    @classmethod
    def _rising(cls, bands: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in bands.items():
            if not 0 < low < high:
                raise ValueError(f"band {name} is {low} to {high} Hz: expected rising edges above 0")
        return bands


@dataclass(frozen=True, slots=True)
class PowerStep:
    """Band power over one step."""

    index: int
    """Position on the absolute grid of steps; steps that are wholly missing are left out."""
    power: F32
    """Mean square, V², shape (n_channels, n_bands); NaN when samples are missing."""
    end_sample: int
    """Index on the decimated grid of the sample after the last one."""
    end_time: SessionTime
    """Time of the last sample."""
    valid: bool
    """False when samples are missing, and while the filters settle."""
    flags: Flag
    """Of the samples that entered."""

    @property
    def clean(self) -> bool:
        """Whether it may enter windows and baselines."""
        return self.valid and not self.flags & (Flag.WARMING | Flag.UNSYNCED | Flag.GAP | Flag.CLOCK_STEP)


class BandPower:
    """Mean square of band-passed EEG per step.

    Each band has a causal Butterworth band-pass of order 2 with carried state, run once a step is complete. Step i
    covers the samples from ``ceil(i * step_s * sfreq)`` to ``ceil((i + 1) * step_s * sfreq)`` (excluded) of the
    decimated grid, wherever the data begins. A gap (samples flagged ``GAP``, or missing), or a sample that is no
    number, resets the filters; the step that it lies in is not valid.

    Parameters
    ----------
    settings : BandPowerSettings
    sfreq : float
        Rate of the cleaned EEG, Hz.
    n_channels : int

    Raises
    ------
    ConfigError
        If a band does not fit below half the rate, or a step is shorter than a sample.
    """

    def __init__(self, settings: BandPowerSettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self.sfreq = sfreq
        # exact: a step that should begin on a sample must not miss it by a rounding
        self._step = Fraction(settings.step_s).limit_denominator(1_000_000) * Fraction(sfreq).limit_denominator(
            1_000_000
        )
        problems = [
            f"band {name} ends at {high} Hz: expected less than {sfreq / 2:g} Hz, half the rate of the cleaned EEG"
            for name, (_, high) in settings.bands.items()
            if high >= sfreq / 2
        ]
        if self._step < 1:
            problems.append(f"step_s is {settings.step_s} s: expected at least one sample, {1 / sfreq:g} s")
        if problems:
            raise ConfigError("band power", problems)
        self._filters = [SosFilter(bandpass(low, high, sfreq)) for low, high in settings.bands.values()]
        longest = math.ceil(self._step) + 1
        self._data = np.empty((longest, n_channels))
        self._missing: Array = np.ones(longest, dtype=bool)
        self._settle = round(settings.settle_s * sfreq)
        self._settle_until = 0
        self._next: int | None = None
        self._index = 0
        self._begins = self._ends = 0
        self._flags = Flag.NONE
        self._time = 0.0

    @property
    def delays_s(self) -> dict[str, float]:
        """Group delay of each band at the middle of it, s; the steps' times are not corrected for it."""
        return {
            name: sos_delay_s(stage.sos, math.sqrt(low * high), self.sfreq)
            for (name, (low, high)), stage in zip(self.settings.bands.items(), self._filters, strict=True)
        }

    def __call__(self, clean: CleanEeg) -> list[PowerStep]:
        """Take cleaned EEG; give the steps that it completes.

        Raises
        ------
        ValueError
            If samples come that lie before those that came already, or of another width.
        """
        data, first = clean.data, clean.first_sample
        if data.ndim != 2 or data.shape[1] != self._data.shape[1]:
            raise ValueError(f"cleaned EEG of shape {data.shape}: expected (n_times, {self._data.shape[1]})")
        if not len(data):
            return []
        out: list[PowerStep] = []
        if self._next is None:
            self._begin_step(first)
            self._reset(first)
        elif first != self._next:
            self._skip(first, out)
        missing: Array = np.asarray(~np.isfinite(data).all(axis=1))
        if clean.flags & Flag.GAP:
            missing[:] = True
        at = 0
        while at < len(data):
            stop = min(len(data), at + self._ends - (first + at))
            rows = slice(first + at - self._begins, first + stop - self._begins)
            self._data[rows], self._missing[rows] = data[at:stop], missing[at:stop]
            self._flags |= clean.flags
            self._time = float(clean.times[stop - 1])
            at = stop
            self._next = first + at
            if self._next == self._ends:
                out.append(self._finish())
                self._begin_step(self._next)
        return out

    def _begin_step(self, sample: int) -> None:
        """Begin the step that holds ``sample``."""
        self._index, self._begins, self._ends = block_at(sample, self._step)
        self._missing[:] = True
        self._flags = Flag.NONE

    def _skip(self, first: int, out: list[PowerStep]) -> None:
        """Go on at ``first`` after missing samples."""
        assert self._next is not None
        if first < self._next:
            raise ValueError(f"cleaned EEG from sample {first} given, expected {self._next} or later")
        if first >= self._ends:
            if self._next > self._begins:
                self._time += (self._ends - self._next) / self.sfreq
                out.append(self._finish())
            self._begin_step(first)
            self._reset(first)
        self._flags |= Flag.GAP

    def _reset(self, first: int) -> None:
        """Let the sample ``first`` set the filters' state."""
        for stage in self._filters:
            stage.reset()
        self._settle_until = first + self._settle

    def _finish(self) -> PowerStep:
        n = self._ends - self._begins
        missing = np.flatnonzero(self._missing[:n])
        start = int(missing[-1]) + 1 if len(missing) else 0
        if start:
            self._reset(self._begins + start)
        square = self._square(self._data[start:n]) if start < n else None
        power = np.full((self._data.shape[1], len(self._filters)), np.nan)
        if square is not None and not start:
            power = np.add.reduce(square, axis=0).T / n
        return PowerStep(
            index=self._index,
            power=np.ascontiguousarray(power, dtype=np.float32),
            end_sample=self._ends,
            end_time=SessionTime(self._time),
            valid=not start and self._begins >= self._settle_until,
            flags=self._flags | Flag.GAP if start else self._flags,
        )

    def _square(self, data: F64) -> F64:
        """Square of each band, shape (n_times, n_bands, n_channels)."""
        out = np.empty((len(data), len(self._filters), data.shape[1]))
        for band, stage in enumerate(self._filters):
            np.square(stage(data), out=out[:, band])
        return out
