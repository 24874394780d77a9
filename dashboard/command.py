"""``streamer dashboard``: the operator's window on a session, live or recorded."""

from __future__ import annotations

import json as json_module
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dashboard.display import DisplayError, require_fonts
from dashboard.link.feed import Access, Feed, parse_broker
from dashboard.link.keys import Keys
from dashboard.link.played import PlayedFeed
from dashboard.link.sessions import BrokerChoice
from dashboard.running import (
    StopSignal,
    check_screenshot,
    check_session,
    give_way,
    heeding_signals,
    password_of,
    run_until,
    start_qt,
)
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from dashboard.window import Window

SIZE = re.compile(r"([1-9]\d{2,4})x([1-9]\d{2,4})")


def dashboard(
    broker: Annotated[str, typer.Option(help="The broker of the loop.")] = "mqtt://127.0.0.1:1883",
    session: Annotated[str, typer.Option(help="Session to follow; auto takes the newest, then the next.")] = "auto",
    replay: Annotated[
        Path | None, typer.Option(help="Scrub through a recorded session, or any recording, instead of following one.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="With --replay: SESSION.toml; a session's log brings its own.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="With --replay: folder that `streamer calibrate` wrote.")
    ] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="With --replay: ask no model.")] = False,
    username: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_env: Annotated[str | None, typer.Option(help="Environment variable that holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates to trust for mqtts://, PEM.")] = None,
    observer: Annotated[bool, typer.Option("--observer", help="Command nothing, not even a stop.")] = False,
    key_file: Annotated[Path | None, typer.Option(help="File with the key that commands are signed with.")] = None,
    key_env: Annotated[str | None, typer.Option(help="Environment variable that holds that key.")] = None,
    folder: Annotated[
        Path, typer.Option(help="Sessions of this machine: there are their keys and their brokers.")
    ] = Path("sessions"),
    run: Annotated[Path | None, typer.Option(help="SESSION.toml of a session to start from the window.")] = None,
    theme: Annotated[Literal["dark", "light"] | None, typer.Option(help="Default: as it was last.")] = None,
    size: Annotated[str, typer.Option(help="Of the window, WIDTHxHEIGHT.")] = "1600x1000",
    usual_layout: Annotated[bool, typer.Option("--usual-layout", help="Forget where panels were put.")] = False,
    all_panels: Annotated[
        bool, typer.Option("--all-panels", help="Show all panels at once, none behind a tab.")
    ] = False,
    screenshot: Annotated[Path | None, typer.Option(help="Save a picture (PNG) at the end; needs no display.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Save pictures of the window and of each panel into a folder at the end.")
    ] = None,
    at: Annotated[float | None, typer.Option(min=0.0, help="With --replay: show this second of it.")] = None,
    after: Annotated[
        float | None, typer.Option(min=0.0, help="End after so many seconds; with --at, counted from when it is there.")
    ] = None,
    offscreen: Annotated[bool, typer.Option("--offscreen", help="Open no window.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say at the end, as JSON, what was shown.")] = False,
) -> None:
    """Show a session live, or scrub through a recorded one.

    It listens to MQTT alone: it can be closed and started again at any time, and the loop never waits for it.
    Keys: F1 shows them all; space pauses the display, L goes back to the present, S stops triggers, Q quits.
    """
    with heeding_signals("dashboard", as_json=json) as stop:
        access = Access(username, password_of(password_env), ca_file)
        name = None if session == "auto" else session
        check_session(name)
        check_screenshot(screenshot)
        given = {"--at": at, "--config": config, "--calibration": calibration, "--no-model": no_model or None}
        if replay is None and (odd := next((k for k, v in given.items() if v is not None), None)) is not None:
            raise UsageError(f"{odd} is for a recording: give --replay, too")
        if key_file is not None and key_env is not None:
            raise UsageError("--key-file and --key-env: expected one of them at most")
        if run is not None and (replay is not None or observer):
            raise UsageError("--run starts a session: not together with --replay or --observer")
        choice = BrokerChoice(broker, username, password_env, str(ca_file) if ca_file is not None else None)
        hand = _Hand(choice, Keys(key_file, key_env, folder), observer, run)
        if replay is None:
            feed = Feed(parse_broker(broker), name, access)
        else:
            feed = _played(replay, config, calibration, no_model=no_model)
        wanted = _Wanted(
            name, theme, _size(size), usual_layout, all_panels, screenshot, pictures, at, after, offscreen, hand
        )
        said = _show(stop, feed, wanted)
    if json:
        typer.echo(json_module.dumps(said, ensure_ascii=False))
    elif screenshot is not None:
        typer.echo(f"dashboard: picture saved as {screenshot}")


