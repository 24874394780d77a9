from __future__ import annotations

import asyncio
import os
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest

from streamer.acquire.operator import Keyboard, StopFile
from streamer.clock import LiveClock, ReplayClock
from streamer.emit.gate import Gate, GateSettings
from streamer.emit.watchdog import Watchdog
from streamer.messages import Command, Event, SessionTime
from streamer.operators import Operators, watch_signals


async def test_a_stop_file_stops_for_as_long_as_it_lies_there(tmp_path: Path) -> None:
    clock = ReplayClock()
    armed = [True, False, True]
    file = StopFile(tmp_path / "STOP", clock, lambda: not armed or armed.pop(0))
    (tmp_path / "STOP").touch()
    found: list[Command] = []
    async for command in file:
        found.append(command)
        if len(found) == 2:
            (tmp_path / "STOP").unlink()
            await file.close()
    assert [c.action for c in found] == ["stop"] * 2
    assert found[1].received - found[0].received == pytest.approx(0.4)


class Terminal:
    """A keyboard on a pseudo-terminal: its keys, its commands, what it said."""

    def __init__(self, master: int, keyboard: Keyboard, clock: ReplayClock, said: list[str]) -> None:
        self.clock = clock
        self.said = said
        self.master = master
        self.before: list[object] = []
        self.keyboard = keyboard
        self._commands: asyncio.Queue[Command | None] = asyncio.Queue()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for command in self.keyboard:
            self._commands.put_nowait(command)
        self._commands.put_nowait(None)

    async def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    async def command(self) -> Command | None:
        return await asyncio.wait_for(self._commands.get(), 10)

    async def action(self) -> str:
        command = await self.command()
        assert command is not None
        return command.action


@asynccontextmanager
async def terminal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    master, slave = os.openpty()
    clock, said = ReplayClock(), list[str]()
    # a pseudo-terminal has no foreground group of its own
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    ready = asyncio.Event()

    def tell(text: str) -> None:
        said.append(text)
        ready.set()

    with os.fdopen(slave, "r") as stream:
        before = termios.tcgetattr(stream)
        keyboard = Keyboard(clock, tell, stream)
        try:
            room = Terminal(master, keyboard, clock, said)
            # what was typed before the terminal is taken over is thrown away
            await asyncio.wait_for(ready.wait(), 10)
            assert termios.tcgetattr(stream) != before
            room.before = before
            yield room
        finally:
            await keyboard.close()
            await keyboard.close()
            os.close(master)


async def test_stop_counts_at_once_and_arming_needs_a_second_press(monkeypatch: pytest.MonkeyPatch) -> None:
    async with terminal(monkeypatch) as room:
        await room.press("xa s")
        assert await room.action() == "stop"
        assert await room.action() == "stop"
        await room.press("aan")
        assert await room.action() == "arm"
        assert await room.action() == "annotate"
        assert room.said.count("press a again within 3 s to let triggers leave") == 2


async def test_two_presses_far_apart_do_not_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    async with terminal(monkeypatch) as room:
        await room.press("as")
        assert await room.action() == "stop"
        keyboard = room.keyboard
        assert keyboard._command("a") is None
        room.clock.jump(SessionTime(3.5))
        assert keyboard._command("a") is None
        room.clock.jump(SessionTime(5.0))
        assert keyboard._command("a") == Command("arm", "key", SessionTime(5.0))


async def test_the_terminal_is_given_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async with terminal(monkeypatch) as room:
        await room.press("s")
        assert await room.action() == "stop"
        await room.keyboard.close()
        assert termios.tcgetattr(room.keyboard._stream) == room.before
        assert await room.command() is None


async def test_without_a_terminal_there_is_no_keyboard() -> None:
    said: list[str] = []
    assert [command async for command in Keyboard(ReplayClock(), said.append, StringIO("s"))] == []
    assert said == []


async def test_a_session_in_the_background_leaves_the_terminal_alone() -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as stream:
        # the group in the foreground of this terminal is not ours
        found = [command async for command in Keyboard(ReplayClock(), lambda _: None, stream)]
    os.close(master)
    assert found == []


END = Command("end", "over MQTT", SessionTime(1.0))


async def test_an_end_while_sources_are_awaited_ends_at_once(tmp_path: Path) -> None:
    said, ended = list[str](), list[bool]()
    operators = Operators(tmp_path, ReplayClock(), said.append, lambda: ended.append(True))
    operators.take(Command("stop", "over MQTT", SessionTime(0.5)))
    assert not ended
    operators.take(END)
    assert ended
    assert said == ["end: over MQTT"]


async def test_an_end_of_a_running_session_gets_into_its_log_first(tmp_path: Path) -> None:
    said: list[str] = []
    queue: asyncio.Queue[Event] = asyncio.Queue()
    waiting: list[int] = []
    ended = asyncio.Event()

    def end() -> None:
        waiting.append(queue.qsize())
        ended.set()

    clock, gate = LiveClock(), Gate(GateSettings())
    operators = Operators(tmp_path, clock, said.append, end)
    operators.begin(gate, Watchdog(gate, clock, (), said.append))
    tasks = operators.start(queue)
    operators.take(Command("annotate", "why", SessionTime(0.5)))
    operators.take(END)
    assert not waiting
    await asyncio.wait_for(ended.wait(), 10)
    assert waiting == [2]
    assert [queue.get_nowait(), queue.get_nowait()] == [Command("annotate", "why", SessionTime(0.5)), END]
    # it ends the session and stops no trigger before
    assert gate.armed
    await operators.close()
    await asyncio.gather(*tasks)


async def test_a_signal_ends_and_a_second_one_forces(monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "_exit", forced.append)
    before = signal.getsignal(signal.SIGTERM)
    ended = asyncio.Event()
    async with AsyncExitStack() as stack:
        watch_signals(stack, ended.set)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(ended.wait(), 10)
        assert forced == []
        signal.raise_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            while not forced:  # noqa: ASYNC110  the signal comes through the loop's own pipe
                await asyncio.sleep(0)
        assert forced == [130]
    assert signal.getsignal(signal.SIGTERM) == before
