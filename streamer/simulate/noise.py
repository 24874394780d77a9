"""Random processes that the physiology is made of. All are stationary from their first sample."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from streamer.messages import F64


def pink(rng: np.random.Generator, n_times: int, n_series: int, rate_hz: float, flat_below_hz: float = 0.5) -> F64:
    """Noise with power 1/f above ``flat_below_hz``, flat below; sd 1, shape (n_times, n_series)."""
    f = np.fft.rfftfreq(n_times, 1.0 / rate_hz)
    gain = 1.0 / np.sqrt(np.maximum(f, flat_below_hz))
    gain[0] = 0.0
    out = np.empty((n_times, n_series))
    for k in range(n_series):
        spectrum = rng.standard_normal(f.size) + 1j * rng.standard_normal(f.size)
        series = np.fft.irfft(spectrum * gain, n_times)
        out[:, k] = series / series.std()
    return out


def ornstein_uhlenbeck(rng: np.random.Generator, n_times: int, n_series: int, rate_hz: float, tau_s: float) -> F64:
    """Noise that forgets with time constant ``tau_s``; sd 1, shape (n_times, n_series)."""
    keep = float(np.exp(-1.0 / (tau_s * rate_hz)))
    drive = rng.standard_normal((n_times, n_series)) * np.sqrt(1.0 - keep**2)
    start = rng.standard_normal((1, n_series)) * keep
    return lfilter([1.0], [1.0, -keep], drive, axis=0, zi=start)[0]


def oscillation(
    rng: np.random.Generator, n_times: int, rate_hz: float, centre_hz: float, bandwidth_hz: float
) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    """Noise around ``centre_hz``, ``bandwidth_hz`` wide at half power: a complex signal whose real part has rms 1.

    A rotating Ornstein-Uhlenbeck process: its absolute value waxes and wanes in bursts of about 1/(π bandwidth) s.
    """
    pole = np.exp((2j * np.pi * centre_hz - np.pi * bandwidth_hz) / rate_hz)
    amplitude = np.sqrt(1.0 - abs(pole) ** 2)
    drive = (rng.standard_normal(n_times) + 1j * rng.standard_normal(n_times)) * amplitude
    start = (rng.standard_normal(1) + 1j * rng.standard_normal(1)) * pole
    return lfilter([1.0], [1.0, -pole], drive, zi=start)[0]


def smooth_steps(at_s: F64, heights: F64, n_times: int, rate_hz: float, rise_s: float) -> F64:
    """Sum of steps at ``at_s`` with raised-cosine flanks of ``rise_s``.

    Parameters
    ----------
    at_s : array, shape (n_steps,)
    heights : array, shape (n_steps, n_series)

    Returns
    -------
    array, shape (n_times, n_series)
    """
    out = np.zeros((n_times, heights.shape[1]))
    t = np.arange(n_times) / rate_hz
    for at, height in zip(at_s, heights, strict=True):
        phase = np.clip((t - at) / rise_s, 0.0, 1.0)
        out += 0.5 * (1.0 - np.cos(np.pi * phase))[:, None] * height
    return out
