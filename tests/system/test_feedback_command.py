"""The participant's screen as a command: on a virtual screen, with a real broker."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pylsl import local_clock
from PySide6.QtGui import QImage

from dashboard.feedback.latency import BAR_MS
from streamer.broker import EmbeddedBroker
from tests.system.feedback_loop import COMMAND, Loop, VirtualScreen, environment

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def loop(broker: EmbeddedBroker) -> Iterator[Loop]:
    made = Loop(broker.url)
    made.status()
    yield made
    made.close()


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[VirtualScreen]:
    assert shutil.which("Xvfb"), "this test needs a virtual screen: sudo apt-get install -y xvfb"
    made = VirtualScreen(tmp_path)
    yield made
    made.close()


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = local_clock() + seconds
    while not true():
        if local_clock() > end:
            return False
        time.sleep(0.0002)
    return True


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11")
def test_from_message_to_pixels_on_a_full_screen(broker: EmbeddedBroker, loop: Loop, screen: VirtualScreen) -> None:
    child = subprocess.Popen(
        [*COMMAND, "--broker", broker.url, "--photodiode", "bottom-left", "--json"],
        cwd=ROOT,
        env=environment(QT_QPA_PLATFORM="xcb", DISPLAY=screen.display),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    taken: list[float] = []
    try:
        middle = (screen.width // 2, screen.height // 2)
        assert until(lambda: screen.brightness(*middle) > 150, 30.0), "no fixation cross on the full screen"
        corner = (20, screen.height - 20)

        def first() -> bool:
            loop.score(0.5)
            return until(lambda: screen.brightness(*corner) == 255, 0.3)

        # it takes a moment until it has subscribed
        assert until(first, 10.0)
        for k in range(100):
            bright = screen.brightness(*corner)
            began = local_clock()
            loop.score(k / 100)
            assert until(lambda bright=bright: screen.brightness(*corner) != bright, 2.0), f"score {k} was not shown"
            taken.append(1e3 * (local_clock() - began))
            time.sleep(0.02)
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=20)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    assert child.returncode == 0, errors
    said = json.loads(out)
    p50, p95 = np.percentile(taken, [50, 95])
    print(f"message to pixels, seen from outside: p50 {p50:.1f} ms, p95 {p95:.1f} ms; its own: {said['latency']}")
    assert p95 <= BAR_MS
    own = said["latency"]["arrival_to_pixels"]
    assert said["flips"] >= 101
    assert said["latency"]["scores"] >= 101
    # it sees less of the way than we do
    assert 0 < own["p50_ms"] <= p50
    assert own["p95_ms"] <= BAR_MS


def test_the_command_says_what_it_showed(broker: EmbeddedBroker, loop: Loop, tmp_path: Path) -> None:
    picture = tmp_path / "feedback.png"
    child = subprocess.Popen(
        [*COMMAND, "--broker", broker.url, "--offscreen", "--screenshot", str(picture), "--style", "ball"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(30):
            loop.score(0.8)
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
    assert "scores shown, 0 rewards; message to pixels p50" in out
    assert "within the bar of 100 ms" in out
    image = QImage(str(picture))
    assert (image.width(), image.height()) == (1000, 700)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=50, check=False
    )


def test_without_a_broker_it_is_neutral_and_says_so() -> None:
    child = run("--broker", "mqtt://127.0.0.1:9", "--offscreen", "--after", "0.5", "--json")
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout)
    assert (said["connected"], said["neutral"], said["session"]) == (False, True, None)
    assert said["latency"]["arrival_to_pixels"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--broker", "http://x"], "expected mqtt://HOST:PORT"),
        (["--session", "a/b"], "expected a name"),
        (["--screen", "7"], "there are only 0"),
        (["--text", "x" * 501], "expected 500 at most"),
        (["--screenshot", "/nowhere/x.png"], "there is no folder"),
        (["--password-env", "NO_SUCH_VARIABLE"], "no such environment variable"),
        (["--style", "balloon"], "balloon"),
    ],
)
def test_wrong_use_is_exit_2(arguments: list[str], says: str) -> None:
    child = run("--offscreen", *arguments)
    assert child.returncode == 2
    assert says in child.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a desktop")
def test_no_display_is_one_line_and_exit_3() -> None:
    child = run()
    assert child.returncode == 3
    assert "no display" in child.stderr
