"""Epileptic spikes and sharp waves: short peaks that stand out of their channel's own past on several channels.

Each channel goes through matched filters for a peak with its after-swing at four widths. A peak counts where a filter
of 20 to 200 ms answers most (a narrower one would be muscle, a wider one a blink or movement), where it is well above
the highest peak of an ordinary second of that channel and above what goes before and after it, and where other channels
agree. An ordinary second holds whatever comes with every second or heartbeat: alpha, what is left of the
pulse or of the gradient.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from streamer.contracts import Settings
from streamer.decode.blocks import Block
from streamer.decode.candidate import Candidate
from streamer.errors import ConfigError
from streamer.messages import F64, Array, Feature, Flag, SessionTime

LABELS = ("ratio", "crest", "width_s", "channels")
NAME = "spike"

WIDTHS_S = (0.012, 0.04, 0.1, 0.2)
"""From zero to zero of the peak that each filter is made for, s: muscle, spike, sharp wave, slow."""
_ACCEPTED = np.array([1, 2])
_REACH = 2.2
_ORDINARY_S = 30.0
_LEAST_ORDINARY_S = 10.0
_BEFORE_S = 0.5
_AFTER_S = 0.14
_APART_S = 0.06
_FLOOR_V = 5e-6
"""A filter answers so to a peak of a microvolt or two: less is no EEG."""


class SpikeSettings(Settings):
    """Triggers at epileptic spikes."""

    enabled: bool = False
    """Whether they are looked for."""
    channels: tuple[str, ...] = ()
    """Where; empty for all."""
    ratio: float = Field(default=1.8, gt=1, le=20)
    """The filtered peak of a spike must be so many times the highest of an ordinary second."""
    sharp_ratio: float = Field(default=2.2, gt=1, le=20)
    """That of a sharp wave: the background itself has more waves of its width."""
    crest: float = Field(default=4.0, ge=1, le=50)
    """And so many times the root mean square of the half second before it, and of what follows."""
    min_channels: int = Field(default=3, ge=1, le=64)
    """Channels that agree within 60 ms: the one with the peak, and others that stand out less."""
    agree: float = Field(default=0.7, gt=0, le=1)
    """A channel agrees from this share of the ratio that is needed."""
    max_share: float = Field(default=0.8, gt=0, le=1)
    """What more than this share of four channels or more has at once is no spike."""
    refractory_s: float = Field(default=0.5, ge=0.1, le=60)
    """No other for this long, s."""
    late_s: float = Field(default=0.25, gt=0, le=2)
    """A trigger is of no use later than this after it was asked for, s."""
    action: str = Field(default="spike", min_length=1)
    """What the trigger asks for."""


class Spikes:
    """Detect epileptic spikes.

    Parameters
    ----------
    settings : SpikeSettings
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
        A channel is not there, or there are fewer than have to agree.
    """

    def __init__(
        self, settings: SpikeSettings, rate_hz: float, sfreq: float, channels: Sequence[str], age_s: float = 0.0
    ) -> None:
        self._s, self._age_s, self._sfreq = settings, age_s, sfreq
        names = settings.channels or tuple(channels)
        problems = [
            f"channel {c} is not there: expected some of {', '.join(channels)}" for c in names if c not in channels
        ]
        if len(names) < settings.min_channels:
            problems.append(
                f"{len(names)} channels are looked at: expected at least min_channels, {settings.min_channels}"
            )
        if problems:
            raise ConfigError("events.spike", problems)
        self._limits = np.array([[settings.ratio], [settings.sharp_ratio]])
        self._columns: Array = np.array([list(channels).index(c) for c in names])
        self._kernels = _kernels(sfreq)
        self._half = self._kernels.shape[1] // 2
        self._block_s = 1.0 / rate_hz
        self._toeplitz: dict[int, F64] = {}
        own = math.ceil(_REACH * WIDTHS_S[_ACCEPTED[0]] / 2 * sfreq)
        late = np.zeros((1, self._kernels.shape[1]))
        # the same filter as early as it can be known tells what comes after a peak
        late[:, -2 * own - 1 :] = self._kernels[_ACCEPTED[0], self._half - own : self._half + own + 1]
        self._kernels = np.concatenate([self._kernels, late])
        self._after: deque[Array] = deque(maxlen=max(1, math.floor(_AFTER_S * rate_hz)))
        n = len(names)
        self._history = np.zeros((2 * self._half, n))
        self._second = max(1, round(rate_hz))
        self._least = round(_LEAST_ORDINARY_S)
        self._highest = np.zeros((len(_ACCEPTED), n))
        self._seconds: deque[Array] = deque(maxlen=round(_ORDINARY_S))
        self._ordinary: Array | None = None
        self._apart = math.ceil(_APART_S * rate_hz)
        self._answers: deque[F64] = deque(maxlen=2 * self._apart + 1)
        # what lies around the peak is left out of what came before it
        self._skip = 2 * self._apart + 1
        self._powers: deque[Array] = deque(maxlen=self._skip + round(_BEFORE_S * rate_hz))
        reach = math.ceil((2 * self._half + 1) / sfreq * rate_hz)
        self._flags: deque[Flag] = deque(maxlen=reach + 2 * self._apart + 1)
        self._bad: Array = np.zeros(n, dtype=bool)
        self._restart()

    @property
    def delay_s(self) -> float:
        """A peak is looked at so long after it, s."""
        return self._half / self._sfreq + self._apart * self._block_s

    def __call__(self, block: Block) -> list[Candidate | Feature]:
        """Take the next block; give a candidate and a record when a spike is found."""
        bad = block.bad[self._columns]
        # a channel that goes or comes, and the reference with it, makes a step in all
        if block.fresh or block.dirty or not np.array_equal(bad, self._bad):
            self._bad = bad
            self._restart()
        if block.dirty:
            return []
        data = block.data[:, self._columns]
        n = len(data)
        whole = np.concatenate([self._history, data])
        self._history = whole[n:].copy()
        self._flags.append(block.flags)
        self._filled += n
        if self._filled < len(self._history) + n:
            return []
        answers = (self._matrix(n) @ whole).reshape(len(self._kernels), n, -1)
        self._answers.append(np.abs(answers[:-1]))
        self._after.append(np.square(answers[-1]).mean(axis=0))
        self._powers.append(np.square(answers[_ACCEPTED]).mean(axis=1))
        found = self._look(block) if len(self._powers) == self._powers.maxlen else []
        self._learn(block, self._answers[-1][_ACCEPTED].max(axis=1))
        return found

    def _restart(self) -> None:
        self._history[:] = 0.0
        self._filled = 0
        self._answers.clear()
        self._powers.clear()
        self._after.clear()
        self._flags.clear()
        self._highest[:] = 0.0
        self._whole_second = False
        self._rest = 0

    def _matrix(self, n: int) -> F64:
        """All filters at ``n`` samples as one product with the samples they reach."""
        if n not in self._toeplitz:
            n_taps = self._kernels.shape[1]
            made = np.zeros((len(self._kernels), n, n_taps - 1 + n))
            for i in range(n):
                made[:, i, i : i + n_taps] = self._kernels
            self._toeplitz[n] = made.reshape(-1, n_taps - 1 + n)
        return self._toeplitz[n]

    def _learn(self, block: Block, peaks: F64) -> None:
        np.maximum(self._highest, peaks, out=self._highest)
        if (block.index + 1) % self._second:
            return
        if self._whole_second:
            # a bad channel has no ordinary second: infinity keeps it out until it has been good for half of them
            self._seconds.append(np.where(self._bad, np.inf, self._highest))
            if len(self._seconds) >= self._least:
                self._ordinary = np.maximum(np.median(np.array(self._seconds), axis=0), _FLOOR_V)
        self._highest[:] = 0.0
        self._whole_second = True

    def _look(self, block: Block) -> list[Candidate | Feature]:
        self._rest = max(0, self._rest - 1)
        if self._ordinary is None:
            return []
        s = self._s
        highest = np.array([each.max(axis=1) for each in self._answers])
        around = highest.max(axis=0)
        peaks = highest[self._apart, _ACCEPTED]
        before = np.sqrt(np.array(self._powers)[: -self._skip].mean(axis=0))
        # against the limit of its kind
        ratios = peaks / self._ordinary / self._limits
        after = np.sqrt(np.array(self._after).mean(axis=0))
        crests = peaks / np.maximum(np.maximum(before, after), _FLOOR_V)
        # the highest far and wide, and of a width that counts
        own = (peaks >= around[_ACCEPTED]) & (around.argmax(axis=0) == _ACCEPTED[:, None])
        counts = own & (ratios >= 1.0) & (crests >= s.crest) & ~self._bad
        near = (around[_ACCEPTED] >= s.agree * self._limits * self._ordinary).any(axis=0) & ~self._bad
        agree = int(near.sum())
        n_good = int((~self._bad).sum())
        too_many = n_good >= 4 and agree > s.max_share * n_good
        if agree < s.min_channels or too_many or self._rest or not counts.any():
            return []
        self._rest = math.ceil(s.refractory_s * self._second)
        return self._found(block, np.where(counts, ratios, 0.0), crests, agree)

    def _found(self, block: Block, ratios: F64, crests: F64, agree: int) -> list[Candidate | Feature]:
        s = self._s
        kind, channel = (int(i) for i in np.unravel_index(int(ratios.argmax()), ratios.shape))
        ratio, crest = float(ratios[kind, channel]), float(crests[kind, channel])
        limit = float(self._limits[kind, 0])
        width = WIDTHS_S[_ACCEPTED[kind]]
        peak = self._answers[self._apart][_ACCEPTED[kind], :, channel]
        later = sum(each.shape[1] for each in list(self._answers)[self._apart + 1 :])
        after = len(peak) - 1 - int(peak.argmax()) + later + self._half
        about = SessionTime(block.end_time - after / self._sfreq)
        flags = Flag.NONE
        for each in self._flags:
            flags |= each
        what = "spike" if kind == 0 else "sharp wave"
        feature = Feature(
            name=NAME,
            sample=block.end_sample,
            about=about,
            delay_s=after / self._sfreq,
            labels=LABELS,
            values=(ratio * limit, crest, width, float(agree)),
            uncertainty=(),
            valid=True,
            flags=flags,
        )
        candidate = Candidate(
            source="spike",
            action=s.action,
            level=1.0 - 0.5 / ratio,
            about=about,
            # at once
            fire_at=about,
            expires=SessionTime(block.end_time + self._age_s + s.late_s),
            reason=f"{what} on {agree} channels, {ratio * limit:.1f} times the highest of an ordinary second",
            flags=flags,
        )
        return [feature, candidate]


def _kernels(sfreq: float) -> F64:
    """Second derivatives of Gaussians, of equal energy and zero sum, shape (n_widths, n_taps)."""
    half = math.ceil(_REACH * WIDTHS_S[-1] / 2 * sfreq)
    t = np.arange(-half, half + 1) / sfreq
    out: list[F64] = []
    for width in WIDTHS_S:
        u = np.square(t / (width / 2))
        kernel = (1.0 - u) * np.exp(-u / 2)
        kernel -= kernel.mean()
        out.append(kernel / math.sqrt(float(np.square(kernel).sum())))
    return np.array(out)
