"""The window as its user drives it: keys and clicks on a virtual screen, the command in its own process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtGui import QImage

from dashboard.layout import FILE, HOME
from streamer.broker import EmbeddedBroker
from tests.system.dashboard_loop import Loop
from tests.system.dashboard_room import ROOT, environment, grey, pictures_folder
from tests.system.feedback_loop import VirtualScreen

pytestmark = [
    pytest.mark.system,
    pytest.mark.beside,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11"),
]

WAIT_S = 15.0
OPENS_S = 40.0
SHORT_S = 0.02
TOLD = ("status", "timeline", "dialogs", "note", "open", "places", "active")
"""Of what the window shows, when it does not show what is wanted."""


def middle(place: list[int]) -> tuple[float, float]:
    x, y, width, height = place
    return x + width / 2, y + height / 2


class Screen(VirtualScreen):
    """Can be pictured."""

    def image(self) -> QImage:
        seen = bytes(self._memory[self._start : self._start + self.height * self._line])
        return QImage(seen, self.width, self.height, self._line, QImage.Format.Format_RGB32).copy()


class Desk:
    """A virtual screen with the command on it, a keyboard and a mouse."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.home = folder / "home"
        self.screen = Screen(folder)
        self.options = options
        self._file = folder / "seen.json"
        self.child: subprocess.Popen[str] | None = None

    def start(self, *more: str) -> None:
        """Open the window."""
        self._file.unlink(missing_ok=True)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.system.dashboard_seen", str(self._file), *self.options, *more],
            cwd=self.folder,
            env=environment(
                QT_QPA_PLATFORM="xcb", DISPLAY=self.screen.display, PYTHONPATH=str(ROOT), **{HOME: str(self.home)}
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._wait(self._file.exists, OPENS_S), self._errors()
        self.focus()

    def _errors(self) -> str:
        assert self.child is not None
        self.child.kill()
        return "\n".join(self.child.communicate())

    @staticmethod
    def _wait(true: Callable[[], object], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(SHORT_S)
        return True

    def tool(self, *arguments: str) -> str:
        done = subprocess.run(
            ["xdotool", *arguments],
            env=environment(DISPLAY=self.screen.display),
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout

    @property
    def seen(self) -> dict[str, Any]:
        """What the window shows now."""
        return json.loads(self._file.read_text(encoding="utf-8"))

    def until(self, true: Callable[[dict[str, Any]], object], seconds: float = WAIT_S) -> dict[str, Any]:
        """Wait until the window shows what is wanted; gives it."""
        held: dict[str, Any] = {}

        def now() -> object:
            nonlocal held
            held = self.seen
            return true(held)

        fits = self._wait(now, seconds)
        assert fits, {name: held[name] for name in TOLD}
        return held

    def key(self, keys: str) -> None:
        self.tool("key", "--clearmodifiers", keys)

    def click(self, x: float, y: float) -> None:
        self.tool("mousemove", str(round(x)), str(round(y)), "click", "1")

    def focus(self) -> None:
        """Put the window into the focus, as a window manager does."""
        found = self.tool("search", "--onlyvisible", "--name", "EEG-fMRI Streamer").split()
        self.tool("windowfocus", "--sync", found[0])
        self.until(lambda seen: seen["active"])

    def shot(self, path: Path) -> QImage:
        """Keep a picture of the whole screen."""
        # what was drawn last is on the screen a frame later
        time.sleep(0.3)
        image = self.screen.image()
        assert image.save(str(path))
        return image

    def screen_brightness(self, path: Path) -> float:
        return float(grey(self.shot(path)).mean())

    def button(self, text: str) -> tuple[float, float]:
        """Tell where the button is that says ``text``."""
        return middle(next(place for said, place in self.seen["buttons"].items() if text in said))

    def end(self, seconds: float = 20.0) -> dict[str, Any]:
        """Wait for its end; gives what it said."""
        assert self.child is not None
        out, errors = self.child.communicate(timeout=seconds)
        assert self.child.returncode == 0, errors
        return json.loads(out)

    def close(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
        self.screen.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def loop(broker: EmbeddedBroker) -> Iterator[Loop]:
    made = Loop(broker.url)
    made.begin()
    yield made
    made.close()


@pytest.fixture
def desk(broker: EmbeddedBroker, loop: Loop, tmp_path: Path) -> Iterator[Desk]:
    for program in ("Xvfb", "xdotool"):
        assert shutil.which(program), f"this test needs {program}: sudo apt-get install -y xvfb xdotool"
    size = ("--size", "1270x1000")
    made = Desk(tmp_path / "desk", "--broker", broker.url, "--session", loop.session, "--json", *size)
    yield made
    made.close()


@pytest.mark.timeout(150)
def test_a_sitting(desk: Desk, loop: Loop, tmp_path: Path) -> None:
    pictures = pictures_folder(tmp_path)
    desk.start()
    desk.until(lambda seen: loop.session in seen["status"])
    # the loop runs for 30 s of the session and then stands still: what is shown moves by keys alone
    loop.run(60)
    seen = desk.until(lambda seen: seen["shown"] == loop.now)
    assert seen["live"]
    assert seen["timeline"].startswith("live")
    usual = seen["places"]

    desk.key("space")
    seen = desk.until(lambda seen: "PAUSED" in seen["status"])
    assert not seen["live"]
    loop.run(8)
    desk.key("space")
    desk.until(lambda seen: seen["live"] and seen["shown"] == loop.now and "PAUSED" not in seen["status"])

    for times in (1, 2):
        desk.key("comma")
        desk.until(lambda seen, times=times: seen["shown"] == loop.now - times)
    desk.key("shift+comma")
    seen = desk.until(lambda seen: seen["shown"] == loop.now - 12)
    assert "SHOWS THE PAST, 0:12 ago" in seen["status"]
    assert seen["timeline"] == "0:12 ago"
    desk.key("period")
    desk.until(lambda seen: seen["shown"] == loop.now - 11)
    desk.key("l")
    desk.until(lambda seen: seen["live"] and "PAST" not in seen["status"])

    x, y, width, height = desk.seen["strip"]
    desk.click(x + 0.75 * width, y + height / 2)
    seen = desk.until(lambda seen: not seen["live"])
    # a minute is shown at least
    assert seen["shown"] == pytest.approx(loop.now - 15, abs=0.5)
    desk.click(*desk.button("● LIVE"))
    desk.until(lambda seen: seen["live"])
    desk.click(*desk.button("❚❚ PAUSE"))
    desk.until(lambda seen: "PAUSED" in seen["status"])
    desk.click(*desk.button("▶ GO ON"))
    desk.until(lambda seen: seen["live"])

    assert "500 µV" not in desk.seen["panels"]["eeg"]
    desk.key("r")
    desk.until(lambda seen: "least and largest" in seen["panels"]["eeg"])
    maps = desk.seen["states"]["planes"]
    desk.key("m")
    after = desk.until(lambda seen: seen["states"]["planes"] != maps)["states"]["planes"]
    desk.key("t")
    desk.until(lambda seen: seen["states"]["planes"] != after)

    assert "eeg" in desk.seen["open"]
    desk.key("ctrl+1")
    seen = desk.until(lambda seen: "eeg" not in seen["open"])
    desk.shot(pictures / "keys-without-eeg.png")
    desk.key("ctrl+0")
    desk.until(lambda seen: seen["places"] == usual)

    desk.key("F1")
    seen = desk.until(lambda seen: seen["dialogs"] == ["Keys"])
    for text in ("Pause or go on", "Ctrl+T", "Quit"):
        assert any(text in words for words in seen["words"]), text
    desk.shot(pictures / "keys-help.png")
    desk.key("Escape")
    desk.until(lambda seen: not seen["dialogs"])
    desk.focus()

    before = desk.screen_brightness(pictures / "keys-dark.png")
    assert desk.seen["theme"] == "dark"
    desk.key("ctrl+t")
    desk.until(lambda seen: seen["theme"] == "light")
    assert desk.screen_brightness(pictures / "keys-light.png") > before + 80
    # what was set stays set in the new panels
    seen = desk.until(lambda seen: "least and largest" in seen["panels"]["eeg"])
    assert seen["places"] == usual
    scale = seen["scale"]
    desk.key("ctrl+equal")
    desk.until(lambda seen: seen["scale"] > scale)
    desk.key("ctrl+1")
    seen = desk.until(lambda seen: "eeg" not in seen["open"])

    for send in (lambda: desk.key("s"), lambda: desk.key("ctrl+period"), lambda: desk.click(*desk.button("STOP"))):
        told = len(loop.commands)
        send()
        desk.until(lambda _, told=told: len(loop.commands) > told)
        assert [(command.action, command.session) for command in loop.commands[told:]] == [("stop", loop.session)]
    # who obeys says so
    loop.status("STOPPED")
    loop.run(2, state="STOPPED", neutral=True)
    desk.until(lambda seen: seen["word"] == "TRIGGERS STOPPED" and "triggers are stopped" in seen["control"])
    desk.shot(pictures / "keys-stopped.png")
    # it takes nothing else, and has no key for it
    told = len(loop.commands)
    desk.key("a")
    desk.until(lambda seen: "arm not sent" in seen["control"])
    assert len(loop.commands) == told

    desk.key("p")
    noted = desk.until(lambda seen: "picture saved" in seen["note"] and seen["note"] in seen["status"])["note"]
    saved = Path(noted.removeprefix("picture saved as "))
    assert saved.parent == desk.folder
    assert grey(QImage(str(saved))).std() > 10
    remembered = {name: desk.seen[name] for name in ("theme", "scale", "open", "states")}
    desk.key("q")
    said = desk.end()
    assert (said["session"], said["malformed"], said["rejected"]) == (loop.session, 0, 0)
    assert (desk.home / FILE).is_file()

    desk.start()
    seen = desk.until(lambda seen: loop.session in seen["status"])
    assert {name: seen[name] for name in remembered} == remembered
    desk.key("q")
    desk.end()

    desk.start("--usual-layout", "--theme", "dark")
    seen = desk.until(lambda seen: seen["word"])
    assert (seen["theme"], "eeg" in seen["open"]) == ("dark", True)
    assert desk.child is not None
    desk.child.send_signal(signal.SIGINT)
    desk.end()
