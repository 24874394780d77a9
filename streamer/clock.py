"""The clock: the only module that reads time or waits for it.

``LiveClock`` is the LSL clock of this host (``pylsl.local_clock``: monotonic seconds) and waits for real.
``ReplayClock`` is moved by what is replayed: it paces (×1, ×10) or jumps (``speed=None``). The choice is made in one
line of ``app.py``.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from streamer.messages import SessionTime


class Clock(Protocol):
    """Tells the session time and waits for it."""

    def now(self) -> SessionTime: ...

    async def sleep_until(self, at: SessionTime) -> None: ...


class LiveClock:
    """The LSL clock of this host."""

    def __init__(self) -> None:
        # imported here, so that a process without streams (the BOLD worker, a replay) never loads liblsl
        from pylsl import local_clock

        self._local_clock = local_clock

    def now(self) -> SessionTime:
        return SessionTime(self._local_clock())

    async def sleep_until(self, at: SessionTime) -> None:
        await asyncio.sleep(max(0.0, at - self.now()))


class ReplayClock:
    """A clock that goes where the recording goes.

    Parameters
    ----------
    speed : float or None
        Session seconds per real second; None jumps without waiting.
    """

    def __init__(self, speed: float | None = None) -> None:
        if speed is not None and not speed > 0:
            raise ValueError(f"speed is {speed!r}: expected a number above 0, or None to jump")
        self._speed = speed
        self._now = SessionTime(0.0)
        self._anchor: tuple[float, float] | None = None

    def now(self) -> SessionTime:
        return self._now

    async def sleep_until(self, at: SessionTime) -> None:
        """Move to ``at`` (never back), after waiting as long as ``speed`` asks."""
        if self._speed is not None:
            if self._anchor is None:
                self._anchor = (time.monotonic(), at)
            started, origin = self._anchor
            wait = started + (at - origin) / self._speed - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
        self.jump(at)

    def jump(self, at: SessionTime) -> None:
        """Move to ``at`` without waiting; never back."""
        self._now = SessionTime(max(self._now, at))


def stopwatch() -> float:
    """Read a clock for telemetry only (s); nothing that is decided may depend on it."""
    return time.perf_counter()


def wall_time_stamp() -> str:
    """Tell the time of day in UTC as ``YYYYMMDD-HHMMSS``: for names of sessions."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())


def wall_time() -> float:
    """Tell the time of day, s since 1970 (UTC): for receivers that know no LSL clock; nothing may be decided by it."""
    return time.time()


def pause(seconds: float) -> None:
    """Block this thread: for reader threads and child processes, never in the loop."""
    time.sleep(seconds)
