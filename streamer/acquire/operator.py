"""The operator's hand on the session: keys in the terminal, a file that stops, commands over MQTT.

``stop`` always counts at once. ``arm`` needs a second press, and no file can arm: the safe side is the easy one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from streamer.clock import Clock
from streamer.messages import Command, SessionTime

LOOK_EVERY_S = 0.2
CONFIRM_S = 3.0
"""A second press within this time arms, s."""
KEYS = "s or blank: stop triggers · a, a: arm · n: note the time"


class StopFile:
    """Stops all triggers for as long as a file lies there: whoever arms has to take it away first.

    Parameters
    ----------
    path : Path
        For instance ``STOP`` in the session's folder.
    clock : Clock
    armed : callable
        Tells whether there is anything to stop.
    """

    name = "stop_file"

    def __init__(self, path: Path, clock: Clock, armed: Callable[[], bool]) -> None:
        self._path = path
        self._clock = clock
        self._armed = armed
        self._closing = False

    async def __aiter__(self) -> AsyncIterator[Command]:
        while not self._closing:
            if self._armed() and self._path.exists():
                yield Command("stop", f"file {self._path.name}", self._clock.now())
            await self._clock.sleep_until(SessionTime(self._clock.now() + LOOK_EVERY_S))

    async def close(self) -> None:
        """End. May be called twice."""
        self._closing = True


class BrokerCommands:
    """Commands that came over MQTT, checked already."""

    name = "mqtt_commands"

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Command | None] = asyncio.Queue()

    def put(self, command: Command) -> None:
        """Take one; the guard before it bounds the rate."""
        self._waiting.put_nowait(command)

    async def __aiter__(self) -> AsyncIterator[Command]:
        while (command := await self._waiting.get()) is not None:
            yield command

    async def close(self) -> None:
        """End. May be called twice."""
        self._waiting.put_nowait(None)


class Keyboard:
    """Single keys of the terminal that the session runs in.

    Where standard input is no terminal it ends at once.

    Parameters
    ----------
    clock : Clock
    tell : callable
        Takes what the operator should read.
    stream : TextIO, optional
        Standard input by default.
    """

    name = "keyboard"

    def __init__(self, clock: Clock, tell: Callable[[str], None], stream: TextIO | None = None) -> None:
        self._clock = clock
        self._tell = tell
        self._stream = stream if stream is not None else sys.stdin
        self._keys: asyncio.Queue[str | None] = asyncio.Queue()
        self._before: list[Any] | None = None
        self._arm_pressed: SessionTime | None = None

    async def __aiter__(self) -> AsyncIterator[Command]:
        if not self._open():
            return
        self._tell(f"keys: {KEYS}")
        while (key := await self._keys.get()) is not None:
            command = self._command(key)
            if command is not None:
                yield command

    def _command(self, key: str) -> Command | None:
        now = self._clock.now()
        pressed, self._arm_pressed = self._arm_pressed, None
        match key.lower():
            case "s" | " ":
                return Command("stop", "key", now)
            case "a" if pressed is not None and now - pressed <= CONFIRM_S:
                return Command("arm", "key", now)
            case "a":
                self._arm_pressed = now
                self._tell(f"press a again within {CONFIRM_S:g} s to let triggers leave")
            case "n":
                return Command("annotate", "noted by the operator", now)
            case _:
                pass
        return None

    def _open(self) -> bool:
        try:
            if not self._stream.isatty():
                return False
            import os
            import termios
            import tty

            number = self._stream.fileno()
            if os.tcgetpgrp(number) != os.getpgrp():
                # in the background: to touch the terminal would halt the process
                return False
            self._before = termios.tcgetattr(number)
            # keys come one by one and unseen; Ctrl-C stays a signal
            tty.setcbreak(number)
            asyncio.get_running_loop().add_reader(number, self._read)
        except (ImportError, OSError, ValueError, NotImplementedError):
            return False
        return True

    def _read(self) -> None:
        import os

        try:
            text = os.read(self._stream.fileno(), 64).decode(errors="replace")
        except OSError:
            text = ""
        for key in text:
            self._keys.put_nowait(key)
        if not text:
            # the terminal is gone
            self._forget()
            self._keys.put_nowait(None)

    def _forget(self) -> None:
        with suppress(OSError, ValueError):
            asyncio.get_running_loop().remove_reader(self._stream.fileno())

    async def close(self) -> None:
        """Give the terminal back as it was. May be called twice."""
        if self._before is not None:
            import termios

            self._forget()
            with suppress(OSError, ValueError, termios.error):
                termios.tcsetattr(self._stream.fileno(), termios.TCSADRAIN, self._before)
            self._before = None
        self._keys.put_nowait(None)
