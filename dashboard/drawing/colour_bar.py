"""The colours of a map over a grey head, and their bar: fixed, with its numbers, its unit and the threshold marked.

Both signs begin dark and saturated and grow brighter: blue to ice, and vermilion to yellow. So they stand out from
grey, are told apart with any colour vision, and larger is always brighter.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPolygonF

from dashboard.drawing.theme import BLUE, VERMILLION, YELLOW, font, look, minus, px
from dashboard.figures.place import Scale
from dashboard.figures.planes import Table, heat_table

WIDTH = 78
"""Pixels that the bar takes with its numbers, not scaled."""
_STEPS = 255


def _ramp(*colours: str) -> Table:
    named = [QColor(colour) for colour in colours]
    stops = np.array([(each.red(), each.green(), each.blue()) for each in named], float)
    at = np.linspace(0, 1, 128)
    shares = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(at, shares, stops[:, i]) for i in range(3)], axis=1).round().astype(np.uint8)


HEAT: Table = np.concatenate([_ramp(BLUE, "#2f9be8", "#c4f1ff")[::-1], _ramp(VERMILLION, "#f09a1a", YELLOW, "#fffbd0")])
"""RGB from the negative limit to the positive, shape (256, 3)."""


def number(value: float, decimals: int | None = None) -> str:
    """Write a value with its sign; as on a scale where ``decimals`` are not given."""
    text = f"{value:+.3g}" if decimals is None else f"{value:+.{decimals}f}"
    return minus(text) if value else "0"


def paint_bar(painter: QPainter, room: QRectF, scale: Scale, unit: str) -> QRectF:
    """Paint a bar into ``room`` from the negative limit at the bottom to the positive at the top.

    What is below the threshold is left empty, as it is in the picture. Returns where the bar itself is.
    """
    small = font(11)
    painter.setFont(small)
    line = painter.fontMetrics().height()
    bar = QRectF(room.left() + px(8), room.top() + 1.6 * line, px(13), room.height() - 2.3 * line)
    if bar.height() < 2 * line:
        return QRectF()
    values = np.linspace(1, -1, _STEPS)
    steps = np.rint(values * 127).astype(np.int8).view(np.uint8)
    pixels = np.ascontiguousarray(heat_table(scale.limit / 127, scale, HEAT, opacity=1.0)[steps][:, None])
    painter.fillRect(bar, QColor("#000000"))
    painter.drawImage(bar, QImage(pixels.data, 1, _STEPS, 4, QImage.Format.Format_RGBA8888))
    painter.setPen(QColor(look().edge))
    painter.drawRect(bar)
    painter.setPen(QColor(look().faint))
    painter.drawText(QPointF(bar.left(), room.top() + line), unit or "value")
    marks = {scale.limit, -scale.limit, 0.0, scale.threshold, -scale.threshold}
    taken: list[float] = []
    # the ends and the thresholds first: 0 goes where there is room
    for value in sorted(marks, key=lambda v: (v == 0, -abs(v))):
        y = bar.center().y() - value / scale.limit * bar.height() / 2
        threshold = abs(value) == scale.threshold and value != 0
        painter.setPen(QColor(look().text if threshold else look().faint))
        painter.drawLine(QLineF(bar.right(), y, bar.right() + px(4), y))
        if threshold:
            painter.setBrush(QColor(look().text))
            tip = QPointF(bar.left() - 1, y)
            painter.drawPolygon(QPolygonF([tip, tip + QPointF(-px(5), -px(4)), tip + QPointF(-px(5), px(4))]))
            painter.setBrush(Qt.BrushStyle.NoBrush)
        if all(abs(y - other) > 0.8 * line for other in taken):
            taken.append(y)
            painter.drawText(QPointF(bar.right() + px(7), y + 0.35 * line), number(value))
    return bar
