"""``streamer dashboard``: the operator's window."""

from __future__ import annotations

import json as json_module
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboard.display import DisplayError, load_graphics, require_fonts, try_window, use_platform
from dashboard.feed import Access, Feed, parse_broker
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtWidgets import QApplication

    from dashboard.window import Window

STOP_CHECK_MS = 50


@dataclass(slots=True)
class StopSignal:
    """SIGTERM or Ctrl-C, noted from the first moment on: even while the libraries load."""

    came: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.came = True
        # the second one forces
        signal.signal(number, signal.SIG_DFL)


def dashboard(
    broker: Annotated[str, typer.Option(help="The broker of the loop.")] = "mqtt://127.0.0.1:1883",
    session: Annotated[str, typer.Option(help="Session to follow; auto takes the newest, then the next.")] = "auto",
    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Environment variable that holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates to trust for mqtts://, PEM.")] = None,
    screenshot: Annotated[Path | None, typer.Option(help="Save a picture (PNG) at the end; needs no display.")] = None,
    after: Annotated[float | None, typer.Option(min=0.0, help="End after so many seconds.")] = None,
    offscreen: Annotated[bool, typer.Option("--offscreen", help="Open no window.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say at the end, as JSON, what was shown.")] = False,
) -> None:
    """Show a session live: EEG, regions, motion, decisions, latency and health.

    It listens to MQTT alone: it can be closed and started again at any time, and the loop never waits for it.
    Keys: space pauses the display, + and - scale the EEG, Q quits.
    """
    stop = StopSignal()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        access = Access(username, password_of(password_env), ca_file)
        name = None if session == "auto" else session
        said = _show(stop, broker, access, name, screenshot, after, offscreen=offscreen)
    except StreamerError as error:
        if json:
            typer.echo(json_module.dumps({"error": str(error), "exit_code": error.exit_code}))
        typer.echo(f"dashboard: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if json:
        typer.echo(json_module.dumps(said, ensure_ascii=False))
    elif screenshot is not None:
        typer.echo(f"dashboard: picture saved as {screenshot}")


def password_of(variable: str | None) -> str | None:
    """Read a password from an environment variable; UsageError where there is none of that name."""
    if variable is None:
        return None
    if variable not in os.environ:
        raise UsageError(f"--password-env {variable}: there is no such environment variable")
    return os.environ[variable]


def _show(
    stop: StopSignal,
    broker: str,
    access: Access,
    session: str | None,
    screenshot: Path | None,
    after: float | None,
    *,
    offscreen: bool,
) -> dict[str, Any]:
    address = parse_broker(broker)
    if session is not None and (not session or set(session) & set("/+#")):
        raise UsageError(f"session {session!r}: expected a name without / + #")
    if screenshot is not None and not screenshot.resolve().parent.is_dir():
        raise UsageError(f"--screenshot {screenshot}: there is no folder {screenshot.resolve().parent}")
    platform = use_platform(offscreen=offscreen, picture=screenshot is not None)
    load_graphics()
    if platform:
        os.environ["QT_QPA_PLATFORM"] = platform
    else:
        try_window()

    from PySide6.QtCore import qInstallMessageHandler
    from PySide6.QtWidgets import QApplication

    from dashboard.window import Window

    qInstallMessageHandler(say_qt)
    running = QApplication.instance()
    app = running if isinstance(running, QApplication) else QApplication(["streamer dashboard"])
    require_fonts()
    window = Window(Feed(address, session, access), session)
    window.show()
    window.start()

    def ended() -> bool:
        return stop.came or (after is not None and window.now() >= after) or not window.isVisible()

    run_until(app, ended)
    try:
        if screenshot is not None and not window.save(screenshot):
            raise DisplayError(f"the picture cannot be written to {screenshot}")
        return _summary(window, screenshot)
    finally:
        window.stop()
        window.close()


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


def say_qt(_kind: Any, _context: Any, text: str) -> None:
    """Pass on what Qt says: a handler for ``qInstallMessageHandler``."""
    # the offscreen platform says so for every window; it means nothing
    if "propagateSizeHints" not in text:
        typer.echo(f"Qt: {text}", err=True)


def _summary(window: Window, screenshot: Path | None) -> dict[str, Any]:
    feed, board, line = window.feed, window.board, window.status.line
    view = board.view
    return {
        "session": board.session,
        "status": line.word if line is not None else "",
        "advice": line.advice if line is not None else "",
        "connected": feed.connected,
        "messages": feed.received,
        "malformed": feed.malformed,
        "rejected": board.rejected,
        "dropped": feed.dropped,
        "volumes": view.volumes.count if view.volumes is not None else 0,
        "eeg_channels": view.eeg.rows.width if view.eeg is not None else 0,
        "triggers": view.predictions.triggers if view.predictions is not None else 0,
        "frames": window.frames,
        "screenshot": str(screenshot) if screenshot is not None else None,
    }
