"""The gradient artefact: causal average subtraction, anchored at every volume trigger."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from pydantic import Field

from streamer.clean.eeg.anchors import TR_MAX_S, Anchors
from streamer.clean.eeg.template import Epoch, History, Template
from streamer.contracts import Settings
from streamer.messages import F32, Flag


class GradientSettings(Settings):
    """How the gradient artefact is taken out."""

    enabled: bool = True
    """False passes everything through: for EEG without a scanner, or corrected in hardware."""
    n_min: int = Field(default=4, ge=2)
    """Epochs before the template is used."""
    n_max: int = Field(default=25, ge=2)
    """Epochs in the template at most."""
    coast_max: int = Field(default=3, ge=0)
    """Volumes in a row that may be corrected without a trigger."""
    highpass_hz: float = Field(default=0.5, gt=0)
    """Order-2 high-pass before the template, Hz: slow EEG and drift would enter it and come out as steps."""


class Span(NamedTuple):
    """What holds for a stretch of samples."""

    start: int
    stop: int
    flags: Flag


class Gradient:
    """Subtract the mean of the last volumes from the present one, sample by sample [1]_.

    A volume begins at its trigger. A trigger that has not come yet is predicted one period after the last; when the
    prediction is true, it makes no difference when the trigger comes. The template of volume k holds the last epochs
    before k whose trigger came and whose samples are whole, ``n_max`` at most, and none older than ``n_max + 2``
    volumes. Its error is ``sigma / sqrt(N)``, sigma being all that is not gradient.

    What a sample is flagged:

    - before the first trigger ever, nothing: EEG without a scanner looks the same as EEG without triggers, and passes;
    - from the first trigger until ``n_min`` epochs are in: ``WARMING``, passed uncorrected;
    - when triggers have stopped for more than ``coast_max`` volumes, or while a volume without trigger does not look
      like the template (after 40 ms, when subtracting doubles the power in most channels): ``UNSYNCED``, passed
      uncorrected.

    A trigger off the beat, or after a longer pause, starts learning anew.

    Parameters
    ----------
    settings : GradientSettings
    sfreq : float
        Hz.
    n_channels : int

    References
    ----------
    .. [1] Allen, P. J., Josephs, O., Turner, R. (2000). A method for removing imaging artifact from continuous EEG
       recorded during functional MRI. NeuroImage 12, 230-239. doi:10.1006/nimg.2000.0599
    """

    def __init__(self, settings: GradientSettings, sfreq: float, n_channels: int) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._n_channels = n_channels
        self._tr_max = round(TR_MAX_S * sfreq)
        self._check = max(1, round(0.04 * sfreq))
        self._anchors = Anchors(sfreq, settings.coast_max)
        self._history = History(self._tr_max + round(2 * sfreq), n_channels)
        self._template: Template | None = None
        self._spoiled: deque[tuple[int, int]] = deque(maxlen=1024)
        self._pos: int | None = None
        self._first = 0
        self._unfit = False
        self._epoch_end: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs in the template."""
        return 0 if self._template is None else len(self._template.epochs)

    @property
    def age_s(self) -> float | None:
        """Time since the newest epoch in the template ended, s; None while there is none."""
        if self._epoch_end is None or self._pos is None:
            return None
        return (self._pos - self._epoch_end) / self._sfreq

    @property
    def synced(self) -> bool:
        """Whether the present samples are being corrected."""
        return self._pos is not None and self._state(self._pos) is Flag.NONE and self._anchors.current is not None

    @property
    def ignored(self) -> int:
        """Triggers that were too close to another, or too late."""
        return self._anchors.ignored

    def trigger(self, sample: int) -> None:
        """Take a volume trigger at grid index ``sample``, before or after that sample was processed."""
        if self._pos is None or sample >= self._pos:
            self._anchors.announce(sample)
        else:
            self._arrived(sample)

    def spoil(self, start: int, stop: int) -> None:
        """Keep epochs that contain samples ``start`` to ``stop`` (excluded) out of the template."""
        if self._spoiled and self._spoiled[-1][1] >= start:
            start, _ = self._spoiled.pop()
        self._spoiled.append((start, stop))

    def lose(self) -> None:
        """Take the beat for lost: nothing is subtracted until the next trigger."""
        self._anchors.stop()
        self._unfit = True

    def __call__(self, start: int, data: F32) -> tuple[F32, list[Span]]:
        """Correct the next samples.

        Parameters
        ----------
        start : int
            Grid index of the first; samples that were left out since the last call are taken as lost.
        data : ndarray, float32, shape (n_times, n_channels)
            V, high-passed.

        Returns
        -------
        corrected : ndarray, float32, shape (n_times, n_channels)
        spans : list of Span
            What holds for which samples, without holes.
        """
        if self._pos is None:
            self._pos = self._first = start
        elif start != self._pos:
            self.spoil(self._pos, start)
            self._history.clear(self._pos, start)
            self._pos = start
        out = np.empty_like(data)
        spans: list[Span] = []
        end = start + len(data)
        while self._pos < end:
            boundary = self._anchors.next()
            if boundary is not None and boundary <= self._pos:
                self._open(boundary)
                continue
            self._prove(self._pos)
            stop = self._stop(self._pos, end if boundary is None else min(end, boundary))
            self._correct(data[self._pos - start : stop - start], out[self._pos - start : stop - start])
            flags = self._state(self._pos)
            if spans and spans[-1].flags == flags:
                spans[-1] = Span(spans[-1].start, stop, flags)
            else:
                spans.append(Span(self._pos, stop, flags))
            self._pos = stop
        return out, spans

    def _stop(self, pos: int, stop: int) -> int:
        """Where the state may change next, before ``stop``."""
        anchor = self._anchors.current
        stop = min(stop, pos + self._tr_max)
        if anchor is None:
            return stop
        phase = pos - anchor
        length = self._tr_max if self._template is None else self._template.length
        if phase < length:
            stop = min(stop, anchor + length)
            if not self._anchors.confirmed:
                stop = min(stop, pos + self._check - phase % self._check)
        return stop

    def _correct(self, data: F32, out: F32) -> None:
        assert self._pos is not None
        template, anchor = self._template, self._anchors.current
        if template is not None and anchor is not None:
            phase = self._pos - anchor
            template.advance(self._history, phase + len(data))
            if self._state(self._pos) is Flag.NONE:
                np.subtract(data, template.mean[phase : phase + len(data)], out=out)
            else:
                out[:] = data
        else:
            out[:] = data
        self._history.write(self._pos, data)

    def _state(self, pos: int) -> Flag:
        anchor = self._anchors.current
        if anchor is None:
            return Flag.NONE
        length = self._tr_max if self._template is None else self._template.length
        if self._unfit or pos - anchor >= length:
            return Flag.UNSYNCED
        ready = self._template is not None and len(self._template.epochs) >= self.settings.n_min
        return Flag.NONE if ready else Flag.WARMING

    def _open(self, sample: int) -> None:
        """Begin the volume at ``sample``."""
        if self._anchors.due(sample):
            self._arrived(sample)
        else:
            self._begin_volume(sample, None)

    def _arrived(self, sample: int) -> None:
        """Take in a trigger whose sample has been reached or passed."""
        anchors = self._anchors
        n = anchors.fits(sample)
        if n is None:
            self._template = None
            self._epoch_end = None
            self._unfit = False
            anchors.begin(sample)
        elif n == 0 or anchors.current is None or sample < anchors.current - anchors.tolerance:
            anchors.ignored += 1
        elif anchors.period is not None and sample <= anchors.current + anchors.tolerance:
            anchors.confirm(sample, n)
            self._unfit = False
        else:
            self._begin_volume(sample, n)

    def _begin_volume(self, sample: int, n: int | None) -> None:
        anchors = self._anchors
        epoch, had_trigger = anchors.current, anchors.confirmed
        if n is None:
            anchors.predict(sample)
        else:
            anchors.confirm(sample, n)
        self._unfit = False
        period = anchors.period
        assert period is not None
        template = self._template or self._new_template(period)
        enters: Epoch | None = None
        if (
            epoch is not None
            and had_trigger
            and epoch >= self._first
            and abs(sample - epoch - period) <= anchors.tolerance
            and not self._is_spoiled(epoch, sample)
        ):
            enters = Epoch(epoch, sample - epoch)
            self._epoch_end = sample
        oldest = sample - round((self.settings.n_max + 2) * period)
        template.next_volume(self._history, enters, oldest)

    def _new_template(self, period: float) -> Template:
        assert self._pos is not None
        self._template = Template(int(period) + 2, self._n_channels, self.settings.n_max)
        volumes = self.settings.n_max + self.settings.coast_max + 6
        capacity = max(self._history.capacity, volumes * (int(period) + 2))
        self._history = self._history.resized(capacity, self._pos, self._history.capacity)
        return self._template

    def _is_spoiled(self, start: int, stop: int) -> bool:
        return any(a < stop and b > start for a, b in self._spoiled)

    def _prove(self, pos: int) -> None:
        """Ask of a volume without trigger, every 40 ms, whether it looks like the template."""
        template, anchor = self._template, self._anchors.current
        if template is None or anchor is None or self._anchors.confirmed or self._state(pos) is not Flag.NONE:
            return
        start = pos - self._check
        if (pos - anchor) % self._check or start < anchor or self._is_spoiled(start, pos):
            return
        raw = np.concatenate([view for _, view in self._history.pieces(start, pos)])
        rest = raw - template.mean[start - anchor : pos - anchor]
        worse = np.square(rest).sum(axis=0) > 2 * np.square(raw).sum(axis=0)
        if 2 * int(worse.sum()) > self._n_channels:
            self.lose()
