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
        # two sections as one filter of order 4: a call costs more than its few multiplications, and sosfilt twice that
        self._parts = [cast("tuple[F64, F64]", signal.sos2tf(self.sos[i : i + 2])) for i in range(0, len(self.sos), 2)]
        self._settled: list[F64] = []
        level = 1.0
        for b, a in self._parts:
            self._settled.append(level * cast("F64", signal.lfilter_zi(b, a))[:, None])
            level *= float(b.sum() / a.sum())
        self._states: list[F64] | None = None

    def __call__(self, data: F32 | F64) -> F64:
        """Filter the next samples, shape (n_times, n_channels)."""
        if not len(data):
            return np.empty(data.shape)
        if self._states is None:
            self._states = [settled * data[0].astype(np.float64) for settled in self._settled]
        out = data
        for i, (b, a) in enumerate(self._parts):
            out, self._states[i] = signal.lfilter(b, a, out, axis=0, zi=self._states[i])
        return cast("F64", out)

    def reset(self) -> None:
        """Forget the past: the next sample sets the state."""
        self._states = None


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
