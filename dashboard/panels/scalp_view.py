"""The picture of a scalp map: the head from above, its electrodes, and a bar of colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from dashboard.drawing.range_bar import WIDTH, paint_range
from dashboard.drawing.theme import font, look, px

_AROUND = 1.17
"""Half the width of the picture, in radii of the head: room for nose and ears."""
_NAME_PX = 25
"""Pixels between neighbouring electrodes from which on their names have room, not scaled."""


@dataclass(frozen=True, slots=True)
class Electrode:
    """A dot."""

    name: str
    x: float
    """To the right, in radii of the head."""
    y: float
    """To the front."""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class ScalpScene:
    """All that is drawn."""

    note: str = ""
    """A word in place of the map."""
    image: QImage | None = None
    """Of the square around the head's circle, the front at the top."""
    electrodes: tuple[Electrode, ...] = ()
    table: NDArray[np.uint8] | None = None
    low: float = 0.0
    high: float = 1.0
    unit: str = ""


class ScalpView(QWidget):
    """Draws a scene."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(px(140), px(80))
        self.scene = ScalpScene(note="no EEG yet")

    def show_scene(self, scene: ScalpScene) -> None:
        """Show ``scene``."""
        self.scene = scene
        self.update()

    def head(self) -> QRectF:
        """Where the head's circle is."""
        room = min(self.width() - px(WIDTH), self.height()) / _AROUND
        middle = QPointF((self.width() - px(WIDTH)) / 2, self.height() / 2)
        return QRectF(middle.x() - room / 2, middle.y() - room / 2, max(room, 1.0), max(room, 1.0))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        scene, head = self.scene, self.head()
        self._draw_nose_and_ears(painter, head)
        circle = QPainterPath()
        circle.addEllipse(head)
        painter.fillPath(circle, QColor(look().well))
        if scene.image is not None:
            painter.save()
            painter.setClipPath(circle)
            painter.drawImage(head, scene.image)
            painter.restore()
        # over the rim of the picture, which is not smooth
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(look().faint), px(2)))
        painter.drawEllipse(head)
        self._draw_electrodes(painter, head)
        if scene.table is not None:
            bar = QRectF(self.width() - px(WIDTH), 2, px(WIDTH), min(self.height() - 4, max(px(120), head.height())))
            paint_range(painter, bar, scene.table, scene.low, scene.high, scene.unit)
        if scene.note:
            painter.setFont(font(14))
            painter.setPen(QColor(look().text))
            place = head.adjusted(px(10), 0, -px(10), 0)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, scene.note)
        painter.end()

    def _draw_nose_and_ears(self, painter: QPainter, head: QRectF) -> None:
        radius, middle = head.width() / 2, head.center()
        painter.setPen(QPen(QColor(look().faint), px(2)))
        painter.setBrush(QColor(look().well))
        nose = QPainterPath(middle + QPointF(-0.15 * radius, -0.985 * radius))
        nose.quadTo(middle + QPointF(-0.05 * radius, -1.14 * radius), middle + QPointF(0, -1.15 * radius))
        nose.quadTo(middle + QPointF(0.05 * radius, -1.14 * radius), middle + QPointF(0.15 * radius, -0.985 * radius))
        painter.drawPath(nose)
        for side in (-1, 1):
            painter.drawEllipse(middle + QPointF(side * 1.02 * radius, 0.02 * radius), 0.085 * radius, 0.2 * radius)

    def _draw_electrodes(self, painter: QPainter, head: QRectF) -> None:
        radius, middle = head.width() / 2, head.center()
        shown = self.scene.electrodes
        size = max(1.5, min(px(3), radius / 45))
        named = len(shown) > 0 and 2 * radius / np.sqrt(len(shown)) >= px(_NAME_PX)
        painter.setFont(font(9))
        metrics = painter.fontMetrics()
        for electrode in shown:
            at = middle + QPointF(electrode.x * radius, -electrode.y * radius)
            if electrode.bad:
                half = 1.7 * size
                for colour, width in ((look().card, px(4)), (look().alarm, px(2))):
                    painter.setPen(QPen(QColor(colour), width))
                    painter.drawLine(at + QPointF(-half, -half), at + QPointF(half, half))
                    painter.drawLine(at + QPointF(-half, half), at + QPointF(half, -half))
            else:
                painter.setPen(QPen(QColor(look().card), 1))
                painter.setBrush(QColor(look().text))
                painter.drawEllipse(at, size, size)
            if named:
                place = at + QPointF(-metrics.horizontalAdvance(electrode.name) / 2, size + metrics.ascent() + 1)
                # a rim around the letters: the map is bright here and dark there
                painter.setPen(QColor(look().card))
                for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                    painter.drawText(place + QPointF(x, y), electrode.name)
                painter.setPen(QColor(look().alarm if electrode.bad else look().text))
                painter.drawText(place, electrode.name)
