"""``streamer dashboard``: the operator's window."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboard.display import DisplayError, require_fonts
from dashboard.feed import Access, Feed, parse_broker
from dashboard.running import (
    StopSignal,
    check_screenshot,
    check_session,
    heeding_signals,
    password_of,
    run_until,
    start_qt,
)

if TYPE_CHECKING:
    from dashboard.window import Window


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
    with heeding_signals("dashboard", as_json=json) as stop:
        access = Access(username, password_of(password_env), ca_file)
        name = None if session == "auto" else session
        said = _show(stop, broker, access, name, screenshot, after, offscreen=offscreen)
    if json:
        typer.echo(json_module.dumps(said, ensure_ascii=False))
    elif screenshot is not None:
        typer.echo(f"dashboard: picture saved as {screenshot}")


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
    check_session(session)
    check_screenshot(screenshot)
    app, _ = start_qt("streamer dashboard", offscreen=offscreen, picture=screenshot is not None)

    from dashboard.window import Window

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
