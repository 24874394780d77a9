"""How exactly triggers leave at their time, and how long a pulse on a serial port lasts."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event, Semaphore, Thread

import numpy as np

from streamer.bench.figures import Figure
from streamer.clock import LiveClock, pause, stopwatch
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.schedule import Schedule
from streamer.emit.ttl import TtlSettings, TtlSink
from streamer.messages import SessionTime, Trigger

EXACT_MS = 1.0
"""What a trigger may be late when it was asked for ahead, ms."""
PULSE_S = 0.01
_AHEAD_S = 0.03
_WORK_S, _EVERY_S = 0.002, 0.005
_WAIT_S = 10.0


def bench_outlets(progress: Callable[[float], None], *, quick: bool = False) -> list[Figure]:
    """Fire triggers ahead of their time, and pulses into a pseudo-terminal.

    Parameters
    ----------
    progress : callable
        Takes the fraction done.
    quick : bool
        Fewer of them.
    """
    n = 60 if quick else 300
    figures = _schedule_rows("idle", n)
    progress(0.3)
    with _at_work():
        figures += _schedule_rows(f"beside {_WORK_S * 1e3:g} ms of work every {_EVERY_S * 1e3:g} ms", n)
        progress(0.6)
        if hasattr(os, "openpty"):
            figures += _pulse_rows(n)
    progress(1.0)
    return figures


@contextmanager
def _at_work() -> Generator[None]:
    """Keep the interpreter as busy as the EEG lane does."""
    done = Event()
    data = np.zeros((25, 64), np.float32)

    def work() -> None:
        while not done.is_set():
            until = stopwatch() + _WORK_S
            while stopwatch() < until:
                np.multiply(data, 1.1)
            pause(_EVERY_S - _WORK_S)

    thread = Thread(target=work, name="work")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _armed(clock: LiveClock) -> Gate:
    gate = Gate(GateSettings())
    gate.arm()
    gate.beat(clock.now())
    return gate


def _trigger(seq: int, now: SessionTime, ahead: float) -> Trigger:
    return Trigger(seq, seq, "bench", 1.0, now, SessionTime(now + ahead), SessionTime(now + 1.0), "")


def _schedule_rows(beside: str, n: int) -> list[Figure]:
    clock = LiveClock()
    gate = _armed(clock)
    fired = Semaphore(0)
    schedule = Schedule("bench", clock, gate, lambda _: fired.release(), lambda _: fired.release())
    try:
        for seq in range(n):
            now = clock.now()
            gate.beat(now)
            schedule.put(_trigger(seq, now, _AHEAD_S))
            fired.acquire(timeout=_WAIT_S)
    finally:
        schedule.close()
    note = f"{len(schedule.late_s)} of {n} fired, {beside}"
    return _rows("trigger fired after its time", schedule.late_s, note, EXACT_MS)


def _pulse_rows(n: int) -> list[Figure]:
    clock = LiveClock()
    gate = _armed(clock)
    near, far = os.openpty()
    sink = TtlSink(TtlSettings(port=os.ttyname(far), pulse_s=PULSE_S), gate, clock, lambda _: None)
    late: list[float] = []
    longer: list[float] = []
    try:
        # it begins by lowering the line
        _byte_at(near, clock)
        for seq in range(n):
            now = clock.now()
            gate.beat(now)
            sink.put(_trigger(seq, now, 0.0))
            up = _byte_at(near, clock)
            down = _byte_at(near, clock)
            late.append(up - now)
            longer.append(down - up - PULSE_S)
    finally:
        asyncio.run(sink.close())
        os.close(far)
        os.close(near)
    note = f"{n} pulses into a pseudo-terminal, beside the same work"
    return [
        *_rows("trigger handed over → byte on the serial port", late, note),
        *_rows("pulse longer than asked for", np.abs(longer), note),
    ]


def _byte_at(port: int, clock: LiveClock) -> float:
    ready, _, _ = select.select([port], [], [], _WAIT_S)
    return clock.now() if ready and os.read(port, 1) else float("nan")


def _rows(name: str, seconds: object, note: str, bar: float | None = None) -> list[Figure]:
    values = np.asarray(seconds, float) * 1e3
    if not values.size:
        values = np.array([np.nan])
    return [
        Figure(f"{name}, p{share}", float(np.percentile(values, share)), "ms", bar, note=note) for share in (50, 99)
    ]
