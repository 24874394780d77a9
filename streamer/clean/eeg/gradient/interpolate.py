"""Samples between samples: a windowed sinc, as a matrix that shifts a block."""

from __future__ import annotations

import numpy as np
from scipy import special

from streamer.messages import F32, F64

REACH = 8
"""Samples on either side that one between two is made of."""
_BETA = 8.0


def taps(fraction: float) -> F64:
    """Weigh the samples from ``1 - REACH`` to ``REACH`` so that their sum is the signal at ``fraction``.

    A Kaiser-windowed sinc: 80 dB below the signal up to 0.3 of the sampling rate, which an amplifier's hardware
    low-pass (250 Hz at 5 kHz) is far below.

    Parameters
    ----------
    fraction : float
        0 to 1.

    Returns
    -------
    ndarray, float64, shape (2 * REACH,)
        They sum to 1.
    """
    at = np.arange(1 - REACH, REACH + 1) - fraction
    window = special.i0(_BETA * np.sqrt(np.maximum(0.0, 1.0 - np.square(at / REACH))))
    weights: F64 = np.sinc(at) * window
    return weights / weights.sum()


class Shift:
    """Blocks of a signal, read a fixed number of samples later or earlier.

    Blocks have one size, so that the product that makes them has one shape and rounds in one way.

    Parameters
    ----------
    by : float
        Samples: row i of a block becomes the signal at i + ``by``. A whole number needs no arithmetic.
    size : int
        Samples in a block.
    """

    def __init__(self, by: float, size: int) -> None:
        self.by = by
        whole = int(np.floor(by))
        self._matrix: F32 | None = None
        self.before = -whole
        """Samples that a block is made of before its first."""
        self.n = size
        """Samples that a block is made of."""
        if by != whole:
            width = size + 2 * REACH - 1
            rows = np.zeros((size, width + 1), np.float32)
            rows[:, : 2 * REACH] = taps(by - whole)
            # each row one sample further than the one before
            self._matrix = rows.reshape(-1)[: size * width].reshape(size, width)
            self.before += REACH - 1
            self.n = width

    def __call__(self, rows: F32, out: F32) -> None:
        """Make a block from ``n`` rows that begin ``before`` rows before it."""
        if self._matrix is None:
            out[:] = rows
        else:
            np.matmul(self._matrix, rows, out=out)
