"""A small table of names and numbers, painted in one go."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from dashboard.theme import EDGE, FAINT, TEXT, font

ROW = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its values."""

    name: str
    values: tuple[str, ...]
    colour: str = TEXT


class Table(QWidget):
    """Rows with a heading; what does not fit is summed up in the last line.

    Parameters
    ----------
    heading : Row
        Title of the table and of its columns.
    column : int
        Width of a column of values, pixels.
    """

    def __init__(self, heading: Row, column: int = 58) -> None:
        super().__init__()
        self._heading = heading
        self._column = column
        self.rows: list[Row] = []
        self.setMinimumHeight(4 * ROW)

    def show_rows(self, rows: list[Row]) -> None:
        """Show ``rows``; nothing is done while they stay."""
        if rows != self.rows:
            self.rows = rows
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        self._draw(painter, 0, self._heading, FAINT, FAINT)
        painter.setPen(QColor(EDGE))
        painter.drawLine(0, ROW + 1, self.width(), ROW + 1)
        room = max(1, (self.height() - ROW - 4) // ROW)
        rows = self.rows
        if len(rows) > room:
            rows = [*rows[: room - 1], Row(f"and {len(rows) - room + 1} more", (), FAINT)]
        for i, row in enumerate(rows):
            self._draw(painter, ROW + 4 + i * ROW, row, FAINT if not row.values else TEXT, row.colour)
        painter.end()

    def _draw(self, painter: QPainter, y: int, row: Row, name_colour: str, colour: str) -> None:
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(font(12))
        room = self.width() - self._column * len(row.values) - 4
        painter.setPen(QColor(name_colour))
        name = painter.fontMetrics().elidedText(row.name, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRectF(0, y, room, ROW), middle, name)
        painter.setPen(QColor(colour))
        for i, value in enumerate(reversed(row.values)):
            place = QRectF(self.width() - (i + 1) * self._column, y, self._column, ROW)
            painter.drawText(place, middle | Qt.AlignmentFlag.AlignRight, value)
