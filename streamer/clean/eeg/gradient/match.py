"""How one volume agrees with the template: where it lies, how large it is, what is left."""

from __future__ import annotations

import numpy as np

from streamer.messages import F32, F64

_XT, _TT, _ER, _RR, _EE, _XX, _DD = range(7)
_TINY = 1e-30


class Match:
    """Sums over the blocks of one volume, per channel.

    With the template T where it was expected, the volume is ``x = g T(t - d) + rest``, d small. Differences of
    neighbouring samples stand for both, so that EEG, whose power falls with the frequency, counts little:
    ``g = <dx, dT> / <dT, dT>`` and ``d = -<dx - dT, dT'> / <dT', dT'>``. Of d there is one for all channels; each
    counts by what it has left over.

    Parameters
    ----------
    block : int
        Samples per block.
    n_channels : int
    """

    def __init__(self, block: int, n_channels: int) -> None:
        self._products = np.empty((7, block - 3, n_channels), np.float32)
        self._ones = np.ones((1, block - 3), np.float32)
        self._n_channels = n_channels
        self.begin()

    def begin(self) -> None:
        """Begin a volume."""
        self._sums: F64 = np.zeros((7, self._n_channels))
        self._half: F64 | None = None
        self._places: F64 = np.zeros(self._n_channels)
        self.blocks = 0
        """Blocks that are in."""

    def add(self, x: F32, template: F32, shift: float) -> F64:
        """Take a block of the volume and of the template.

        Parameters
        ----------
        x : ndarray, float32, shape (block, n_channels)
            V.
        template : ndarray, float32, shape (block, n_channels)
            V, as far shifted as the volume is thought to be.
        shift : float
            By so many samples.

        Returns
        -------
        ndarray, shape (2, n_channels)
            Energy of the difference and of ``x`` in this block, V².
        """
        p = self._products
        e = x - template
        dx, dt = x[1:] - x[:-1], template[1:] - template[:-1]
        de = dx - dt
        slope = dt[2:] - dt[:-2]
        np.multiply(dx[1:-1], dt[1:-1], out=p[_XT])
        np.multiply(dt[1:-1], dt[1:-1], out=p[_TT])
        np.multiply(de[1:-1], slope, out=p[_ER])
        np.multiply(slope, slope, out=p[_RR])
        np.multiply(e[1:-2], e[1:-2], out=p[_EE])
        np.multiply(x[1:-2], x[1:-2], out=p[_XX])
        np.multiply(de[1:-1], de[1:-1], out=p[_DD])
        new = np.matmul(self._ones, p)[:, 0].astype(np.float64)
        self._sums += new
        # the slope is that of two samples
        self._places += shift * new[_RR] - 2.0 * new[_ER]
        self.blocks += 1
        return new[[_EE, _XX]]

    def halve(self) -> None:
        """Say that half the volume is in."""
        self._half = self._sums.copy()

    @property
    def place(self) -> float | None:
        """How many samples after its first the volume's artefact begins; None where there is no artefact."""
        s = self._sums
        gain_part = np.square(s[_XT] - s[_TT]) / (s[_TT] + _TINY)
        rest = s[_DD] - np.square(s[_ER]) / (s[_RR] + _TINY) - gain_part
        weight = 1.0 / (np.maximum(rest, 1e-4 * s[_DD]) + _TINY)
        size = float(np.sum(weight * s[_RR]))
        return float(np.sum(weight * self._places)) / size if self.blocks and size > 0 else None

    @property
    def residual(self) -> F64:
        """Mean square of what is left per channel, V²."""
        return self._sums[_EE] / max(1, self.blocks * self._ones.shape[1])

    @property
    def unexplained(self) -> F64:
        """What is left that is neither amplitude nor place, over the artefact, both as differences, per channel."""
        s = self._sums
        known = np.square(s[_XT] - s[_TT]) / (s[_TT] + _TINY) + np.square(s[_ER]) / (s[_RR] + _TINY)
        return np.maximum(s[_DD] - known, 0.0) / (s[_TT] + _TINY)

    @property
    def gain(self) -> F64:
        """Amplitude per channel against the template's."""
        return self._sums[_XT] / (self._sums[_TT] + _TINY)

    @property
    def gain_noise(self) -> F64 | None:
        """Expected square error of ``gain``, from how far its halves disagree; None without halves."""
        if self._half is None:
            return None
        first, second = self._half, self._sums - self._half
        apart = first[_XT] / (first[_TT] + _TINY) - second[_XT] / (second[_TT] + _TINY)
        return 0.25 * np.square(apart)
