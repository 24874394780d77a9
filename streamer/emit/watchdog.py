"""A thread of its own that sees to it that outputs go to neutral when the loop stands still.

The loop may hang in a driver or starve; whatever holds a line or shows a level must not wait for it. A process that is
stopped or killed as a whole cannot do even that: what it sent says when it expires, and receivers must heed that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Protocol

from streamer.clock import Clock
from streamer.emit.gate import Gate

LOOKS_PER_HEARTBEAT = 5

_log = logging.getLogger(__name__)


class Neutral(Protocol):
    """An output that can be made safe from any thread, at any time, and quickly."""

    name: str

    def neutral(self, why: str) -> None:
        """Lower all lines, show the neutral level."""
        ...


class Watchdog:
    """Watches the heartbeat that the gate is given.

    Parameters
    ----------
    gate : Gate
    clock : Clock
    outputs : sequence of Neutral
    tell : callable
        Takes what the operator should know; called from the watchdog's thread.
    """

    def __init__(self, gate: Gate, clock: Clock, outputs: Sequence[Neutral], tell: Callable[[str], None]) -> None:
        self.trips = 0
        """Times that the heartbeat was missed."""
        self._gate = gate
        self._clock = clock
        self._outputs = tuple(outputs)
        self._tell = tell
        self._safe = True
        self._closing = Event()
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def look(self) -> None:
        """Look once: what the thread does several times in a heartbeat."""
        alive = self._gate.alive(self._clock.now())
        if alive and self._gate.armed:
            self._safe = False
        elif not self._safe:
            # once, until all is well again
            self._safe = True
            why = "stopped" if alive else "the loop missed its heartbeat"
            self.trips += not alive
            self.neutral(why)
            self._tell(f"outputs are neutral: {why}")

    def neutral(self, why: str) -> None:
        """Make every output safe; one that fails does not keep the others from it."""
        for output in self._outputs:
            try:
                output.neutral(why)
            except Exception:  # noqa: BLE001 - whatever it is, the others must be made safe
                _log.exception("%s could not be made neutral", output.name)

    def close(self) -> None:
        """End, and leave everything neutral. May be called twice."""
        if not self._closing.is_set():
            self._closing.set()
            if self._thread.is_alive():
                self._thread.join()
            self.neutral("the session ends")

    def _watch(self) -> None:
        while not self._closing.wait(self._gate.heartbeat_s / LOOKS_PER_HEARTBEAT):
            self.look()
