"""Narrow bands of the EEG: virtual channels and complex demodulation, block by block with carried state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from scipy import signal

from streamer.decode.blocks import Block
from streamer.errors import ConfigError
from streamer.messages import F64, Array

_LEAST_WEIGHT = 0.5
_TURN_S = 10


class VirtualChannels:
    """Weighted sums of channels.

    A bad channel is left out and the others' weights are raised to the same sum, as long as all weights have one sign
    and the good ones make half of their sum; else the virtual channel is masked.

    Parameters
    ----------
    weights : mapping of name to mapping of channel to weight
    channels : sequence of str
        Names of the EEG channels, in order.

    Raises
    ------
    ConfigError
        If there is none, a channel is not there, or all weights are 0.
    """

    def __init__(self, weights: Mapping[str, Mapping[str, float]], channels: Sequence[str]) -> None:
        problems = [
            f"{name} takes channel {channel}: expected one of {', '.join(channels)}"
            for name, parts in weights.items()
            for channel in parts
            if channel not in channels
        ]
        problems += [
            f"{name} has no weight: expected at least one" for name, w in weights.items() if not any(w.values())
        ]
        if problems or not weights:
            raise ConfigError("virtual channels", problems or ["none is given: expected at least one"])
        self.names = tuple(weights)
        self._weights = np.array([[float(parts.get(c, 0.0)) for c in channels] for parts in weights.values()])
        self._sums = np.abs(self._weights).sum(axis=1)
        self._one_sign: Array = np.asarray(np.abs(self._weights.sum(axis=1)) > (1 - 1e-9) * self._sums)

    def __call__(self, block: Block) -> tuple[F64, Array]:
        """Give the sums, V, shape (n_times, n_virtual), and which of them can be used, bool, shape (n_virtual,)."""
        left = np.abs(self._weights) @ (~block.bad).astype(np.float64)
        whole: Array = left > (1 - 1e-9) * self._sums
        used: Array = whole | (self._one_sign & (left >= _LEAST_WEIGHT * self._sums))
        gain = np.where(used, self._sums / np.where(used, left, 1.0), 0.0)
        return block.data @ (self._weights * gain[:, None]).T, used


class Demodulator:
    """Analytic signal of a band: turned down to 0 Hz, low-passed (Butterworth order 2), turned up again.

    What comes out speaks of ``delay_s`` before the newest sample, and its phase is that of the input at that time: the
    low-pass has no phase at 0 Hz. Off the centre the envelope falls, by 3 dB at the band's edges.

    Parameters
    ----------
    low_hz, high_hz : float
    sfreq : float
        Hz.
    """

    def __init__(self, low_hz: float, high_hz: float, sfreq: float) -> None:
        # a whole number of turns in 10 s, so that the carrier is a table
        self.centre_hz = round(_TURN_S * (low_hz + high_hz) / 2) / _TURN_S
        half = (high_hz - low_hz) / 2
        self._b, self._a = cast("tuple[F64, F64]", signal.butter(2, half, fs=sfreq))
        n = round(_TURN_S * sfreq)
        self._turns = np.exp(2j * np.pi * self.centre_hz / sfreq * np.arange(n))
        f = np.linspace(0.0, sfreq / 2, 8192)
        response = cast("Any", signal.freqz)(self._b, self._a, worN=f, fs=sfreq)[1]
        power: F64 = np.square(np.abs(response))
        self.delay_s = float(-np.angle(response[1]) / (2 * np.pi * f[1]))
        """Group delay at the centre, s."""
        self.independent_hz = float(2 * f[1] * power.sum() ** 2 / np.square(power).sum())
        """Independent complex samples per second of a white input."""
        self._back = np.exp(-2j * np.pi * self.centre_hz * self.delay_s)
        self._state: Array | None = None

    def __call__(self, first: int, data: F64) -> Array:
        """Take samples from index ``first`` on, shape (n_times, n); give complex128 of the same shape."""
        turns = self._turns[np.arange(first, first + len(data)) % len(self._turns)][:, None]
        state = np.zeros((2, data.shape[1]), np.complex128) if self._state is None else self._state
        slow, self._state = signal.lfilter(self._b, self._a, data * turns.conj(), axis=0, zi=state)
        return slow * turns * (2 * self._back)

    def reset(self) -> None:
        """Forget the past."""
        self._state = None


class Frequency:
    """Instantaneous frequency: the turn from sample to sample, smoothed over about ``tau_s`` by amplitude squared.

    Parameters
    ----------
    tau_s : float
    sfreq : float
        Hz.
    """

    def __init__(self, tau_s: float, sfreq: float) -> None:
        self._keep = math.exp(-1 / (tau_s * sfreq))
        self._hz = sfreq / (2 * math.pi)
        self.reset()

    def __call__(self, analytic: Array) -> float:
        """Take the next samples, complex, shape (n_times,); give the frequency at the last one, Hz."""
        before = np.concatenate([analytic[:1] if self._last is None else self._last, analytic[:-1]])
        turns, self._state = signal.lfilter(
            [1 - self._keep], [1, -self._keep], analytic * before.conj(), zi=self._state
        )
        self._last = analytic[-1:].copy()
        return float(np.angle(turns[-1])) * self._hz

    def reset(self) -> None:
        """Forget the past."""
        self._last: Array | None = None
        self._state: Array = np.zeros(1, np.complex128)
