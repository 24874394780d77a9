"""How one volume agrees with the template: where it lies, how large it is, what is left."""

from __future__ import annotations

import numpy as np

from streamer.compiled import compiled
from streamer.messages import F32, F64, Array

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
        self._rows = block - 3
        self._n_channels = n_channels
        self.begin()
        none = np.zeros((block, n_channels), np.float32)
        _add(none, none, 0.0, self._sums, self._places)

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
        self.blocks += 1
        return _add(x, template, shift, self._sums, self._places)

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
    def helps(self) -> Array:
        """Channels from which the template takes power, bool."""
        return np.asarray(self._sums[_EE] < self._sums[_XX])

    @property
    def residual(self) -> F64:
        """Mean square of what is left per channel, V²."""
        return self._sums[_EE] / max(1, self.blocks * self._rows)

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


@compiled
def _add(x: F32, template: F32, shift: float, sums: F64, places: F64) -> F64:
    """Add a block to the sums, in single precision within the block; give the energies of difference and of ``x``."""
    block, n_channels = x.shape
    new = np.zeros((7, n_channels), np.float32)
    xt, tt, er, rr, ee, xx, dd = new[_XT], new[_TT], new[_ER], new[_RR], new[_EE], new[_XX], new[_DD]
    for i in range(1, block - 2):
        x1, x2 = x[i], x[i + 1]
        t0, t1, t2, t3 = template[i - 1], template[i], template[i + 1], template[i + 2]
        for c in range(n_channels):
            e1, e2 = x1[c] - t1[c], x2[c] - t2[c]
            dx, dt, de = x2[c] - x1[c], t2[c] - t1[c], e2 - e1
            slope = (t3[c] - t2[c]) - (t1[c] - t0[c])
            xt[c] += dx * dt
            tt[c] += dt * dt
            er[c] += de * slope
            rr[c] += slope * slope
            ee[c] += e1 * e1
            xx[c] += x1[c] * x1[c]
            dd[c] += de * de
    energies = np.empty((2, n_channels))
    for c in range(n_channels):
        for k in range(7):
            sums[k, c] += np.float64(new[k, c])
        # the slope is that of two samples
        places[c] += shift * np.float64(rr[c]) - 2.0 * np.float64(er[c])
        energies[0, c], energies[1, c] = np.float64(ee[c]), np.float64(xx[c])
    return energies
