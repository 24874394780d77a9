"""A structured log file per session, without identity, and the lock of one session per machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Self

from streamer.errors import SessionBusy

LOGGER = "streamer"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "t": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "from": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short: it must not end the session, nor bury what else is said."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        del record

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def open_log(path: Path) -> logging.Handler:
    """Send the streamer's log to ``path`` as JSON lines; give the handler back to :func:`close_log`."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


def close_log(handler: logging.Handler) -> None:
    """End a session's log."""
    logging.getLogger(LOGGER).removeHandler(handler)
    handler.close()


class MachineLock:
    """One session per machine: held from ``__enter__`` to ``__exit__``, released by the system if the process dies.

    Raises
    ------
    SessionBusy
        Another process holds it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.gettempdir()) / "eeg-fmri-streamer.lock"
        self._fd: int | None = None

    def __enter__(self) -> Self:
        # a link that somebody laid there must not lead to a file that is then emptied
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
                os.close(self._fd)
                self._fd = None
                raise SessionBusy(
                    f"another session runs on this machine (process {holder}, lock {self.path}): end it first"
                ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
