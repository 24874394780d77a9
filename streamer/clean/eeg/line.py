"""Mains hum and the helium pump, taken out without touching what lies beside them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.filters import SosFilter, notch, sos_delay_s, sos_phase_rad
from streamer.messages import F64, Array

TRACK_BLOCK_S = 0.5
"""The frequencies are corrected this often, s."""
TRUST = 0.6
"""A line that turns and swells faster than this, of half its width, is none."""


class LineSettings(Settings):
    """Which lines are removed, and how."""

    mode: Literal["off", "notch", "adaptive"] = "adaptive"
    """``notch`` is a fixed filter; ``adaptive`` follows each line's amplitude, phase and frequency."""
    mains_hz: Literal[50, 60] | None = None
    """Mains frequency, Hz; None where there is none to remove."""
    harmonics: int = Field(default=1, ge=1, le=10)
    """Multiples of the mains frequency to remove, the frequency itself being the first."""
    pump_hz: tuple[Annotated[float, Field(ge=1)], ...] = ()
    """Lines of the helium pump, the ventilation and the like, Hz: to be read off a spectrum taken in this scanner."""
    width_hz: float = Field(default=1.5, ge=0.2, le=4)
    """Of what is removed around a line, from -3 dB to -3 dB, Hz: amplitude modulation that is faster than half of this
    is left in."""
    track_hz: float = Field(default=0.2, ge=0, le=1)
    """How far a line's frequency is followed to either side, Hz; 0 keeps it where it was set. ``adaptive`` only."""
    track_s: float = Field(default=4.0, gt=0)
    """Time constant with which the frequency is followed, s."""

    @model_validator(mode="after")
    def _check(self) -> LineSettings:
        lines = sorted(self.lines(np.inf))
        for low, high in pairwise(lines):
            if high - low < 2 * self.width_hz:
                raise ValueError(
                    f"lines at {low:g} and {high:g} Hz: expected at least {2 * self.width_hz:g} Hz between two, twice"
                    " width_hz"
                )
        return self

    def lines(self, below_hz: float) -> tuple[float, ...]:
        """Give all lines below a frequency, Hz."""
        mains = () if self.mains_hz is None else tuple(float(self.mains_hz * (k + 1)) for k in range(self.harmonics))
        return tuple(f for f in (*mains, *self.pump_hz) if f < below_hz)


