"""Pictures of the window and of every panel: for a paper, a report, or the README."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QThread
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QApplication, QDockWidget

from dashboard.display import DisplayError

if TYPE_CHECKING:
    from dashboard.window import Window

WHOLE = "window"
"""Name of the picture of the whole window; the others are named by their panel."""
SETTLE_S = 1.0
"""A panel that comes to the front may compute what it shows in a thread of its own."""
_PAUSE_MS = 20


def take_pictures(window: Window, folder: Path) -> list[Path]:
    """Save a picture of the window as it is, then one of every panel, each brought to the front for it.

    Raises
    ------
    DisplayError
        A picture cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DisplayError(f"the pictures cannot be written to {folder}: {error}") from error
    _settle(window)
    made = [_written(_seen(window, window.rect()), folder / f"{WHOLE}.png")]
    for key, dock in window.docks.docks.items():
        dock.show()
        dock.raise_()
        _settle(window)
        made.append(_written(_seen(window, _place(window, dock)), folder / f"{key}.png"))
    return made


def _settle(window: Window) -> None:
    end = window.now() + SETTLE_S
    while window.now() < end:
        window.frame()
        QApplication.processEvents()
        QThread.msleep(_PAUSE_MS)


def _place(window: Window, dock: QDockWidget) -> QRect:
    return QRect(dock.mapTo(window, QPoint(0, 0)), dock.size())


def _seen(window: Window, place: QRect) -> QPixmap:
    screen = window.screen()
    if QApplication.platformName() == "offscreen" or not window.isVisible():
        return window.grab(place)
    # OpenGL is in what the screen shows, not in what a widget paints
    corner = window.mapToGlobal(place.topLeft())
    return screen.grabWindow(0, corner.x(), corner.y(), place.width(), place.height())


def _written(picture: QPixmap, path: Path) -> Path:
    if not picture.save(str(path), "PNG"):
        raise DisplayError(f"the picture cannot be written to {path}")
    return path
