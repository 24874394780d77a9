"""A bar of colours from a low to a high value, with its numbers and its unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter

from dashboard.drawing.theme import font, look, minus, px
from streamer.messages import Array

WIDTH = 58
"""Pixels that the bar takes with its numbers, not scaled."""


def coloured(values: Array, low: float, high: float, table: NDArray[np.uint8]) -> QImage:
    """Make a picture of values: ``low`` and below in the first colour, ``high`` and above in the last.

    Parameters
    ----------
    values : array, shape (height, width)
        NaN is left empty.
    low, high : float
    table : array of uint8, shape (n, 3)
        RGB.
    """
    known = np.isfinite(values)
    share = np.where(known, (values - low) / (high - low), 0.0).clip(0.0, 1.0)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = table[np.rint(share * (len(table) - 1)).astype(np.intp)]
    pixels[..., 3] = np.where(known, 255, 0)
    # what is empty has no colour of its own, which smoothing would draw in
    pixels[~known] = 0
    height, width = values.shape
    return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888_Premultiplied).copy()


def paint_range(
    painter: QPainter, room: QRectF, table: NDArray[np.uint8], low: float, high: float, unit: str
) -> None:  # fmt: skip
    """Paint a bar into ``room``: the unit above it, numbers at its right."""
    painter.setFont(font(11))
    line = painter.fontMetrics().height()
    bar = QRectF(room.left() + px(6), room.top() + 1.3 * line, px(11), room.height() - 1.8 * line)
    if bar.height() < line:
        return
    steps = np.linspace(1.0, 0.0, len(table))[:, None]
    painter.drawImage(bar, coloured(steps, 0.0, 1.0, table))
    painter.setPen(QColor(look().edge))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(bar)
    painter.setPen(QColor(look().faint))
    painter.drawText(QRectF(room.left(), room.top(), room.width(), line), Qt.AlignmentFlag.AlignCenter, unit)
    middle = (low, (low + high) / 2, high) if bar.height() > 4 * line else (low, high)
    for value in middle:
        y = bar.bottom() - (value - low) / (high - low) * bar.height()
        painter.drawText(QPointF(bar.right() + px(5), y + 0.35 * line), number(value))


def number(value: float) -> str:
    """Write a value as on a scale."""
    return minus(f"{value:g}")
