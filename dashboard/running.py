"""What every window of ours does around its showing: check what was asked, start Qt, heed signals, say errors."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from dashboard.display import load_graphics, try_window, use_platform
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

STOP_CHECK_MS = 50
NICENESS = 5


@dataclass(slots=True)
class StopSignal:
    """SIGTERM or Ctrl-C, noted from the first moment on: even while the libraries load."""

    came: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.came = True
        # the second one forces
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def heeding_signals(verb: str, *, as_json: bool) -> Generator[StopSignal]:
    """Note signals while a verb runs, and end with its exit code what it cannot do."""
    stop = StopSignal()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    except StreamerError as error:
        if as_json:
            typer.echo(json.dumps({"error": str(error), "exit_code": error.exit_code}))
        typer.echo(f"{verb}: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def password_of(variable: str | None) -> str | None:
    """Read a password from an environment variable; UsageError where there is none of that name."""
    if variable is None:
        return None
    if variable not in os.environ:
        raise UsageError(f"--password-env {variable}: there is no such environment variable")
    return os.environ[variable]


def check_session(session: str | None) -> None:
    """Refuse a session's name that would be another topic, with UsageError."""
    if session is not None and (not session or set(session) & set("/+#")):
        raise UsageError(f"session {session!r}: expected a name without / + #")


def check_screenshot(screenshot: Path | None) -> None:
    """Refuse a picture in a folder that is not there, with UsageError."""
    if screenshot is not None and not screenshot.resolve().parent.is_dir():
        raise UsageError(f"--screenshot {screenshot}: there is no folder {screenshot.resolve().parent}")


def give_way() -> None:
    """Let the loop go first where both want the same processor: a frame may wait, a decision may not."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def start_qt(name: str, *, offscreen: bool, picture: bool) -> tuple[QApplication, str | None]:
    """Start Qt; gives the application and the platform that was chosen for it, None for the screen's own.

    Raises
    ------
    DisplayError
        There is no display.
    """
    platform = use_platform(offscreen=offscreen, picture=picture)
    load_graphics()
    if platform:
        os.environ["QT_QPA_PLATFORM"] = platform
    else:
        try_window()

    from PySide6.QtCore import qInstallMessageHandler
    from PySide6.QtWidgets import QApplication

    qInstallMessageHandler(_say_qt)
    running = QApplication.instance()
    return (running if isinstance(running, QApplication) else QApplication([name])), platform


def run_until(app: QApplication, ended: Callable[[], bool]) -> None:
    """Run a window until ``ended`` says so."""
    from PySide6.QtCore import QTimer

    # Python runs its signal handlers between bytecodes only: the timer gives it one to run between
    def check() -> None:
        if ended():
            # quit() would close the window before its picture is taken
            app.exit()

    timer = QTimer()
    timer.timeout.connect(check)
    timer.start(STOP_CHECK_MS)
    app.exec()
    timer.stop()


def _say_qt(_kind: Any, _context: Any, text: str) -> None:
    # the offscreen platform says so for every window; it means nothing
    if "propagateSizeHints" not in text:
        typer.echo(f"Qt: {text}", err=True)