class LineFilter:
    """Remove lines from filtered EEG.

    ``adaptive`` predicts each line in each channel from sample to sample, and takes the prediction out: an oscillator
    whose amplitude, phase and their rate of change are corrected by what was left of the line, which is adaptive noise
    cancelling with a sine and a cosine [1]_, of second order, so that what changes steadily is followed without lag.
    The same turning of the phase in all channels moves the line's frequency, at absolute multiples of 0.5 s. Nothing is
    held back; apart from the line it is a notch, and delays as little.

    The phase runs on with the sample index, so that a gap costs nothing.

    Parameters
    ----------
    settings : LineSettings
        Lines from half of ``sfreq`` on are not in the data, and are left out.
    sfreq : float
        Rate of the data, Hz.
    n_channels : int

    References
    ----------
    .. [1] Widrow, B. et al. (1975). Adaptive noise cancelling: principles and applications. Proceedings of the IEEE
       63(12), 1692-1716. doi:10.1109/PROC.1975.10036
    """

    def __init__(self, settings: LineSettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._lines = np.array(settings.lines(sfreq / 2) if settings.mode != "off" else ())
        self._notch: SosFilter | None = None
        if settings.mode == "notch" and len(self._lines):
            cascade = [notch(f, sfreq, quality=f / settings.width_hz) for f in self._lines.tolist()]
            self._notch = SosFilter(np.concatenate(cascade))
        self._block = max(1, round(TRACK_BLOCK_S * sfreq))
        self._pull = min(1.0, self._block / (sfreq * settings.track_s))
        # rows: of each line the oscillator's two coordinates and their two rates; last the sample, then what is left
        self._now = np.zeros((4 * len(self._lines) + 1, n_channels))
        self._level = 1.0
        self._turn_to(self._lines)
        # the loop lifts everything beside the lines by the same few percent
        self._level = 1.0 / abs(self._response(0.0))
        self._then = np.zeros_like(self._now)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was learnt."""
        self._now[:] = 0.0
        self._next: int | None = None
        self._turn_to(self._lines)
        if self._notch is not None:
            self._notch.reset()

    @property
    def frequencies_hz(self) -> tuple[float, ...]:
        """Where the lines are now, Hz."""
        return tuple(self._hz.tolist())

    @property
    def amplitudes(self) -> F64:
        """Amplitude of each line in each channel, as followed by ``adaptive``, V, shape (n_lines, n_channels)."""
        p, q, _, _ = self._parts()
        return np.hypot(p, q)

    def delay_s(self, at_hz: float) -> float:
        """Group delay at ``at_hz``, s."""
        if self._notch is not None:
            return sos_delay_s(self._notch.sos, at_hz, self._sfreq)
        step = 0.01
        low, high = (self._response(hz) for hz in (at_hz - step, at_hz + step))
        return float(-np.angle(high / low) / (2 * np.pi * 2 * step))

    def phase_rad(self, at_hz: float) -> float:
        """Phase of the response at ``at_hz``, rad."""
        if self._notch is not None:
            return sos_phase_rad(self._notch.sos, at_hz, self._sfreq)
        return float(np.angle(self._response(at_hz)))

    def _response(self, hz: float) -> complex:
        """Give what becomes of a sine of this frequency while the lines' frequencies stay as they are."""
        step = self._learning
        states = np.exp(2j * np.pi * hz / self._sfreq) * np.eye(len(step) - 1) - step[:-1, :-1]
        return complex(step[-1, -1] + step[-1, :-1] @ np.linalg.solve(states, step[:-1, -1]))

    def __call__(self, first: int, data: F64, dirty: Array | None = None) -> F64:
        """Clean the next samples.

        Parameters
        ----------
        first : int
            Index of the first on the grid; it may lie beyond the end of what came before.
        data : ndarray, float64, shape (n_times, n_channels)
            V.
        dirty : ndarray of bool, shape (n_times,), optional
            Samples that nothing is learnt from; by default all are good.

        Returns
        -------
        ndarray, float64, shape (n_times, n_channels)
        """
        if self.settings.mode == "off" or not len(self._lines) or not len(data):
            return data
        passed = 0 if self._next is None else first - self._next
        self._next = first + len(data)
        if self._notch is not None:
            if passed:
                self._notch.reset()
            return self._notch(data)
        if passed:
            self._now[:-1] = self._turned(passed)
        out = np.empty(data.shape)
        now, then = self._now, self._then
        for i in range(len(data)):
            if (first + i) % self._block == 0:
                self._now = now
                self._track()
            now[-1] = data[i]
            # one product of fixed shape a sample: how many come along cannot matter
            np.matmul(self._learning if dirty is None or not dirty[i] else self._coasting, now, out=then)
            out[i] = then[-1]
            now, then = then, now
        self._now, self._then = now, then
        return out

    def _parts(self) -> tuple[F64, F64, F64, F64]:
        """Split the state: coordinates and their rates, each (n_lines, n_channels)."""
        p, q, dp, dq = self._now[:-1].reshape(4, len(self._lines), -1)
        return p, q, dp, dq

    def _turned(self, samples: int) -> F64:
        """Give the state so many samples later, with nothing learnt."""
        p, q, dp, dq = self._parts()
        angle = ((2 * np.pi / self._sfreq * self._hz * samples) % (2 * np.pi))[:, None]
        c, s = np.cos(angle), np.sin(angle)
        return np.concatenate([c * p - s * q, s * p + c * q, c * dp - s * dq, s * dp + c * dq])

    def _turn_to(self, hz: F64) -> None:
        """Make the oscillators turn with these frequencies: one matrix steps all of them and the sample."""
        self._hz = hz
        k = len(hz)
        angle = 2 * np.pi / self._sfreq * hz
        states = np.arange(4 * k).reshape(4, k)
        turn = np.zeros((4 * k, 4 * k))
        for p, q in (states[:2], states[2:]):
            turn[p, p] = turn[q, q] = np.cos(angle)
            turn[q, p] = np.sin(angle)
            turn[p, q] = -turn[q, p]
        left = np.concatenate([-np.ones(k), np.zeros(3 * k), [1.0]])
        now, rate = self._gains(hz)
        gain = np.concatenate([now.real, now.imag, rate.real, rate.imag])
        drift = np.eye(4 * k)
        drift[states[:2], states[2:]] = 1.0
        self._learning = np.empty((4 * k + 1, 4 * k + 1))
        self._learning[:-1, :-1] = turn @ (drift + np.outer(gain, left[:-1]))
        self._learning[:-1, -1] = turn @ gain
        self._learning[-1] = self._level * left
        self._coasting = np.zeros_like(self._learning)
        self._coasting[:-1, :-1] = turn
        self._coasting[-1] = left

    def _gains(self, hz: F64) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Give what a line's phasor and its rate take from what is left of the signal, complex, each (n_lines,).

        They place the poles of the whole where a Butterworth band-stop of second order around each line, one after the
        other, would have them: so lines do not lift what lies between them. The zeros lie on the lines, twice.
        """
        line = np.exp(2j * np.pi / self._sfreq * hz)
        edge = np.pi * self.settings.width_hz / self._sfreq
        beside = np.exp(edge * np.array([-1 + 1j, -1 - 1j]) / np.sqrt(2))
        poles = np.outer(line, beside).ravel()
        to_poles = line[:, None] - np.concatenate([poles, poles.conj()])
        to_zeros = line[:, None] - np.concatenate([line, line.conj()])
        own = np.arange(len(line)), np.arange(len(line))
        # the poles' polynomial over the zeros', split into a fraction per line: the value and slope of the rest there
        to_zeros[own] = 1.0
        value = np.prod(to_poles, axis=1) / np.prod(to_zeros, axis=1) ** 2
        slope = value * (np.sum(1 / to_poles, axis=1) - 2 * (np.sum(1 / to_zeros, axis=1) - 1.0))
        return 2 * slope / line, 2 * value / line**2

    def _track(self) -> None:
        """Move the frequencies by the turning that the channels have in common."""
        reach = self.settings.track_hz
        if not reach:
            return
        p, q, dp, dq = self._parts()
        per_hz = 2 * np.pi / self._sfreq
        power = np.maximum(np.add.reduce(p * p + q * q, axis=1), 1e-30)
        turning = np.add.reduce(p * dq - q * dp, axis=1) / power / per_hz
        # what changes as fast as the loop can follow is no line: then back to where it should be
        speed = np.add.reduce(dp * dp + dq * dq, axis=1) / power / per_hz**2
        trust = np.maximum(0.0, 1.0 - speed / (TRUST * self.settings.width_hz / 2) ** 2)
        hz = self._hz + self._pull * (trust * turning - (1.0 - trust) * (self._hz - self._lines))
        hz = np.clip(hz, self._lines - reach, self._lines + reach)
        # what the frequency now does by itself, the rates need not do any more
        step = (per_hz * (hz - self._hz))[:, None]
        dp += step * q
        dq -= step * p
        self._turn_to(hz)
