"""A question before something that cannot be taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from dashboard.dialogs.base import Dialog
from dashboard.drawing.theme import px


class Question(Dialog):
    """Says what will happen, and does what is chosen; Escape and Return do nothing of it.

    Parameters
    ----------
    parent : QWidget
    title, text : str
        Plain text.
    choices : sequence of (str, callable)
        What the buttons say, with an ``&`` before the letter that presses them together with Alt; and what they do.
    stop : callable
        Stops triggers.
    cancel : str
        What the button says that does nothing; it is the one that Return presses.
    """

    def __init__(
        self,
        parent: QWidget,
        title: str,
        text: str,
        choices: Sequence[tuple[str, Callable[[], object]]],
        stop: Callable[[], object],
        cancel: str = "&Cancel",
    ) -> None:
        super().__init__(parent, title, stop)
        head = QLabel(title)
        head.setTextFormat(Qt.TextFormat.PlainText)
        head.setStyleSheet(f"font-size: {px(18)}px; font-weight: bold;")
        said = QLabel(text)
        said.setTextFormat(Qt.TextFormat.PlainText)
        said.setWordWrap(True)
        said.setMinimumWidth(px(440))
        said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.body.addWidget(head)
        self.body.addWidget(said, 1)
        row = QHBoxLayout()
        row.setSpacing(px(10))
        row.addStretch(1)
        self.buttons: list[QPushButton] = []
        for name, do in choices:
            button = QPushButton(name)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _=False, do=do: self._choose(do))
            row.addWidget(button)
            self.buttons.append(button)
        none = QPushButton(cancel)
        none.setDefault(True)
        none.clicked.connect(self.reject)
        row.addWidget(none)
        self.buttons.append(none)
        self.body.addLayout(row)
        none.setFocus()

    def _choose(self, do: Callable[[], object]) -> None:
        self.accept()
        do()
