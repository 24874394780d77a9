"""A verb of ours in a process of its own, whose JSON lines are followed: for the demo and for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.resources import files
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

from streamer.clock import stopwatch
from streamer.errors import StreamerError


class Child:
    """A verb of ours in a process of its own, whose JSON lines are followed."""

    def __init__(self, *arguments: str) -> None:
        environment = dict(os.environ)
        # its streams stay on this machine, unless the site has a configuration of its own
        environment.setdefault("LSLAPICFG", str(files("streamer") / "lsl_api.cfg"))
        self.name = arguments[0]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        self._lines: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._texts: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, True), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, False), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any, is_json: bool) -> None:
        decoder = msgspec.json.Decoder(dict[str, Any])
        for line in stream:
            try:
                self._lines.put(decoder.decode(line))
            except msgspec.MsgspecError:
                self._texts.append(line.decode(errors="replace").strip())
        if is_json:
            self._lines.put(None)

    def text(self) -> str:
        """Give what the child said outside its JSON lines."""
        for thread in self._threads:
            thread.join(1.0)
        return " ".join(self._texts[-5:])

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """Wait for a message; StreamerError when the child ends or ``seconds`` pass without it."""
        deadline = stopwatch() + seconds
        while (left := deadline - stopwatch()) > 0:
            with contextlib.suppress(Empty):
                message = self._lines.get(timeout=left)
                if message is None:
                    break
                if fits(message):
                    return message
        self.process.poll()
        raise StreamerError(
            f"`streamer {self.name}` did not get on (exit code {self.process.returncode}): {self.text()}"
        )

    def end(self) -> None:
        """End the child if it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for thread in self._threads:
            thread.join(2.0)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def child(*arguments: str) -> Generator[Child]:
    """Start a verb, and end it with the block."""
    started = Child(*arguments)
    try:
        yield started
    finally:
        started.end()
