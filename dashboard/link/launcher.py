"""Starts a session as a process of its own, which the window's end does not touch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from streamer.errors import UsageError

EVENTS = {"starting", "running"}
"""Of what it says, what tells where it can be heard."""
LINES = 12
"""Of what it said the last lines are kept."""
MAX_READ = 65536


@dataclass(frozen=True, slots=True)
class Running:
    """Where a session that was started can be heard."""

    session: str
    folder: Path
    broker: str


class Launcher:
    """Runs `streamer run` with one configuration.

    What the session says goes into a file, not into a pipe: it must be able to go on without the window.

    Parameters
    ----------
    config : Path
        SESSION.toml.
    logs : Path
        Folder for what it says; made when it is not there.

    Raises
    ------
    UsageError
        There is no such file.
    """

    def __init__(self, config: Path, logs: Path) -> None:
        if not config.is_file():
            raise UsageError(f"--run {config}: there is no such file")
        self.config = config
        self.told: Running | None = None
        """Where the session can be heard; None before it said so."""
        self.log: Path | None = None
        """Where it says what it says."""
        self.left = False
        """Whether the window may go without it."""
        self._logs = logs
        self._child: subprocess.Popen[bytes] | None = None
        self._at = 0
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=LINES)
        self._ending = False

    @property
    def running(self) -> bool:
        """Whether a session that was started here runs still."""
        return self._child is not None and self._child.poll() is None

    @property
    def ending(self) -> bool:
        """Whether it was told to end."""
        return self._ending

    @property
    def failure(self) -> str:
        """Its last words where it ended with an error; empty otherwise."""
        code = self._child.poll() if self._child is not None else None
        if not code:
            return ""
        self.look()
        return "\n".join([*self._lines, f"it ended with code {code}; all that it said is in {self.log}"])

    def start(self) -> str:
        """Start it; gives why that cannot be done, or nothing."""
        if self.running:
            return "the session that was started from here runs already"
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(".log", "run-", self._logs)
        except OSError as error:
            return f"no session is started: {error}"
        self.log, self.told = Path(name), None
        self._at, self._rest, self._ending, self.left = 0, b"", False, False
        self._lines.clear()
        command = [sys.executable, "-m", "streamer", "run", str(self.config.resolve()), "--json"]
        try:
            with os.fdopen(number, "wb") as said:
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    # neither Ctrl-C in this terminal nor the terminal's end reaches it
                    start_new_session=True,
                )
        except OSError as error:
            return f"no session is started: {error}"
        return ""

    def look(self) -> Running | None:
        """Read what it said since; gives where it can be heard, once."""
        begun: Running | None = None
        for line in self._new_lines():
            found = _event(line)
            if found is None:
                self._lines.append(line)
            elif found.get("event") in EVENTS and self.told is None:
                told = [found.get(name) for name in ("session", "folder", "broker")]
                if all(isinstance(each, str) for each in told):
                    session, folder, broker = cast("list[str]", told)
                    begun = self.told = Running(session, Path(folder), broker)
            elif found.get("event") == "said":
                self._lines.append(str(found.get("text", "")))
        self._tidy()
        return begun

    def leave(self) -> None:
        """Let it run on when the window goes."""
        self.left = True

    def end(self) -> None:
        """Tell it to end, as Ctrl-C does; it writes out its data by itself. Only the first call counts."""
        # a second signal would cut it off
        if self._child is not None and self.running and not self._ending:
            self._ending = True
            self._child.terminate()

    def _new_lines(self) -> list[str]:
        if self.log is None:
            return []
        try:
            with self.log.open("rb") as file:
                file.seek(self._at)
                new = file.read(MAX_READ)
        except OSError:
            return []
        self._at += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        return [text for line in whole if (text := line.decode(errors="replace").strip())]

    def _tidy(self) -> None:
        # what a session said that ended well is of no use
        if self.log is not None and self._child is not None and self._child.poll() == 0:
            with suppress(OSError):
                self.log.unlink()
            self.log = None


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
