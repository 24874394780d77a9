"""Which channels are bad: flat, at the rail, or far louder than the rest."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from streamer.contracts import Settings
from streamer.messages import F64, Array


class ChannelSettings(Settings):
    """When a channel is bad."""

    block_s: float = Field(default=5.0, gt=0)
    """Channels are judged on blocks of this length, s."""
    flat_v: float = Field(default=0.5e-6, ge=0)
    """Standard deviation below which a channel is flat, V."""
    z_max: float = Field(default=5.0, gt=0)
    """Robust z of the log amplitude above which a channel is too loud."""
    spread_min: float = Field(default=0.2, gt=0)
    """Least spread of log amplitudes that z is measured in: with channels much alike, none is bad for little."""
    rail_v: float | None = Field(default=0.01638, gt=0)
    """Absolute raw value from which a channel is clipped, V; None when the amplifier has no fixed rail."""
    clipped_max: float = Field(default=0.1, ge=0, le=1)
    """Share of clipped hops in a block above which a channel is bad."""
    good_s: float = Field(default=10.0, ge=0)
    """A bad channel must be good for this long to count as good again, s."""
    bad_max: float = Field(default=0.1, ge=0, le=1)
    """Share of bad channels above which the data is flagged ``BAD_CHANNELS``."""


class BadChannels:
    """Judge channels block by block on the absolute output grid.

    A block with a hole is not judged. In a block with uncorrected or unsettled samples, only flat and clipped channels
    are found, and no channel becomes good.

    Parameters
    ----------
    settings : ChannelSettings
    sfreq : float
        Rate of the filtered data, Hz.
    n_channels : int
    """

    def __init__(self, settings: ChannelSettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self.block = max(2, round(settings.block_s * sfreq))
        """Samples per block; a call must not cross a multiple of it."""
        self._blocks_good = max(1, round(settings.good_s / settings.block_s))
        self._data = np.empty((self.block, n_channels))
        self._held = 0
        self._clipped = np.zeros(n_channels, np.int64)
        self._dirty = False
        self._since_bad = np.full(n_channels, self._blocks_good)
        self.bad: Array = np.zeros(n_channels, dtype=bool)
        """shape (n_channels,), bool."""

    def __call__(self, first: int, data: F64, clipped: Array | None, *, dirty: bool) -> None:
        """Take filtered samples, before the reference.

        Parameters
        ----------
        first : int
            Index of the first on the output grid.
        data : ndarray, float64, shape (n_times, n_channels)
            V.
        clipped : ndarray of int, shape (n_channels,), or None
            Clipped hops among them.
        dirty : bool
            Whether any of these samples is uncorrected or unsettled.
        """
        at = first % self.block
        if at == 0:
            self._held = 0
            self._clipped[:] = 0
            self._dirty = False
        elif at != self._held:
            # a hole: this block will not be whole
            self._held = -self.block
        if self._held >= 0:
            self._data[at : at + len(data)] = data
        self._held += len(data)
        self._dirty |= dirty
        if clipped is not None:
            self._clipped += clipped
        if self._held == self.block:
            self._judge()

    def _judge(self) -> None:
        s = self.settings
        sd = self._data.std(axis=0)
        flat = sd < s.flat_v
        bad = flat | (self._clipped > s.clipped_max * self.block)
        if not self._dirty and (~bad).sum() > 2:
            level = np.log(np.maximum(sd, 1e-12))
            centre = np.median(level[~bad])
            spread = 1.4826 * np.median(np.abs(level[~bad] - centre))
            bad |= level - centre > s.z_max * max(float(spread), s.spread_min)
        self._since_bad[bad] = 0
        if not self._dirty:
            self._since_bad[~bad] += 1
        self.bad = self._since_bad < self._blocks_good
