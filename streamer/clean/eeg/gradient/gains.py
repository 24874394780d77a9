"""How large the artefact is in each channel, followed from volume to volume."""

from __future__ import annotations

import numpy as np

from streamer.messages import F32, F64

_FORGET = 0.1
_LEAST = 0.05
_WORTH = 2e-5
_FAR = 0.3
_BEYOND_DOUBT = 16.0


class Gains:
    """A channel's amplitude as a slow walk, observed once per volume: a Kalman filter of one state per channel.

    Amplitudes are counted against the first epoch's. The walk's variance is learnt from how far the observations miss
    their forecasts, beyond what their own noise explains; a channel that does not walk is not followed.

    Parameters
    ----------
    n_channels : int
    """

    def __init__(self, n_channels: int) -> None:
        self._level = np.ones(n_channels)
        self._noise: F64 | None = None
        self._missed = np.zeros(n_channels)
        self._n = 0

    def add(self, gain: F64, noise: F64) -> None:
        """Take the amplitudes of a volume and the squares of their expected errors, shape (n_channels,)."""
        gain = np.clip(gain, 0.5, 2.0)
        self._n += 1
        rate = max(_FORGET, 1.0 / self._n)
        self._noise = noise if self._noise is None else self._noise + rate * (noise - self._noise)
        miss = gain - self._level
        self._missed += rate * (np.minimum(np.square(miss), 16.0 * (self._missed + self._noise)) - self._missed)
        self._level += np.maximum(self._trust, max(_LEAST, 1.0 / self._n if self._n < 4 else 0.0)) * miss

    @property
    def _trust(self) -> F64:
        """Share of a miss that is no noise, 0 to 1 per channel."""
        assert self._noise is not None
        return np.clip(1.0 - 1.5 * self._noise / (self._missed + 1e-20), 0.0, 1.0)

    def relative(self, template: F32) -> F32 | None:
        """Forecast the next volume's amplitudes over the template's; None where that is 1 in all channels."""
        if self._noise is None or self._n < 3:
            return None
        # a channel whose template is nothing has no amplitude to tell
        off = np.where(template != 0, self._level / np.where(template != 0, template, 1.0) - 1.0, 0.0)
        # what noise alone would make of the level and of the template
        noise = self._noise * (0.5 * np.maximum(self._trust, _LEAST) + 1.0 / min(self._n, 25))
        off *= np.clip(1.0 - 2.0 * noise / (np.square(off) + 1e-20), 0.0, 1.0)
        return (1.0 + off).astype(np.float32) if float(np.abs(off).max()) > _WORTH else None

    def refined(self, gain: F64, share: float, template: F32, now: F32 | None) -> F32 | None:
        """Improve a volume's amplitudes by what a part of it has told.

        Parameters
        ----------
        gain : ndarray, float64, shape (n_channels,)
            Amplitudes over the template's, of the part.
        share : float
            How much of the volume that is.
        template : ndarray, float32, shape (n_channels,)
            The template's amplitudes.
        now : ndarray or None
            What `relative` or an earlier part gave.
        """
        if self._noise is None or self._n < 3:
            return now
        scale = np.square(template)
        noise = self._noise / (share * scale) + 1e-20
        miss = gain - (1.0 if now is None else now)
        # what walks is expected to be off; what does not must be so beyond doubt
        variance = np.maximum(self._missed * self._trust / scale, np.square(miss) - _BEYOND_DOUBT * noise)
        trust = variance / (variance + noise)
        by = np.where(trust > 0.5, trust * miss, 0.0)
        if float(np.abs(by).max()) <= _WORTH or float(np.abs(by).max()) > _FAR:
            return now
        return (by + (1.0 if now is None else now)).astype(np.float32)
