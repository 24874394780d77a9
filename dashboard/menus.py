"""The menus, which show every key; what a panel offers stands in a menu of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMessageBox

from dashboard.drawing.theme import THEMES

if TYPE_CHECKING:
    from dashboard.window import Window

STEPS_S = (1.0, 10.0)


def fill_menus(window: Window) -> None:
    """Make the menus of ``window`` anew."""
    bar = window.menuBar()
    bar.clear()
    view = bar.addMenu("&View")
    _add(window, view, "Pause or go on", "Space", window.pause)
    _add(window, view, "Newest", "L", window.go_live)
    for seconds, back, forth in zip(STEPS_S, (",", "<"), (".", ">"), strict=True):
        _add(window, view, f"{seconds:g} s back", back, lambda s=seconds: window.step(-s))
        _add(window, view, f"{seconds:g} s forth", forth, lambda s=seconds: window.step(s))
    if window.recorded:
        _add(window, view, "Play faster", "]", lambda: window.faster(+1))
        _add(window, view, "Play slower", "[", lambda: window.faster(-1))
    view.addSeparator()
    other = THEMES[1 - THEMES.index(window.theme)]
    _add(window, view, f"Make it {other}", "Ctrl+T", lambda: window.use_theme(other))
    _add(window, view, "Larger text", "Ctrl+=", lambda: window.resize_text(+1))
    _add(window, view, "Smaller text", "Ctrl+-", lambda: window.resize_text(-1))
    _add(window, view, "Full screen", "F11", lambda: _full_screen(window))
    _add(window, view, "Usual layout", "Ctrl+0", window.usual_layout)
    _add(window, view, "Save a picture", "P", lambda: _save_picture(window))
    view.addSeparator()
    _add(window, view, "Quit", "Q", window.close)
    session = bar.addMenu("&Session")
    for command in window.control.commands():
        _add(window, session, command.text, command.keys, command.do)
    panels = bar.addMenu("&Panels")
    for i, panel in enumerate(window.panels):
        dock = window.docks.docks[panel.key]
        toggle = dock.toggleViewAction()
        if i < 9:
            toggle.setShortcut(QKeySequence(f"Ctrl+{i + 1}"))
        panels.addAction(toggle)
        window.addAction(toggle)
    for panel in window.panels:
        offered = panel.commands()
        if offered:
            own = panels.addMenu(panel.title)
            for command in offered:
                _add(window, own, command.text, command.keys, command.do).setData(f"{panel.title}: ")
    _add(window, bar.addMenu("&Help"), "Keys", "F1", lambda: show_keys(window))


def keys_of(window: Window) -> list[tuple[str, str]]:
    """List all keys and what they do."""
    return [
        (
            action.shortcut().toString(QKeySequence.SequenceFormat.NativeText),
            (action.data() or "") + action.text().replace("&", ""),
        )
        for action in window.actions()
        if not action.shortcut().isEmpty()
    ]


def show_keys(window: Window) -> None:
    """Show all keys in a dialog."""
    keys = [f"<td><b>{_escaped(k)}</b>&nbsp;&nbsp;</td><td>{_escaped(what)}</td>" for k, what in keys_of(window)]
    half = -(-len(keys) // 2)
    gap = "<td>&nbsp;&nbsp;&nbsp;&nbsp;</td>"
    rows = "".join(
        f"<tr>{left}{gap}{right}</tr>" for left, right in zip_longest(keys[:half], keys[half:], fillvalue="")
    )
    box = QMessageBox(window)
    box.setWindowTitle("Keys")
    box.setText(f"<table>{rows}</table>")
    # the loop's data must go on being taken in and drawn
    box.setModal(False)
    box.open()


def _add(window: Window, menu: QMenu, text: str, keys: str, do: Callable[[], object]) -> QAction:
    action = QAction(text, window)
    if keys:
        action.setShortcut(QKeySequence(keys))
    action.triggered.connect(lambda _checked=False: do())
    menu.addAction(action)
    # a menu that is not open hears no keys
    window.addAction(action)
    return action


def _full_screen(window: Window) -> None:
    if window.isFullScreen():
        window.showNormal()
    else:
        window.showFullScreen()


def _save_picture(window: Window) -> None:
    path = Path.cwd() / f"dashboard-{datetime.now().astimezone():%Y%m%d-%H%M%S}.png"
    window.note = f"picture saved as {path}" if window.save(path) else f"the picture could not be written to {path}"


def _escaped(keys: str) -> str:
    return keys.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
