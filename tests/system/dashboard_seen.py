"""Run ``streamer dashboard`` and keep writing into a file, as JSON, what its window shows.

``python -m tests.system.dashboard_seen FILE OPTIONS`` is the command with OPTIONS. Nothing of it is replaced: a
timer of its own looks at the widgets.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QRect, QTimer
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from dashboard.window import Window
from streamer import __main__ as streamer
from tests.system.dashboard_room import said

LOOK_MS = 60


def seen(window: Window) -> dict[str, Any]:
    """Tell what the window shows."""
    line = window.status.line
    docks = window.docks.docks
    dialogs = [widget for widget in QApplication.topLevelWidgets() if widget is not window and widget.isVisible()]
    return {
        "status": window.status.text(),
        "word": line.word if line is not None else "",
        "control": window.control.text(),
        "timeline": window.timeline.text(),
        "strip": _place(window.timeline.strip),
        "shown": _number(window.board.shown),
        "live": window.board.live,
        "playing": window.playing,
        "speed": window.speed,
        "theme": window.theme,
        "scale": window.scale,
        "note": window.note,
        "loaded": getattr(window.feed, "ended", False),
        "panels": {panel.key: said(panel) for panel in window.panels},
        "states": {panel.key: panel.state() for panel in window.panels},
        "open": sorted(key for key, dock in docks.items() if not dock.isHidden()),
        "places": {key: _place(dock) for key, dock in docks.items() if not dock.visibleRegion().isEmpty()},
        "buttons": {each.text(): _place(each) for each in window.findChildren(QPushButton) if each.isVisible()},
        "dialogs": [dialog.windowTitle() for dialog in dialogs],
        "words": [label.text() for dialog in dialogs for label in dialog.findChildren(QLabel)],
        "active": window.isActiveWindow(),
    }


def _number(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _place(widget: QWidget) -> list[int]:
    rect = QRect(widget.mapToGlobal(QPoint(0, 0)), widget.size())
    return [rect.x(), rect.y(), rect.width(), rect.height()]


def main() -> None:
    path = Path(sys.argv[1])
    sys.argv = ["streamer", "dashboard", *sys.argv[2:]]
    part = path.with_name(path.name + ".part")
    started = Window.start

    def start(window: Window) -> None:
        def look() -> None:
            part.write_text(json.dumps(seen(window)), encoding="utf-8")
            part.replace(path)

        timer = QTimer(window)
        timer.timeout.connect(look)
        timer.start(LOOK_MS)
        started(window)

    Window.start = start  # type: ignore[method-assign]
    streamer.main()


if __name__ == "__main__":
    main()
