"""Triggers at their time: a thread that waits until ``fire_at`` and asks the gate again before it fires.

The gate admits a trigger up to half a second ahead. Whoever stops the session in between stops that trigger too: the
thread looks every few milliseconds while one waits, and once more at the moment of firing. Nothing is kept for later.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Thread

from streamer.clock import Clock
from streamer.emit.gate import HARD_MAX_AHEAD_S, Gate
from streamer.messages import Score, SessionTime, Trigger

MAX_WAITING = 64
"""Triggers that may wait: more than a minute may have."""
LOOK_S = 0.01
"""While a trigger waits, the gate is looked at this often, s."""
_AHEAD_S = 0.003
"""Waking takes a while: the thread is up this long before the time, s. It spends the rest looking at the clock, since
whoever sleeps lets other threads of the interpreter go first; that happens once per trigger that is ahead."""

_log = logging.getLogger(__name__)


def why_silent(gate: Gate, now: SessionTime) -> str:
    """Tell why nothing may act or be shown at this moment; empty where it may."""
    if not gate.armed:
        return "stopped"
    return "" if gate.alive(now) else "no heartbeat"


def may_show(score: Score, gate: Gate, now: SessionTime) -> bool:
    """Tell whether a score may be shown at this moment, else the neutral level."""
    # written so that NaN is not shown
    return not score.neutral and now <= score.expires and not why_silent(gate, now)


@dataclass(order=True, slots=True)
class _Due:
    when: float
    order: int
    what: Trigger | Callable[[], None] = field(compare=False)
    ahead: bool = field(default=False, compare=False)


class Schedule:
    """Fires triggers at their ``fire_at``, at once where that has passed, and never after ``expires``.

    Parameters
    ----------
    name : str
        Of the output, and of the thread.
    clock : Clock
        One that waits for real: the thread's waits are real seconds.
    gate : Gate
    fire : callable
        Acts on a trigger, quickly; runs in the thread.
    tell : callable
        Takes what the operator should know; called from the thread.
    """

    def __init__(
        self, name: str, clock: Clock, gate: Gate, fire: Callable[[Trigger], None], tell: Callable[[str], None]
    ) -> None:
        self.held: Counter[str] = Counter()
        """Triggers that were admitted and not fired, on purpose, by reason."""
        self.late_s: deque[float] = deque(maxlen=1000)
        """How late the newest triggers fired that were asked for ahead of their time, s."""
        self._name = name
        self._clock = clock
        self._gate = gate
        self._fire = fire
        self._tell = tell
        self._lost: Counter[str] = Counter()
        self._due: list[_Due] = []
        self._orders = count()
        self._dropped = (-1, "")
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, trigger: Trigger) -> None:
        """Take a trigger that the gate has admitted; never blocks."""
        now = self._clock.now()
        # once more here, and written so that NaN does not wait
        if not trigger.fire_at - now <= HARD_MAX_AHEAD_S:
            self._hold(trigger, "too far ahead")
            return
        with self._changed:
            if self._closed or len(self._due) >= MAX_WAITING:
                self._lost["triggers"] += 1
                return
            self._add(trigger.fire_at, trigger, ahead=trigger.fire_at > now)

    def at(self, when: SessionTime, act: Callable[[], None]) -> None:
        """Do something at a time or soon after, whatever the gate says: lower a line, look after a port."""
        with self._changed:
            if not self._closed:
                self._add(when, act)

    def drop(self, why: str) -> None:
        """Forget all triggers that wait. From any thread."""
        with self._changed:
            # one that is out of the list, on its way to be fired, is found by its number
            self._dropped = (next(self._orders), why)
            triggers = [each.what for each in self._due if isinstance(each.what, Trigger)]
            self._due = [each for each in self._due if not isinstance(each.what, Trigger)]
            heapq.heapify(self._due)
        for trigger in triggers:
            self._hold(trigger, why)

    def losses(self) -> Mapping[str, int]:
        """Triggers that were lost by a fault, by kind."""
        return dict(self._lost)

    def close(self) -> None:
        """Forget what waits and end the thread. May be called twice."""
        self.drop("the session ends")
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _add(self, when: float, what: Trigger | Callable[[], None], *, ahead: bool = False) -> None:
        heapq.heappush(self._due, _Due(when, next(self._orders), what, ahead))
        self._changed.notify()

    def _work(self) -> None:
        # before all that is not urgent; where the system has no such thing or does not allow it, it goes without
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        while (due := self._next()) is not None:
            try:
                if isinstance(due.what, Trigger):
                    self._go(due.what, due)
                else:
                    due.what()
            except Exception:  # noqa: BLE001 - whatever it is, the thread must live
                # one output that fails must not take the next pulse, or the lowering of this one, with it
                _log.exception("%s failed", self._name)
                self._lost["failed"] += 1

    def _next(self) -> _Due | None:
        while True:
            with self._changed:
                if self._closed:
                    return None
                if not self._due:
                    self._changed.wait()
                    continue
                first = self._due[0]
                early = _AHEAD_S if isinstance(first.what, Trigger) else 0.0
                left = first.when - self._clock.now() - early
                if left <= 0:
                    due = heapq.heappop(self._due)
                    break
                waits = any(isinstance(each.what, Trigger) for each in self._due)
                self._changed.wait(min(left, LOOK_S) if waits else left)
            if waits and (why := self._stopped()):
                self.drop(why)
        while self._clock.now() < due.when:
            pass
        return due

    def _stopped(self) -> str:
        return why_silent(self._gate, self._clock.now())

    def _go(self, trigger: Trigger, due: _Due) -> None:
        order, why = self._dropped
        if due.order > order:
            why = self._stopped()
        now = self._clock.now()
        # written so that NaN does not fire
        if not why and not now <= trigger.expires:
            why = "expired"
        if why:
            self._hold(trigger, why)
            return
        if due.ahead:
            self.late_s.append(now - trigger.fire_at)
        self._fire(trigger)

    def _hold(self, trigger: Trigger, why: str) -> None:
        self.held[why] += 1
        self._tell(f"{self._name}: trigger {trigger.seq} was held back: {why}")
