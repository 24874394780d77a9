"""The frame that every panel stands in: a title, a legend beside it, and the content below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from dashboard.board import Board
from dashboard.drawing.theme import font, look, px

LEGEND_LINES = 2


@dataclass(frozen=True, slots=True)
class PanelCommand:
    """Something that a panel can do, for the menu and the keyboard."""

    text: str
    """As the menu shows it."""
    do: Callable[[], None]
    keys: str = ""
    """For instance ``Ctrl+R``; unique in the window. Empty for none."""


def put(widget: QLabel | QPushButton, text: str) -> None:
    """Set a text; nothing is done while it stays."""
    if widget.text() != text:
        widget.setText(text)


class WrappedLabel(QLabel):
    """A label whose text wraps, without a say in how the window shares out its height."""

    def hasHeightForWidth(self) -> bool:  # noqa: N802 (Qt's name)
        return False


class Card(QFrame):
    """A titled frame; the base of every panel.

    Parameters
    ----------
    title : str
        Its title.
    below : bool
        Put the legend on lines of its own, for long ones.
    """

    key: ClassVar[str] = ""
    """Name under which the layout remembers the panel; each has its own."""

    def __init__(self, title: str, *, below: bool = False) -> None:
        super().__init__()
        self.setObjectName("card")
        self.title = title
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
        # the layout of the window alone shares out its height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self.head = QWidget()
        """The title line: stands above the panel, which the window moves by it."""
        self.head.setObjectName("head")
        self.head.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        line = QHBoxLayout(self.head)
        line.setContentsMargins(px(12), px(6), px(12), px(3))
        line.setSpacing(px(12))
        line.addWidget(self._title)
        if not below:
            line.addWidget(self._legend, 1)
        else:
            line.addStretch(1)
        self._line = line
        self._body = QVBoxLayout(self)
        self._body.setContentsMargins(px(12), px(3), px(12), px(8))
        self._body.setSpacing(px(4))
        if below:
            self._legend.setFixedHeight(LEGEND_LINES * self._legend.fontMetrics().lineSpacing() + 2)
            self._body.addWidget(self._legend)

    def refresh(self, board: Board) -> None:
        """Show what the board holds at ``board.shown``; called once per frame, does nothing while nothing changes."""
        raise NotImplementedError

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return ()

    def state(self) -> dict[str, Any]:
        """Give the user's settings as plain values, to be remembered."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave once; what cannot be used is left aside."""

    def hold(self, content: QWidget, stretch: int = 1) -> None:
        """Put ``content`` below what is there."""
        self._body.addWidget(content, stretch)

    def tool(self, widget: QWidget) -> None:
        """Put a small control at the end of the title line."""
        self._line.addWidget(widget)

    def button(self, text: str, tip: str, do: Callable[[], object], *, tight: bool = False) -> QToolButton:
        """Put a small button at the end of the title line, ``tight`` where there are many; the keys pass it by."""
        made = QToolButton()
        made.setText(text)
        made.setToolTip(tip)
        made.setFont(font(11))
        if tight:
            made.setStyleSheet(f"padding: {px(1)}px {px(5)}px")
        made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        made.clicked.connect(lambda _checked=False: do())
        self.tool(made)
        return made

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
        text = f'<span style="color:{look().faint}">{html}</span>'
        put(self._legend, text)
