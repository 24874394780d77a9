"""The dashboard with a real broker: as a window in this process, and as a command in its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.feed import Feed, parse_broker
from dashboard.window import Window
from streamer.broker import EmbeddedBroker
from streamer.wire import (
    About,
    BoldMessage,
    ChannelEntry,
    EegPreview,
    HealthMessage,
    Message,
    PredictionMessage,
    Status,
    TriggerMessage,
    VetoMessage,
    encode,
    topic,
)

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import typer; from dashboard.command import dashboard; typer.run(dashboard)"]
WAIT_MS = 15_000


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


class Loop:
    """Publishes what a loop would."""

    def __init__(self, url: str) -> None:
        self.session = f"test-{uuid4().hex[:8]}"
        address = parse_broker(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.connect(address.host, address.port)
        self._client.loop_start()

    def say(self, name: str, message: Message | bytes, *, retain: bool = False) -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        self._client.publish(topic(self.session, name), payload, qos=1, retain=retain).wait_for_publish(5.0)

    def status(self, state: str, *, online: bool = True, detail: str = "") -> None:
        self.say("status", Status(session=self.session, online=online, state=state, detail=detail), retain=True)

    def begin(self) -> None:
        channels = [ChannelEntry(name, "eeg") for name in ("Fz", "Cz", "Pz")] + [ChannelEntry("ECG", "ecg")]
        about = About(
            session=self.session,
            eeg_sfreq=250.0,
            channels=channels,
            regions=["motor", "insula"],
            classes=["rest", "task"],
            model="fusion@0123456789ab",
            tick_hz=10.0,
            thresholds={"on": 0.7, "off": 0.5},
            versions={},
        )
        self.say("about", about, retain=True)
        self.status("RUNNING")

    def send(self, step: int, *, losses: int = 0) -> None:
        """Send 0.5 s of everything."""
        at = 1000.0 + step / 2
        wave = 30 * np.sin(2 * np.pi * 10 * (step / 2 + np.arange(125) / 250))
        data = [wave.tolist(), (2 * wave).tolist(), (-wave).tolist()]
        self.say("preview/eeg", EegPreview(first_sample=125 * step, t0=at, sfreq=250.0, data_uv=data, flags=[]))
        self.say(
            "bold",
            BoldMessage(
                index=step,
                acquired=at - 1,
                received=at,
                regions=[1.25, -0.5],
                motion_mm=[0.1, 0.0, 0.0],
                motion_rad=[0.0, 0.0, 0.01],
                fd_mm=0.75,
                flags=[],
            ),
        )
        self.say(
            "prediction",
            PredictionMessage(
                seq=step,
                model="fusion@0123456789ab",
                probabilities={"rest": 0.19, "task": 0.81},
                uncertainty=0.7,
                attention={"eeg": 0.6, "bold": 0.4},
                about=at,
                ready=at,
                expires=at + 1,
                age_eeg_s=0.02,
                age_bold_s=2.0,
                flags=[],
            ),
        )
        self.say(
            "health",
            HealthMessage(
                state="RUNNING",
                at=at,
                counts={"chunks": 1234567, "volumes": step},
                losses={"eeg_samples": losses},
                latency_ms={"gradient": [0.31, 12.5]},
                queues={"mqtt": 3},
                flags=[],
                notes=[],
            ),
        )

    def decide(self, seq: int) -> None:
        trigger = TriggerMessage(
            id=f"{self.session}/{seq}",
            seq=seq,
            action="reward",
            level=0.8,
            about=1000.0,
            fire_at=1000.0,
            expires=1001.0,
            reason="task",
            flags=[],
        )
        # QoS 1 may bring it twice
        self.say("trigger", trigger)
        self.say("trigger", trigger)
        self.say("veto", VetoMessage(window=seq, reason="MOTION", about=1000.5))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def loop(broker: EmbeddedBroker) -> Iterator[Loop]:
    made = Loop(broker.url)
    yield made
    made.close()


@pytest.fixture
def open_window(qtbot: QtBot) -> Iterator[Callable[[str], Window]]:
    opened: list[Window] = []

    def make(url: str) -> Window:
        window = Window(Feed(parse_broker(url)))
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


def pixels(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    raw = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : image.width()].astype(float)


def test_a_window_shows_what_the_loop_says(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]
) -> None:
    window = open_window(broker.url)
    qtbot.waitUntil(shows(window, "NO SESSION"), timeout=WAIT_MS)
    empty = pixels(window.grab().toImage())
    loop.begin()
    for step in range(6):
        loop.send(step)
    loop.decide(0)
    loop.say("health", b"\xff not a message")
    qtbot.waitUntil(lambda: window.feed.malformed == 1, timeout=WAIT_MS)
    qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
    window.frame()

    status = window.status.text()
    assert loop.session in status
    assert "fusion@0123456789ab" in status
    decision, regions = window.panels[3], window.panels[1]
    said = re.sub(r"<[^>]*>|&nbsp;", " ", decision.legend_text() + regions.legend_text())
    for text in ("rest 0.19", "task 0.81", "1 triggers", "1 vetoes", "motor +1.2 %", "insula −0.5 %"):
        assert text in said
    health = window.health
    assert [(row.name, row.values) for row in health.latency.rows] == [("gradient", ("0.31", "12.5"))]
    assert ("chunks", ("1.23 M",)) in [(row.name, row.values) for row in health.counts.rows]
    assert ("eeg samples", ("0",)) in [(row.name, row.values) for row in health.losses.rows]
    assert ("unreadable here", ("▲ 1",)) in [(row.name, row.values) for row in health.losses.rows]
    view = window.board.view
    assert view.eeg is not None
    assert view.eeg.rows.end == 6 * 125
    assert view.eeg.rows.missing == 0
    full = pixels(window.grab().toImage())
    for panel in window.panels:
        place = panel.geometry().translated(panel.parentWidget().mapTo(window, panel.parentWidget().rect().topLeft()))
        if panel.parentWidget() is window:
            place = panel.geometry()
        part = np.s_[place.top() : place.bottom(), place.left() : place.right()]
        assert np.mean(full[part] != empty[part]) > 0.001, f"{type(panel).__name__} did not change"


def test_losses_are_shown_at_once(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]
) -> None:
    window = open_window(broker.url)
    loop.begin()
    loop.send(0, losses=40)
    qtbot.waitUntil(shows(window, "Lost: eeg samples 40"), timeout=WAIT_MS)


def test_a_broker_that_dies_and_comes_back(qtbot: QtBot, open_window: Callable[[str], Window]) -> None:
    with EmbeddedBroker() as first:
        url = first.url
        loop = Loop(url)
        loop.begin()
        loop.send(0)
        window = open_window(url)
        qtbot.waitUntil(lambda: window.feed.connected, timeout=WAIT_MS)
        loop.send(1)
        qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
        loop.close()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        qtbot.waitUntil(shows(window, "NO BROKER"), timeout=WAIT_MS)
    assert url.removeprefix("mqtt://") in window.status.text()
    with EmbeddedBroker(parse_broker(url).port):
        qtbot.waitUntil(lambda: window.feed.connected, timeout=WAIT_MS)
        again = Loop(url)
        again.begin()
        steps = count()

        # the session before left no goodbye: it gives way once it has been silent for some seconds
        def followed() -> bool:
            again.send(next(steps))
            return again.session in window.status.text()

        qtbot.waitUntil(followed, timeout=WAIT_MS)
        qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
        again.close()


def test_a_session_that_ends_and_the_next_one(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]
) -> None:
    window = open_window(broker.url)
    loop.begin()
    loop.send(0)
    qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
    loop.status("STOPPED", online=False, detail="All data is written.")
    qtbot.waitUntil(shows(window, "ENDED"), timeout=WAIT_MS)
    assert "All data is written." in window.status.text()
    following = Loop(broker.url)
    following.begin()
    following.send(0)
    qtbot.waitUntil(shows(window, following.session), timeout=WAIT_MS)
    qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
    following.close()


def test_keys(qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_window: Callable[[str], Window]) -> None:
    window = open_window(broker.url)
    assert window.eeg.scale_uv == 50
    qtbot.keyClick(window, Qt.Key.Key_Plus)
    assert window.eeg.scale_uv == 20
    qtbot.keyClick(window, Qt.Key.Key_Minus)
    qtbot.keyClick(window, Qt.Key.Key_Minus)
    assert window.eeg.scale_uv == 100
    qtbot.keyClick(window, Qt.Key.Key_Space)
    loop.begin()
    loop.send(0)
    # the status line and the stores go on, the pictures stand still
    qtbot.waitUntil(shows(window, "RUNNING"), timeout=WAIT_MS)
    assert "PAUSED" in window.status.text()
    assert window.health.latency.rows == []
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.health.latency.rows != [], timeout=WAIT_MS)
    qtbot.keyClick(window, Qt.Key.Key_Q)
    assert not window.isVisible()


def environment(**changes: str) -> dict[str, str]:
    graphics = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}
    return {name: value for name, value in os.environ.items() if name not in graphics} | changes


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
        for step in range(40):
            loop.send(step)
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
    said = json.loads(out)
    assert said["session"] == loop.session
    assert said["status"] == "RUNNING"
    assert said["volumes"] > 0
    assert said["eeg_channels"] == 3
    assert said["malformed"] == said["dropped"] == 0
    image = QImage(str(picture))
    assert (image.width(), image.height()) == (1600, 1000)
    assert pixels(image).std() > 15


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
    child = run("--broker", "mqtt://127.0.0.1:9", "--screenshot", str(picture), "--after", "1", "--json")
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["status"] == "NO BROKER"
    assert pixels(QImage(str(picture))).std() > 5


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
        [*screen, *COMMAND, "--broker", broker.url, "--after", "2", "--screenshot", str(picture), "--json"],
        cwd=ROOT,
        env=environment(QT_QPA_PLATFORM="xcb"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout)["status"] == "NO SESSION"
    assert pixels(QImage(str(picture))).std() > 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--broker", "http://x"], "expected mqtt://HOST:PORT"),
        (["--session", "a/b"], "expected a name"),
        (["--screenshot", "/nowhere/x.png"], "there is no folder"),
        (["--password-env", "NO_SUCH_VARIABLE"], "no such environment variable"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], says: str) -> None:
    child = run("--offscreen", *arguments)
    assert child.returncode == 2
    assert says in child.stderr
