"""Volumes to triggers: by acquisition number, cross-checked with the scanner's own clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamer.align.robust_line import Line, robust_line
from streamer.align.volume_train import VolumeTrain
from streamer.messages import BoldFrame, Flag, SessionTime

DAY_S = 86_400.0
_POINTS = 128
_NEEDED = 4
_RATE_MAX = 5e-4
_RATE_SPAN_S = 60.0
_STEADY = 8
_OFF_TRS = 10
_OLD_S = 60.0


@dataclass(frozen=True, slots=True)
class Match:
    """What is known of a volume's beginning."""

    onset: SessionTime | None
    """None while its trigger is unknown."""
    flags: Flag = Flag.NONE
    """``MISALIGNED`` when the scanner's clock or causality contradicts the trigger."""


@dataclass(slots=True)
class _Series:
    train: VolumeTrain
    shift: int
    """Trigger number in the train, less acquisition number."""
    wrong: int | None = None
    """Volumes by which it was last said to be off."""


class VolumeMatcher:
    """Tell every volume the trigger that began it.

    Volume ``index`` of a series began at trigger ``index - first_volume`` of the series' train, whatever the order in
    which volumes arrive. A series keeps its train; it goes over to the next one only when it has volumes beyond its
    train's end. A new series gets the train in which its scanner time lies, once the scanner's clock is known from
    another series; before that the one that was running when the volume was received: of the trains that no other
    series has, the one whose volume ended last before then.

    The scanner's clock (`BoldFrame.onset`) is fitted to session time over the matched volumes, over midnight too. A
    volume whose scanner time is over ``alarm_tr`` TR off, or that arrived before it can have ended, is flagged
    ``MISALIGNED`` and counted; ``alarms`` says by how many volumes the numbers seem to be off. Its onset is still that
    of its number. When the scanner's clock was set, which is no whole number of TR and lasts, the fit begins anew.

    Parameters
    ----------
    first_volume : int
        Acquisition number of the volume that belongs to the first trigger; below 0 when triggers come before the first
        volume that is exported.
    alarm_tr : float
        Largest disagreement, in TR.
    """

    def __init__(self, first_volume: int, alarm_tr: float = 0.25) -> None:
        self._first = first_volume
        self._alarm_tr = alarm_tr
        self._series: dict[str, _Series] = {}
        self._points: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self._line: Line | None = None
        self._scanner: float | None = None
        self._odd: deque[tuple[float, float]] = deque(maxlen=_STEADY)
        self.matched = 0
        """Volumes with a trigger."""
        self.unmatched = 0
        """Volumes whose trigger is unknown."""
        self.misaligned = 0
        """Volumes that disagree with the trigger of their number."""
        self.clock_steps = 0
        """Times that the scanner's clock was set."""
        self.alarms: deque[str] = deque(maxlen=16)
        """What was found to disagree, in words."""

    @property
    def residual_s(self) -> float:
        """Robust standard deviation of scanner against session time, s; 0 before four volumes."""
        line = self._fit()
        return 0.0 if line is None else line.scatter

    def __call__(self, frame: BoldFrame, trains: Sequence[VolumeTrain], newest: float) -> Match:
        """Match one volume.

        Parameters
        ----------
        frame : BoldFrame
        trains : sequence of VolumeTrain
            Oldest first.
        newest : float
            Time of the newest EEG sample, SessionTime s.
        """
        scanner = self._unwrapped(frame)
        # a rig that plays faster than time has stamps that run ahead of when things are received
        known = max(float(frame.received), newest)
        series = self._series.get(frame.series)
        if series is None:
            series = self._choose(frame, trains, scanner, known)
        if series is None:
            self.unmatched += 1
            return Match(None)
        self._go_over(series, frame, trains)
        onset = series.train.onset(frame.index + series.shift, newest)
        if onset is None:
            self.unmatched += 1
            return Match(None)
        self.matched += 1
        return Match(onset, self._check(frame, series, onset, scanner, known))

    def _unwrapped(self, frame: BoldFrame) -> float | None:
        """Scanner time as it would go on without midnight."""
        if frame.onset is None or not math.isfinite(frame.onset):
            return None
        near = self._scanner
        scanner = float(frame.onset)
        if near is not None:
            scanner += DAY_S * round((near - scanner) / DAY_S)
        self._scanner = scanner
        return scanner

    def _choose(
        self, frame: BoldFrame, trains: Sequence[VolumeTrain], scanner: float | None, known: float
    ) -> _Series | None:
        shift = -self._first
        number = frame.index + shift
        line = self._fit()
        taken = {id(series.train) for series in self._series.values()}
        best: tuple[float, VolumeTrain] | None = None
        for train in trains:
            at = _begin(train, number)
            if at is None:
                continue
            if line is not None and scanner is not None:
                off = abs(at - line(scanner))
                if off > _OFF_TRS * frame.tr:
                    continue
            elif id(train) in taken or at + 0.5 * frame.tr > known:
                continue
            else:
                off = known - at
                if off > _OLD_S:
                    continue
            if best is None or off < best[0]:
                best = (off, train)
        if best is None:
            return None
        series = _Series(best[1], shift)
        self._series[frame.series] = series
        return series

    def _go_over(self, series: _Series, frame: BoldFrame, trains: Sequence[VolumeTrain]) -> None:
        """Follow a scan that went on while its triggers were torn into another train."""
        while frame.index + series.shift > series.train.last[0]:
            after = next((t for t in trains if t.number > series.train.number), None)
            taken = {id(other.train) for other in self._series.values()}
            line = series.train.line
            if after is None or line is None or id(after) in taken or after.tr is None:
                return
            number = round((after.first[1] - line(line.at)) / line.slope + line.at)
            there = frame.index + series.shift
            if abs(after.tr - line.slope) > 0.01 * line.slope or there < number:
                return
            series.train, series.shift = after, series.shift + after.first[0] - number

    def _fit(self) -> Line | None:
        """Session time against scanner time; None before four volumes."""
        if self._line is None and len(self._points) >= _NEEDED:
            scanner, session = np.array(sorted(self._points), dtype=np.float64).T
            line = robust_line(scanner, session)
            if scanner[-1] - scanner[0] < _RATE_SPAN_S or abs(line.slope - 1.0) > _RATE_MAX:
                level = float(np.median(session - scanner)) + line.at
                line = Line(1.0, level, line.at, 1.4826 * float(np.median(np.abs(session - scanner - level + line.at))))
            self._line = line
        return self._line

    def _check(self, frame: BoldFrame, series: _Series, onset: float, scanner: float | None, known: float) -> Flag:
        # a frame is made after its volume was received: this can only miss an early one, not invent it
        early = onset + 0.5 * frame.tr - known
        if early > 0:
            return self._alarm(frame, series, max(1, math.ceil(early / frame.tr)), "it came before it can have ended")
        if scanner is None:
            return Flag.NONE
        line = self._fit()
        off = 0.0 if line is None else onset - line(scanner)
        if abs(off) > self._alarm_tr * frame.tr:
            if self._was_set(off, frame.tr, scanner, onset):
                return Flag.NONE
            text = f"scanner time is {abs(off):.3f} s {'earlier' if off > 0 else 'later'} than its trigger"
            return self._alarm(frame, series, round(off / frame.tr), text)
        self._odd.clear()
        series.wrong = None
        self._points.append((scanner, onset))
        self._line = None
        return Flag.NONE

    def _was_set(self, off: float, tr: float, scanner: float, onset: float) -> bool:
        """Whether the scanner's clock was set: volumes agree with each other, and not on a whole number of TR."""
        self._odd.append((scanner, onset))
        differences = [session - clock for clock, session in self._odd]
        whole = abs(off - round(off / tr) * tr) <= 0.1 * tr and round(off / tr) != 0
        if whole or len(differences) < _STEADY or max(differences) - min(differences) > self._alarm_tr * tr:
            return False
        self.clock_steps += 1
        self._points.clear()
        self._points.extend(self._odd)
        self._odd.clear()
        self._line = None
        return True

    def _alarm(self, frame: BoldFrame, series: _Series, volumes: int, text: str) -> Flag:
        self.misaligned += 1
        if series.wrong != volumes:
            series.wrong = volumes
            by = f"; the numbers seem to be off by {volumes:+d}" if volumes else ""
            self.alarms.append(f"volume {frame.index} of series {frame.series}: {text}{by}")
        return Flag.MISALIGNED


def _begin(train: VolumeTrain, number: int) -> float | None:
    """When the train's volume begins or would begin, s."""
    if number < 0 or train.line is None:
        return train.first[1] if number == train.first[0] else None
    return train.line(number)
