"""A rhythm in coloured noise as a state-space model: fitted to a spectrum, followed by a Kalman filter.

The signal is modelled as a sum of damped random rotations (Matsuda & Komaki 2017, doi:10.1162/NECO_a_00916): the rhythm
that is wanted, one wider rotation below and one above it, three relaxations that together look like 1/f, and white
noise. The filter's mean is the analytic signal of the rhythm at the newest sample, without any delay, and its
covariance says how well it is known (Wodeyar 2021, doi:10.7554/eLife.68803).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import linalg, special

from streamer.messages import F64, Array

RELAXATIONS_HZ = (1.5, 5.0, 16.0)
"""Corner frequencies of the relaxations, Hz."""
_FIT_HZ = (3.0, 35.0)
_SEGMENT_S = 4.0
_N_CENTRES = 11
_WIDTHS = (0.1, 0.2, 0.35, 0.6)
_NEIGHBOURS = ((0.6, 0.5), (1.7, 0.5))
_LEAST_WHITE = 1e-3
_UPDATES = 60
_FLOOR_V2 = 1e-20
_CONVERGED = 1e-5
_SETTLED = 1.1


@dataclass(frozen=True)
class RhythmModel:
    """What the signal is made of; the order is the rhythm, below, above, the relaxations, white noise."""

    centre_hz: float
    """Of the rhythm."""
    width_hz: float
    """Of the rhythm, at half power."""
    variances: tuple[float, ...]
    """V²: of each part, shape (7,)."""


def components(centre_hz: float, width_hz: float, low_hz: float, high_hz: float) -> list[tuple[float, float]]:
    """Give centre and half-power width of the parts that have a memory, Hz; relaxations have a centre of 0."""
    below, above = (
        (edge * by, edge * by * share) for edge, (by, share) in zip((low_hz, high_hz), _NEIGHBOURS, strict=True)
    )
    return [(centre_hz, width_hz), below, above, *((0.0, 2.0 * corner) for corner in RELAXATIONS_HZ)]


class SpectrumFit:
    """Fit a ``RhythmModel`` to the spectrum of a signal by Whittle's likelihood, a little at a time.

    Segments of 4 s (Hann, half overlapping) are averaged. For every candidate of the rhythm's centre and width the
    variances are found by multiplicative updates (Itakura-Saito; Fevotte 2009, doi:10.1162/neco.2008.04-08-771); the
    likeliest candidate is taken.

    Parameters
    ----------
    low_hz, high_hz : float
        The band in which the rhythm is looked for.
    sfreq : float
        Hz.
    """

    def __init__(self, low_hz: float, high_hz: float, sfreq: float) -> None:
        self.length = 2 * round(_SEGMENT_S * sfreq / 2)
        """Samples per segment; the next begins half of it later."""
        self._taper = np.hanning(self.length + 1)[:-1]
        self._taper /= math.sqrt(float(np.square(self._taper).sum()))
        self._sum = np.zeros(self.length // 2 + 1)
        self.segments = 0
        f = np.fft.rfftfreq(self.length, 1.0 / sfreq)
        self._bins: Array = np.flatnonzero(
            (f >= min(_FIT_HZ[0], low_hz / 2)) & (f <= min(max(_FIT_HZ[1], 2 * high_hz), 0.45 * sfreq))
        )
        self.candidates = [
            (float(centre), share * (high_hz - low_hz))
            for centre in np.linspace(low_hz, high_hz, _N_CENTRES)
            for share in _WIDTHS
        ]
        lags = np.arange(self.length)
        lagged = np.correlate(self._taper, self._taper, "full")[self.length - 1 :]
        shapes: dict[tuple[float, float], F64] = {}

        def shape(centre: float, width: float) -> F64:
            # what a tapered segment shows of a process with this autocovariance
            if (centre, width) not in shapes:
                covariance = np.exp(-np.pi * width / sfreq * lags) * np.cos(2 * np.pi * centre / sfreq * lags) * lagged
                covariance[1:] *= 2.0
                shapes[centre, width] = np.fft.fft(covariance).real[self._bins]
            return shapes[centre, width]

        white = np.ones(len(self._bins))
        self._shapes = np.array(
            [[*(shape(*part) for part in components(c, w, low_hz, high_hz)), white] for c, w in self.candidates]
        )
        self._variances: F64 | None = None
        self._updates = 0

    def add(self, segment: F64) -> None:
        """Add one segment, V, shape (length,)."""
        self._sum += np.square(np.abs(np.fft.rfft(segment * self._taper)))
        self.segments += 1

    def update(self) -> RhythmModel | None:
        """Make one round of updates of all candidates; give the model after the last one."""
        # a dead channel has no power at all
        measured = self._sum[self._bins] / self.segments + _FLOOR_V2
        variances = self._variances
        if variances is None:
            variances = measured.mean() / self._shapes.mean(axis=2) / self._shapes.shape[1]
        fitted = np.add.reduce(variances[:, :, None] * self._shapes, axis=1)
        if self._updates == _UPDATES:
            cost = np.add.reduce(np.log(fitted) + measured / fitted, axis=1)
            best = int(np.argmin(cost))
            return RhythmModel(*self.candidates[best], tuple(variances[best].tolist()))
        inverse = 1.0 / fitted
        up = np.add.reduce(self._shapes * (measured * inverse * inverse)[:, None, :], axis=2)
        down = np.add.reduce(self._shapes * inverse[:, None, :], axis=2)
        self._variances = variances * (up / down)
        self._updates += 1
        return None


class RhythmFilter:
    """Follow one rhythm: the Kalman filter of a ``RhythmModel``.

    Parameters
    ----------
    model : RhythmModel
    low_hz, high_hz : float
        The band that the model was fitted for.
    sfreq : float
        Hz.
    """

    def __init__(self, model: RhythmModel, low_hz: float, high_hz: float, sfreq: float) -> None:
        blocks: list[F64] = []
        drive: list[float] = []
        start: list[float] = []
        seen: list[float] = []
        parts = components(model.centre_hz, model.width_hz, low_hz, high_hz)
        for (centre, width), variance in zip(parts, model.variances[:-1], strict=True):
            keep = math.exp(-math.pi * width / sfreq)
            angle = 2 * math.pi * centre / sfreq
            turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]] if centre else [[1.0]]
            blocks.append(keep * np.array(turn))
            n = len(turn)
            start += [max(variance, 1e-18)] * n
            drive += [max(variance, 1e-18) * (1 - keep**2)] * n
            seen += [1.0, 0.0][:n]
        self._f = cast("F64", linalg.block_diag(*blocks))
        self._q, self._prior, self._h = np.diag(drive), np.diag(start), np.array(seen)
        self._r = max(model.variances[-1], _LEAST_WHITE * sum(model.variances))
        self._final: tuple[F64, F64] | None = None
        self._blocks: dict[int, tuple[F64, F64]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._x = np.zeros(len(self._h))
        self._p = self._prior
        self._settled = False

    @property
    def variance(self) -> float:
        """Of each part of the analytic signal as it is known now, V²."""
        return float(self._p[0, 0] + self._p[1, 1]) / 2

    @property
    def settled(self) -> bool:
        """Whether the rhythm is known nearly as well as it will ever be."""
        if self._final is None:
            return False
        final = self._final[1]
        return self.variance <= _SETTLED * float(final[0, 0] + final[1, 1]) / 2

    def __call__(self, data: F64 | None, n: int) -> Array:
        """Take the next ``n`` samples, V, or None for samples that cannot be used: the rhythm turns on unseen.

        Returns
        -------
        ndarray, complex128, shape (n,)
            Analytic signal of the rhythm, V.
        """
        if data is not None and self._settled and self._final is not None:
            from_state, from_data = self._response(n, self._final[0])
            states = (from_state @ self._x + from_data @ data).reshape(n, len(self._h))
            self._x = states[-1].copy()
            return states[:, 0] + 1j * states[:, 1]
        out = np.empty(n, np.complex128)
        before = self._p
        gain = np.zeros(len(self._h))
        for i in range(n):
            self._x = self._f @ self._x
            self._p = self._f @ self._p @ self._f.T + self._q
            if data is not None:
                ph = self._p @ self._h
                gain = ph / (self._h @ ph + self._r)
                self._p = self._p - gain[:, None] * ph
                self._x = self._x + gain * (data[i] - self._h @ self._x)
            out[i] = complex(self._x[0], self._x[1])
        self._settled = data is not None and bool(np.abs(self._p - before).max() < _CONVERGED * self._p.max())
        if self._settled and self._final is None:
            self._final = gain, self._p
        return out

    def _response(self, n: int, gain: F64) -> tuple[F64, F64]:
        """All states of ``n`` samples as one product each with the state before and the samples."""
        if n not in self._blocks:
            step = self._f - np.outer(gain, self._h @ self._f)
            m = len(gain)
            impulse, from_state, from_data = np.empty((m, n)), np.empty((n, m, m)), np.zeros((n, m, n))
            power = np.eye(m)
            for i in range(n):
                impulse[:, n - 1 - i] = power @ gain
                from_data[i, :, : i + 1] = impulse[:, n - 1 - i :]
                power = step @ power
                from_state[i] = power
            self._blocks[n] = from_state.reshape(n * m, m), from_data.reshape(n * m, n)
        return self._blocks[n]


def phase_sd(amplitude: float, variance: float) -> float:
    """Circular sd of the phase of an analytic signal, rad.

    Parameters
    ----------
    amplitude : float
        Of its mean, V.
    variance : float
        Of each of its parts, V².
    """
    half = amplitude**2 / (4 * variance)
    length = math.sqrt(math.pi * half / 2) * float(special.ive(0, half) + special.ive(1, half))
    return math.sqrt(max(0.0, -2 * math.log(min(1.0, max(length, 1e-12)))))
