"""Task blocks behind a plot over time: shaded, with their names at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from dashboard.drawing.theme import font, line_colour, look, px
from dashboard.figures.blocks import Block

_TASK_ALPHA = 34
_REST_ALPHA = 16


class BlockShades(pg.GraphicsObject):
    """Rectangles over the whole height of a plot; add it with ``ignoreBounds=True``."""

    def __init__(self) -> None:
        super().__init__()
        self.setZValue(-20)
        self._blocks: list[tuple[Block, QColor]] = []
        self._right = 0.0
        self._view: QRectF | None = None

    def show_blocks(self, blocks: Sequence[Block], right: float) -> None:
        """Show ``blocks``; ``right`` is the time at 0, SessionTime s."""
        labels = list(dict.fromkeys(block.label for block in blocks if not block.rest))
        self._blocks = [(block, _colour(block, labels)) for block in blocks]
        self._right = right
        self.update()

    def shown(self) -> list[str]:
        """Tell the names of the blocks that can be seen, from left to right."""
        left, right = self.boundingRect().left(), self.boundingRect().right()
        return [
            block.label
            for block, _ in self._blocks
            if block.end - self._right > left and block.begin - self._right < min(right, 0.0)
        ]

    def viewRangeChanged(self) -> None:  # noqa: N802 (pyqtgraph's name)
        self._view = None
        self.prepareGeometryChange()
        self.update()

    def boundingRect(self) -> QRectF:  # noqa: N802 (Qt's name)
        if self._view is None:
            found: Any = self.viewRect()
            self._view = QRectF() if found is None else QRectF(found)
        return self._view

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        view = self.boundingRect()
        to_pixels = painter.transform()
        # in pixels: text would stand on its head in a plot, whose axis points upwards
        painter.save()
        painter.resetTransform()
        painter.setFont(font(11))
        metrics = painter.fontMetrics()
        top, bottom = (to_pixels.map(QPointF(0.0, y)).y() for y in (view.bottom(), view.top()))
        for block, colour in self._blocks:
            begin = max(block.begin - self._right, view.left())
            end = min(block.end - self._right, view.right(), 0.0)
            if end <= begin:
                continue
            left, right = (to_pixels.map(QPointF(x, 0.0)).x() for x in (begin, end))
            painter.fillRect(QRectF(left, top, right - left, bottom - top), colour)
            room = right - left - px(6)
            if block.label and room > metrics.averageCharWidth() * 2:
                name = metrics.elidedText(block.label, Qt.TextElideMode.ElideRight, int(room))
                painter.setPen(QColor(look().faint if block.rest else look().text))
                painter.drawText(QPointF(left + px(3), top + metrics.ascent() + px(2)), name)
        painter.restore()


def _colour(block: Block, labels: Sequence[str]) -> QColor:
    made = QColor(look().faint if block.rest else line_colour(labels.index(block.label)))
    made.setAlpha(_REST_ALPHA if block.rest else _TASK_ALPHA)
    return made
