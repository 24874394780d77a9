"""The keys of the whole window on a real session that it has started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from dashboard.dialogs.annotate import NoteDialog
from dashboard.dialogs.confirm import Question
from dashboard.dialogs.connect import ConnectDialog
from dashboard.layout import HOME
from dashboard.link.feed import Feed, parse_broker
from dashboard.window import Window, WindowSettings
from streamer.config import BoldSection, Config, EegSection, ModelSection, SessionSection
from tests.system.conftest import write_config

pytestmark = pytest.mark.system

WAIT_MS = 30_000


def open_dialog(qtbot: QtBot, window: Window, kind: type[QDialog]) -> QDialog:
    found = next(found for found in window.findChildren(kind) if found.isVisible())
    qtbot.waitUntil(found.isActiveWindow)
    return found


def test_a_session_is_run_by_keys_alone(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    config = Config(
        session=SessionSection(directory=tmp_path / "sessions", name="keyed"),
        eeg=EegSection(enabled=False),
        bold=BoldSection(directory=tmp_path / "export"),
        model=ModelSection(card="none"),
    )
    run = write_config(config, tmp_path / "SESSION.toml")
    window = Window(Feed(parse_broker("mqtt://127.0.0.1:1")), WindowSettings(run=run, layout=tmp_path / "home/d.json"))
    qtbot.addWidget(window)
    window.show()
    window.start()
    operator, launcher = window.operator, window.launcher
    assert launcher is not None

    def said(text: str) -> Callable[[], bool]:
        return lambda: text in window.control.text() or bool(launcher.failure)

    try:
        qtbot.mouseClick(window.control.session_button, Qt.MouseButton.LeftButton)
        question = open_dialog(qtbot, window, Question)
        qtbot.keyClick(question, Qt.Key.Key_S, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda: operator.armed is True or bool(launcher.failure), timeout=WAIT_MS)
        assert launcher.failure == ""
        assert window.board.session == "keyed"
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        qtbot.keyClick(window, Qt.Key.Key_S)
        qtbot.waitUntil(said("triggers are stopped"), timeout=WAIT_MS)
        # a change of theme makes another bar, which knows the same
        window.use_theme("light")
        assert operator.armed is False
        qtbot.keyClick(window, Qt.Key.Key_A)
        qtbot.keyClick(window, Qt.Key.Key_A)
        qtbot.waitUntil(said("armed"), timeout=WAIT_MS)
        qtbot.keyClick(window, Qt.Key.Key_N)
        note = open_dialog(qtbot, window, NoteDialog)
        assert isinstance(note, NoteDialog)
        qtbot.keyClicks(note.line, "s was pressed")
        qtbot.keyClick(note.line, Qt.Key.Key_Return)
        qtbot.waitUntil(said("the note is in the recording"), timeout=WAIT_MS)
        assert operator.armed is True
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        qtbot.keyClick(window, Qt.Key.Key_O, Qt.KeyboardModifier.ControlModifier)
        found = open_dialog(qtbot, window, ConnectDialog)
        assert isinstance(found, ConnectDialog)
        qtbot.waitUntil(lambda: found.chosen() is not None and found.chosen().session == "keyed", timeout=WAIT_MS)
        before = window.feed
        qtbot.keyClick(found.table, Qt.Key.Key_Return)
        assert window.feed is not before
        qtbot.waitUntil(lambda: operator.armed is True and not operator.cannot("end"), timeout=WAIT_MS)
        # closing asks first
        assert not window.close()
        open_dialog(qtbot, window, Question).reject()
        assert window.isVisible()
        window.control.end()
        question = open_dialog(qtbot, window, Question)
        assert "keyed" in question.windowTitle()
        qtbot.keyClick(question, Qt.Key.Key_E, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda: not launcher.running, timeout=WAIT_MS)
        assert launcher.failure == ""
        assert window.close()
    finally:
        launcher.end()
        if launcher._child is not None:
            launcher._child.wait(20)
        window.stop()
