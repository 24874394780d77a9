"""A line for a note, whose time is when it was asked for."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QLabel, QLineEdit, QWidget

from dashboard.dialogs.base import Dialog
from dashboard.drawing.theme import px
from dashboard.link.operator import LONGEST

SPARE = 20
"""Characters that are left for how long ago it was."""


class NoteDialog(Dialog):
    """Takes a note of one line; Return sends it, Escape leaves it.

    Parameters
    ----------
    parent : QWidget
    session : str
    send : callable
        Takes the text.
    stop : callable
        Stops triggers.
    """

    def __init__(
        self, parent: QWidget, session: str, send: Callable[[str], object], stop: Callable[[], object]
    ) -> None:
        super().__init__(parent, f"Note for {session}", stop)
        self._send = send
        self.line = QLineEdit()
        self.line.setMaxLength(LONGEST - SPARE)
        self.line.setMinimumWidth(px(440))
        self.line.setPlaceholderText("what happened")
        self.line.returnPressed.connect(self._done)
        said = QLabel("It goes into the recording, with the time of the key press. Return sends it, Escape leaves it.")
        said.setObjectName("faint")
        self.body.addWidget(self.line)
        self.body.addWidget(said)
        self.line.setFocus()

    def _done(self) -> None:
        text = self.line.text()
        self.accept()
        self._send(text)
