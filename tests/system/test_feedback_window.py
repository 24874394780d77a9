"""The participant's screen with a real broker, as a window in this process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from threading import Event, Thread

import numpy as np
import pytest
from pylsl import local_clock
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from dashboard.feedback.feed import ScoreFeed
from dashboard.feedback.settings import Corner, Style, ViewSettings
from dashboard.feedback.view import FeedbackView
from dashboard.link.feed import parse_broker
from streamer.broker import EmbeddedBroker
from streamer.clock import LiveClock
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.messages import Score, SessionTime, Trigger
from tests.system.feedback_loop import LIFE_S, Loop

pytestmark = pytest.mark.system

WAIT_MS = 15_000


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


Open = Callable[..., FeedbackView]


@pytest.fixture
def open_view(qtbot: QtBot) -> Iterator[Open]:
    opened: list[FeedbackView] = []

    def make(url: str, settings: ViewSettings | None = None) -> FeedbackView:
        view = FeedbackView(ScoreFeed(parse_broker(url), None, None, local_clock), settings or ViewSettings())
        qtbot.addWidget(view)
        opened.append(view)
        view.show()
        view.start()
        qtbot.waitUntil(lambda: view.store.online, timeout=WAIT_MS)
        return view

    yield make
    for view in opened:
        view.stop()


def pixels(view: FeedbackView) -> np.ndarray:
    """Shape (height, width, 3), red first."""
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    raw = np.frombuffer(image.constBits(), dtype=np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def lit(picture: np.ndarray) -> np.ndarray:
    """Where it is blue or yellow, as levels are."""
    return picture.max(axis=2) - picture.min(axis=2) > 80


def white(picture: np.ndarray) -> int:
    return int((picture.min(axis=2) > 240).sum())


def test_the_level_is_as_high_as_the_score(qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open) -> None:
    view = open_view(broker.url)
    heights: dict[float, int] = {}
    for level in (0.25, 0.75):
        loop.score(level, life=4.0)
        qtbot.waitUntil(lambda level=level: view.look.levels == (level,), timeout=WAIT_MS)
        heights[level] = int(lit(pixels(view)).any(axis=1).sum())
    # a line of the threshold may cover some of it
    assert heights[0.75] == pytest.approx(3 * heights[0.25], rel=0.1)
    assert view.latency.summary()["scores"] == 2


def test_two_axes_are_two_thermometers_or_the_place_of_the_ball(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open
) -> None:
    tubes = open_view(broker.url)
    ball = open_view(broker.url, ViewSettings(style=Style.BALL))
    mirrored = open_view(broker.url, ViewSettings(style=Style.BALL, mirror=True))
    loop.score(0.9, life=4.0, eeg=0.2, bold=0.8)
    for view in (tubes, ball, mirrored):
        qtbot.waitUntil(lambda view=view: view.look.levels == (0.2, 0.8), timeout=WAIT_MS)
    columns = lit(pixels(tubes)).sum(axis=0)
    edges = np.flatnonzero(np.diff((columns > 0).astype(int)))
    assert len(edges) == 4
    left, right = columns[edges[0] + 1 : edges[1]].mean(), columns[edges[2] + 1 : edges[3]].mean()
    assert right == pytest.approx(4 * left, rel=0.1)
    places = [np.argwhere(lit(pixels(view))).mean(axis=0) for view in (ball, mirrored)]
    height, width, _ = pixels(ball).shape
    assert places[0][0] < 0.4 * height
    assert places[0][1] < 0.45 * width
    assert places[1] == pytest.approx([places[0][0], width - 1 - places[0][1]], abs=1.5)


def test_a_score_that_is_not_renewed_gives_the_cross(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open
) -> None:
    view = open_view(broker.url)
    cross = pixels(view)
    assert not lit(cross).any()
    assert cross[350, 500].min() > 150
    loop.score(0.8)
    sent = local_clock()
    qtbot.waitUntil(lambda: not view.look.neutral, timeout=WAIT_MS)
    assert lit(pixels(view)).any()
    qtbot.waitUntil(lambda: view.look.neutral, timeout=WAIT_MS)
    assert LIFE_S - 0.05 < local_clock() - sent < LIFE_S + 0.3
    assert np.array_equal(pixels(view), cross)


def test_a_reward_lights_up_once(qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open) -> None:
    view = open_view(broker.url)
    loop.score(0.8, life=4.0)
    qtbot.waitUntil(lambda: not view.look.neutral, timeout=WAIT_MS)
    before = white(pixels(view))
    loop.trigger(0)
    qtbot.waitUntil(lambda: view.look.flash, timeout=WAIT_MS)
    assert white(pixels(view)) > before + 1000
    qtbot.waitUntil(lambda: not view.look.flash, timeout=WAIT_MS)
    assert white(pixels(view)) == before
    loop.trigger(1, life=-0.01)
    qtbot.waitUntil(lambda: view.store.counts["trigger_expired"] == 1, timeout=WAIT_MS)
    assert not view.look.flash
    assert view.store.counts["triggers"] == 1


def test_a_session_that_stops_gives_the_cross(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open
) -> None:
    view = open_view(broker.url)
    loop.score(0.8, life=4.0)
    qtbot.waitUntil(lambda: not view.look.neutral, timeout=WAIT_MS)
    loop.status("STOPPED", online=False)
    ended = local_clock()
    qtbot.waitUntil(lambda: view.look.neutral, timeout=WAIT_MS)
    assert local_clock() - ended < 1.0


def test_a_broker_that_dies_gives_the_cross_and_one_that_comes_back_the_level(qtbot: QtBot, open_view: Open) -> None:
    with EmbeddedBroker() as first:
        url = first.url
        loop = Loop(url)
        loop.status()
        view = open_view(url)
        loop.score(0.8, life=4.0)
        qtbot.waitUntil(lambda: not view.look.neutral, timeout=WAIT_MS)
        loop.close()
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        died = local_clock()
        qtbot.waitUntil(lambda: view.look.neutral, timeout=WAIT_MS)
        assert local_clock() - died < 1.0
    with EmbeddedBroker(parse_broker(url).port):
        qtbot.waitUntil(lambda: view.feed.connected, timeout=WAIT_MS)
        again = Loop(url)
        again.status()

        def back() -> bool:
            again.score(0.4)
            return view.look.levels == (0.4,)

        qtbot.waitUntil(back, timeout=WAIT_MS)
        again.close()


def test_a_flood_and_nonsense_do_no_harm(qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open) -> None:
    view = open_view(broker.url)
    bad = [b"", b"\xff", b"[" * 5000, b'{"kind":"score"}', b'{"kind":"score","schema":99}']
    for k in range(3000):
        loop.score(k / 3000)
        if k % 100 == 0:
            loop.say("score", bad[k // 100 % len(bad)], qos=0)
            loop.say("trigger", bad[k // 100 % len(bad)], qos=0)
        if k % 20 == 0:
            qtbot.wait(5)
    for name, payload in (("status", b"{}"), ("score", b"\x00"), ("trigger", b"no")):
        loop.say(name, payload)
    qtbot.waitUntil(lambda: view.feed.malformed == 63, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: view.look.neutral, timeout=WAIT_MS)
    loop.score(0.3)
    qtbot.waitUntil(lambda: view.look.levels == (0.3,), timeout=WAIT_MS)
    counts = view.store.counts
    assert counts["scores"] + counts["superseded"] + view.feed.dropped <= 3001
    assert counts["scores"] > 10
    assert view.frames < 3000


def test_the_text_is_the_experimenters_alone(broker: EmbeddedBroker, loop: Loop, open_view: Open) -> None:
    plain, told = open_view(broker.url), open_view(broker.url, ViewSettings(text="Rest now.\nLook at the cross."))
    assert plain.windowTitle().strip() == ""
    top = np.s_[:320]
    assert (pixels(plain)[top] == pixels(plain)[0, 0]).all()
    assert (pixels(told)[top].min(axis=2) > 100).sum() > 200


def test_only_two_keys_do_anything(qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open) -> None:
    view = open_view(broker.url)
    for key in (Qt.Key.Key_1, Qt.Key.Key_Space, Qt.Key.Key_Q, Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_B):
        qtbot.keyClick(view, key)
    # another key came between
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.isVisible()
    qtbot.keyClick(view, Qt.Key.Key_F)
    assert view.isFullScreen()
    qtbot.keyClick(view, Qt.Key.Key_F)
    assert not view.isFullScreen()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.isVisible()
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert not view.isVisible()


def test_the_patch_flips_with_every_new_score(
    qtbot: QtBot, broker: EmbeddedBroker, loop: Loop, open_view: Open
) -> None:
    view = open_view(broker.url, ViewSettings(photodiode=Corner.TOP_RIGHT, mirror=True))
    seen = [pixels(view)[10, -10, 0]]
    for flips in range(1, 5):
        # the level stays: the patch tells that it is a new one
        loop.score(0.6, life=4.0)
        qtbot.waitUntil(lambda flips=flips: view.flips == flips, timeout=WAIT_MS)
        seen.append(pixels(view)[10, -10, 0])
    assert seen == [0, 255, 0, 255, 0]


def test_the_scores_of_the_loops_own_sink_are_shown(qtbot: QtBot, broker: EmbeddedBroker, open_view: Open) -> None:
    ending = Event()
    thread = Thread(target=lambda: asyncio.run(publish(broker.url, ending)))
    thread.start()
    try:
        view = open_view(broker.url)
        qtbot.waitUntil(lambda: view.look.levels == (0.61,), timeout=WAIT_MS)
        qtbot.waitUntil(lambda: view.store.counts["triggers"] == 1, timeout=WAIT_MS)
    finally:
        ending.set()
        thread.join(10)
    assert not thread.is_alive()
    qtbot.waitUntil(lambda: view.look.neutral, timeout=WAIT_MS)
    assert not view.store.online


async def publish(url: str, ending: Event) -> None:
    """Send scores, and one trigger, by the way that the loop takes."""
    clock = LiveClock()
    sink = MqttSink(MqttSettings(), url, "live", clock, blinded=True)
    task = asyncio.create_task(sink.run())
    sink.publish_status("RUNNING")
    for window in count():
        now = clock.now()
        times = {"about": SessionTime(now - 0.1), "expires": SessionTime(now + 0.9)}
        # what is shown in a session with sham is not the true score
        sink.put(Score(window, 0.61, {}, 0.5, neutral=False, actual=0.2, ready=now, **times))
        if window == 10:
            sink.put(Trigger(0, window, "reward", 0.61, fire_at=now, reason="", **times))
        await asyncio.sleep(0.1)
        if ending.is_set():
            break
    await sink.close()
    await task
