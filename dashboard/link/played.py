"""A recorded session in place of a broker: a child process plays it, and a thread reads what it says.

The child is `streamer messages`: see ``streamer/wire/records.py`` for what it writes.

Nothing is dropped: while many messages wait the thread does not read, and the child waits in turn.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import IO

from dashboard.link.feed import Arrival
from streamer.errors import FormatError
from streamer.wire import ROOT, decode
from streamer.wire.records import PROGRESS, Record, decode_progress, read_records

CAPACITY = 4000
"""Messages that wait before the child has to."""
_END_S = 3.0


@dataclass(frozen=True, slots=True)
class RecordedPlace:
    """Where a recording is."""

    path: Path

    @property
    def text(self) -> str:
        """As people write it."""
        return f"recording {self.path}"


class PlayedFeed:
    """Messages of a recorded session, in the order in which it would have sent them, as fast as they are taken.

    Parameters
    ----------
    recording : Path
        Any recording, or the folder of a recorded session.
    options : sequence of str
        More arguments of `streamer messages`.
    capacity : int
        Messages that wait at most.
    """

    def __init__(self, recording: Path, options: Sequence[str] = (), capacity: int = CAPACITY) -> None:
        self.broker = RecordedPlace(recording)
        self.connected = False
        """Whether the recording is being played, or was to its end."""
        self.problem = ""
        """Why it could not be played to its end."""
        self.received = 0
        self.malformed = 0
        """Messages that were not ours, or too new."""
        self.dropped = 0
        """Always 0."""
        self.progress = 0.0
        """How much of the recording was played, 0..1."""
        self.ended = False
        """Whether it was played to its end; the last messages may still wait."""
        self._options = tuple(options)
        self._capacity = capacity
        self._span: tuple[float, float] | None = None
        self._waiting: list[Arrival] = []
        self._room = Condition()
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: Thread | None = None

    @property
    def span(self) -> tuple[float, float]:
        """SessionTimes of the first and of the last message so far, s; NaN before there is one."""
        return self._span if self._span is not None else (float("nan"), float("nan"))

    def start(self) -> None:
        """Start the child and the thread that reads; returns at once. Not a second time."""
        if self._child is not None or self._stopped:
            raise RuntimeError("a recording's feed was started twice: make another one")
        command = [sys.executable, "-m", "streamer", "messages", *self._options, "--", str(self.broker.path)]
        # a file takes what it says of errors at any length, with nobody to read along
        said = tempfile.TemporaryFile()  # noqa: SIM115 - the thread closes it
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        self._thread = Thread(target=self._follow, args=(self._child, said), name="recording", daemon=True)
        self.connected = True
        self._thread.start()

    def stop(self) -> None:
        """End the child and the thread. May be called twice."""
        with self._room:
            self._stopped = True
            self._room.notify_all()
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._thread is not None:
            self._thread.join()
        self.connected = False

    def drain(self) -> list[Arrival]:
        """Take all that is waiting, in order."""
        with self._room:
            taken, self._waiting = self._waiting, []
            self._room.notify_all()
        return taken

    def read(self, stream: IO[bytes]) -> None:
        """Take records until the stream ends or the feed is stopped; waits while too many arrivals do.

        Raises
        ------
        FormatError
            The stream holds something else.
        """
        for record in read_records(stream):
            self._take(record)
            if self._stopped:
                return

    def _take(self, record: Record) -> None:
        if record.topic == PROGRESS:
            now = decode_progress(record.payload)
            self.progress, self.ended = now.fraction, now.ended
            return
        self.received += 1
        self._span = (record.at if self._span is None else self._span[0], record.at)
        root, _, rest = record.topic.partition("/")
        session, _, name = rest.partition("/")
        try:
            if root != ROOT or not name:
                raise FormatError(f"topic {record.topic!r}: expected {ROOT}/SESSION/NAME")
            arrival = Arrival(session, decode(record.payload), record.at)
        except FormatError:
            self.malformed += 1
            return
        with self._room:
            self._room.wait_for(lambda: self._stopped or len(self._waiting) < self._capacity)
            self._waiting.append(arrival)

    def _follow(self, child: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        problem = ""
        with said:
            if child.stdout is not None:
                with child.stdout, suppress(OSError):
                    try:
                        self.read(child.stdout)
                    except FormatError as error:
                        problem = str(error)
            code = child.wait()
            said.seek(0)
            problem = problem if not code else reason_of(said.read().decode(errors="replace"), code)
        if not self._stopped and not self.ended:
            self.problem = problem or "the recording's messages ended before it did"
            self.connected = False


def reason_of(said: str, code: int) -> str:
    """Tell in one line why a command of ours ended with ``code``: from its last error on, or its last line."""
    # wrong options are said in a frame
    lines = [text for line in said.splitlines() if (text := line.strip(" │─╭╮╰╯"))]
    begins = [k for k, line in enumerate(lines) if line.startswith("error:")]
    if begins:
        return " ".join(lines[begins[-1] :]).removeprefix("error:").strip()
    return lines[-1] if lines else f"`streamer messages` ended with {code}"
