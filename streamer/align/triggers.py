"""Markers to samples: every marker gets the grid sample it belongs to, whether it came before or after it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from pydantic import Field

from streamer.align.volume_train import Verdict, VolumeTrain
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


_KEEP_S = 5.0


class TriggerTrain:
    """Give markers their exact grid sample, and number the volume triggers.

    A marker from the EEG's own clock is compared with the sender's raw stamps: the nearest sample within half a period
    is its sample, exactly. One from another clock (its offset differs from the EEG's), or in a stretch without stamps,
    is compared with the fitted times: its sample is then good to the clock offset, counted in ``approximate``, and may
    be one that was lost. A marker before its sample waits for it, ``wait_s`` at most by the ``received`` of what is
    fed; then, and when its sample is older than what is kept (5 s), it is released with ``sample`` None and counted in
    ``unresolved``. A marker that comes with its sample (from a file) is released at once.

    Parameters
    ----------
    settings : TriggerSettings
    sfreq : float
        Nominal rate of the EEG, Hz.
    """

    def __init__(self, settings: TriggerSettings, sfreq: float) -> None:
        self.settings = settings
        self._sfreq = sfreq
        self._reach = 0.5 / sfreq + 1e-6
        self._chunks: deque[EegChunk] = deque()
        self._waiting: list[Marker] = []
        self._train = VolumeTrain(settings.tolerance, settings.restart_tr, settings.tr_min_s)
        self._accepted: deque[tuple[float, int | None]] = deque(maxlen=64)
        self.approximate = 0
        """Markers whose sample was found by fitted times only."""
        self.unresolved = 0
        """Markers released without a sample."""

    def chunk(self, chunk: EegChunk) -> list[Marker]:
        """Take a chunk on the grid; give the waiting markers that it settles, in order of time."""
        if not len(chunk.data):
            return []
        if chunk.flags & Flag.CLOCK_STEP:
            self._chunks.clear()
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
            released = self._resolve(marker, now)
            (waiting if released is None else out).append(marker if released is None else released)
        self._waiting = waiting
        for marker in out:
            self._number(marker)
        return out

    def _resolve(self, marker: Marker, now: float) -> Marker | None:
        """Give the marker its sample; None when it must go on waiting."""
        if marker.sample is not None:
            return marker
        if self._chunks:
            newest = self._chunks[-1]
            shift = float(newest.times[-1] - newest.times_raw[-1])
            same = abs(marker.at - marker.at_raw - shift) <= self.settings.same_clock_s
            at, end = (marker.at_raw, newest.times_raw[-1]) if same else (float(marker.at), newest.times[-1])
            if at <= end + self._reach:
                return self._look_up(marker, at, same=same)
        if now - marker.received > self.settings.wait_s:
            self.unresolved += 1
            return marker
        return None

    def _look_up(self, marker: Marker, at: float, *, same: bool) -> Marker:
        if same:
            raw = np.concatenate([c.times_raw for c in self._chunks])
            nearest = int(np.argmin(np.abs(raw - at)))
            if abs(raw[nearest] - at) <= self._reach:
                return replace(marker, sample=self._sample(nearest))
        times = np.concatenate([c.times for c in self._chunks])
        if marker.at < times[0] - self._reach:
            self.unresolved += 1
            return marker
        before = max(0, int(np.searchsorted(times, marker.at + 0.5 / self._sfreq)) - 1)
        self.approximate += 1
        return replace(marker, sample=self._sample(before) + round((float(marker.at) - times[before]) * self._sfreq))

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

    def _number(self, marker: Marker) -> None:
        if marker.label == self.settings.label and self._train.add(self._time(marker)) is Verdict.VOLUME:
            self._accepted.append((marker.at_raw, marker.sample))

    def is_volume(self, marker: Marker) -> bool:
        """Whether this released marker was accepted as the trigger of a volume."""
        return marker.label == self.settings.label and (marker.at_raw, marker.sample) in self._accepted

    def volume_onset(self, index: int) -> SessionTime | None:
        """Tell when volume ``index`` of the present train began: its trigger, or the fitted line where that is missing.

        None while it is not known: before two triggers, and for volumes after the newest EEG.
        """
        newest = float(self._chunks[-1].times[-1]) if self._chunks else -np.inf
        return self._train.onset(index, newest)

    @property
    def tr(self) -> float | None:
        """Median interval of the volume triggers, s; None before two of them."""
        return self._train.tr

    @property
    def n_triggers(self) -> int:
        """Volume triggers accepted so far."""
        return self._train.n_triggers

    @property
    def missing(self) -> int:
        """Volume triggers that should have come between two that did."""
        return self._train.missing

    @property
    def doubled(self) -> int:
        """Triggers dropped because they came less than half a TR after another."""
        return self._train.doubled

    @property
    def extra(self) -> int:
        """Triggers dropped because they fit no volume."""
        return self._train.extra

    @property
    def trains(self) -> int:
        """Trains of volumes so far: scans that were started."""
        return self._train.trains
