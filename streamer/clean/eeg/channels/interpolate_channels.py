"""Fill in bad channels from good ones, for display only: what a model sees is masked, never made up."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.polynomial import legendre

from streamer.messages import F32, F64, Array

_STIFFNESS = 4
_N_TERMS = 50
_REGULARISATION = 1e-5
_SMALLEST = 4


def spline_matrix(from_positions: F64, to_positions: F64) -> F64:
    """Make the matrix that takes potentials at some electrodes to others, by spherical splines [1]_.

    The spline has stiffness m = 4, its kernel 50 Legendre terms; 1e-5 on the kernel's diagonal makes it smooth noise
    rather than follow it.

    Parameters
    ----------
    from_positions : ndarray, shape (n_from, 3)
        Places of known electrodes from the centre of the head; only their directions count.
    to_positions : ndarray, shape (n_to, 3)

    Returns
    -------
    ndarray, float64, shape (n_to, n_from)
        Its rows sum to 1: what all electrodes share stays.

    References
    ----------
    .. [1] Perrin, F., Pernier, J., Bertrand, O., Echallier, J. F. (1989). Spherical splines for scalp potential and
       current density mapping. Electroencephalography and Clinical Neurophysiology 72:184-187.
       doi:10.1016/0013-4694(89)90180-6
    """
    known, wanted = _directions(from_positions), _directions(to_positions)
    return _weights(_kernel(known @ known.T), _kernel(wanted @ known.T))


def _weights(among_known: F64, from_known: F64) -> F64:
    # spline weights sum to 0, with a constant beside them: one linear system, solved for all unit potentials at once
    n = len(among_known)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = among_known + _REGULARISATION * np.eye(n)
    system[n, n] = 0.0
    wanted = np.hstack([from_known, np.ones((len(from_known), 1))])
    return cast("F64", np.linalg.solve(system, wanted.T)).T[:, :n]


def _directions(positions: F64) -> F64:
    return positions / np.linalg.norm(positions, axis=1, keepdims=True)


def _kernel(cosine: F64) -> F64:
    order = np.arange(1, _N_TERMS + 1)
    factors = (2 * order + 1) / (4 * np.pi * (order * (order + 1.0)) ** _STIFFNESS)
    return np.asarray(legendre.legval(np.clip(cosine, -1.0, 1.0), np.concatenate([[0.0], factors])), np.float64)


class ChannelInterpolation:
    """Show bad channels as what their neighbours say.

    Parameters
    ----------
    positions : ndarray, shape (n_channels, 3)
        Places of the channels from the centre of the head; NaN where a place is not known: such a channel is neither
        filled in nor used.
    """

    def __init__(self, positions: F64) -> None:
        self._placed: Array = np.isfinite(positions).all(axis=1) & (np.linalg.norm(positions, axis=1) > 0)
        # the kernel costs more than the system: channels go bad while the loop runs
        directions = np.zeros((len(positions), 3))
        directions[self._placed] = _directions(positions[self._placed])
        self._kernel = _kernel(directions @ directions.T)
        self._for: Array = np.zeros(len(positions), dtype=bool)
        self._good: Array = np.flatnonzero(self._placed)
        self._filled: Array = np.empty(0, np.int64)
        self._matrix: F64 = np.empty((0, len(self._good)))

    @property
    def filled(self) -> Array:
        """Indices of the channels that the last call filled in."""
        return self._filled

    def __call__(self, data: F32, bad: Array) -> F32:
        """Fill in bad channels.

        Parameters
        ----------
        data : ndarray, float32, shape (n_times, n_channels)
            Finite in the good channels, all in one reference.
        bad : ndarray of bool, shape (n_channels,)

        Returns
        -------
        ndarray, float32, shape (n_times, n_channels)
            ``data`` itself when there is nothing to fill in: no channel is bad, or fewer than four good ones have a
            place.
        """
        if not np.array_equal(bad, self._for):
            self._for = np.array(bad, dtype=bool)
            self._good = np.flatnonzero(self._placed & ~self._for)
            self._filled = np.flatnonzero(self._placed & self._for)
            if len(self._good) < _SMALLEST:
                self._filled = self._filled[:0]
            if len(self._filled):
                self._matrix = _weights(
                    self._kernel[np.ix_(self._good, self._good)], self._kernel[np.ix_(self._filled, self._good)]
                )
        if not len(self._filled):
            return data
        out = data.copy()
        out[:, self._filled] = data[:, self._good].astype(np.float64) @ self._matrix.T
        return out
