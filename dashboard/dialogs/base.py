"""What all dialogs have in common."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QVBoxLayout, QWidget

from dashboard.drawing.theme import px

STOP_KEY = "Ctrl+."


class Dialog(QDialog):
    """A dialog beside which all goes on; the key that stops triggers works in it, too.

    Parameters
    ----------
    parent : QWidget
        The window.
    title : str
    stop : callable
        Stops triggers.
    """

    def __init__(self, parent: QWidget, title: str, stop: Callable[[], object]) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setModal(False)
        self.finished.connect(self.deleteLater)
        shortcut = QShortcut(QKeySequence(STOP_KEY), self)
        shortcut.activated.connect(stop)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(px(18), px(14), px(18), px(14))
        self.body.setSpacing(px(10))

    def open_now(self) -> None:
        """Show it in front, ready for the keyboard."""
        self.show()
        self.raise_()
        self.activateWindow()
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
