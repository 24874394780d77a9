"""The names of lines at their ends, beside a plot; where lines come close the names are moved apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from dashboard.drawing.theme import font, look, px

_WIDTH = 140
_LEADER = 9
_SMALLEST_SHARE = 0.32


@dataclass(frozen=True, slots=True)
class LineName:
    """The end of a line."""

    name: str
    value: str
    y: float
    """Where the line ends, in the plot's unit."""
    colour: str
    plot: Any
    """That it is drawn in."""
    style: Qt.PenStyle = Qt.PenStyle.SolidLine


class LineNames(QWidget):
    """A strip to the right of plots.

    Parameters
    ----------
    width : int
        Of the widest strip, pixels before scaling.
    """

    def __init__(self, width: int = _WIDTH) -> None:
        super().__init__()
        self._width = width
        self.entries: list[LineName] = []
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Ignored)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(px(self._width), 0)

    def fit(self, total: int) -> None:
        """Take a share of ``total`` pixels at most."""
        width = min(px(self._width), int(total * _SMALLEST_SHARE))
        if width != self.width():
            self.setFixedWidth(width)

    def show_entries(self, entries: Sequence[LineName]) -> None:
        """Show names; what matters most comes first, for the rest may find no room."""
        self.entries = list(entries)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font(11))
        line = painter.fontMetrics().height()
        for plot in dict.fromkeys(entry.plot for entry in self.entries):
            area: QRectF = plot.getViewBox().sceneBoundingRect()
            self._draw_plot(painter, [entry for entry in self.entries if entry.plot is plot], area, line)
        painter.end()

    def _draw_plot(self, painter: QPainter, entries: list[LineName], area: QRectF, line: int) -> None:
        if area.height() < line:
            return
        room = max(1, int(area.height() // line))
        left_out = len(entries) - room + 1 if len(entries) > room else 0
        kept = entries[: len(entries) - left_out]
        low, high = kept[0].plot.getViewBox().viewRange()[1] if kept else (0.0, 1.0)
        ends = {
            id(entry): area.bottom() - (min(max(entry.y, low), high) - low) / (high - low) * area.height()
            for entry in kept
        }
        kept.sort(key=lambda entry: ends[id(entry)])
        bottom = area.bottom() - (line if left_out else 0)
        places = apart([ends[id(entry)] for entry in kept], line, area.top() + line / 2, bottom - line / 2)
        for entry, place in zip(kept, places, strict=True):
            self._draw(painter, entry, ends[id(entry)], place, line)
        if left_out:
            painter.setPen(QColor(look().faint))
            where = QRectF(px(_LEADER), bottom, self.width() - px(_LEADER), line)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter, f"and {left_out} more")

    def _draw(self, painter: QPainter, entry: LineName, end: float, place: float, line: int) -> None:
        painter.setPen(QPen(QColor(entry.colour), 1.2, entry.style))
        leader = px(_LEADER)
        painter.drawPolyline(
            QPolygonF([QPointF(1, end), QPointF(leader * 0.5, place), QPointF(leader - 2, place)])
        )  # fmt: skip
        metrics = painter.fontMetrics()
        value_width = metrics.horizontalAdvance(entry.value)
        where = QRectF(leader, place - line / 2, self.width() - leader - 1, line)
        name_room = int(where.width() - value_width - px(5))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setPen(QColor(entry.colour))
        if name_room > metrics.averageCharWidth() * 2:
            painter.drawText(where, middle, metrics.elidedText(entry.name, Qt.TextElideMode.ElideMiddle, name_room))
        painter.setPen(QColor(look().text))
        painter.drawText(where, middle | Qt.AlignmentFlag.AlignRight, entry.value)


def apart(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Move sorted places apart by ``least`` within ``low`` to ``high``, as little as it takes."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + least if moved else low))
    for i in range(len(moved) - 1, -1, -1):
        above = high if i == len(moved) - 1 else moved[i + 1] - least
        moved[i] = min(moved[i], above)
    return moved