@dataclass(frozen=True, slots=True)
class _Hand:
    broker: BrokerChoice
    keys: Keys
    observer: bool
    run: Path | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    session: str | None
    theme: Literal["dark", "light"] | None
    size: tuple[int, int]
    usual_layout: bool
    all_panels: bool
    screenshot: Path | None
    pictures: Path | None
    at: float | None
    after: float | None
    offscreen: bool
    hand: _Hand


def _played(recording: Path, config: Path | None, calibration: Path | None, *, no_model: bool) -> PlayedFeed:
    for option, path in (("--replay", recording), ("--config", config), ("--calibration", calibration)):
        if path is not None and not path.exists():
            raise UsageError(f"{option} {path}: there is no such file or folder")
    options = [*_option("--config", config), *_option("--calibration", calibration)]
    return PlayedFeed(recording, [*options, "--no-model"] if no_model else options)


def _option(name: str, path: Path | None) -> list[str]:
    return [] if path is None else [name, str(path)]


def _size(text: str) -> tuple[int, int]:
    found = SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"--size {text!r}: expected WIDTHxHEIGHT in pixels, each from 100 to 99999")
    return int(found[1]), int(found[2])


def _show(stop: StopSignal, feed: Feed | PlayedFeed, wanted: _Wanted) -> dict[str, Any]:
    pictured = wanted.screenshot is not None or wanted.pictures is not None
    if wanted.hand.run is None:
        # a loop that is started from here would inherit it, and could never take it back
        give_way()
    app, platform = start_qt("streamer dashboard", offscreen=wanted.offscreen, picture=pictured)

    from dashboard.layout import FILE, home
    from dashboard.pictures import take_pictures
    from dashboard.window import Window, WindowSettings

    require_fonts()
    # a picture shows the same whoever takes it
    remembered = None if platform == "offscreen" else home() / FILE
    hand = wanted.hand
    settings = WindowSettings(
        wanted.session, remembered, wanted.usual_layout, wanted.all_panels, wanted.theme, wanted.size,
        hand.broker, hand.keys, hand.observer, hand.run,
    )  # fmt: skip
    window = Window(feed, settings)
    window.show()
    window.start()
    waits = _Waits(wanted)
    run_until(app, lambda: stop.came or not window.isVisible() or waits.over(window))
    try:
        if isinstance(feed, PlayedFeed) and feed.problem:
            raise StreamerError(f"{feed.broker.text}: {feed.problem}")
        if wanted.pictures is not None:
            take_pictures(window, wanted.pictures)
        if wanted.screenshot is not None and not window.save(wanted.screenshot):
            raise DisplayError(f"the picture cannot be written to {wanted.screenshot}")
        return _summary(window, wanted.screenshot)
    finally:
        window.stop()
        window.close()


class _Waits:
    """Tells when what was wanted is there."""

    def __init__(self, wanted: _Wanted) -> None:
        self._wanted = wanted
        self._since: float | None = None if wanted.at is not None else 0.0

    def over(self, window: Window) -> bool:
        wanted = self._wanted
        if self._since is None and wanted.at is not None and window.show_second(wanted.at):
            self._since = window.now()
        if wanted.at is not None and window.feed.problem:
            return True
        return wanted.after is not None and self._since is not None and window.now() - self._since >= wanted.after


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
        "images": view.images.count,
        "eeg_channels": view.eeg.rows.width if view.eeg is not None else 0,
        "triggers": view.predictions.triggers if view.predictions is not None else 0,
        **window.meter.summary(),
        "note": window.note,
        "screenshot": str(screenshot) if screenshot is not None else None,
    }
