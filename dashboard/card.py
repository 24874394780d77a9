"""The frame that every panel stands in: a title, a legend beside it, and the content below."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from dashboard.board import Board
from dashboard.theme import FAINT, font

LEGEND_LINES = 2


class WrappedLabel(QLabel):
    """A label whose text wraps, without a say in how the window shares out its height."""

    def hasHeightForWidth(self) -> bool:  # noqa: N802 (Qt's name)
        return False


class Panel(Protocol):
    """A part of the window: takes what it shows from the board, draws once per frame."""

    def refresh(self, board: Board) -> None:
        """Show what the board holds."""
        ...


class Card(QFrame):
    """A titled frame.

    Parameters
    ----------
    title : str
        Its title.
    below : bool
        Put the legend on lines of its own, for long ones.
    """

    def __init__(self, title: str, *, below: bool = False) -> None:
        super().__init__()
        self.setObjectName("card")
        self._title = QLabel(title)
        self._title.setFont(font(13, bold=True))
        self._legend = WrappedLabel()
        self._legend.setFont(font(12))
        self._legend.setTextFormat(Qt.TextFormat.RichText)
        side = Qt.AlignmentFlag.AlignLeft if below else Qt.AlignmentFlag.AlignRight
        self._legend.setAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self._legend.setWordWrap(below)
        # a long legend is cut off; it must not widen the window
        self._legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        # the stretch factors of the window alone share out its height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(self._title)
        if not below:
            head.addWidget(self._legend, 1)
        self._body = QVBoxLayout(self)
        self._body.setContentsMargins(12, 8, 12, 8)
        self._body.setSpacing(4)
        self._body.addLayout(head)
        if below:
            self._legend.setFixedHeight(LEGEND_LINES * self._legend.fontMetrics().lineSpacing() + 2)
            self._body.addWidget(self._legend)

    def hold(self, content: QWidget, stretch: int = 1) -> None:
        """Put ``content`` below what is there."""
        self._body.addWidget(content, stretch)

    def legend_text(self) -> str:
        """Tell the legend as it is set."""
        return self._legend.text()

    def legend(self, entries: Sequence[tuple[str, str, str]]) -> None:
        """Show entries of (sign, colour, text) beside the title."""
        self.caption(
            "&nbsp;&nbsp; ".join(
                f'<span style="color:{colour}">{escape(sign)}</span>&nbsp;{escape(text).replace(" ", "&nbsp;")}'
                for sign, colour, text in entries
            )
        )

    def caption(self, html: str) -> None:
        """Show ``html`` beside the title."""
        text = f'<span style="color:{FAINT}">{html}</span>'
        if text != self._legend.text():
            self._legend.setText(text)
