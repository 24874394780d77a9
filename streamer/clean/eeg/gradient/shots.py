"""How many shots a volume has, from the artefact's spectrum."""

from __future__ import annotations

import numpy as np

from streamer.messages import F32

_CHANNELS = 4
_SHARE = 0.9
_MOST = 256


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
