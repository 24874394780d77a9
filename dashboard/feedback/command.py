"""``streamer feedback``: the participant's screen."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboard.display import DisplayError, require_fonts
from dashboard.feedback.settings import Corner, Style, ViewSettings
from dashboard.link.feed import Access, parse_broker
from dashboard.running import (
    StopSignal,
    check_screenshot,
    check_session,
    heeding_signals,
    password_of,
    run_until,
    start_qt,
)
from streamer.errors import UsageError

if TYPE_CHECKING:
    from PySide6.QtCore import QRect

    from dashboard.feedback.view import FeedbackView

LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Where the view is to be, and for how long."""

    window: bool
    screen: int
    screenshot: Path | None
    after: float | None
    offscreen: bool


def feedback(
    broker: Annotated[str, typer.Option(help="The broker of the loop.")] = "mqtt://127.0.0.1:1883",
    session: Annotated[str, typer.Option(help="Session to show; auto takes the one that is there.")] = "auto",
    style: Annotated[Style, typer.Option(help="What shows the level.")] = Style.THERMOMETER,
    screen: Annotated[int, typer.Option(min=0, help="Screen to fill, from 0.")] = 0,
    window: Annotated[bool, typer.Option("--window", help="Open a window, not the full screen.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Swap left and right, for a mirror.")] = False,
    text: Annotated[str, typer.Option(help="Text with the fixation cross; \\n begins a line.")] = "",
    photodiode: Annotated[
        Corner | None, typer.Option(help="Corner with a patch that flips with every new score, for a photodiode.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Environment variable that holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates to trust for mqtts://, PEM.")] = None,
    screenshot: Annotated[Path | None, typer.Option(help="Save a picture (PNG) at the end; needs no display.")] = None,
    after: Annotated[float | None, typer.Option(min=0.0, help="End after so many seconds.")] = None,
    offscreen: Annotated[bool, typer.Option("--offscreen", help="Open no window.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say at the end, as JSON, what was shown and how late.")] = False,
) -> None:
    """Show the participant the score: a thermometer or a ball, and a fixation cross when nothing counts.

    It listens to MQTT alone. A score that is stale, a broker that is lost and a session that stops give the cross.
    Keys: Esc twice ends, F fills the screen or leaves it; no other key does anything.
    """
    settings = ViewSettings(style, mirror, text.replace("\\n", "\n"), photodiode)
    wanted = _Wanted(window, screen, screenshot, after, offscreen)
    with heeding_signals("feedback", as_json=json) as stop:
        access = Access(username, password_of(password_env), ca_file)
        said = _show(stop, broker, access, None if session == "auto" else session, settings, wanted)
    if json:
        typer.echo(json_module.dumps(said, ensure_ascii=False))
    else:
        typer.echo(_in_words(said))


def _show(
    stop: StopSignal, broker: str, access: Access, session: str | None, settings: ViewSettings, wanted: _Wanted
) -> dict[str, Any]:
    address = parse_broker(broker)
    check_session(session)
    if len(settings.text) > LONGEST_TEXT:
        raise UsageError(f"--text has {len(settings.text)} characters: expected {LONGEST_TEXT} at most")
    check_screenshot(wanted.screenshot)
    app, platform = start_qt("streamer feedback", offscreen=wanted.offscreen, picture=wanted.screenshot is not None)

    from pylsl import local_clock

    from dashboard.feedback.feed import ScoreFeed
    from dashboard.feedback.view import FeedbackView

    if settings.text:
        require_fonts()
    place = _place(wanted.screen)
    view = FeedbackView(ScoreFeed(address, session, access, local_clock), settings, session)
    if wanted.window or platform == "offscreen":
        view.move(place.center() - view.rect().center())
        view.show()
    else:
        view.full_screen(True, place)
    view.start()
    began = local_clock()

    def ended() -> bool:
        return stop.came or view.closed or (wanted.after is not None and local_clock() - began >= wanted.after)

    run_until(app, ended)
    try:
        if wanted.screenshot is not None and not view.grab().save(str(wanted.screenshot), "PNG"):
            raise DisplayError(f"the picture cannot be written to {wanted.screenshot}")
        return summary(view)
    finally:
        view.stop()
        view.close()


def _place(number: int) -> QRect:
    from PySide6.QtGui import QGuiApplication

    screens = QGuiApplication.screens()
    if number >= len(screens):
        there = ", ".join(f"{i} ({s.name()}, {s.size().width()} x {s.size().height()})" for i, s in enumerate(screens))
        raise UsageError(f"--screen {number}: there are only {there}")
    return screens[number].geometry()


def summary(view: FeedbackView) -> dict[str, Any]:
    """Tell what was shown, what was not and why, and how late it was."""
    feed, store = view.feed, view.store
    return {
        "session": store.session,
        "connected": feed.connected,
        "neutral": view.look.neutral,
        "messages": feed.received,
        "malformed": feed.malformed,
        "dropped": feed.dropped,
        "counts": dict(store.summary()),
        "flips": view.flips,
        "frames": view.frames,
        "latency": view.latency.summary(),
    }


def _in_words(said: dict[str, Any]) -> str:
    latency = said["latency"]
    shown = f"feedback: {said['counts'].get('scores', 0)} scores shown, {said['counts'].get('triggers', 0)} rewards"
    if latency["arrival_to_pixels"] is None:
        return shown
    found = latency["arrival_to_pixels"]
    held = "within" if found["p95_ms"] <= latency["bar_ms"] else "ABOVE"
    return (
        f"{shown}; message to pixels p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms: "
        f"{held} the bar of {latency['bar_ms']:.0f} ms"
    )
