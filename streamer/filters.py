"""Causal filters with carried state, and what they delay."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import signal

from streamer.compiled import compiled
from streamer.messages import F32, F64


class SosFilter:
    """Second-order sections over time, sample by sample, with the state carried from call to call.

    The first sample after a start or `reset` sets the state as if it had been there for ever (``sosfilt_zi * x0``), so
    that an offset of the electrodes makes no step.

    Parameters
    ----------
    sos : ndarray, float64, shape (n_sections, 6)
    """

    def __init__(self, sos: F64) -> None:
        self.sos = np.ascontiguousarray(sos, dtype=np.float64)
        self._sections: F64 = np.ascontiguousarray(self.sos[:, (0, 1, 2, 4, 5)] / self.sos[:, 3:4])
        self._settled = cast("F64", signal.sosfilt_zi(self.sos))[:, :, None]
        self._state: F64 | None = None
        none = np.empty((0, 1))
        _filter(self._sections, np.zeros((len(sos), 2, 1)), none, none)
        _filter(self._sections, np.zeros((len(sos), 2, 1)), none.astype(np.float32), none)

    def __call__(self, data: F32 | F64) -> F64:
        """Filter the next samples, shape (n_times, n_channels)."""
        out = np.empty(data.shape)
        if not len(data):
            return out
        state = self._state
        if state is None:
            self._state = state = self._settled * data[0].astype(np.float64)
        # what may not be written to is another type to the compiler
        _filter(self._sections, state, data if data.flags.carray else data.copy(), out)
        return out

    def reset(self) -> None:
        """Forget the past: the next sample sets the state."""
        self._state = None


@compiled
def _filter(sections: F64, state: F64, data: F32 | F64, out: F64) -> None:
    for s in range(len(sections)):
        if s == 0:
            _section(sections, state, s, data, out)
        else:
            _section(sections, state, s, out, out)


@compiled
def _section(sections: F64, state: F64, s: int, data: F32 | F64, out: F64) -> None:
    """Run one section in transposed direct form II; channels innermost, so that the compiler takes several at once."""
    n_times, n_channels = data.shape
    b0, b1, b2 = sections[s, 0], sections[s, 1], sections[s, 2]
    a1, a2 = sections[s, 3], sections[s, 4]
    first, second = state[s, 0], state[s, 1]
    for i in range(n_times):
        row, done = data[i], out[i]
        for c in range(n_channels):
            x = np.float64(row[c])
            y = b0 * x + first[c]
            first[c] = b1 * x - a1 * y + second[c]
            second[c] = b2 * x - a2 * y
            done[c] = y


def highpass(cut_hz: float, sfreq: float) -> F64:
    """Design a Butterworth high-pass of order 2 (SOS)."""
    return cast("F64", signal.butter(2, cut_hz, "highpass", fs=sfreq, output="sos"))


def bandpass(low_hz: float, high_hz: float, sfreq: float, order: int = 2) -> F64:
    """Design a Butterworth band-pass (SOS) of the given order at each edge."""
    return cast("F64", signal.butter(order, (low_hz, high_hz), "bandpass", fs=sfreq, output="sos"))


def notch(line_hz: float, sfreq: float, quality: float = 30.0) -> F64:
    """Design a notch (SOS) at ``line_hz``, of width ``line_hz / quality``."""
    return cast("F64", signal.tf2sos(*signal.iirnotch(line_hz, quality, fs=sfreq)))


def sos_phase_rad(sos: F64, at_hz: float, sfreq: float) -> float:
    """Phase of a cascade's response at ``at_hz``, rad."""
    at: Any = np.array([at_hz])
    response = cast("F64", signal.freqz_sos(sos, worN=at, fs=sfreq)[1])
    return float(np.angle(response)[0])


def sos_delay_s(sos: F64, at_hz: float, sfreq: float) -> float:
    """Group delay of a cascade at ``at_hz``, s."""
    step = 0.01
    around: Any = np.array([at_hz - step, at_hz + step])
    response = cast("F64", signal.freqz_sos(sos, worN=around, fs=sfreq)[1])
    return float(-np.diff(np.unwrap(np.angle(response)))[0] / (2 * np.pi * 2 * step))
