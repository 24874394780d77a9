"""Whether the amplifier's clock is locked to the scanner's: from its own markers, the triggers and the artefact."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Literal

ABSENT_S = 4.0
"""A lock that was reported and then not for this long is lost, s; amplifiers report it every one or two seconds."""
DRIFT_PPM = 0.5
"""Drift of the artefact from which the clocks run free, parts per million: it costs 20 dB of the correction."""
JITTER_S = 5e-6
"""Jitter of the artefact from which the clocks run free, s: it costs 1.5 dB of the correction."""
_KEPT = 16
_NEEDED = 2
_OFF_MAX = 2
_TOO_CLOSE_S = 0.1
_PAUSE = 4

ClockState = Literal["synced", "lost", "unknown", "free"]

_LOCKED = re.compile(r"\bsync\s*on\b", re.IGNORECASE)
_UNLOCKED = re.compile(r"\bsync\s*off\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """What is known of the clocks at one sample."""

    clock: ClockState
    """``synced``: the amplifier reports its lock, regularly. ``lost``: it did, and does no more. ``free``: triggers or
    artefact show that the clocks run apart. ``unknown``: nothing was reported and nothing contradicts."""
    sentence: str
    """The same for the operator."""


class SyncWatch:
    """Watch whether EEG amplifier and scanner share one clock.

    What speaks against a lock weighs more than what speaks for it: a lost lock first, then triggers or an artefact that
    wander, then the amplifier's own report. One marker or trigger off its beat (a restart, a lost packet) proves
    nothing; more than two of the last 16 do.

    Parameters
    ----------
    sfreq : float
        Rate of the samples that are counted, Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._marks = _Beat(round(_TOO_CLOSE_S * sfreq))
        self._triggers = _Beat(round(_TOO_CLOSE_S * sfreq))
        self._off: int | None = None
        self._was_lost = False
        self._drift_ppm: float | None = None
        self._jitter_s: float | None = None

    def marker(self, label: str, sample: int) -> None:
        """Take a marker; those that do not speak of the lock are passed over."""
        last = self._marks.last
        if _LOCKED.search(label):
            if self._off is not None or (last is not None and sample - last > ABSENT_S * self._sfreq):
                self._marks.begin()
                self._was_lost = True
            self._off = None
            self._marks.add(sample)
        elif _UNLOCKED.search(label):
            self._off = sample

    def trigger(self, sample: int) -> None:
        """Take the sample of a volume trigger."""
        self._triggers.add(sample)

    def artefact(self, drift_ppm: float | None, jitter_s: float | None) -> None:
        """Take what the gradient correction measures of its own alignment; None what it does not know.

        Parameters
        ----------
        drift_ppm : float or None
            Of the artefact against the sample grid, parts per million.
        jitter_s : float or None
            Of the artefact against its trigger from volume to volume, s (standard deviation).
        """
        self._drift_ppm = drift_ppm
        self._jitter_s = jitter_s

    def status(self, now: int) -> SyncStatus:
        """Tell how the clocks are once all samples before ``now`` have come."""
        lost = self._lost(now)
        if lost is not None:
            return SyncStatus("lost", lost)
        free = self._free()
        if free is not None:
            return SyncStatus("free", free)
        if self._marks.last is None:
            return SyncStatus("unknown", "The amplifier reports no scanner clock: is it connected and recorded?")
        if self._marks.steps < _NEEDED:
            return SyncStatus("unknown", "The amplifier has begun to report the scanner clock")
        return SyncStatus("synced", "The amplifier is locked to the scanner clock")

    def _lost(self, now: int) -> str | None:
        if self._off is not None:
            return "The amplifier reports that it lost the scanner clock: check the cable of the sync box"
        last = self._marks.last
        if last is None:
            return None
        absent_s = (now - last) / self._sfreq
        if absent_s > ABSENT_S:
            return f"The amplifier has not reported the scanner clock for {absent_s:.0f} s: check the sync box"
        if self._was_lost and self._marks.steps < _NEEDED:
            return "The amplifier reports the scanner clock again, after it was lost"
        return None

    def _free(self) -> str | None:
        if self._drift_ppm is not None and abs(self._drift_ppm) > DRIFT_PPM:
            return f"The clocks of scanner and amplifier drift by {self._drift_ppm:+.1f} ppm: they are not locked"
        if self._jitter_s is not None and self._jitter_s > JITTER_S:
            return f"The gradient artefact jitters by {1e6 * self._jitter_s:.0f} µs: the clocks are not locked"
        for beat, name in ((self._triggers, "volume triggers"), (self._marks, "reports of the scanner clock")):
            if beat.off > _OFF_MAX:
                return (
                    f"{beat.off} of the last {beat.steps} intervals of the {name} are off by more than one sample: the"
                    " clocks are not locked"
                )
        return None


class _Beat:
    """Steps of something that should come every so many samples."""

    def __init__(self, too_close: int) -> None:
        self._too_close = too_close
        self._steps: deque[int] = deque(maxlen=_KEPT)
        self.last: int | None = None

    @property
    def steps(self) -> int:
        """Steps that are known."""
        return len(self._steps)

    @property
    def off(self) -> int:
        """Steps that are off their place by more than a sample; where some are missing, by one for each."""
        if not self._steps:
            return 0
        unit = median(self._steps)
        times = [max(1, round(step / unit)) for step in self._steps]
        return sum(abs(step - n * unit) > n for step, n in zip(self._steps, times, strict=True))

    def begin(self) -> None:
        """Forget the steps: what comes next is the first."""
        self._steps.clear()
        self.last = None

    def add(self, sample: int) -> None:
        """Take the next one; one that comes doubled or late is passed over, one after a long pause begins anew."""
        if self.last is not None:
            step = sample - self.last
            if step < self._too_close or (self._steps and step < 0.5 * median(self._steps)):
                return
            if not self._steps or step <= (_PAUSE + 0.5) * median(self._steps):
                self._steps.append(step)
        self.last = sample
