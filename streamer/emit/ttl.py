"""Triggers as pulses on a serial port: a byte for a trigger box, or one of the port's own lines.

A late pulse is worse than none: nothing is kept for later. While the port is away, triggers are lost, counted and told,
and it is tried again and again. The pulse is ended by the thread that began it, so it ends also when the loop hangs.
What no program can do: a port's line falls when the process is killed, but a trigger box keeps the last byte.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Literal, Self

import serial
from pydantic import Field, field_validator, model_validator

from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.emit.gate import HARD_MAX_ON_S, Gate
from streamer.emit.schedule import Schedule
from streamer.messages import Output, SessionTime, Trigger

TRY_OUT = "loop://"
"""A port without a device."""
WRITE_S = 0.05
"""A write that takes longer, s, means that the port is lost."""
MAX_ANSWER = 4096
"""Bytes of a device's answers that are thrown away at a time."""
_MARGIN_S = 0.05


class TtlSettings(Settings):
    """Triggers on a serial port."""

    port: str = ""
    """For instance ``/dev/serial/by-id/…`` or ``COM3``; ``loop://`` tries it out without a device; empty: none."""
    way: Literal["byte", "rts", "dtr"] = "byte"
    """byte: bytes for a trigger box. rts, dtr: that line of the port itself; most systems raise it for a moment when
    the port is opened."""
    baud: int = Field(default=115200, ge=300, le=4_000_000)
    """Bits per second, for bytes."""
    code: int = Field(default=1, ge=0, le=255)
    """The byte that raises."""
    codes: dict[str, int] = Field(default_factory=dict[str, int], max_length=64)
    """The byte that raises, by action; actions that are not here have ``code``."""
    rest: int = Field(default=0, ge=0, le=255)
    """The byte that lowers all lines."""
    pulse_s: float = Field(default=0.01, ge=0.001, le=HARD_MAX_ON_S)
    """Length of a pulse, s."""
    retry_s: float = Field(default=1.0, ge=0.05, le=60)
    """The port is looked after this often, s."""

    @field_validator("port")
    @classmethod
    def _local(cls, value: str) -> str:
        if "://" in value and value != TRY_OUT:
            raise ValueError(f"expected a port of this machine, or {TRY_OUT}")
        return value

    @model_validator(mode="after")
    def _codes_raise(self) -> Self:
        for code in (self.code, *self.codes.values()):
            if not 0 <= code <= 255 or code == self.rest:
                raise ValueError(f"a code is {code}: expected 0 to 255, and not that of rest, {self.rest}")
        return self


class TtlSink:
    """Pulses on a serial port.

    Parameters
    ----------
    settings : TtlSettings
    gate : Gate
    clock : Clock
        One that waits for real.
    tell : callable
        Takes what the operator should know; called from any thread.
    """

    name = "ttl"

    def __init__(self, settings: TtlSettings, gate: Gate, clock: Clock, tell: Callable[[str], None]) -> None:
        self.pulses = 0
        """Pulses begun so far."""
        self.problem = ""
        """What is wrong with the port; empty while all is well."""
        self._settings = settings
        # once more here: settings can be made without being checked
        self._pulse_s = min(settings.pulse_s, HARD_MAX_ON_S - _MARGIN_S)
        self._clock = clock
        self._tell = tell
        self._lost: Counter[str] = Counter()
        self._port: serial.Serial | None = None
        self._up = False
        self._lock = RLock()
        self.schedule = Schedule(self.name, clock, gate, self._fire, tell)
        self.schedule.at(clock.now(), self._look_after)

    def put(self, item: Output) -> None:
        """Take a trigger; everything else is passed over."""
        if isinstance(item, Trigger):
            self.schedule.put(item)

    def losses(self) -> Mapping[str, int]:
        return Counter(self.schedule.losses()) + self._lost

    def neutral(self, why: str) -> None:
        """Lower all lines and forget triggers that wait. From any thread."""
        self.schedule.drop(why)
        self._lower()

    async def close(self) -> None:
        """Lower all lines and free the port. May be called twice."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self.schedule.close()
        self._lower()
        self._give_up()

    def _fire(self, trigger: Trigger) -> None:
        with self._lock:
            if self._port is None:
                self._lost["triggers"] += 1
                self._tell(f"ttl: trigger {trigger.seq} is lost: {self.problem or 'the port is not open yet'}")
                return
            if self._up:
                # a pulse on top of a pulse would make it longer than a line may be up
                self.schedule.held["the line is up"] += 1
                self._tell(f"ttl: trigger {trigger.seq} was held back: the line is up")
                return
            self._up = True
            self.pulses += 1
            number = self.pulses
            # its end is arranged before it begins: whatever goes wrong in between, the line falls
            ends = SessionTime(self._clock.now() + self._pulse_s)
            self.schedule.at(ends, lambda: self._end_pulse(number))
            if not self._set(self._settings.codes.get(trigger.action, self._settings.code), up=True):
                self._lost["triggers"] += 1

    def _end_pulse(self, number: int) -> None:
        with self._lock:
            # one that was cut short leaves the next one alone
            if self._up and self.pulses == number:
                self._lower()

    def _lower(self) -> None:
        with self._lock:
            self._up = False
            self._set(self._settings.rest, up=False)

    def _set(self, code: int, *, up: bool) -> bool:
        """Raise or lower; False where the port is away or is lost by it."""
        if self._port is None:
            return False
        try:
            match self._settings.way:
                case "byte":
                    self._port.write(bytes((code,)))
                case "rts":
                    self._port.rts = up
                case "dtr":
                    self._port.dtr = up
        except OSError as error:
            self._lose(error)
            return False
        return True

    def _look_after(self) -> None:
        try:
            if self._port is None:
                self._open()
            else:
                with self._lock:
                    # what a device says back is of no use, and a port that is gone is noticed here
                    self._port.read(MAX_ANSWER)
        except OSError as error:
            self._lose(error)
        finally:
            self.schedule.at(SessionTime(self._clock.now() + self._settings.retry_s), self._look_after)

    def _open(self) -> None:
        s = self._settings
        port = serial.serial_for_url(
            s.port, do_not_open=True, baudrate=s.baud, timeout=0, write_timeout=WRITE_S, exclusive=True
        )
        port.rts = s.way != "rts"
        port.dtr = s.way != "dtr"
        # without the lock: a slow driver must not keep others from being made neutral
        port.open()
        with self._lock:
            self._port = port
            # what was left raised when it was lost
            self._lower()
            if self.problem and self._port is port:
                self.problem = ""
                self._tell(f"ttl: {s.port} is back")

    def _lose(self, error: OSError) -> None:
        first = not self.problem
        self.problem = f"{self._settings.port}: {error}"
        if first:
            self._lost["port"] += 1
            self._tell(f"ttl: the port is away, triggers are lost until it is back: {self.problem}")
        if self._port is not None:
            # else closing waits for bytes that will never go out; termios has an error of its own
            with contextlib.suppress(Exception):
                self._port.reset_output_buffer()
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            port, self._port, self._up = self._port, None, False
        if port is not None:
            port.close()
