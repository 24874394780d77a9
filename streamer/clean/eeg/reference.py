"""The average reference over good channels."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64, Array


def average_reference(data: F64, good: Array) -> F64:
    """Subtract the mean of the good channels from every channel.

    Parameters
    ----------
    data : ndarray, float64, shape (n_times, n_channels)
        V.
    good : ndarray of int
        Indices of the channels that enter the mean; with fewer than two, the data is given back as it is.

    Returns
    -------
    ndarray, float64, shape (n_times, n_channels)
    """
    if len(good) < 2:
        return data
    # row by row over contiguous values: a sample's mean does not depend on how many samples come along
    mean = np.add.reduce(np.take(data, good, axis=1), axis=1, keepdims=True) / len(good)
    return data - mean
