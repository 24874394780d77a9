"""How many shots a volume has, and how long one lasts, from the artefact itself."""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.gradient.interpolate import REACH
from streamer.messages import F32

_CHANNELS = 4
_SHARE = 0.9
_MOST = 256
_SHORTEST_S = 0.02
_APART = 0.125
_ALIKE = 0.01


def shots(volume: F32) -> int | None:
    """Find the number of even shots whose harmonics hold the artefact.

    Parameters
    ----------
    volume : ndarray, float32, shape (n_times, n_channels)
        V, one volume.

    Returns
    -------
    int or None
        The largest number of which the multiples of its frequency hold 90 % of the energy; None where only 1 does: the
        volume has a pause, or its shots differ.
    """
    strongest = np.argsort(-np.ptp(volume[::7], axis=0), kind="stable")[:_CHANNELS]
    power = np.square(np.abs(np.fft.rfft(volume[:, strongest], axis=0))).sum(axis=1)
    power[0] = 0.0
    total = float(power.sum())
    if total <= 0.0:
        return None
    for n in range(min(_MOST, len(power) // 4), 1, -1):
        if float(power[n::n].sum()) >= _SHARE * total:
            return n
    return None


def shot_period(data: F32, sfreq: float) -> float | None:
    """Find after how many samples the artefact repeats.

    Parameters
    ----------
    data : ndarray, float32, shape (n_times, n_channels)
        V; two shots at least.
    sfreq : float
        Hz.

    Returns
    -------
    float or None
        The shortest time, of 20 ms or more and of half the data at most, at which the data differ from themselves
        hardly more than at the best one; None where they differ by more than half their amplitude at all of them.
    """
    half, shortest = len(data) // 2, max(2 * REACH, round(_SHORTEST_S * sfreq))
    if half < shortest + 2:
        return None
    strongest = np.argsort(-np.ptp(data, axis=0), kind="stable")[:_CHANNELS]
    x = np.ascontiguousarray(data[:, strongest].T, np.float64)
    x -= x.mean(axis=1, keepdims=True)
    size = 1 << (len(data) - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(x[:, :half], size)) * np.fft.rfft(x, size)
    product = np.fft.irfft(spectrum.sum(axis=0), size)[: half + 1]
    energy = np.concatenate([[0.0], np.cumsum(np.square(x).sum(axis=0))])
    both = energy[half] + energy[half : 2 * half + 1] - energy[: half + 1]
    if both.min() <= 0.0:
        return None
    apart = 1.0 - 2.0 * product / both
    near = apart[shortest:]
    lowest = (near[1:-1] <= near[:-2]) & (near[1:-1] < near[2:]) & (near[1:-1] < _APART)
    found = np.flatnonzero(lowest) + 1
    if not len(found):
        return None
    at = int(found[np.flatnonzero(near[found] <= 2.0 * near[found].min() + _ALIKE)[0]])
    left, middle, right = near[at - 1 : at + 2].tolist()
    return shortest + at + 0.5 * (left - right) / (left - 2.0 * middle + right)
