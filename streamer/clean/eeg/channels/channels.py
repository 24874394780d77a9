"""Which channels are bad, and why: flat, at the rail, loud, noisy, popping, or unlike all others."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag

import numpy as np
from pydantic import Field

from streamer.clean.eeg.channels.channel_statistics import BlockStatistics, StatisticsOfBlocks
from streamer.contracts import Settings
from streamer.messages import F64, Array


class ChannelFault(IntFlag):
    """What is wrong with a channel."""

    NONE = 0
    FLAT = 1
    """It does not move: not connected, or shorted."""
    RAILED = 2
    """It is at the amplifier's rail."""
    LOUD = 4
    """Far larger than the others."""
    NOISY = 8
    """Far more fast noise than the others: a loose lead, a muscle."""
    POPPING = 16
    """A burst that no other channel shares: an electrode that loses its hold for a moment."""
    UNCORRELATED = 32
    """Nothing in common with any other channel: a loose lead."""


FAULTS = tuple(fault for fault in ChannelFault if fault)


def fault_words(faults: int) -> tuple[str, ...]:
    """Name what is wrong, in lower case, in the order of `ChannelFault`."""
    return tuple(str(fault.name).lower() for fault in FAULTS if faults & fault)


class ChannelSettings(Settings):
    """When a channel is bad."""

    block_s: float = Field(default=5.0, gt=0)
    """Channels are judged on blocks of this length, s."""
    flat_v: float = Field(default=0.5e-6, ge=0)
    """Standard deviation below which a channel is flat, V."""
    still_max: float = Field(default=0.5, ge=0, le=1)
    """Share of a block's samples in which the raw channel did not move, above which it is flat."""
    z_max: float = Field(default=5.0, gt=0)
    """Robust z of the log amplitude (loud), and of the log of fast noise (noisy), above which a channel is bad."""
    spread_min: float = Field(default=0.3, gt=0)
    """Least spread of log amplitudes that z is measured in: alpha and blinks alone make some channels three times as
    large as most."""
    noise_spread_min: float = Field(default=0.2, gt=0)
    """Least spread of the log of fast noise that z is measured in."""
    pop_max: float = Field(default=3.5, gt=0)
    """What a channel has within one second that no other explains, over the median amplitude of all, above which it
    pops."""
    correlation_min: float = Field(default=0.4, ge=0, le=1)
    """Greatest absolute correlation with another channel below which a channel is uncorrelated."""
    correlated_from: int = Field(default=24, ge=3)
    """With fewer usable channels none is called popping or uncorrelated: too far apart, good ones are alone too."""
    rail_v: float | None = Field(default=0.01638, gt=0)
    """Absolute raw value from which a channel is clipped, V; None when the amplifier has no fixed rail."""
    clipped_max: float = Field(default=0.1, ge=0, le=1)
    """Share of clipped hops in a block above which a channel is bad."""
    good_s: float = Field(default=10.0, ge=0)
    """A bad channel must be good for this long to count as good again, s."""
    bad_max: float = Field(default=0.1, ge=0, le=1)
    """Share of bad channels above which the data is flagged ``BAD_CHANNELS``."""


_PART_S = 0.1
_WINDOW_S = 1.0
_QUIET_V = 1e-12


