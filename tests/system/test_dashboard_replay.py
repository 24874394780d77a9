"""``streamer dashboard --replay``: a recording is loaded, scrubbed, played and pictured."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

import replay_data
from dashboard.layout import HOME
from dashboard.link.played import PlayedFeed
from dashboard.window import Window, WindowSettings
from tests.system.dashboard_room import ROOT, environment, grey, pictures_folder, said

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(120)]

SHIPPED = Path(replay_data.__file__).parent / "short" / "task" / "recording.toml"
COMMAND = [sys.executable, "-m", "streamer", "dashboard"]
LOADS_MS = 60_000
WAIT_MS = 10_000


@pytest.fixture
def window(qtbot: QtBot) -> Window:
    """A window that has loaded the recording."""
    made = Window(PlayedFeed(SHIPPED), WindowSettings(theme="dark"))
    qtbot.addWidget(made, before_close_func=lambda w: w.stop())
    made.show()
    made.start()
    return made


def test_scrubbing_and_playing(qtbot: QtBot, window: Window) -> None:
    board, feed = window.board, window.feed
    assert isinstance(feed, PlayedFeed)
    qtbot.waitUntil(lambda: board.held is not None, timeout=LOADS_MS)
    # it is shown from its beginning while the rest is still read
    assert window.status.line is not None
    assert window.status.line.word == "REPLAY"
    first = board.shown
    qtbot.waitUntil(lambda: board.shown > first + 0.5, timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: feed.ended, timeout=LOADS_MS)
    qtbot.waitUntil(lambda: "Read to its end." in window.status.text(), timeout=WAIT_MS)
    stood = board.shown
    qtbot.wait(200)
    assert board.shown == stood
    begin = feed.span[0]

    assert window.show_second(20.0)
    qtbot.wait(700)
    assert board.shown == pytest.approx(begin + 20.0)
    assert window.timeline.text().startswith("0:20 of 0:")
    panels = {panel.key: panel for panel in window.panels}
    later = {key: said(panel) for key, panel in panels.items()}
    assert "volume 1" in later["planes"]
    assert "channels" in later["eeg"]
    for keys, seconds in ((",", -1.0), ("<", -10.0), (".", 1.0), (">", 10.0)):
        before = board.shown
        qtbot.keyClicks(window, keys)
        assert board.shown == pytest.approx(before + seconds), keys
    assert window.show_second(6.0)
    qtbot.wait(700)
    earlier = {key: said(panel) for key, panel in panels.items()}
    for key in ("planes", "motion", "health"):
        assert earlier[key] != later[key], key
    assert window.timeline.text().startswith("0:06 of 0:")

    # before the beginning and after the end there is nothing to go to
    window.step(-1000.0)
    qtbot.wait(100)
    assert window.timeline.text().startswith(("0:00 of", "−"))
    qtbot.keyClick(window, Qt.Key.Key_L)
    assert board.shown == pytest.approx(board.view.now)
    window.step(1000.0)
    assert board.shown == pytest.approx(board.view.now)

    strip = window.timeline.strip
    middle = strip.rect().center()
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=middle)
    assert board.shown == pytest.approx(strip.time_at(middle.x()), abs=0.05)

    window.show_second(2.0)
    for _ in range(4):
        qtbot.keyClick(window, Qt.Key.Key_BracketRight)
    assert window.speed == 30.0
    qtbot.keyClick(window, Qt.Key.Key_Space)
    # thirty times as fast, it is over soon
    qtbot.waitUntil(lambda: board.shown >= board.view.now, timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_BracketLeft)
    assert window.speed == 10.0
    assert board.rejected == 0


def test_pictures_of_the_window_and_of_every_panel(tmp_path: Path) -> None:
    folder = pictures_folder(tmp_path) / "replay"
    shot = tmp_path / "shot.png"
    done = run(
        "--replay", str(SHIPPED), "--at", "24", "--after", "1.5", "--pictures", str(folder), "--screenshot", str(shot),
        "--theme", "light", "--json", home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["malformed"], told["rejected"], told["dropped"]) == ("REPLAY", 0, 0, 0)
    assert told["volumes"] > 10
    assert told["images"] > 10
    keys = {
        "eeg", "spectrum", "scalp", "planes", "brain", "regions", "connectivity", "motion", "decision", "score",
        "modality", "explanation", "health",
    }  # fmt: skip
    pictured = {path.stem: QImage(str(path)) for path in folder.glob("*.png")}
    assert pictured.keys() == keys | {"window"}
    for name, image in pictured.items():
        assert image.width() >= 200, name
        assert grey(image).std() > 3, f"{name} is of one colour"
    assert (pictured["window"].width(), pictured["window"].height()) == (1600, 1000)
    assert grey(pictured["window"]).mean() > 150
    assert grey(QImage(str(shot))).std() > 10


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(**{HOME: str(home)}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--replay", "/nowhere"], "there is no such file or folder"),
        (["--at", "5"], "--at is for a recording"),
        (["--replay", str(SHIPPED), "--at", "-3"], "--at"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = run("--offscreen", *arguments, home=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_that_was_cut_short_is_said_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    shutil.copytree(SHIPPED.parent, folder)
    os.truncate(folder / "eeg.eeg", 20_000)
    path, picture = folder / SHIPPED.name, tmp_path / "x.png"
    done = run(
        "--replay", str(path), "--at", "5", "--after", "0", "--screenshot", str(picture), "--json", home=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in json.loads(done.stdout)["error"]
    assert not picture.exists()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_sigterm_ends_it_and_its_child(tmp_path: Path) -> None:
    seen, home = tmp_path / "seen.json", tmp_path / "home"
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.system.dashboard_seen",
            str(seen),
            "--replay",
            str(SHIPPED),
            "--offscreen",
            "--json",
        ],
        cwd=ROOT,
        env=environment(**{HOME: str(home)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 40
        while not seen.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        players = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text(encoding="utf-8").split()
        assert players
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=30)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert child.returncode == 0, errors
    assert json.loads(out)["status"] in {"REPLAY", ""}
    assert not any(is_alive(int(pid)) for pid in players)
    # a window that nobody sees leaves nothing to remember
    assert not home.exists()
