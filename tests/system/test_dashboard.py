"""The dashboard with a real broker: the way to it, and the command in its own process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.link.feed import Feed, parse_broker
from dashboard.window import Window, WindowSettings
from streamer.broker import EmbeddedBroker
from tests.system.dashboard_loop import CHANNELS, MODEL, Loop
from tests.system.dashboard_room import ROOT, WAIT_MS, environment, grey, said

pytestmark = [pytest.mark.system, pytest.mark.beside]

COMMAND = [sys.executable, "-c", "import typer; from dashboard.command import dashboard; typer.run(dashboard)"]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def loop(broker: EmbeddedBroker) -> Iterator[Loop]:
    made = Loop(broker.url)
    yield made
    made.close()


@pytest.fixture
def open_window(qtbot: QtBot) -> Iterator[Callable[[str], Window]]:
    opened: list[Window] = []

    def make(url: str) -> Window:
        window = Window(Feed(parse_broker(url)), WindowSettings(theme="dark"))
        qtbot.addWidget(window)
        opened.append(window)
        window.show()
        window.start()
        return window

    yield make
    for window in opened:
        window.stop()


def shows(window: Window, text: str) -> Callable[[], bool]:
    return lambda: text in window.status.text()


def test_every_panel_shows_what_the_loop_says(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]
) -> None:
    window = open_window(broker.url)
    qtbot.waitUntil(shows(window, "NO SESSION"), timeout=WAIT_MS)
    docks = window.docks.docks.values()

    def pictures() -> dict[str, np.ndarray]:
        taken: dict[str, np.ndarray] = {}
        for dock in docks:
            dock.raise_()
            qtbot.waitUntil(lambda dock=dock: not dock.visibleRegion().isEmpty(), timeout=WAIT_MS)
            qtbot.wait(60)
            taken[dock.objectName()] = grey(dock.grab().toImage())
        return taken

    empty = pictures()
    loop.begin()
    loop.run(90)
    loop.trigger(0)
    loop.last_word()
    qtbot.waitUntil(lambda: window.board.view.trigger is not None, timeout=WAIT_MS)
    loop.run(2)
    qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
    status = window.status.text()
    assert loop.session in status
    assert MODEL in status
    view = window.board.view
    qtbot.waitUntil(lambda: view.now == loop.now, timeout=WAIT_MS)
    assert view.eeg is not None
    assert view.eeg.rows.end == 92 * 125
    assert view.eeg.rows.missing == 0
    full = pictures()
    for key in full.keys() - {"explanation"}:
        assert full[key].shape == empty[key].shape
        assert np.mean(full[key] != empty[key]) > 0.001, f"{key} did not change"
    assert window.feed.malformed == window.feed.dropped == window.board.rejected == 0


def test_a_broker_that_dies_and_comes_back(qtbot: QtBot, open_window: Callable[[str], Window]) -> None:
    with EmbeddedBroker() as first:
        url = first.url
        loop = Loop(url)
        try:
            loop.begin()
            loop.send()
            window = open_window(url)
            qtbot.waitUntil(lambda: window.feed.connected, timeout=WAIT_MS)
            loop.run(8)
            qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
            assert first.pid is not None
            os.kill(first.pid, signal.SIGKILL)
            qtbot.waitUntil(shows(window, "NO BROKER"), timeout=WAIT_MS)
        finally:
            loop.close()
    assert url.removeprefix("mqtt://") in window.status.text()
    with EmbeddedBroker(parse_broker(url).port):
        qtbot.waitUntil(lambda: window.feed.connected, timeout=WAIT_MS)
        again = Loop(url)
        try:
            again.begin()

            # the session before left no goodbye: it gives way once it has been silent for some seconds
            def followed() -> bool:
                again.send()
                return again.session in window.status.text()

            qtbot.waitUntil(followed, timeout=WAIT_MS)
            qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
        finally:
            again.close()


def test_keys_hold_the_display_and_not_the_loop(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]
) -> None:
    window = open_window(broker.url)
    panels = {panel.key: panel for panel in window.panels}
    eeg = panels["eeg"]
    loop.begin()
    loop.run(4)
    qtbot.waitUntil(lambda: f"{len(CHANNELS)} channels" in said(eeg), timeout=WAIT_MS)
    assert "50 µV per row" in said(eeg)
    for keys, scale in (("+", "20 µV"), ("-", "50 µV"), ("-", "100 µV")):
        qtbot.keyClicks(window, keys)
        qtbot.waitUntil(lambda scale=scale: f"{scale} per row" in said(eeg), timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_Space)
    held = window.board.shown
    loop.losses["volumes"] = 7
    loop.run(4)
    # the status line and the stores go on, the pictures stand still
    qtbot.waitUntil(shows(window, "Lost: volumes 7"), timeout=WAIT_MS)
    assert "SHOWS THE PAST" in window.status.text()
    assert window.board.shown == held < window.board.view.now
    assert "volumes 7" not in said(panels["health"])
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "volumes 7" in said(panels["health"]), timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_Q)
    assert not window.isVisible()


def test_sigterm_saves_the_picture(broker: EmbeddedBroker, loop: Loop, tmp_path: Path) -> None:
    picture = tmp_path / "dashboard.png"
    loop.begin()
    child = subprocess.Popen(
        [*COMMAND, "--broker", broker.url, "--offscreen", "--screenshot", str(picture), "--json"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # only what is retained reaches a window that opens later, so the loop goes on until it was seen
        for _ in range(60):
            loop.send()
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=20)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert child.returncode == 0, errors
    told = json.loads(out)
    assert (told["session"], told["status"]) == (loop.session, "RUNNING")
    assert told["volumes"] > 0
    assert told["images"] > 0
    assert told["eeg_channels"] == len(CHANNELS)
    assert told["malformed"] == told["rejected"] == told["dropped"] == 0
    image = QImage(str(picture))
    assert (image.width(), image.height()) == (1600, 1000)
    assert grey(image).std() > 15


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_picture_without_a_broker_says_so(tmp_path: Path) -> None:
    picture = tmp_path / "alone.png"
    child = run("--broker", "mqtt://127.0.0.1:9", "--screenshot", str(picture), "--after", "0.5", "--json")
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["status"] == "NO BROKER"
    assert grey(QImage(str(picture))).std() > 5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a desktop")
def test_no_display_is_one_line_and_exit_3() -> None:
    child = run()
    assert child.returncode == 3
    assert len(child.stderr.splitlines()) == 1
    assert "no display" in child.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_a_display_that_is_not_there_is_one_line_and_exit_3() -> None:
    child = run("--json", DISPLAY=":987")
    assert child.returncode == 3
    assert len(child.stderr.splitlines()) == 1
    assert "no window can be opened" in child.stderr
    assert json.loads(child.stdout)["exit_code"] == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_a_real_window_on_a_virtual_screen(broker: EmbeddedBroker, tmp_path: Path) -> None:
    assert shutil.which("xvfb-run"), "this test needs a virtual screen: sudo apt-get install -y xvfb xauth"
    picture = tmp_path / "window.png"
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1700x1100x24 -nolisten tcp"]
    child = subprocess.run(
        [*screen, *COMMAND, "--broker", broker.url, "--after", "1", "--screenshot", str(picture), "--json"],
        cwd=ROOT,
        env=environment(QT_QPA_PLATFORM="xcb", EEGFMRI_DASHBOARD_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["status"] == "NO SESSION"
    assert grey(QImage(str(picture))).std() > 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--broker", "http://x"], "expected mqtt://HOST:PORT"),
        (["--session", "a/b"], "expected a name"),
        (["--screenshot", "/nowhere/x.png"], "there is no folder"),
        (["--password-env", "NO_SUCH_VARIABLE"], "no such environment variable"),
        (["--size", "big"], "expected WIDTHxHEIGHT"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], says: str) -> None:
    child = run("--offscreen", *arguments)
    assert child.returncode == 2
    assert says in child.stderr