class BadChannels:
    """Judge channels block by block on the absolute output grid, before the reference.

    A channel is bad from the end of the first bad block on, and good again after ``good_s`` of good blocks. A block
    with a hole is not judged. In a block with uncorrected or unsettled samples, only flat and clipped channels are
    found, and no channel becomes good. The criteria are those of [1]_, in a form that goes along with the samples.

    Parameters
    ----------
    settings : ChannelSettings
    sfreq : float
        Rate of the filtered data, Hz.
    n_channels : int

    References
    ----------
    .. [1] Bigdely-Shamlo, N. et al. (2015). The PREP pipeline: standardized preprocessing for large-scale EEG analysis.
       Frontiers in Neuroinformatics 9:16. doi:10.3389/fninf.2015.00016
    """

    def __init__(self, settings: ChannelSettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self.block = max(3, round(settings.block_s * sfreq))
        """Samples per block; a call must not reach over a multiple of it."""
        self._blocks_good = max(1, round(settings.good_s / settings.block_s))
        n_windows = max(1, round(settings.block_s / _WINDOW_S))
        part = max(3, round(_PART_S * sfreq))
        self._statistics = StatisticsOfBlocks(self.block, min(n_windows, self.block // 3), part, n_channels)
        self._next: int | None = None
        self._whole = False
        self._clipped = np.zeros(n_channels, np.int64)
        self._still = np.zeros(n_channels, np.int64)
        self._dirty = False
        self._since_bad = np.full(n_channels, self._blocks_good)
        self._judged = 0
        self._bad_blocks = np.zeros(n_channels, np.int64)
        self._fault_blocks = np.zeros((n_channels, len(FAULTS)), np.int64)
        self.bad: Array = np.zeros(n_channels, dtype=bool)
        """shape (n_channels,), bool."""
        self.faults: Array = np.zeros(n_channels, np.int64)
        """What the bad channels are bad for, `ChannelFault` as int, shape (n_channels,); one that is quiet again keeps
        its last faults until it counts as good."""

    @property
    def mask(self) -> Array:
        """Which channels a model may use, shape (n_channels,), bool: True for the good ones."""
        return ~self.bad

    def reasons(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Say for each bad channel what is wrong with it; ``names`` are those of all channels."""
        return {names[i]: fault_words(int(self.faults[i])) for i in np.flatnonzero(self.bad).tolist()}

    def shares(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Say for each channel that ever was bad in which share of the judged blocks it was, and had each fault.

        ``bad`` counts the blocks after which a channel counted as bad, those of its probation included.
        """
        out: dict[str, dict[str, float]] = {}
        for i in np.flatnonzero(self._bad_blocks).tolist():
            counts = zip(FAULTS, self._fault_blocks[i].tolist(), strict=True)
            out[names[i]] = {"bad": self._share(self._bad_blocks[i])} | {
                str(fault.name).lower(): self._share(n) for fault, n in counts if n
            }
        return out

    def _share(self, blocks: int) -> float:
        return round(int(blocks) / self._judged, 4)

    def __call__(
        self, first: int, data: F64, clipped: Array | None, *, dirty: bool, still: Array | None = None
    ) -> None:
        """Take filtered samples, before the reference.

        Parameters
        ----------
        first : int
            Index of the first on the output grid.
        data : ndarray, float64, shape (n_times, n_channels)
            V.
        clipped : ndarray of int, shape (n_channels,), or None
            Samples among them for which the raw channel was at the rail.
        dirty : bool
            Whether any of these samples is uncorrected or unsettled.
        still : ndarray of int, shape (n_channels,), or None
            Samples among them for which the raw channel held one value: where a template is subtracted, a dead channel
            is not flat any more.
        """
        if first % self.block == 0:
            self._begin()
        elif first != self._next:
            # a hole: this block will not be whole
            self._whole = False
        self._next = first + len(data)
        if not self._whole:
            return
        self._statistics.take(data)
        self._dirty |= dirty
        if clipped is not None:
            self._clipped += clipped
        if still is not None:
            self._still += still
        if self._next % self.block == 0:
            self._judge(self._statistics.result())

    def _begin(self) -> None:
        self._statistics.clear()
        self._clipped[:] = 0
        self._still[:] = 0
        self._dirty = False
        self._whole = True

    def _judge(self, block: BlockStatistics) -> None:
        s = self.settings
        railed = self._clipped > s.clipped_max * self.block
        flat = ~railed & ((block.sd < s.flat_v) | (self._still > s.still_max * self.block))
        found = flat * int(ChannelFault.FLAT) | railed * int(ChannelFault.RAILED)
        if not self._dirty:
            found |= self._against_others(block, flat | railed)
        now = found > 0
        self._since_bad[now] = 0
        if not self._dirty:
            self._since_bad[~now] += 1
        self.bad = self._since_bad < self._blocks_good
        self.faults = np.where(now, found, np.where(self.bad, self.faults, 0))
        self._judged += 1
        self._bad_blocks += self.bad
        for k, fault in enumerate(FAULTS):
            self._fault_blocks[:, k] += (found & int(fault)) > 0

    def _against_others(self, block: BlockStatistics, dead: Array) -> Array:
        s = self.settings
        found = np.zeros(len(dead), np.int64)
        alive = ~dead
        if alive.sum() <= 2:
            return found
        loud = alive & (_robust_z(block.level, alive, s.spread_min) > s.z_max)
        noisy = alive & (_robust_z(block.noise, alive, s.noise_spread_min) > s.z_max)
        found[loud] |= int(ChannelFault.LOUD)
        found[noisy] |= int(ChannelFault.NOISY)
        # a loud lead is no neighbour: two that are loose pick up the same
        usable = alive & ~loud
        if usable.sum() >= s.correlated_from:
            popping = alive & (block.own > s.pop_max * np.median(block.level[usable]))
            alone = alive & (np.abs(block.correlation[:, usable]).max(axis=1) < s.correlation_min)
            for fault, which in ((ChannelFault.POPPING, popping), (ChannelFault.UNCORRELATED, alone)):
                # channels that have nothing in common at all are not each bad: it is what is recorded
                if 2 * which.sum() <= alive.sum():
                    found[which] |= int(fault)
        return found


def _robust_z(values: F64, among: Array, spread_min: float) -> F64:
    """Distance of the logarithm from the median, in robust standard deviations (1.4826 MAD)."""
    log = np.log(np.maximum(values, _QUIET_V))
    centre = np.median(log[among])
    spread = 1.4826 * float(np.median(np.abs(log[among] - centre)))
    return (log - centre) / max(spread, spread_min)
