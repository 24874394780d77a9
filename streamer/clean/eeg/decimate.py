"""Decimation with carried state: a short minimum-phase FIR, exact for any chunking."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import signal

from streamer.messages import F32, F64

PASS_HZ = 75.0
"""Flat up to here."""


def design(sfreq: float, factor: int) -> F64:
    """Design the anti-alias filter: minimum phase, flat to 75 Hz, no alias below 72 Hz.

    An equiripple filter is turned into its minimum-phase twin, which has the same magnitude and a fraction of the delay
    [1]_. Designed for 5 kHz to 250 Hz: within 0.2 dB to 70 Hz, 65 dB down from 180 Hz on. At other rates the edges
    scale with the new rate, and never exceed these.

    Returns
    -------
    ndarray, float64, shape (n_taps,)
        One tap of 1 when there is nothing to decimate.

    References
    ----------
    .. [1] Damera-Venkata, N., Evans, B. L. (1999). Optimal design of real and complex minimum phase digital FIR
       filters. ICASSP 1999, 1145-1148. doi:10.1109/ICASSP.1999.756179
    """
    if factor == 1:
        return np.ones(1)
    out = sfreq / factor
    pass_hz = min(PASS_HZ, 0.3 * out)
    stop_hz = out - 0.96 * pass_hz
    n_taps = 2 * round(0.5 * 131 * (sfreq / 5000.0) * (103.0 / (stop_hz - pass_hz))) + 1
    linear = signal.remez(n_taps, [0, pass_hz, stop_hz, sfreq / 2], [1, 0], weight=[1, 20], fs=sfreq)
    taps = cast("F64", signal.minimum_phase(linear, method="homomorphic", half=False, n_fft=16384))
    return taps / taps.sum()


class Decimator:
    """Keep every ``factor``-th sample of the filtered signal.

    Each block of ``factor`` samples is multiplied once with a matrix of fixed shape, which gives its share in all
    outputs that it reaches; an output is the sum of such shares in fixed order. So every output is made by the same
    operations on the same numbers, however many blocks come at once.

    Parameters
    ----------
    sfreq : float
        Rate of the input, Hz.
    factor : int
        Input samples per output sample.
    n_channels : int
    """

    def __init__(self, sfreq: float, factor: int, n_channels: int) -> None:
        self.factor = factor
        self.taps = design(sfreq, factor)
        self._sfreq = sfreq
        self._reach = -(-len(self.taps) // factor)
        padded = np.zeros(self._reach * factor)
        padded[: len(self.taps)] = self.taps
        # row b: the newest sample of a block that is b blocks old meets tap b * factor
        self._shares = np.ascontiguousarray(padded.reshape(self._reach, factor)[:, ::-1])
        self._past: F64 | None = None
        self._n_channels = n_channels

    def __call__(self, data: F32) -> F64:
        """Take whole blocks, shape (n * factor, n_channels); give shape (n, n_channels), one sample per block.

        Output i is the filtered signal at the newest sample of block i.
        """
        n = len(data) // self.factor
        if n * self.factor != len(data):
            raise ValueError(f"{len(data)} samples given, expected a multiple of {self.factor}")
        blocks = data.astype(np.float64).reshape(n, self.factor, self._n_channels)
        shares = np.matmul(self._shares, blocks)
        reach = self._reach
        if self._past is None:
            if not n:
                return np.empty((0, self._n_channels))
            edge = np.broadcast_to(blocks[0, 0], (self.factor, self._n_channels))
            self._past = np.repeat(np.matmul(self._shares, edge)[None], reach - 1, axis=0)
        whole = np.concatenate([self._past, shares])
        out = whole[reach - 1 :, 0].copy()
        for age in range(1, reach):
            out += whole[reach - 1 - age : len(whole) - age, age]
        self._past = whole[n:]
        return out

    def reset(self) -> None:
        """Forget the past: the next sample is taken as what was there before."""
        self._past = None

    def phase_rad(self, at_hz: float) -> float:
        """Phase of the response at ``at_hz``, rad."""
        at: Any = [at_hz]
        return float(np.angle(signal.freqz(self.taps, worN=at, fs=self._sfreq)[1][0]))

    def delay_s(self, at_hz: float) -> float:
        """Group delay at ``at_hz``, s."""
        if len(self.taps) == 1:
            return 0.0
        at: Any = [at_hz]
        return float(signal.group_delay((self.taps, [1.0]), at, fs=self._sfreq)[1][0]) / self._sfreq
