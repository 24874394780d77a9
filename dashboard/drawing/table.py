"""Tables of names and numbers that share the room between them, painted in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from dashboard.drawing.theme import font, look, px

ROW_PX, VALUE_PX, COLUMN_PX, BETWEEN_PX = 18, 39, 216, 18
BUDGET_AT = 0.66
"""Share of a row's width at which a bar has used up its budget."""


class Weight(Enum):
    """How a row is written, and which goes first where there is no room: the faint, then the plain, from the end."""

    FAINT = 0
    PLAIN = 1
    ALARM = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its values."""

    name: str
    values: tuple[str, ...] = ()
    weight: Weight = Weight.PLAIN
    bar: tuple[float, float] | None = None
    """A usual and a largest share of a budget, drawn below the row with the budget marked."""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a heading."""

    heading: str
    columns: tuple[str, ...]
    rows: Sequence[Row]


class Sheet(QWidget):
    """Sections one after the other, in as many columns as the width has room for; what does not fit is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: Sequence[Section] = ()
        self.left_out = 0
        """Rows for which there was no room when it was last painted."""

    def show_sections(self, sections: Sequence[Section]) -> None:
        """Show sections; nothing is done while they stay."""
        if sections != self.sections:
            self.sections = sections
            self.update()

    def lines(self) -> list[str]:
        """Tell all rows in words, whether or not there is room for them."""
        return [
            " ".join([row.name, *(value for value in row.values if value)])
            for section in self.sections
            for row in section.rows
        ]

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        columns = max(1, (self.width() + px(BETWEEN_PX)) // (px(COLUMN_PX) + px(BETWEEN_PX)))
        wide = (self.width() - (columns - 1) * px(BETWEEN_PX)) / columns
        per_column = max(3, self.height() // px(ROW_PX))
        kept, gap, self.left_out = fitted(self.sections, columns, per_column)
        for column, line, drawn in placed(kept, per_column - (self.left_out > 0), gap):
            place = QRectF(column * (wide + px(BETWEEN_PX)), line * px(ROW_PX), wide, px(ROW_PX))
            if isinstance(drawn, Section):
                self._heading(painter, place, drawn)
            else:
                self._row(painter, place, drawn)
        if self.left_out:
            place = QRectF(0, self.height() - px(ROW_PX), self.width(), px(ROW_PX))
            painter.setFont(font(11))
            painter.setPen(QColor(look().faint))
            side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom
            painter.drawText(place, side, f"{self.left_out} more: make it larger")

    def _heading(self, painter: QPainter, place: QRectF, section: Section) -> None:
        c = look()
        painter.setFont(font(11, bold=True))
        painter.setPen(QColor(c.faint))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, section.heading)
        self._values(painter, place, section.columns)
        painter.setPen(QColor(c.edge))
        painter.drawLine(place.bottomLeft(), place.bottomRight())

    def _row(self, painter: QPainter, place: QRectF, row: Row) -> None:
        c = look()
        ink = {Weight.FAINT: c.faint, Weight.PLAIN: c.text, Weight.ALARM: c.alarm}[row.weight]
        if row.bar is not None:
            self._bar(painter, place, row.bar, ink)
        painter.setFont(font(12))
        painter.setPen(QColor(ink))
        room = place.width() - len(row.values) * px(VALUE_PX)
        sign = "▲ " if row.weight is Weight.ALARM else ""
        name = painter.fontMetrics().elidedText(sign + row.name, Qt.TextElideMode.ElideRight, int(room))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, name)
        self._values(painter, place, row.values)

    def _values(self, painter: QPainter, place: QRectF, values: tuple[str, ...]) -> None:
        side = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        for i, value in enumerate(reversed(values)):
            right = place.right() - i * px(VALUE_PX)
            # the only value of a row may be as long as it likes
            left = right - (px(VALUE_PX) if len(values) > 1 else place.width())
            painter.drawText(QRectF(left, place.top(), right - left, place.height()), side, value)

    def _bar(self, painter: QPainter, place: QRectF, bar: tuple[float, float], ink: str) -> None:
        c, y = look(), place.bottom() - px(3)
        high = float(px(3))
        painter.fillRect(QRectF(place.left(), y, place.width(), high), QColor(c.grid))
        for share, strength in ((bar[1], 110), (bar[0], 255)):
            colour = QColor(ink if ink == c.alarm else c.lines[0])
            colour.setAlpha(strength)
            used = min(max(share, 0.0) * BUDGET_AT, 1.0) * place.width()
            painter.fillRect(QRectF(place.left(), y, used, high), colour)
        mark = QRectF(place.left() + BUDGET_AT * place.width(), y - px(1), px(2), high + px(1))
        painter.fillRect(mark, QColor(c.text))


def fitted(sections: Sequence[Section], columns: int, per_column: int) -> tuple[list[Section], int, int]:
    """Leave out rows until the rest has room, the least weighty from the end first.

    Parameters
    ----------
    sections : sequence of Section
    columns, per_column : int
        Room, in lines.

    Returns
    -------
    list of Section
        What is left; sections without rows are gone.
    int
        Empty lines between two sections.
    int
        Rows left out; where there are some, the last line of each column is free for their number.
    """
    kept = [Section(section.heading, section.columns, list(section.rows)) for section in sections if section.rows]
    if _columns(kept, per_column, 1) <= columns:
        return kept, 1, 0
    left_out = 0
    while _columns(kept, per_column, 0) > columns:
        droppable = [(row.weight.value, -i, -j) for i, part in enumerate(kept) for j, row in enumerate(part.rows)]
        _, i, j = min(droppable)
        rows = list(kept[-i].rows)
        del rows[-j]
        kept[-i] = Section(kept[-i].heading, kept[-i].columns, rows)
        kept = [section for section in kept if section.rows]
        left_out += 1
        if left_out == 1:
            per_column -= 1
    return kept, 0, left_out


def _columns(sections: Sequence[Section], per_column: int, gap: int) -> int:
    return 1 + max((column for column, _, _ in placed(sections, per_column, gap)), default=-1)


def placed(sections: Sequence[Section], per_column: int, gap: int) -> list[tuple[int, int, Section | Row]]:
    """Give column and line of every heading and row; a heading stands never last in a column."""
    found: list[tuple[int, int, Section | Row]] = []
    column = line = 0
    for section in sections:
        if line and line + 2 > per_column:
            column, line = column + 1, 0
        found.append((column, line, section))
        line += 1
        for row in section.rows:
            if line >= per_column:
                column, line = column + 1, 0
            found.append((column, line, row))
            line += 1
        line += gap
    return found
