"""Causal filters with carried state, and what they delay."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from scipy import signal

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
        self._settled = cast("F64", signal.sosfilt_zi(self.sos))[:, :, None]
        self._state: F64 | None = None

    def __call__(self, data: F32 | F64) -> F64:
        """Filter the next samples, shape (n_times, n_channels)."""
        if not len(data):
            return np.empty(data.shape)
        state = self._settled * data[0].astype(np.float64) if self._state is None else self._state
        self._state = state
        out = data
        # section by section: for a few samples at a time this is half the cost of scipy's sosfilt
        for i, section in enumerate(self.sos):
            out, state[i] = signal.lfilter(section[:3], section[3:], out, axis=0, zi=state[i])
        return cast("F64", out)

    def reset(self) -> None:
        """Forget the past: the next sample sets the state."""
        self._state = None


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
