"""Numbering the scanner's volume triggers: which are missing, doubled or extra, and where a new scan begins."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from streamer.align.volume_train import VolumeTrain


class Verdict(Enum):
    """What a trigger is to the train."""

    VOLUME = "volume"
    DOUBLED = "doubled"
    EXTRA = "extra"


@dataclass(slots=True)
class Pulse:
    """A trigger, and what was made of it."""

    time: float
    """s."""
    position: float | None = None
    """On the sample grid, when it is known."""
    exact: bool = False
    """Whether that is the very sample."""
    verdict: Verdict = Verdict.EXTRA


_FEW = 16
_CLOSE_S = 0.02
_FAR_S = 0.01
_FAR_SHARE = 1e-4
_TR_MAX_S = 10.0


class VolumeTrains:
    """Number the volume triggers of a session, train by train.

    The interval of a train is learnt from three triggers that are equally far apart, or from two that are as far apart
    as those of the train before. From then on a trigger at a whole number n of TR after the last one, by the line
    through the train, is volume k + n, and n - 1 are missing. One less than half a TR after the last is doubled. Any
    other is extra, unless

    - the last one is over ``restart_tr`` TR ago,
    - two extra ones lie one TR apart, or
    - three extra ones and the last are equally far apart (another TR):

    then a new train begins, numbered from the earliest trigger that fits it.

    Parameters
    ----------
    tolerance : float
        How far from a whole number of TR a trigger may lie, in TR.
    restart_tr : float
        A pause of this many TR that is no whole number of them begins a new train.
    tr_min : float
        Shortest plausible TR, s.
    alarm_s : float
        A volume's trigger this far off the line is counted in ``residual_alarms``, s.
    """

    def __init__(self, tolerance: float, restart_tr: float, tr_min: float, alarm_s: float) -> None:
        self._tolerance = tolerance
        self._restart = restart_tr
        self._tr_min = tr_min
        self._alarm_s = alarm_s
        self._loose: deque[Pulse] = deque(maxlen=_FEW)
        self._known = False
        self._hint: float | None = None
        self._last: Pulse | None = None
        self._skipped = 0
        self.kept: deque[VolumeTrain] = deque(maxlen=32)
        """The newest trains, oldest first."""
        self.n_triggers = 0
        """Triggers of volumes."""
        self.missing = 0
        """Triggers that should have come between two that did."""
        self.doubled = 0
        """Triggers less than half a TR after another."""
        self.extra = 0
        """Triggers that fit no volume."""
        self.late = 0
        """Triggers of volumes that came after the next volume's."""
        self.trains = 0
        """Trains so far."""
        self.residual_alarms = 0
        """Triggers of volumes that lie too far off the line."""

    @property
    def train(self) -> VolumeTrain | None:
        """The present train; None before a trigger."""
        return self.kept[-1] if self.kept else None

    def add(self, pulse: Pulse) -> int | None:
        """Take a trigger; give the number of its volume in the present train, None when it begins none now."""
        train = self.train
        if train is None:
            return self._begin(pulse)
        number = self._continue(train, pulse) if self._known else self._learn(train, pulse)
        if number is None and pulse.verdict is Verdict.DOUBLED:
            self.doubled += 1
        elif number is None and pulse.verdict is Verdict.EXTRA:
            self.extra += 1
        return number

    def _begin(self, pulse: Pulse) -> int:
        train = self.train
        if train is not None and train.tr is not None:
            self._hint = train.tr
        self.kept.append(VolumeTrain(self.trains))
        self.trains += 1
        self._known = False
        self._loose.clear()
        self._loose.append(pulse)
        return self._accept(self.kept[-1], 0, pulse)

    def _accept(self, train: VolumeTrain, number: int, pulse: Pulse) -> int:
        pulse.verdict = Verdict.VOLUME
        train.add(number, pulse.time, pulse.position, exact=pulse.exact)
        self.n_triggers += 1
        self._last = pulse
        return number

    def _continue(self, train: VolumeTrain, pulse: Pulse) -> int | None:
        line, tr = train.line, train.tr
        assert line is not None
        assert tr is not None
        last, at = train.last
        since = pulse.time - at
        number = last + round((pulse.time - line(last)) / tr)
        off = pulse.time - line(number)
        far = since > self._restart * tr
        tolerance = self._tolerance * tr
        if far:
            # by now chance alone could put another scan on this one's beat
            tolerance = min(tolerance, _FAR_S + _FAR_SHARE * since)
        if abs(off) <= tolerance and train.lacks(number):
            # it was overtaken by the next one: its volume is known now, but its artefact is long gone by
            pulse.verdict = Verdict.VOLUME
            train.fill(number, pulse.time)
            self.n_triggers += 1
            self.missing -= 1
            self.late += 1
            return None
        if number > last and since >= max(self._tr_min, 0.5 * tr) and abs(off) <= tolerance:
            self._skipped = number - last - 1
            self.missing += self._skipped
            self._loose.clear()
            if train.settled and abs(off) > self._alarm_s:
                self.residual_alarms += 1
            return self._accept(train, number, pulse)
        if far:
            return self._begin(pulse)
        pulse.verdict = Verdict.DOUBLED if since < max(self._tr_min, 0.5 * tr) else Verdict.EXTRA
        self._loose.append(pulse)
        return self._found_again(train, tr)

    def _found_again(self, train: VolumeTrain, tr: float) -> int | None:
        """Look for a new train among the loose triggers."""
        loose = list(self._loose)
        now = loose[-1]
        if any(self._same(now.time - before.time, tr) for before in loose[:-1]):
            return self._settle(loose, tr, None)
        assert self._last is not None
        four = [self._last, *loose[-3:]]
        if len(four) == 4:
            steps = [b.time - a.time for a, b in pairwise(four)]
            if min(steps) >= self._tr_min and all(self._same(step, steps[0]) for step in steps[1:]):
                return self._settle([self._last, *loose], steps[0], train)
        return None

    def _learn(self, train: VolumeTrain, pulse: Pulse) -> int | None:
        loose = self._loose
        if pulse.time - loose[-1].time < self._tr_min:
            pulse.verdict = Verdict.DOUBLED
            return None
        if pulse.time - loose[-1].time > _TR_MAX_S:
            return self._begin(pulse)
        loose.append(pulse)
        if (tr := self._interval()) is not None:
            return self._settle(list(loose), tr, train)
        if train.n_triggers == 1:
            # taken on trust, until a third shows the interval
            return self._accept(train, 1, pulse)
        pulse.verdict = Verdict.EXTRA
        return None

    def _interval(self) -> float | None:
        """Interval of three triggers that end with the newest, the shortest there is; else the hint, if it fits."""
        times = [pulse.time for pulse in self._loose]
        now = times[-1]
        for middle in reversed(times[:-1]):
            step = now - middle
            if any(self._same(middle - first, step) for first in times if first < middle):
                return step
        if self._hint is not None and any(self._same(now - before, self._hint) for before in times[:-1]):
            return self._hint
        return None

    def _same(self, a: float, b: float) -> bool:
        return abs(a - b) <= min(self._tolerance * b, _CLOSE_S)

    def _settle(self, pulses: list[Pulse], tr: float, replaced: VolumeTrain | None) -> int:
        """Make a train of those triggers that lie whole numbers of ``tr`` before the newest.

        The trigger or triggers that ``replaced`` holds besides its own earlier ones are taken back from it.
        """
        now = pulses[-1]
        fitting = [now]
        for pulse in reversed(pulses[:-1]):
            n = round((fitting[0].time - pulse.time) / tr)
            if 1 <= n <= 2 * self._restart and self._same(fitting[0].time - pulse.time, n * tr):
                fitting.insert(0, pulse)
        self._take_back(pulses, replaced)
        if replaced is None or self._known:
            train = VolumeTrain(self.trains)
            self.trains += 1
            self.kept.append(train)
        else:
            # the same train, better known: volumes may be tied to it already
            train = replaced
            train.clear()
        self._known = True
        number = 0
        for i, pulse in enumerate(fitting):
            if i:
                step = round((pulse.time - fitting[i - 1].time) / tr)
                self.missing += step - 1
                number += step
            if pulse is not now and pulse.verdict is Verdict.EXTRA:
                self.extra -= 1
            elif pulse is not now and pulse.verdict is Verdict.DOUBLED:
                self.doubled -= 1
            self._accept(train, number, pulse)
        self._loose.clear()
        self._skipped = 0
        return number

    def _take_back(self, pulses: list[Pulse], replaced: VolumeTrain | None) -> None:
        volumes = [pulse for pulse in pulses[:-1] if pulse.verdict is Verdict.VOLUME]
        self.n_triggers -= len(volumes)
        self.extra += len(volumes)
        for pulse in volumes:
            pulse.verdict = Verdict.EXTRA
        if replaced is not None and self._known and volumes:
            self.missing -= self._skipped
            replaced.drop_last()
