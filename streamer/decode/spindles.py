"""Sleep spindles as they begin: 11 to 16 Hz that stands out of its own past and of its neighbours.

A spindle is a burst of half a second to two; nobody who waits for its end can act on it. So it counts from the moment
at which it has lasted for ``sure_s``. Broad-band artefacts raise the neighbouring bands as much, alpha raises the lower
one more, and both are known by that. Envelopes are those of complex demodulation (causal, delayed by about 90 ms),
each against its own running median (compare Mölle 2002, doi:10.1523/JNEUROSCI.22-24-10941.2002).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from streamer.decode.analytic import Demodulator, VirtualChannels
from streamer.decode.band_settings import BandSettings
from streamer.decode.blocks import Block
from streamer.decode.candidate import Candidate
from streamer.decode.envelope_phase import SignalName
from streamer.messages import F64, Array, Feature, Flag, SessionTime

LABELS = ("ratio", "neighbours_ratio", "lasted_s")
_BELOW = (0.62, 0.9)
_ABOVE = (1.1, 1.75)
_BASELINE_EVERY_S = 0.2
_LEAST_BASELINE_S = 10.0
_SETTLE_S = 1.0
_FLOOR_V = 1e-7
"""A smaller median is that of no EEG."""


class SpindleSettings(BandSettings):
    """Triggers at sleep spindles."""

    band_hz: tuple[float, float] = (11.0, 16.0)
    """Edges of the band, Hz."""
    signals: dict[SignalName, dict[str, float]] = Field(default_factory=dict[str, dict[str, float]], max_length=8)
    """Virtual channels: name to weight per channel, for instance { central = { C3 = 0.5, C4 = 0.5 } }."""
    ratio: float = Field(default=2.8, gt=1, le=20)
    """The envelope must reach this many times its running median."""
    stay: float = Field(default=0.6, gt=0, le=1)
    """It has lasted as long as the envelope stays above this share of that."""
    neighbours: float = Field(default=1.4, ge=1, le=10)
    """By this much its ratio must exceed those of the bands below and above, taken the same way."""
    sure_s: float = Field(default=0.3, ge=0.1, le=2)
    """It counts once it has lasted so long, s."""
    longest_s: float = Field(default=2.0, ge=0.5, le=10)
    """What stood out for longer than this before it looked like a spindle is none, s."""
    memory_s: float = Field(default=60.0, ge=20, le=600)
    """Of the running medians, s."""
    refractory_s: float = Field(default=1.0, ge=0, le=60)
    """No other for this long after one has ended, s."""
    late_s: float = Field(default=0.25, gt=0, le=2)
    """A trigger is of no use later than this after it was asked for, s."""
    action: str = Field(default="spindle", min_length=1)
    """What the trigger asks for."""


class Spindles:
    """Detect sleep spindles.

    Parameters
    ----------
    settings : SpindleSettings
    rate_hz : float
        Blocks per second.
    sfreq : float
        Rate of the cleaned EEG, Hz.
    channels : sequence of str
        Names of its channels, in order.
    age_s : float
        How old the newest sample is when it comes, s.

    Raises
    ------
    ConfigError
        A channel is not there, or a band does not fit.
    """

    def __init__(
        self, settings: SpindleSettings, rate_hz: float, sfreq: float, channels: Sequence[str], age_s: float = 0.0
    ) -> None:
        self._s, self._age_s = settings, age_s
        low, high = settings.band_hz
        bands = [(low, high), (low * _BELOW[0], low * _BELOW[1]), (high * _ABOVE[0], high * _ABOVE[1])]
        for band in bands:
            BandSettings(band_hz=band).check("events.spindle", sfreq)
        self._virtual = VirtualChannels(settings.signals, channels)
        self._demodulate = [Demodulator(*band, sfreq) for band in bands]
        n = len(self._virtual.names)
        self._every = max(1, round(_BASELINE_EVERY_S * rate_hz))
        self._block_s = 1.0 / rate_hz
        size = round(settings.memory_s / _BASELINE_EVERY_S)
        self._past: list[deque[Array]] = [deque(maxlen=size) for _ in range(n)]
        self._least = round(_LEAST_BASELINE_S / _BASELINE_EVERY_S)
        self._median: Array = np.full((n, len(bands)), np.nan)
        self._settle = round(_SETTLE_S * rate_hz)
        self._since = np.zeros(n, np.int64)
        self._events = [_Event() for _ in range(n)]

    @property
    def delay_s(self) -> float:
        """What is known of the band is so old, s."""
        return self._demodulate[0].delay_s

    def __call__(self, block: Block) -> list[Candidate | Feature]:
        """Take the next block; give a candidate and a record for each spindle that has become sure."""
        data, used = self._virtual(block)
        if block.fresh or block.dirty:
            self._restart(slice(None))
        if block.dirty:
            return []
        # one masked signal must not disturb the others
        ends = np.empty((len(self._virtual.names), len(self._demodulate)))
        first = block.end_sample - len(data)
        for band, demodulate in enumerate(self._demodulate):
            ends[:, band] = np.abs(demodulate(first, data)[-1])
        self._restart(~used)
        self._since += 1
        out: list[Candidate | Feature] = []
        for k, name in enumerate(self._virtual.names):
            if self._since[k] > self._settle:
                self._learn(k, ends[k], block)
                out += self._look(k, name, ends[k], block)
        return out

    def _restart(self, which: slice | Array) -> None:
        if isinstance(which, slice):
            for demodulate in self._demodulate:
                demodulate.reset()
        self._since[which] = 0
        for k in np.arange(len(self._events))[which]:
            self._events[k].end()

    def _learn(self, k: int, envelopes: F64, block: Block) -> None:
        if block.index % self._every:
            return
        self._past[k].append(envelopes)
        if len(self._past[k]) >= self._least:
            self._median[k] = np.maximum(np.median(np.array(self._past[k]), axis=0), _FLOOR_V)

    def _look(self, k: int, name: str, envelopes: F64, block: Block) -> list[Candidate | Feature]:
        s, event = self._s, self._events[k]
        if not self._median[k, 0] > 0:
            return []
        event.rest(self._block_s)
        ratios = envelopes / self._median[k]
        ratio, around = float(ratios[0]), float(ratios[1:].max())
        if ratio < s.stay * s.ratio:
            event.end(s.refractory_s)
            return []
        event.go_on(self._block_s, ratio, around, block.flags)
        if not event.sure(s):
            return []
        event.told = True
        about = SessionTime(block.end_time - self.delay_s)
        values = (event.peak, event.peak / event.around, event.lasted_s)
        feature = Feature(
            name=f"spindle.{name}",
            sample=block.end_sample,
            about=about,
            delay_s=self.delay_s,
            labels=LABELS,
            values=values,
            uncertainty=(),
            valid=True,
            flags=event.flags,
        )
        candidate = Candidate(
            source="spindle",
            action=s.action,
            level=1.0 - 0.5 * s.ratio / event.peak,
            about=about,
            # at once
            fire_at=about,
            expires=SessionTime(block.end_time + self._age_s + s.late_s),
            reason=f"spindle at {name}: {event.peak:.1f} times its median, above for {event.lasted_s:.2f} s",
            flags=event.flags,
        )
        return [feature, candidate]


class _Event:
    """What stands out at the moment."""

    def __init__(self) -> None:
        self._rest_s = 0.0
        self.told = False
        self.end()

    def rest(self, by_s: float) -> None:
        """Let time pass."""
        self._rest_s = max(0.0, self._rest_s - by_s)

    def end(self, rest_s: float = 0.0) -> None:
        """Begin anew, not before ``rest_s`` after an event that was told."""
        if self.told:
            self._rest_s = rest_s
        self.told = False
        self.lasted_s = 0.0
        self.peak = 0.0
        """Highest ratio."""
        self.around = 0.0
        """What the higher of the neighbours had to it, on average."""
        self.flags = Flag.NONE
        self._sums = np.zeros(2)

    def go_on(self, by_s: float, ratio: float, around: float, flags: Flag) -> None:
        """Take another block of it."""
        self.lasted_s += by_s
        self._sums += (ratio, around)
        self.peak = max(self.peak, ratio)
        self.around = self.peak * float(self._sums[1] / self._sums[0])
        self.flags |= flags

    def sure(self, s: SpindleSettings) -> bool:
        """Whether it is a spindle, and none that was told."""
        return (
            not self.told
            and self._rest_s <= 0
            and s.sure_s - 1e-9 <= self.lasted_s <= s.longest_s
            and self.peak >= s.ratio
            and self.peak >= s.neighbours * self.around
        )
