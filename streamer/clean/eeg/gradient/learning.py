"""What the gradient stage knows of the artefact, learnt from volume to volume."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np

from streamer.clean.eeg.gradient.gains import Gains
from streamer.clean.eeg.gradient.match import Match
from streamer.clean.eeg.gradient.poses import Poses
from streamer.clean.eeg.gradient.position import Rhythm, Track, robust_sd
from streamer.clean.eeg.gradient.shots import shots
from streamer.clean.eeg.gradient.template import MARGIN, Epoch, History, Template
from streamer.clean.eeg.gradient.volume import Places, Volume
from streamer.compiled import compiled
from streamer.messages import F32, F64

_BLOCK_S = 0.0128
_SLACK = 1.5
_LOUD = 16.0
_SILENT = 3
_STRANGE = 8
_FAR = MARGIN // 2
_LEAST_QUALITY = 0.1

Verdict = Literal["silent", "strange"] | None


class Learning:
    """The template and all that is followed beside it: place, amplitude, worth of epochs, motion.

    Parameters
    ----------
    history : History
        The samples that came in.
    sfreq : float
        Hz.
    n_channels : int
    n_max : int
        Epochs in the template at most.
    window : str
        ``sliding`` or ``weighted``.
    motion_mm : float
        See `Poses`.
    follow_gain : bool
    """

    def __init__(
        self,
        history: History,
        sfreq: float,
        n_channels: int,
        n_max: int,
        window: Literal["sliding", "weighted"],
        motion_mm: float,
        follow_gain: bool,
    ) -> None:
        self._history = history
        self._n_channels = n_channels
        self._n_max = n_max
        self._forgetting = 1.0 if window == "sliding" else float(np.exp(-2.0 / n_max))
        self._follow_gain = follow_gain
        self._sfreq = sfreq
        self.block = max(8, round(_BLOCK_S * sfreq))
        self.poses = Poses(motion_mm)
        self.track = Track()
        self._places = Places(max(1, int(0.064 * sfreq / self.block + 1e-6)))
        self._match = Match(self.block, n_channels)
        self._oldest = -(1 << 62)
        self._offsets: deque[float] = deque(maxlen=16)
        self.restart()
        _count(self._loud_from, self._loud_from, self._loud_from)
        # templates are made in the midst of a run: what they need is compiled here
        Template(1, self.block, n_channels, 1)

    def restart(self) -> None:
        """Forget the artefact, but not when volumes come."""
        self._template: Template | None = None
        self._gains = Gains(self._n_channels)
        self._residuals: deque[F64] = deque(maxlen=7)
        self._usual: F64 | None = None
        self._loud_from: F64 = np.full(self._n_channels, np.inf)
        self._unexplained: deque[float] = deque(maxlen=8)
        self._odd = 0
        self._next_block = 0
        self._heard = False
        self.newest_end: int | None = None
        """Where the newest epoch in the template ended."""
        self.slices: int | None = None
        """Shots per volume, as the template's spectrum tells."""

    @property
    def epochs(self) -> int:
        """Epochs in the template."""
        return 0 if self._template is None else len(self._template.epochs)

    @property
    def effective_epochs(self) -> float:
        """Epochs of equal weight that would average as well."""
        return 0.0 if self._template is None else self._template.effective

    @property
    def length(self) -> int | None:
        """Samples of a volume at most; None before the first is over."""
        return None if self._template is None else self._template.length

    @property
    def slack(self) -> float:
        """Samples by which a trigger may be off its volume without moving it."""
        return max(_SLACK, 4.0 * robust_sd(np.array(self._offsets))) if len(self._offsets) > 3 else _SLACK

    def rhythm(self, period: float | None) -> Rhythm:
        """Tell what the artefact tells of the scanner; ``period`` is by the triggers, samples."""
        track = self.track
        period = track.period or period
        return Rhythm(
            None if period is None else period / self._sfreq,
            self.slices,
            track.ppm(self._sfreq),
            1e6 * track.jitter / self._sfreq if len(track) > 4 else None,
        )

    def heard(self) -> bool:
        """Whether gradients were in the block that was looked at last."""
        return self._heard

    def forget(self, before: int) -> bool:
        """Let epochs leave that begin before ``before``; say whether none stays."""
        self._oldest = before
        if self._template is None or not self._template.epochs or self._template.epochs[-1].base >= before:
            return False
        self.restart()
        return True

    def step(self, volume: Volume) -> int:
        """Samples from one look at the volume to the next: more often while no trigger has confirmed it."""
        return self.block if volume.trigger is not None or volume.epochs == 0 else max(4, self.block // 4)

    def look(
        self, volume: Volume, pos: int, spoiled: Callable[[int, int], bool]
    ) -> Literal["silent", "strange"] | None:
        """Compare with the template what has come of the volume up to ``pos``.

        Returns
        -------
        str or None
            ``silent`` when the scanner does not run any more, ``strange`` when the artefact has become another.
        """
        if volume.epochs == 0:
            return None
        size = self.block
        if volume.trigger is None and (pos - volume.base) % self.step(volume) == 0:
            start = pos - self.step(volume)
            if start >= volume.base and not spoiled(start, pos) and self._is_silent(volume, start, pos):
                return "silent"
        while volume.base + (self._next_block + 1) * size <= pos:
            block = self._next_block
            self._next_block += 1
            start = volume.base + block * size
            if spoiled(start, start + size):
                continue
            rest, raw = volume.measure(self._history, block, self._match)
            silent, loud, strange = _count(rest, raw, self._loud_from)
            volume.silent = volume.silent + 1 if 2 * silent > self._n_channels else 0
            self._heard = 2 * loud > self._n_channels
            if volume.epochs == 1 and (volume.helps is None or volume.helps.any()):
                volume.helps = self._match.helps
            volume.strange = volume.strange + 1 if 2 * strange > self._n_channels else 0
            if volume.silent >= _SILENT:
                return "silent"
            if volume.strange >= _STRANGE:
                return "strange"
            if volume.strange == 0:
                volume.settle(self._history, self._match, self._places)
                if self._follow_gain and self._match.blocks in self._places.after:
                    assert self._template is not None
                    share = 0.5 * self._match.blocks / self._half
                    volume.scale(self._gains.refined(self._match.gain, share, self._template.gains, volume.gains))
            if self._match.blocks == self._half:
                self._match.halve()
        return None

    def _is_silent(self, volume: Volume, start: int, stop: int) -> bool:
        block = (start - volume.base) // self.block
        at = start - volume.base - block * self.block
        rows = volume.rows(self._history, block)[at : at + stop - start]
        raw = self._history.read(start, start + len(rows))
        before, after = (np.square(a).sum(axis=0) for a in (raw, raw - rows))
        loud = np.square(rows).sum(axis=0) > _LOUD * len(rows) * self._usual if self._usual is not None else True
        return _most((after > 2.0 * before) & loud)

    def next_volume(
        self, old: Volume, number: int, sample: int, trigger: int | None, period: float, *, enters: bool
    ) -> Volume:
        """Learn from the volume that is over, and forecast the one that begins at ``sample``.

        Parameters
        ----------
        old : Volume
        number : int
            Of the new volume.
        sample : int
            Its first sample.
        trigger : int or None
            Its trigger's sample, if it has come.
        period : float
            Samples from volume to volume by the triggers.
        enters : bool
            Whether the old volume's samples are whole and had a trigger.
        """
        quality, gains = self._learn(old, period, enters=enters)
        template = self._template
        if template is None:
            template = self._template = Template(
                int(period) + 3, self.block, self._n_channels, self._n_max, self._forgetting
            )
        epoch: Epoch | None = None
        if enters and old.dead is None and quality is not None and old.base >= self._oldest:
            epoch = Epoch(old.base, self._snapped(old), quality, gains)
            self.newest_end = sample
        for kept in (*template.epochs, *([] if epoch is None else [epoch])):
            kept.motion = self.poses.weight(kept.base, 0.4 * period)
        oldest = max(self._oldest, sample - round((self._n_max + 2) * period))
        before = len(template.epochs)
        template.next_volume(self._history, epoch, oldest)
        if self.slices is None and before in {1, 4}:
            self.slices = shots(template.mean[MARGIN : MARGIN + round(period)])
        volume = self._forecast(number, sample, trigger)
        volume.compare_with(template)
        if self._follow_gain:
            volume.gains = self._gains.relative(template.gains)
        self._match.begin()
        self._next_block = 0
        self._half = int(period / self.block / 2)
        return volume

    def _snapped(self, old: Volume) -> float:
        place = old.base + old.shift
        return float(round(place) - old.base) if self.track.whole else old.shift

    def _forecast(self, number: int, sample: int, trigger: int | None) -> Volume:
        forecast = self.track.forecast(number)
        if forecast is None:
            return Volume(number, sample, 0.0, 0.6, trigger)
        volume = Volume(number, sample, forecast.place - sample, forecast.sd, trigger)
        by = 0 if trigger is None else self.put_right(volume, trigger)
        if by:
            # the trigger tells the sample, the volume itself the rest
            volume = Volume(number, sample, volume.shift + by, 0.6, trigger)
        if abs(volume.shift) > _FAR:
            volume.shift = 0.0
        return volume

    def put_right(self, volume: Volume, trigger: int) -> int:
        """Compare a volume's trigger with its forecast; move all places by the samples that were miscounted."""
        forecast = self.track.forecast(volume.number)
        if forecast is None:
            return 0
        # triggers are rounded: the middle of where they can be
        usual = 0.5 * (min(self._offsets) + max(self._offsets)) if self._offsets else 0.0
        off = trigger - forecast.place
        if abs(off - usual) <= self.slack:
            self._offsets.append(off)
            return 0
        by = round(off - usual)
        self.track.move(by)
        return by

    def expected(self, volume: Volume) -> float | None:
        """Where the volume after this one is thought to begin, samples."""
        forecast = self.track.forecast(volume.number + 1)
        return None if forecast is None else forecast.place

    def _learn(self, old: Volume, period: float, *, enters: bool) -> tuple[F32 | None, F32]:
        """Take from a volume that is over its place, its amplitudes and its worth."""
        ones = np.ones(self._n_channels, np.float32)
        match, template = self._match, self._template
        if old.epochs == 0 or template is None:
            if enters and len(self.track) == 0:
                self.track.add(old.number, float(old.base))
            return ones, ones
        if old.dead is not None or match.blocks < 0.5 * period / self.block:
            return None, ones
        place = match.place
        if place is None or abs(place) > _FAR:
            return None, ones
        unexplained = float(np.median(match.unexplained))
        usual = float(np.median(self._unexplained)) if len(self._unexplained) > 2 else np.inf
        if unexplained > max(9.0 * usual, 0.003):
            self._odd += 1
            if self._odd > 1:
                self.restart()
                return ones, ones
            return None, ones
        self._odd = 0
        self._unexplained.append(unexplained)
        self.track.add(old.number, old.base + place)
        self._places.learn(old.told, place)
        old.shift = place
        noise = match.gain_noise
        gains = match.gain * template.gains
        if noise is not None:
            self._gains.add(gains, noise * np.square(template.gains))
        residual = match.residual + 1e-30
        self._residuals.append(residual)
        self._usual = np.median(np.array(self._residuals), axis=0)
        self._loud_from = _LOUD * self.block * self._usual
        quality = np.clip(self._usual / residual, _LEAST_QUALITY, 1.0)
        return quality.astype(np.float32), gains.astype(np.float32)


def _most(which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> bool:
    return 2 * int(np.count_nonzero(which)) > which.size


@compiled
def _count(rest: F64, raw: F64, loud_from: F64) -> tuple[int, int, int]:
    """Count the channels that subtracting made louder, those with gradients, and those of them not explained."""
    silent = loud = strange = 0
    for c in range(len(raw)):
        silent += rest[c] > 2.0 * raw[c]
        if raw[c] > loud_from[c]:
            loud += 1
            strange += rest[c] > 0.5 * raw[c]
    return silent, loud, strange
