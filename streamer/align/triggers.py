"""Markers to samples: every marker gets the grid sample it belongs to, whether it came before or after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from streamer.align.sample_map import SampleMap
from streamer.align.volume_train import VolumeTrain
from streamer.align.volume_trains import Pulse, VolumeTrains
from streamer.contracts import Settings
from streamer.messages import EegChunk, Flag, Marker, SessionTime


class TriggerSettings(Settings):
    """How markers are tied to samples and volume triggers are numbered."""

    label: str = "R128"
    """Label of the volume trigger."""
    wait_s: float = Field(default=2.0, gt=0)
    """How long a marker waits for its sample, s; then it goes on without."""
    same_clock_s: float = Field(default=0.02, gt=0)
    """Marker and EEG come from one clock when their offsets differ by less than this, s."""
    tolerance: float = Field(default=0.02, gt=0, lt=0.5)
    """How far from a whole number of TR a volume trigger may lie, in TR."""
    restart_tr: float = Field(default=3.0, gt=1)
    """A pause of this many TR that is no whole number of them begins a new train of volumes."""
    tr_min_s: float = Field(default=0.2, gt=0)
    """Shortest plausible TR, s."""
    alarm_s: float = Field(default=0.005, gt=0)
    """A volume trigger further than this off the line through its train is counted and said, s."""


_KEEP_S = 5.0


class TriggerTrain:
    """Give markers their exact grid sample, and number the volume triggers.

    A marker that comes with a sample of its source's count gets the one on the grid that this sample became. Any other
    from the EEG's own clock is compared with the sender's raw stamps: the nearest sample within half a period is its
    sample, exactly. One from another clock (its offset differs from the EEG's), or in a stretch without stamps, has no
    exact sample: it is released with ``sample`` None and counted in ``approximate``; if it begins a volume,
    ``volume_start`` tells the sample by the line through its train. A marker before its sample waits for it, ``wait_s``
    at most by the ``received`` of what is fed; then, and when its sample is older than what is kept (5 s), it is
    released with ``sample`` None and counted in ``unresolved``.

    Parameters
    ----------
    settings : TriggerSettings
    sfreq : float
        Nominal rate of the EEG, Hz.
    samples : SampleMap or None
        Of the timeline that the chunks come from; None takes the markers' samples for the grid's.
    """

    def __init__(self, settings: TriggerSettings, sfreq: float, samples: SampleMap | None = None) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._reach = 0.5 / sfreq + 1e-6
        self._samples = samples
        self._chunks: deque[EegChunk] = deque()
        self._waiting: list[Marker] = []
        self.volumes = VolumeTrains(settings.tolerance, settings.restart_tr, settings.tr_min_s, settings.alarm_s)
        """The numbering of the volume triggers."""
        self._accepted: deque[tuple[float, int | None, int | None]] = deque(maxlen=64)
        self.approximate = 0
        """Markers whose place is known by fitted times only."""
        self.unresolved = 0
        """Markers whose sample never came."""

    def chunk(self, chunk: EegChunk) -> list[Marker]:
        """Take a chunk on the grid; give the waiting markers that it settles, in order of time."""
        if not len(chunk.data):
            return []
        if chunk.flags & Flag.CLOCK_STEP:
            self._chunks.clear()
            if self.volumes.train is not None:
                self.volumes.train.forget_samples()
        self._chunks.append(chunk)
        while chunk.times[-1] - self._chunks[0].times[-1] > _KEEP_S:
            self._chunks.popleft()
        return self._settle(chunk.received) if self._waiting else []

    def marker(self, marker: Marker) -> list[Marker]:
        """Take a marker; give it, and others whose wait is over, with their samples."""
        self._waiting.append(marker)
        return self._settle(marker.received)

    def _settle(self, now: float) -> list[Marker]:
        out: list[Marker] = []
        waiting: list[Marker] = []
        for marker in sorted(self._waiting, key=lambda m: m.at):
            found = self._resolve(marker, now)
            if found is None:
                waiting.append(marker)
                continue
            released, position = found
            out.append(released)
            if released.label == self.settings.label:
                self._number(released, position)
        self._waiting = waiting
        return out

    def _resolve(self, marker: Marker, now: float) -> tuple[Marker, float | None] | None:
        """Give the marker its sample, and where on the grid it lies; None when it must go on waiting."""
        counted = marker.sample
        if counted is not None:
            grid = counted if self._samples is None else self._samples.grid(counted, marker.at)
            if grid is not None:
                return replace(marker, sample=grid), grid
        if self._chunks and (counted is None or (self._samples is not None and self._samples.passed(counted))):
            newest = self._chunks[-1]
            shift = float(newest.times[-1] - newest.times_raw[-1])
            same = abs(marker.at - marker.at_raw - shift) <= self.settings.same_clock_s
            at, end = (marker.at_raw, newest.times_raw[-1]) if same else (float(marker.at), newest.times[-1])
            if at <= end + self._reach:
                return self._look_up(marker, at, same=same)
        if now - marker.received > self.settings.wait_s:
            self.unresolved += 1
            return replace(marker, sample=None), None
        return None

    def _look_up(self, marker: Marker, at: float, *, same: bool) -> tuple[Marker, float | None]:
        if same:
            raw = np.concatenate([c.times_raw for c in self._chunks])
            nearest = int(np.argmin(np.abs(raw - at)))
            if abs(raw[nearest] - at) <= self._reach:
                sample = self._sample(nearest)
                return replace(marker, sample=sample), sample
        times = np.concatenate([c.times for c in self._chunks])
        marker = replace(marker, sample=None)
        if marker.at < times[0] - self._reach:
            self.unresolved += 1
            return marker, None
        before = max(0, int(np.searchsorted(times, marker.at + 0.5 / self._sfreq)) - 1)
        self.approximate += 1
        return marker, self._sample(before) + float(marker.at - times[before]) * self._sfreq

    def _sample(self, position: int) -> int:
        for chunk in self._chunks:
            if position < len(chunk.data):
                return chunk.first_sample + position
            position -= len(chunk.data)
        raise IndexError(f"position {position} is beyond the samples that are kept")

    def _time(self, marker: Marker) -> float:
        """Fitted time of the marker's sample where it is held; else the marker's own time."""
        if marker.sample is not None:
            for chunk in reversed(self._chunks):
                position = marker.sample - chunk.first_sample
                if 0 <= position < len(chunk.data):
                    return float(chunk.times[position])
        return float(marker.at)

    def _number(self, marker: Marker, position: float | None) -> None:
        exact = marker.sample is not None
        number = self.volumes.add(Pulse(self._time(marker), position, exact))
        if number is None:
            return
        start = marker.sample
        if start is None:
            fitted = self.volume_sample(number)
            fitted = position if fitted is None else fitted
            start = None if fitted is None else round(fitted)
        self._accepted.append((marker.at_raw, marker.sample, start))

    def volume_start(self, marker: Marker) -> int | None:
        """Tell the grid sample at which the volume of this released marker begins.

        The marker's own sample; where it has none, the one that the line through its train says. None when the marker
        begins no volume, or nothing is known.
        """
        if marker.label != self.settings.label:
            return None
        for at_raw, sample, start in reversed(self._accepted):
            if (at_raw, sample) == (marker.at_raw, marker.sample):
                return start
        return None

    @property
    def newest(self) -> float:
        """Fitted time of the newest EEG sample, SessionTime s; -inf before the first."""
        return float(self._chunks[-1].times[-1]) if self._chunks else -np.inf

    @property
    def trains(self) -> Sequence[VolumeTrain]:
        """The trains of volumes that are kept, oldest first."""
        return self.volumes.kept

    def volume_onset(self, index: int) -> SessionTime | None:
        """Tell when volume ``index`` of the present train began; None while it is not known (`VolumeTrain.onset`)."""
        train = self.volumes.train
        return None if train is None else train.onset(index, self.newest)

    def volume_sample(self, index: int) -> float | None:
        """Tell where on the grid volume ``index`` of the present train began, finer than a sample.

        A line through the samples of its triggers, within half a sample of (nearly) all; None before three triggers.
        """
        train = self.volumes.train
        return None if train is None else train.sample(index)

    @property
    def tr(self) -> float | None:
        """Interval of the volume triggers, s; None before two of them."""
        train = self.volumes.train
        return None if train is None else train.tr
