"""The dashboard's hand on real sessions, over a real broker."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PySide6.QtCore import QElapsedTimer
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from dashboard.board import Board
from dashboard.dialogs.confirm import Question
from dashboard.dialogs.connect import ConnectDialog, Places
from dashboard.link.feed import Feed, parse_broker
from dashboard.link.keys import Keys
from dashboard.link.launcher import Launcher
from dashboard.link.operator import OperatorLink, Outcome
from dashboard.link.sessions import BrokerChoice
from dashboard.panels.control import ControlBar
from streamer.broker import EmbeddedBroker
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from tests.system.conftest import write_config

pytestmark = pytest.mark.system

WAIT_MS = 30_000
FRAME_MS = 33


class Desk:
    """What a window does with the bar, without the other panels."""

    def __init__(self, qtbot: QtBot, config: Path, sessions: Path) -> None:
        self.qtbot = qtbot
        self.widget = QWidget()
        qtbot.addWidget(self.widget)
        self.feed: Feed | None = None
        self.board = Board()
        self.operator = OperatorLink(None, Keys(folder=sessions / "elsewhere"))
        self.launcher = Launcher(config, sessions / "logs")
        places = Places(BrokerChoice("mqtt://127.0.0.1:1"), sessions, sessions / "brokers.json")
        self.bar = ControlBar(self.operator, self.connect, lambda: places, self.launcher)
        self.bar.setParent(self.widget)
        self.widget.show()
        self._clock = QElapsedTimer()
        self._clock.start()

    def connect(self, feed: Feed, session: str | None, _choice: BrokerChoice) -> None:
        if self.feed is not None:
            self.feed.stop()
        self.feed = self.operator.sender = feed
        self.board = Board(session)
        feed.start()

    def frame(self) -> None:
        self.board.at = self._clock.elapsed() / 1e3
        for arrival in self.feed.drain() if self.feed is not None else ():
            self.board.take(arrival.session, arrival.message)
        self.bar.refresh(self.board)

    def until(self, holds: Callable[[], object]) -> None:
        def look() -> bool:
            self.frame()
            return bool(holds())

        self.qtbot.waitUntil(look, timeout=WAIT_MS)

    def answer(self, choice: int) -> None:
        """Press a button of the question that is open."""
        question = next(q for q in self.widget.findChildren(Question) if q.isVisible())
        question.buttons[choice].click()

    def outcome(self) -> Outcome | None:
        return self.operator.last.outcome if self.operator.last is not None else None

    def told(self, outcome: Outcome) -> None:
        self.until(lambda: self.outcome() is not Outcome.SENT)
        assert self.operator.last is not None
        assert self.operator.last.outcome is outcome, self.operator.last.said

    def close(self) -> None:
        if self.feed is not None:
            self.feed.stop()
        child = self.launcher._child
        if child is not None and child.poll() is None:
            # of its own process group: whatever it started goes with it
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        if child is not None:
            child.wait(10)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # the lock of one session per machine lies among temporary files: this one may run beside others
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    made = Config(
        session=SessionSection(directory=tmp_path / "sessions", name="handled"),
        eeg=EegSection(enabled=False),
        bold=BoldSection(directory=tmp_path / "export"),
        model=ModelSection(card="none"),
    )
    return write_config(made, tmp_path / "SESSION.toml")


@pytest.fixture
def desk(qtbot: QtBot, config: Path, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(qtbot, config, tmp_path)
    yield made
    made.close()


def test_a_session_is_started_stopped_armed_annotated_and_ended(desk: Desk, tmp_path: Path) -> None:
    bar, operator = desk.bar, desk.operator
    desk.frame()
    bar.session_button.click()
    desk.answer(0)
    assert desk.launcher.running
    desk.until(lambda: (operator.online and operator.armed) or desk.launcher.failure)
    assert desk.launcher.failure == ""
    assert operator.session == "handled"
    # the key was found where the session has laid it
    assert operator.cannot("arm") == ""

    bar.stop()
    desk.told(Outcome.TAKEN)
    assert operator.armed is False
    bar.arm()
    bar.arm()
    desk.told(Outcome.TAKEN)
    assert operator.armed is True
    operator.annotate("the door was open", operator.now() - 2.1)
    desk.told(Outcome.TAKEN)
    operator.recentre("freeze")
    desk.told(Outcome.TAKEN)

    # a file STOP is stronger than any hand
    stop_file = tmp_path / "sessions" / "handled" / "STOP"
    stop_file.touch()
    desk.until(lambda: operator.armed is False)
    bar.arm()
    bar.arm()
    desk.told(Outcome.NO_ANSWER)
    assert "STOP" in bar.text()
    stop_file.unlink()

    # the window asks before it leaves what it has started
    assert not bar.may_close()
    desk.answer(2)
    assert desk.launcher.running
    operator.end()
    desk.told(Outcome.TAKEN)
    desk.until(lambda: not desk.launcher.running)
    assert desk.launcher.failure == ""
    assert bar.may_close()
    lines = [json.loads(line) for line in (tmp_path / "sessions/handled/runlog.jsonl").read_text().splitlines()]
    said = [(line["action"], line["text"]) for line in lines if line["kind"] == "command"]
    assert said[:4] == [
        ("stop", "over MQTT, unsigned"),
        ("arm", "over MQTT"),
        ("annotate", "the door was open (at −2.1 s)"),
        ("recentre", "freeze"),
    ]
    assert said[-1] == ("end", "ended from the dashboard")
    # what ended well leaves no log behind
    desk.until(lambda: not list((tmp_path / "logs").iterdir()))


def test_a_session_that_cannot_start_says_why(desk: Desk, config: Path) -> None:
    config.write_text("[session]\nnonsense = 1\n")
    desk.bar.start()
    desk.answer(0)
    desk.until(lambda: any(q.isVisible() for q in desk.widget.findChildren(Question)))
    assert "nonsense" in desk.launcher.failure
    assert "ended with code 2" in desk.bar.text()
    assert desk.launcher.log is not None
    assert desk.launcher.log.exists()


def test_a_broker_that_falls_silent_gets_no_answer(desk: Desk) -> None:
    with EmbeddedBroker() as broker:
        desk.connect(Feed(parse_broker(broker.url), "ghost"), "ghost", BrokerChoice(broker.url))
        assert desk.feed is not None
        desk.until(lambda: desk.feed is not None and desk.feed.connected)
        publish(desk.feed, "ghost")
        desk.until(lambda: desk.operator.cannot("stop") == "")
        desk.bar.stop()
        desk.told(Outcome.NO_ANSWER)
        assert "terminal" in desk.operator.alarm
    desk.until(lambda: desk.feed is not None and not desk.feed.connected)
    desk.bar.stop()
    assert desk.outcome() is Outcome.NOT_SENT


def publish(feed: Feed, session: str) -> None:
    """Leave what a loop that was killed leaves."""
    client = feed._client
    assert client is not None
    payload = b'{"kind":"status","session":"%s","online":true,"state":"RUNNING"}' % session.encode()
    client.publish(f"eegfmri/{session}/status", payload, qos=1, retain=True)


def test_the_dialog_finds_brokers_and_sessions(qtbot: QtBot, tmp_path: Path) -> None:
    with EmbeddedBroker() as broker, EmbeddedBroker() as other, socket.socket() as silent:
        # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        feed = Feed(parse_broker(broker.url))
        feed.start()
        qtbot.waitUntil(lambda: feed.connected, timeout=WAIT_MS)
        publish(feed, "here")
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "running.json").write_text(json.dumps({"broker": broker.url}))
        (tmp_path / "brokers.json").write_text(json.dumps({"brokers": [{"url": other.url}, {"url": mute}]}))
        window = QWidget()
        qtbot.addWidget(window)
        taken: list[tuple[Feed, str | None, BrokerChoice]] = []
        places = Places(BrokerChoice("mqtt://127.0.0.1:1"), tmp_path, tmp_path / "brokers.json")
        dialog = ConnectDialog(window, places, lambda *chosen: taken.append(chosen), lambda: None)
        dialog.open_now()

        def rows() -> list[str]:
            texts = [[dialog.table.item(i, k).text() for k in (0, 4, 1)] for i in range(dialog.table.rowCount())]
            return [f"{name} at {url}: {stands}" for name, url, stands in texts]

        def found() -> bool:
            text = "\n".join(rows())
            wanted = (
                f"here at {broker.url}: ● online, RUNNING",
                f"the newest there at {other.url}: no session is online",
                "— at mqtt://127.0.0.1:1: nothing answers there",
                f"— at {mute}: asking",
            )
            return all(each in text for each in wanted)

        qtbot.waitUntil(found, timeout=WAIT_MS)
        clock = QElapsedTimer()
        clock.start()
        dialog.take()
        assert clock.elapsed() < 500
        assert [(f.broker.text, session) for f, session, _ in taken] == [(broker.url, "here")]
        feed.stop()
