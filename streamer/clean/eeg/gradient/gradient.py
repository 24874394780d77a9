"""The gradient artefact: causal average subtraction, aligned between samples at every volume.

::

    samples ─ history ─ compare with template ─┬─ place, amplitude ─► forecast of the next volume
                 │            ▲                └─ worth of the epoch ─┐
                 │            └──────── template ◄── aligned epochs ◄─┴─ motion of the head
                 └─ (held) ─ minus template, shifted; in the first volume minus the shots before ─ corrected
"""

from __future__ import annotations

import numpy as np

from streamer.clean.eeg.gradient.activity import Activity
from streamer.clean.eeg.gradient.anchors import TR_MAX_S, Anchors
from streamer.clean.eeg.gradient.corrected import Corrected, GradientSettings, Span, Spoiled
from streamer.clean.eeg.gradient.learning import Learning
from streamer.clean.eeg.gradient.position import Rhythm
from streamer.clean.eeg.gradient.shot_bridge import ShotBridge
from streamer.clean.eeg.gradient.template import History
from streamer.clean.eeg.gradient.volume import Volume
from streamer.messages import F32, F64, Flag

__all__ = ["Corrected", "Gradient", "GradientSettings", "Span"]

_TRUSTED = 2
"""Epochs from which on the template tells what is artefact."""
_LISTEN_S = 0.1


