"""The embedded MQTT broker: a child process on loopback that dies with its parent.

Mosquitto when it is installed, else amqtt (pure Python) in a child interpreter. The child is started through a guard,
this module run as a program: on Linux the guard asks the kernel to end it with its parent and then becomes the broker;
elsewhere it stays, and ends the broker when the pipe from the parent closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import getpass
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event, Thread
from typing import Literal, NoReturn, Self

from streamer.clock import pause
from streamer.errors import BrokerError

HOST = "127.0.0.1"
_START_S = 10.0
_STOP_S = 2.0
_POLL_S = 0.01
_TRIES = 3
_PR_SET_PDEATHSIG = 1

Kind = Literal["mosquitto", "amqtt"]


def find_mosquitto() -> str | None:
    """Find mosquitto's program; Debian puts it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


class EmbeddedBroker:
    """An MQTT broker of our own, reachable from this machine only.

    ``start`` and ``stop`` block for as long as it takes (tens of ms): from a coroutine, call them by
    ``asyncio.to_thread``. The thread that starts it must live as long as the broker is wanted: on Linux the child ends
    with the thread that made it.

    Parameters
    ----------
    port : int or None
        None takes a free one.
    kind : {"mosquitto", "amqtt"} or None
        None takes mosquitto where it is installed.
    keep : Path or None
        A folder, made when it is not there, in which mosquitto keeps what it owes to subscribers with a session: they
        lose nothing of QoS 1 when it is killed and revived. ``stop`` takes it away. None keeps nothing; amqtt cannot.
    """

    def __init__(self, port: int | None = None, kind: Kind | None = None, keep: Path | None = None) -> None:
        self.kind: Kind = kind or ("mosquitto" if find_mosquitto() else "amqtt")
        self._keep = keep
        self._wanted = port
        self._port: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    @property
    def url(self) -> str:
        """``mqtt://host:port``; BrokerError when it does not run."""
        if self._port is None:
            raise BrokerError("the embedded broker is not running: start it first")
        return f"mqtt://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process; None when it does not run."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and wait until it answers.

        Raises
        ------
        BrokerError
            It did not start within 10 s, ended at once, or something else has the port.
        """
        if self._child is not None:
            raise BrokerError(f"the embedded broker runs already, at {self.url}")
        if self._wanted is not None and _answers(self._wanted):
            raise BrokerError(f"port {self._wanted} on {HOST} is taken by another program: expected a free one")
        said = ""
        for _ in range(_TRIES if self._wanted is None else 1):
            # between finding a free port and taking it, another program may be quicker
            port = self._wanted or _free_port()
            said = self._try(port)
            if not said:
                self._port = port
                return
            self.stop()
        raise BrokerError(f"the embedded broker ({self.kind}) did not start:\n{said}")

    def stop(self) -> None:
        """End the broker. May be called twice."""
        self._end()
        if self._keep is not None:
            for left in self._keep.glob("mosquitto.db*"):
                left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                # only when nothing else lies there
                self._keep.rmdir()

    def _end(self) -> None:
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            if self._child.stdin is not None:
                self._child.stdin.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._child = self._folder = self._port = None

    def revive(self) -> bool:
        """Start the broker again on its port if it has died; tells whether it had.

        Raises
        ------
        BrokerError
            It does not start again.
        """
        if self._port is None or self.alive:
            return False
        port = self._port
        self._end()
        said = self._try(port)
        if said:
            self._end()
        # clients know the port: it is kept, also for another attempt
        self._port = port
        if said:
            raise BrokerError(f"the embedded broker ({self.kind}) died and does not start again:\n{said}")
        return True

    def _try(self, port: int) -> str:
        # an empty text, or why it did not work
        self._folder = Path(tempfile.mkdtemp(prefix="streamer-broker-"))
        log = self._folder / "broker.log"
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "streamer.broker", "guard", str(os.getpid()), *self._command(port)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal goes to the whole group: the broker must outlive the loop's last message
                start_new_session=True,
            )
        for _ in range(round(_START_S / _POLL_S)):
            status = self._child.poll()
            if status is not None:
                return f"it ended with status {status}: {_tail(log)}"
            if _answers(port):
                # what it was started with has been read: gone now, it cannot be left behind by a crash later
                shutil.rmtree(self._folder, ignore_errors=True)
                return ""
            pause(_POLL_S)
        return f"no answer on port {port} within {_START_S:.0f} s: {_tail(log)}"

    def _command(self, port: int) -> list[str]:
        if self.kind == "amqtt":
            return [sys.executable, "-m", "streamer.broker", "amqtt", str(port)]
        program = find_mosquitto()
        if program is None or self._folder is None:
            raise BrokerError("mosquitto is not installed: install it, or use kind='amqtt'")
        config = self._folder / "mosquitto.conf"
        keeping = "persistence false\n"
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            # after every change: it may be killed at any time
            keeping = (
                f"persistence true\npersistence_location {self._keep.resolve()}/\n"
                "autosave_on_changes true\nautosave_interval 1\n"
            )
        # a change of user would make the kernel forget that the child is to end with us
        config.write_text(
            f"listener {port} {HOST}\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest stdout\n"
            f"user {getpass.getuser()}\n{keeping}",
            encoding="utf-8",
        )
        return [program, "-c", str(config)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False


def _tail(log: Path, lines: int = 10) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    return "\n".join(text.splitlines()[-lines:]) or "it said nothing"


def guard(parent: int, command: list[str], *, watch: bool = sys.platform != "linux") -> NoReturn:
    """Become ``command``, or watch over it, so that it ends with the process ``parent``."""
    if watch:
        _watch(command)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # it died before the kernel was asked
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  the guard's place is taken on purpose


def _watch(command: list[str]) -> NoReturn:
    # asked before there is a child: a signal that comes while it is made must not leave it behind
    ending = Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def see_parent_go() -> None:
        # nothing is ever written: reading ends when the parent does
        os.read(0, 1)
        ending.set()

    def end_child() -> None:
        ending.wait()
        child.terminate()
        try:
            child.wait(_STOP_S / 2)
        except subprocess.TimeoutExpired:
            child.kill()

    for task in (see_parent_go, end_child):
        Thread(target=task, daemon=True).start()
    sys.exit(child.wait())


async def serve_amqtt(port: int) -> None:
    """Serve MQTT with amqtt on loopback until SIGTERM."""
    from amqtt.broker import Broker

    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await broker.shutdown()


def main(arguments: list[str]) -> None:
    """Run as ``guard PARENT COMMAND…``, ``watch PARENT COMMAND…`` or ``amqtt PORT``."""
    match arguments:
        case ["guard", parent, *command] if command:
            guard(int(parent), command)
        case ["watch", parent, *command] if command:
            guard(int(parent), command, watch=True)
        case ["amqtt", port]:
            logging.basicConfig(level=logging.WARNING)
            asyncio.run(serve_amqtt(int(port)))
        case _:
            sys.exit(f"arguments {arguments!r}: expected guard PARENT COMMAND, watch PARENT COMMAND or amqtt PORT")


if __name__ == "__main__":
    main(sys.argv[1:])
