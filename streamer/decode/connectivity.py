"""How the rhythms of groups of channels go together over a sliding window.

=========  ===========================================================================================================
measure    what it is
=========  ===========================================================================================================
imcoh      imaginary part of the coherency (Nolte 2004, doi:10.1016/j.clinph.2004.04.029): signed, positive where the
           first group leads; blind to what both pick up at the same instant
wpli       weighted phase lag index (Vinck 2011, doi:10.1016/j.neuroimage.2011.01.055), 0 to 1
aec        correlation of the log power of one group with that part of the other which is orthogonal to it, mean of both
           directions (Hipp 2012, doi:10.1038/nn.3101)
=========  ===========================================================================================================

All are made of sums over samples of the demodulated band; neighbouring samples of a narrow band say the same thing, so
the number of independent ones goes with the values: without any connection, imcoh scatters by 1/sqrt(2 n).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from streamer.decode.analytic import Demodulator, VirtualChannels
from streamer.decode.band_settings import WindowedBandSettings
from streamer.decode.blocks import Block
from streamer.decode.tangent import whole
from streamer.errors import ConfigError
from streamer.messages import F64, Array, Feature, Flag, SessionTime

_DECIMALS = 6
_FLOOR_V2 = 1e-24

Measure = Literal["imcoh", "wpli", "aec"]


class ConnectivitySettings(WindowedBandSettings):
    """Connectivity between groups of channels."""

    measure: Measure = "imcoh"
    """``imcoh``, ``wpli`` or ``aec``."""
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict, max_length=16)
    """Name to channels, whose mean is taken; every pair of groups gives a value."""


class Connectivity:
    """One value per pair of groups, and the number of independent samples behind each.

    A group of which too many channels are bad is masked (NaN in all its pairs); the window begins anew after a gap or
    dirty samples, and when the bad channels of a group change.

    Parameters
    ----------
    settings : ConnectivitySettings
    rate_hz : float
        Blocks per second.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.

    Raises
    ------
    ConfigError
        There are fewer than two groups, a channel is not there, or the band or a length does not fit.
    """

    def __init__(self, settings: ConnectivitySettings, rate_hz: float, sfreq: float, channels: Sequence[str]) -> None:
        settings.check("connectivity", sfreq)
        if len(settings.groups) < 2:
            raise ConfigError("connectivity", [f"{len(settings.groups)} groups are given: expected two or more"])
        weights = {name: dict.fromkeys(group, 1.0 / max(1, len(group))) for name, group in settings.groups.items()}
        self._virtual = VirtualChannels(weights, channels)
        self._members: Array = np.array([any(c in group for group in settings.groups.values()) for c in channels])
        self._step = whole("connectivity step_s", settings.step_s, 1.0 / rate_hz)
        n_blocks = self._step * whole("connectivity window_s", settings.window_s, settings.step_s)
        self._settle = math.ceil(settings.settle_s * rate_hz - 1e-9)
        self._demodulate = Demodulator(*settings.band_hz, sfreq)
        first, second = zip(*combinations(range(len(self._virtual.names)), 2), strict=True)
        self._first, self._second = np.array(first), np.array(second)
        self._labels = (
            *(f"{settings.measure} {a}~{b}" for a, b in combinations(self._virtual.names, 2)),
            "n_independent",
        )
        self._measure: Measure = settings.measure
        self._window: deque[F64] = deque(maxlen=n_blocks)
        self._flags: deque[Flag] = deque(maxlen=n_blocks)
        self._bad: Array | None = None
        self._clean = 0
        self.n_independent = settings.window_s * self._demodulate.independent_hz
        """Independent complex samples in a window."""
        self.delay_s = self._demodulate.delay_s + settings.window_s / 2
        """From the middle of the window, the filter taken into account, to the newest sample, s."""

    def __call__(self, block: Block) -> list[Feature]:
        """Take the next block; give a record at the end of every step."""
        data, used = self._virtual(block)
        bad = block.bad & self._members
        if block.fresh or block.dirty or self._bad is None or (bad != self._bad).any():
            self._demodulate.reset()
            self._window.clear()
            self._clean = 0
        self._bad = bad
        self._flags.append(block.flags)
        if not block.dirty:
            analytic = self._demodulate(block.end_sample - len(data), data)
            self._clean += 1
            if self._clean > self._settle:
                self._window.append(_sums(self._measure, analytic[:, self._first], analytic[:, self._second]))
        return [] if (block.index + 1) % self._step else [self._feature(block, used)]

    def _feature(self, block: Block, used: Array) -> Feature:
        flags = block.flags
        for earlier in self._flags:
            flags |= earlier
        valid = len(self._window) == self._window.maxlen
        values = np.full(len(self._first), np.nan)
        if valid:
            values = _value(self._measure, np.add.reduce(np.stack(self._window), axis=0))
            values[~(used[self._first] & used[self._second])] = np.nan
        else:
            flags |= Flag.WARMING
        sd = np.full(len(values), 1 / math.sqrt(2 * self.n_independent) if self._measure == "imcoh" else np.nan)
        return Feature(
            name="connectivity",
            sample=block.end_sample,
            about=SessionTime(block.end_time - self.delay_s),
            delay_s=self.delay_s,
            labels=self._labels,
            values=(*np.round(values, _DECIMALS).tolist(), round(self.n_independent, _DECIMALS)),
            uncertainty=(*sd.tolist(), 0.0),
            valid=valid and bool(np.isfinite(values).any()),
            flags=flags if used.all() else flags | Flag.BAD_CHANNELS,
        )


def _sums(measure: Measure, x: Array, y: Array) -> F64:
    """What a measure needs of a block's samples, summed, shape (n_sums, n_pairs)."""
    if measure == "aec":
        one, two = _log_power(x), _log_power(y)
        parts = (*_correlation_parts(one, _orthogonal(y, x)), *_correlation_parts(two, _orthogonal(x, y)))
    else:
        # positive where x is ahead of y
        lag = np.imag(x * y.conj())
        parts = (lag, np.abs(lag)) if measure == "wpli" else (lag, np.square(np.abs(x)), np.square(np.abs(y)))
    return np.add.reduce(np.stack(parts), axis=1)


def _value(measure: Measure, sums: F64) -> F64:
    if measure == "imcoh":
        lag, x, y = sums
        return lag / np.sqrt(np.maximum(x * y, _FLOOR_V2**2))
    if measure == "wpli":
        lag, size = sums
        return np.abs(lag) / np.maximum(size, _FLOOR_V2)
    return (_correlation(sums[:6]) + _correlation(sums[6:])) / 2


def _log_power(x: Array) -> F64:
    return np.log(np.square(np.abs(x)) + _FLOOR_V2)


def _orthogonal(y: Array, x: Array) -> F64:
    """Log power of that part of ``y`` which is a quarter turn from ``x``."""
    return np.log(np.square(np.imag(y * x.conj())) / (np.square(np.abs(x)) + _FLOOR_V2) + _FLOOR_V2)


def _correlation_parts(a: F64, b: F64) -> tuple[F64, ...]:
    return np.ones_like(a), a, b, a * a, b * b, a * b


def _correlation(sums: F64) -> F64:
    n, a, b, aa, bb, ab = sums
    spread = np.maximum((aa - a * a / n) * (bb - b * b / n), 0.0)
    return (ab - a * b / n) / np.sqrt(np.maximum(spread, 1e-24))