class Gradient:
    """Subtract the mean of the last volumes from the present one, sample by sample [1]_.

    A volume begins where the line through the places of the last ones says, to a fraction of a sample; each volume
    tells its own place by how the template's slope is in what is left of it, and a part of it already serves the rest.
    Triggers begin the first volumes, confirm the others and put the line right when samples were lost uncounted. Where
    the clocks are one, all places are whole samples and nothing is interpolated. The template of volume k holds the
    last epochs before k whose trigger came and whose samples are whole, each channel weighted by what is usually left
    over what was left in that epoch, and by how far the head has moved since. Its error is ``sigma / sqrt(N)``, sigma
    being all that is not gradient; less with `without_pulse`.

    What a sample is flagged:

    - without volumes (before the first trigger ever, after the last, or where the template does not fit):
      ``UNSYNCED`` while gradients are heard, nothing when it is quiet; passed uncorrected;
    - until ``n_min`` epochs are in: ``WARMING``; the first volume is corrected by its own shots (`ShotBridge`), the
      second by the first, channels that this helps; from the third on what there is is subtracted.

    A trigger off the beat after the sequence has stopped, or after a longer pause, starts learning anew; so does an
    artefact that the template no longer explains.

    Parameters
    ----------
    settings : GradientSettings
    sfreq : float
        Hz.
    n_channels : int
    step : int
        The hold is a whole number of so many samples.
    keep_taken : bool
        Tell with each piece what was subtracted.

    References
    ----------
    .. [1] Allen, P. J., Josephs, O., Turner, R. (2000). A method for removing imaging artifact from continuous EEG
       recorded during functional MRI. NeuroImage 12, 230-239. doi:10.1006/nimg.2000.0599
    """

    def __init__(
        self, settings: GradientSettings, sfreq: float, n_channels: int, *, step: int = 1, keep_taken: bool = False
    ) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._n_channels = n_channels
        self.hold = step * round(settings.hold_s * sfreq / step)
        """Samples by which the output comes later than the input."""
        self.restarts = 0
        """Times that the template was begun anew."""
        self._keeps_taken = keep_taken
        self._length_max = round(TR_MAX_S * sfreq)
        self._history = History(self._length_max + round(3 * sfreq) + self.hold, n_channels)
        self._anchors = Anchors(sfreq, settings.coast_max)
        self._learning = Learning(
            self._history, sfreq, n_channels, settings.n_max, settings.window, settings.motion_mm, settings.follow_gain
        )
        self._activity = Activity(settings.activity_v, sfreq, _LISTEN_S)
        self._bridge = ShotBridge(self._history, self._activity, sfreq, n_channels, self._learning.block, self.hold)
        self._volume: Volume | None = None
        self._leaving: Volume | None = None
        self._spoiled = Spoiled()
        self._loose = False
        self._confirmed = 0
        self._pos: int | None = None
        self._out = self._first = 0

    @property
    def epochs(self) -> int:
        """Epochs in the template."""
        return self._learning.epochs

    @property
    def effective_epochs(self) -> float:
        """Epochs of equal weight that would average as well, at the median channel."""
        return self._learning.effective_epochs

    @property
    def age_s(self) -> float | None:
        """Time since the newest epoch in the template ended, s; None while there is none."""
        end = self._learning.newest_end
        return None if end is None or self._pos is None else (self._pos - end) / self._sfreq

    @property
    def synced(self) -> bool:
        """Whether the present samples are being corrected by a whole template."""
        volume, pos = self._volume, self._pos
        if volume is None or pos is None:
            return False
        return self._trusts(volume, pos) and self._state(volume, pos) is Flag.NONE

    @property
    def ignored(self) -> int:
        """Triggers that were too close to another, off the beat, or too late."""
        return self._anchors.ignored

    @property
    def rhythm(self) -> Rhythm:
        """What the artefact tells of the scanner."""
        return self._learning.rhythm(self._anchors.period)

    @property
    def held(self) -> int:
        """Samples that came in and have not come out yet."""
        return 0 if self._pos is None else self._pos - self._out

    def trigger(self, sample: int) -> None:
        """Take a volume trigger at grid index ``sample``, before or after that sample was processed."""
        if self._pos is None or sample >= self._pos:
            self._anchors.announce(sample)
        else:
            self._arrived(sample)

    def pose(self, sample: int, motion: F64) -> None:
        """Take the head's pose in the volume whose trigger was at ``sample``: mm and rad, shape (6,)."""
        self._learning.poses.add(sample, motion)

    def without_pulse(self, first: int, estimate: F32) -> None:
        """Take the pulse artefact out of what the template will be made of.

        Parameters
        ----------
        first : int
            Grid index of the estimate's first sample; what has come out already, once, and less than a TR ago.
        estimate : ndarray, float32, shape (n_times, n_channels)
            V.
        """
        if self._pos is None:
            return
        skip = max(0, self._pos - self._history.capacity + self.hold - first)
        keep = max(0, min(len(estimate), self._out - first))
        if skip < keep:
            self._history.subtract(first + skip, estimate[skip:keep])

    def forget(self, before: int) -> None:
        """Let no epoch stay that begins before ``before``: a new series has begun."""
        if self._volume is not None and self._volume.base < before:
            self._volume.whole = False
        if self._learning.forget(before) and self._volume is not None:
            self._volume.epochs = 0

    def spoil(self, start: int, stop: int) -> None:
        """Keep epochs that contain samples ``start`` to ``stop`` (excluded) out of the template."""
        self._spoiled.add(start, stop)

    def lose(self) -> None:
        """Take the beat for lost: nothing is subtracted until the next trigger."""
        self._anchors.stop()
        self._loose = True
        if self._volume is not None and self._pos is not None and self._volume.dead is None:
            self._volume.dead = self._out
            self._activity.hold(self._pos)

    def __call__(self, start: int, data: F32) -> list[Corrected]:
        """Correct the next samples.

        Parameters
        ----------
        start : int
            Grid index of the first; samples that were left out since the last call are taken as lost.
        data : ndarray, float32, shape (n_times, n_channels)
            V, high-passed.

        Returns
        -------
        list of Corrected
            At most one piece; after lost samples two, what was held before them first.
        """
        pieces: list[Corrected] = []
        if self._pos is None:
            self._pos = self._out = self._first = start
        elif start != self._pos:
            pieces = self.flush()
            self.spoil(self._pos, start)
            self._history.clear(self._pos, start)
            self._pos = self._out = start
            self._loose = True
        end = start + len(data)
        due = max(0, end - self.hold - self._out)
        out = self._piece(due)
        while self._pos < end:
            boundary = self._anchors.next()
            if boundary is not None and boundary <= self._pos:
                self._open(boundary)
                continue
            stop = self._stop(self._pos, end if boundary is None else min(end, boundary))
            self._history.write(self._pos, data[self._pos - start : stop - start])
            # what a look finds holds for what comes out after it, however much came in at once
            self._emit(out, stop - self.hold)
            self._pos = stop
            self._look()
        return [*pieces, out] if due else pieces

    def flush(self) -> list[Corrected]:
        """Give what is held; nothing held, nothing given."""
        if self._pos is None or self._pos == self._out:
            return []
        out = self._piece(self._pos - self._out)
        self._emit(out, self._pos)
        return [out]

    def _piece(self, n: int) -> Corrected:
        taken = np.empty((n if self._keeps_taken else 0, self._n_channels), np.float32)
        return Corrected(self._out, np.empty((n, self._n_channels), np.float32), [], taken, [])

    def _stop(self, pos: int, stop: int) -> int:
        """Where something is to be looked at next, before ``stop``."""
        volume = self._volume
        if volume is not None and self._lives(volume, pos):
            step = self._learning.step(volume)
            return min(stop, pos + step - (pos - volume.base) % step, volume.base + self._length)
        return min(stop, pos + self._activity.block - pos % self._activity.block)

    def _look(self) -> None:
        """Look at what has come, up to the present position."""
        pos, volume = self._pos, self._volume
        assert pos is not None
        if volume is None or not self._lives(volume, pos):
            over = volume is not None and pos == volume.base + self._length
            if (over or pos % self._activity.block == 0) and pos - self._first >= 2 * self._activity.block:
                self._activity.judge(self._history, pos)
            return
        if volume.epochs == 0 and pos > volume.base and (pos - volume.base) % self._learning.block == 0:
            self._bridge.look(pos)
        verdict = self._learning.look(volume, pos, self._spoiled.among)
        if verdict == "silent":
            self._anchors.stop()
            volume.dead = self._out
            self._activity.hold(pos)
        elif verdict == "strange":
            self._restart()
            volume.epochs, volume.whole = 0, False

    def _restart(self) -> None:
        self._learning.restart()
        self.restarts += 1

    def past(self, start: int, stop: int) -> F32 | None:
        """Give high-passed samples as they came in, V; None where they are not kept any more, or never came."""
        if self._pos is None or start < max(self._first, stop - self._history.capacity) or stop > self._pos:
            return None
        return self._history.read(start, stop)

    def _emit(self, out: Corrected, until: int) -> None:
        """Correct samples up to ``until``, as far as they are in ``out``."""
        while self._out < until:
            at = self._out
            volume, stop = self._volume, until
            if volume is not None and at < volume.base:
                stop = min(stop, volume.base)
                volume = volume if self._leaving is None else self._leaving
            if volume is not None:
                stop = min(stop, self._next_edge(volume, at) if at >= volume.base else volume.base)
            listens = self._activity.until
            if listens is not None and at < listens < stop:
                stop = listens
            data = self._history.read(at, stop)
            part = out.data[at - out.first : stop - out.first]
            if volume is None or not self._lives(volume, at):
                part[:] = data
            elif volume.epochs:
                volume.subtract(self._history, at, data, part)
            else:
                self._bridge.subtract(at, data, part)
            if self._keeps_taken:
                np.subtract(data, part, out=out.taken[at - out.first : stop - out.first])
            if volume is not None and at == volume.base:
                out.starts.append(at)
            out.flag(at, stop, self._state(volume, at))
            self._out = stop

    def _next_edge(self, volume: Volume, at: int) -> int:
        block = self._learning.block
        edge = at + block - (at - volume.base) % block
        if volume.dead is not None and at < volume.dead < edge:
            edge = volume.dead
        end = volume.base + self._length
        return end if at < end < edge else edge

    @property
    def _length(self) -> int:
        return self._learning.length or self._length_max

    def _lives(self, volume: Volume, pos: int) -> bool:
        """Whether the volume goes on at ``pos``."""
        return volume.base <= pos < volume.base + self._length and (volume.dead is None or pos < volume.dead)

    def _trusts(self, volume: Volume, pos: int) -> bool:
        return volume.epochs >= _TRUSTED and self._lives(volume, pos)

    def _state(self, volume: Volume | None, pos: int) -> Flag:
        if volume is None or not self._lives(volume, pos):
            return Flag.UNSYNCED if self._activity.running(pos) else Flag.NONE
        return Flag.NONE if volume.epochs >= self.settings.n_min else Flag.WARMING

    def _open(self, sample: int) -> None:
        """Begin the volume at ``sample``."""
        trigger = self._anchors.due(sample)
        if trigger is None:
            self._begin_volume(sample, 1, None)
        else:
            self._arrived(trigger, sample)

    def _arrived(self, trigger: int, boundary: int | None = None) -> None:
        """Take in a trigger: of the volume that begins at ``boundary``, or that began before."""
        anchors, volume = self._anchors, self._volume
        n = anchors.fits(trigger, loose=self._loose)
        near = max(anchors.tolerance, anchors.slack)
        if n is None and volume is not None and self._explained(volume):
            # the sequence goes on: whatever made this pulse, it begins no volume
            n = 0
        if n and self._loose and anchors.period is None:
            # the very first interval has lost samples in it: it tells no period
            n = None
        if n is None:
            anchors.begin(trigger)
            self._restart()
            self._learning.track.restart()
            self._confirmed = 0
            self._leaving, self._volume = volume, Volume(0, trigger, 0.0, 1.0, trigger)
        elif n == 0 or volume is None:
            anchors.ignored += 1
        elif (boundary is None or volume.trigger is None) and trigger <= volume.base + near:
            if volume.trigger is not None or trigger < volume.base - near:
                anchors.ignored += 1
                return
            anchors.confirm(trigger, n, counted=not self._loose)
            volume.trigger, self._confirmed = trigger, volume.number
            by = self._learning.put_right(volume, trigger)
            if by and volume.epochs:
                volume.move(float(by))
            self._expect(volume)
        else:
            anchors.confirm(trigger, n, counted=not self._loose)
            self._begin_volume(trigger if boundary is None else boundary, n, trigger)
        self._loose = False

    def _explained(self, volume: Volume) -> bool:
        """Whether the template fits what is passing."""
        pos, learning = self._pos, self._learning
        return pos is not None and self._trusts(volume, pos) and volume.strange == 0 and learning.heard()

    def _begin_volume(self, sample: int, n: int, trigger: int | None) -> None:
        """Begin the volume at ``sample``, ``n`` after the last one that had a trigger."""
        old, anchors = self._volume, self._anchors
        assert old is not None
        period = anchors.period
        assert period is not None
        if trigger is None:
            anchors.coast()
        enters = (
            old.trigger is not None
            and old.whole
            and old.base >= self._first
            and abs(sample - old.base - period) <= anchors.tolerance
            and not self._spoiled.among(old.base, sample)
        )
        number = old.number + 1 if trigger is None else self._confirmed + n
        volume = self._learning.next_volume(old, number, sample, trigger, period, enters=enters)
        if trigger is not None:
            self._confirmed = number
        if old.epochs == 0 and not self._bridge.heard_since(old.base):
            # what was in it was no artefact
            volume.helps = np.zeros(self._n_channels, np.bool_)
        self._leaving, self._volume = old, volume
        self._expect(volume)

    def _expect(self, volume: Volume) -> None:
        self._anchors.expected = self._learning.expected(volume)
        self._anchors.slack = self._learning.slack
