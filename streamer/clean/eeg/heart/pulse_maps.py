"""The maps of the pulse artefact: where on the head it has the same course from beat to beat."""

from __future__ import annotations

import numpy as np

from streamer.messages import F64, Array

_MAX_MAPS = 6
# how much better the beats agree than signs drawn by lot: the best of many maps of mere EEG comes to 7
_AGREED = 8.0
# of few beats even the greatest agreement is less: this part of it
_MOST = 0.85
# a map more for so many beats
_BEATS_PER_MAP = 4
_TINY = 1e-30


def mean_maps(mean: F64) -> F64:
    """Give the maps that make up most of a mean beat, shape (n_channels, n_maps), the greatest first.

    Parameters
    ----------
    mean : ndarray, shape (n_splines, n_channels)
        In units in which the EEG is white.
    """
    return np.linalg.svd(mean, full_matrices=False)[2][:_MAX_MAPS].T


def locked_maps(courses: F64) -> Array:
    """Choose the maps whose courses follow the heart: places among ``n_maps``, at least one.

    Of a rhythm that the heart does not lead, the courses of two beats agree as often as they are opposite, however
    large they are, and a mean of few beats holds it all the same. So pairs of different beats are asked: the sum of
    their products is compared with what it would be if the sign of each were drawn by lot. One beat or a few that are
    much larger than all others do not get far in this.

    Parameters
    ----------
    courses : ndarray, shape (n_beats, n_splines, n_maps)
        Of each beat, 0 where it was not seen.
    """
    n = len(courses)
    tried = courses[:, :, : max(1, n // _BEATS_PER_MAP)].transpose(2, 0, 1)
    products = tried @ tried.transpose(0, 2, 1)
    products[:, np.arange(n), np.arange(n)] = 0.0
    by_lot = np.sqrt(2.0 * np.square(products).sum(axis=(1, 2)))
    agreement = products.sum(axis=(1, 2)) / np.maximum(by_lot, _TINY)
    chosen: Array = np.flatnonzero(agreement > min(_AGREED, _MOST * np.sqrt(n * (n - 1) / 2.0)))
    return chosen if len(chosen) else np.zeros(1, np.intp)
