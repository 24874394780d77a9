"""The bar of commands: what it offers, what it asks first, and what it says became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QMenu, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from dashboard.dialogs.annotate import NoteDialog
from dashboard.dialogs.base import Dialog
from dashboard.dialogs.confirm import Question
from dashboard.dialogs.connect import Places
from dashboard.drawing.theme import choose
from dashboard.link.keys import Keys
from dashboard.link.launcher import Launcher
from dashboard.link.sessions import BrokerChoice
from dashboard.panels.control import CONFIRM_S, SHOWN_S, ControlBar
from tests.unit.operator_room import Room, keys_of, status


class Bench:
    def __init__(self, qtbot: QtBot, room: Room, folder: Path, launcher: Launcher | None = None) -> None:
        self.room = room
        self.window = QWidget()
        qtbot.addWidget(self.window)
        self.connected: list[tuple[str, str | None]] = []
        self.bar = ControlBar(
            room.link,
            lambda feed, session, _: self.connected.append((feed.broker.text, session)),
            lambda: Places(BrokerChoice("mqtt://127.0.0.1:1"), folder, None),
            launcher,
        )
        self.bar.setParent(self.window)
        self.window.show()

    def frame(self, seconds: float = 0.0) -> None:
        self.room.time += seconds
        self.bar.refresh(self.room.board)

    def dialog(self, kind: type[Dialog]) -> Dialog:
        shown = [found for found in self.window.findChildren(kind) if found.isVisible()]
        assert len(shown) == 1
        return shown[0]

    def do(self, text: str) -> None:
        """Do what stands in the menu."""
        next(c for c in self.bar.commands() if c.text.replace("&", "").startswith(text)).do()


@pytest.fixture
def bench(qtbot: QtBot, tmp_path: Path) -> Bench:
    made = Bench(qtbot, Room(keys=keys_of(tmp_path)), tmp_path)
    made.room.begin()
    made.frame()
    return made


def press(qtbot: QtBot, button: QPushButton) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_stop_goes_at_once_and_shows_what_became_of_it(qtbot: QtBot, bench: Bench) -> None:
    bar = bench.bar
    assert "STOP" in bar.stop_button.text()
    assert bar.text() == "armed: triggers may leave"
    press(qtbot, bar.stop_button)
    assert [c.action for c in bench.room.heard] == ["stop"]
    assert bar.text() == "triggers stop"
    bench.room.tell()
    bench.frame()
    assert bar.text() == "triggers are stopped"
    assert "ARE STOPPED" in bar.stop_button.text()
    assert bar.stop_button.isEnabled()
    bench.frame(SHOWN_S + 0.1)
    assert bar.text() == "triggers are stopped; A twice lets them leave again"


def test_a_stop_that_is_not_heard_is_loud(bench: Bench) -> None:
    bench.room.reached = False
    bench.bar.stop()
    bench.frame(2.1)
    assert "not heard" in bench.bar.stop_button.text()
    assert "terminal" in bench.bar.text()


def test_arming_takes_two_presses_of_one_session(qtbot: QtBot, bench: Bench) -> None:
    bar, room = bench.bar, bench.room
    assert not bar.arm_button.isEnabled()
    assert "already" in bar.arm_button.toolTip()
    bar.stop()
    room.tell()
    bench.frame()
    press(qtbot, bar.arm_button)
    assert bar.arm_button.text() == "AGAIN?"
    assert "arms s" in bar.text()
    bench.frame(CONFIRM_S + 0.1)
    assert bar.arm_button.text() == "ARM"
    press(qtbot, bar.arm_button)
    assert [c.action for c in room.heard] == ["stop"]
    bench.frame(1.0)
    press(qtbot, bar.arm_button)
    assert [c.action for c in room.heard] == ["stop", "arm"]
    room.tell()
    bench.frame()
    assert bar.text() == "armed: triggers may leave"


def test_a_stop_between_the_presses_takes_the_arming_back(bench: Bench) -> None:
    bench.bar.stop()
    bench.room.tell()
    bench.frame()
    bench.bar.arm()
    bench.bar.stop()
    bench.bar.arm()
    assert "arm" not in [c.action for c in bench.room.heard]


def test_a_note_has_the_time_of_the_key(qtbot: QtBot, bench: Bench) -> None:
    bench.do("Note …")
    dialog = bench.dialog(NoteDialog)
    assert isinstance(dialog, NoteDialog)
    qtbot.keyClicks(dialog.line, "coughs, s and a and n")
    bench.frame(2.1)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    assert [(c.action, c.text) for c in bench.room.heard] == [("annotate", "coughs, s and a and n (at −2.1 s)")]
    bench.frame()
    assert bench.bar.text() == "the note is in the recording"
    assert not dialog.isVisible()


def test_triggers_stop_while_a_note_is_typed(qtbot: QtBot, bench: Bench) -> None:
    bench.do("Note …")
    dialog = bench.dialog(NoteDialog)
    assert isinstance(dialog, NoteDialog)
    qtbot.waitUntil(dialog.isActiveWindow)
    qtbot.keyClick(dialog.line, Qt.Key.Key_Period, Qt.KeyboardModifier.ControlModifier)
    assert [c.action for c in bench.room.heard] == ["stop"]
    assert dialog.isVisible()


def test_a_note_outlives_the_bar_it_was_asked_from(qtbot: QtBot, bench: Bench) -> None:
    bench.do("Note …")
    dialog = bench.dialog(NoteDialog)
    assert isinstance(dialog, NoteDialog)
    with qtbot.waitSignal(bench.bar.destroyed):
        bench.bar.deleteLater()
    dialog.line.setText("still here")
    qtbot.keyClick(dialog.line, Qt.Key.Key_Return)
    assert [c.text for c in bench.room.heard] == ["still here"]


def test_notes_can_be_taken_again(bench: Bench) -> None:
    bench.room.link.annotate("a & b")
    bench.do("Notes again")
    menu = bench.bar.findChild(QMenu)
    assert isinstance(menu, QMenu)
    texts = [action.text() for action in menu.actions() if not action.isSeparator()]
    assert texts == ["a && b", "&New note …", "&Stop triggers"]
    menu.actions()[0].trigger()
    menu.close()
    assert [c.text for c in bench.room.heard] == ["a & b", "a & b"]


def test_recentre_offers_its_three_ways(bench: Bench) -> None:
    for how in ("follow", "hold", "go back"):
        bench.do(f"Recentre: {how}")
    assert [c.text for c in bench.room.heard] == ["on", "freeze", "rollback"]


def test_the_end_is_asked_for_by_name_and_return_does_nothing(qtbot: QtBot, bench: Bench) -> None:
    press(qtbot, bench.bar.session_button)
    question = bench.dialog(Question)
    assert question.windowTitle() == "End s?"
    qtbot.keyClick(question, Qt.Key.Key_Return)
    assert not question.isVisible()
    assert bench.room.heard == []
    bench.do("End")
    question = bench.dialog(Question)
    assert isinstance(question, Question)
    press(qtbot, question.buttons[0])
    assert [c.action for c in bench.room.heard] == ["end"]


def test_another_session_is_not_ended_by_an_old_question(qtbot: QtBot, bench: Bench) -> None:
    bench.do("End")
    question = bench.dialog(Question)
    assert isinstance(question, Question)
    bench.room.board.take("t", status("t"))
    bench.room.board.follow("t")
    bench.frame()
    press(qtbot, question.buttons[0])
    assert bench.room.sent == []
    assert "not followed any more" in bench.bar.text()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_an_observer_reads_why_nothing_can_be_done(qtbot: QtBot, tmp_path: Path, theme: str) -> None:
    choose(theme)  # type: ignore[arg-type]
    bench = Bench(qtbot, Room(keys=keys_of(tmp_path), observer=True), tmp_path)
    bench.room.begin()
    bench.frame()
    bar = bench.bar
    for button in (bar.stop_button, bar.arm_button, bar.note_button, bar.recentre_button, bar.session_button):
        assert not button.isEnabled()
        assert "observes" in button.toolTip()
    for command in bar.commands():
        if not command.text.startswith("&Connect"):
            command.do()
    assert bench.room.sent == []
    choose("dark")


def test_without_a_key_only_stop_is_offered(qtbot: QtBot, tmp_path: Path) -> None:
    bench = Bench(qtbot, Room(keys=Keys(folder=tmp_path)), tmp_path)
    bench.room.begin()
    bench.frame()
    assert bench.bar.stop_button.isEnabled()
    assert not bench.bar.note_button.isEnabled()
    assert "--key-file" in bench.bar.note_button.toolTip()
    assert bench.bar.text() == "armed: triggers may leave; only a stop can be sent: no key"
    bench.do("Arm")
    assert "arm not sent: no key" in bench.bar.text()


def test_nothing_yet(qtbot: QtBot, tmp_path: Path) -> None:
    bench = Bench(qtbot, Room(keys=Keys(folder=tmp_path)), tmp_path)
    bench.frame()
    assert bench.bar.text() == "no session is there"
    bench.do("Stop triggers")
    assert "not sent" in bench.bar.text()


def test_keys_are_its_own(bench: Bench) -> None:
    keys = [command.keys for command in bench.bar.commands() if command.keys]
    assert keys == ["S", "Ctrl+.", "A", "N", "Ctrl+N", "Ctrl+O"]
    assert all(not QKeySequence(text).isEmpty() for text in keys)


def test_an_unchanged_bar_is_not_drawn_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    set_text: Callable[[str], None] = bench.bar._said.setText
    monkeypatch.setattr(bench.bar._said, "setText", lambda text: (drawn.append(text), set_text(text)))
    for _ in range(5):
        bench.frame(0.03)
    assert drawn == []


def test_start_asks_first_and_says_why_it_failed(qtbot: QtBot, tmp_path: Path) -> None:
    config = tmp_path / "SESSION.toml"
    config.write_text("[nonsense]\n")
    launcher = Launcher(config, tmp_path / "logs")
    bench = Bench(qtbot, Room(keys=Keys(folder=tmp_path)), tmp_path, launcher)
    bench.frame()
    assert bench.bar.session_button.text() == "START …"
    press(qtbot, bench.bar.session_button)
    question = bench.dialog(Question)
    assert isinstance(question, Question)
    assert str(config) in " ".join(label.text() for label in question.findChildren(type(bench.bar._said)))
    assert not launcher.running
    question.reject()
    assert bench.bar.may_close()


@pytest.mark.skipif(sys.platform == "win32", reason="folders without rights")
def test_a_launcher_without_a_place_for_its_log_says_so(tmp_path: Path) -> None:
    config = tmp_path / "SESSION.toml"
    config.touch()
    (tmp_path / "logs").touch()
    assert "no session is started" in Launcher(config, tmp_path / "logs").start()
