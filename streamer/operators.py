"""Every way in which an operator commands a running session, put together; a stop never waits for anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from streamer.acquire.operator import BrokerCommands, Keyboard, StopFile
from streamer.clock import Clock
from streamer.emit.gate import Gate
from streamer.emit.watchdog import Watchdog
from streamer.loop import STOPPED
from streamer.messages import Command, Event

STOP_FILE = "STOP"
"""A file of this name in the session's folder stops all triggers."""
END = "end"
"""Action that ends the session, as Ctrl-C does."""


class Operators:
    """Keys, the stop file and commands over MQTT.

    Parameters
    ----------
    folder : Path
        The session's.
    clock : Clock
    say : callable
        Takes lines for the operator.
    end : callable
        Ends the session.
    """

    def __init__(self, folder: Path, clock: Clock, say: Callable[[str], None], end: Callable[[], None]) -> None:
        self._say = say
        self._end = end
        self._gate: Gate | None = None
        self._stopped = False
        self._watchdog: Watchdog | None = None
        self._over_mqtt = BrokerCommands()
        stop_file = StopFile(folder / STOP_FILE, clock, lambda: self._gate is not None and self._gate.armed)
        self._sources = (stop_file, Keyboard(clock, say), self._over_mqtt)

    def begin(self, gate: Gate, watchdog: Watchdog) -> None:
        """Arm a session's gate, unless somebody has said stop already; the watchdog looks at once after every stop.

        A session that was started is armed: the decision's own vetoes hold triggers back until all is well.
        """
        self._gate, self._watchdog = gate, watchdog
        if not self._stopped:
            gate.arm()

    def take(self, command: Command) -> None:
        """Take a command that came over MQTT."""
        self._at_once(command)
        if command.action == END and self._gate is None:
            # while it waits for its sources there is no log yet
            self._say(f"{command.action}: {command.text}")
            self._end()
        self._over_mqtt.put(command)

    def start(self, queue: asyncio.Queue[Event]) -> set[asyncio.Task[None]]:
        """Move commands into the loop's queue, a task for each source."""
        return {asyncio.create_task(self._pump(source, queue), name=source.name) for source in self._sources}

    async def close(self) -> None:
        """End all of them. May be called twice."""
        for source in self._sources:
            await source.close()

    async def _pump(self, source: StopFile | Keyboard | BrokerCommands, queue: asyncio.Queue[Event]) -> None:
        async for command in source:
            self._at_once(command)
            self._say(f"{command.action}: {command.text}")
            await queue.put(command)
            if command.action == END:
                # it is in the queue, which is emptied at the end: it gets into the log
                self._end()

    def _at_once(self, command: Command) -> None:
        # however many events wait; to arm may wait for its turn
        if command.action == "stop":
            self._stopped = True
            if self._gate is not None:
                self._gate.disarm(STOPPED)
            if self._watchdog is not None:
                self._watchdog.look()


def watch_signals(stack: contextlib.AsyncExitStack, end: Callable[[], None]) -> None:
    """Let Ctrl-C and SIGTERM end the session, until the stack is closed; a second one gives the terminal back at once.

    Parameters
    ----------
    stack : AsyncExitStack
    end : callable
        Ends the session.
    """
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        end()
        for number in numbers:
            loop.add_signal_handler(number, os._exit, 130)

    for number in numbers:
        with contextlib.suppress(NotImplementedError, ValueError):
            loop.add_signal_handler(number, stop)
            stack.callback(loop.remove_signal_handler, number)
