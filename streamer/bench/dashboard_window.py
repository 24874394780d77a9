"""The operator's window as a process of its own, on a screen that it can be measured on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from streamer.bench.session import memory_mb
from streamer.child import Child
from streamer.clock import stopwatch
from streamer.environment import environment
from streamer.errors import StreamerError

SIZE = (1920, 1200)
HOME = "EEGFMRI_DASHBOARD_HOME"
_END_S = 30.0
_END_XVFB_S = 5.0


@contextmanager
def on_a_screen(home: Path) -> Generator[str]:
    """Let windows open while the block runs; gives where they do.

    That is the screen of this machine, or a virtual one (Xvfb) where there is none, or none at all without Xvfb.

    Parameters
    ----------
    home : Path
        Folder that takes the place of the user's own layout.
    """
    with environment({HOME: str(home)}):
        if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
            yield "painted, but not on a screen: QT_QPA_PLATFORM is offscreen"
        elif not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
            yield "on the screen of this machine"
        elif (program := shutil.which("Xvfb")) is None:
            with environment({"QT_QPA_PLATFORM": "offscreen"}):
                yield "painted, but not on a screen: neither a display nor Xvfb is there"
        else:
            with _virtual_screen(program) as display, environment({"DISPLAY": display}):
                yield f"on a virtual screen of {SIZE[0]} x {SIZE[1]}, drawn by the processor"


@contextmanager
def _virtual_screen(program: str) -> Generator[str]:
    receive, send = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(send), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-nolisten", "tcp"],
        pass_fds=(send,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(send)
    try:
        with os.fdopen(receive) as told:
            number = told.readline().strip()
        if not number:
            raise StreamerError(f"{program} did not start (exit code {server.wait()}): no screen for the window")
        yield f":{number}"
    finally:
        server.terminate()
        try:
            server.wait(_END_XVFB_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class WatchedWindow:
    """``streamer dashboard`` in a process of its own, from the beginning of its block to the end of it.

    Parameters
    ----------
    broker : str
    session : str
        The one to follow.
    options : str
        More of the command line.

    Raises
    ------
    StreamerError
        From :meth:`close`: it ended by itself.
    """

    def __init__(self, broker: str, session: str, *options: str) -> None:
        size = "x".join(map(str, SIZE))
        self._child = Child(
            "dashboard", "--broker", broker, "--session", session, "--size", size, "--json", *options
        )  # fmt: skip
        self._mark = (stopwatch(), self._cpu_s())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()

    @property
    def memory_mb(self) -> float:
        """What it holds for itself, MB."""
        return memory_mb(self._child.process.pid)

    def mark(self) -> None:
        """Count its share of the processor from now on."""
        self._mark = (stopwatch(), self._cpu_s())

    def cpu_share(self) -> float:
        """Give what it took of one core since :meth:`mark`, %; NaN where the system does not tell."""
        since, before = self._mark
        return 100.0 * (self._cpu_s() - before) / max(stopwatch() - since, 1e-9)

    def close(self) -> dict[str, Any]:
        """Close the window; gives what it says of itself."""
        self._child.process.terminate()
        said = self._child.wait_for(lambda m: "fps" in m or "error" in m, _END_S)
        if "error" in said:
            raise StreamerError(f"the window did not open: {said['error']}")
        self._child.process.wait(_END_S)
        return said

    def _cpu_s(self) -> float:
        try:
            text = Path(f"/proc/{self._child.process.pid}/stat").read_text(encoding="ascii")
        except OSError:
            return float("nan")
        fields = text.rpartition(")")[2].split()
        # utime and stime, of fields that are counted from the third on here
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
