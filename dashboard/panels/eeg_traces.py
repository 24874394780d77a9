"""The picture of EEG traces, with names, a time axis, and what happened meanwhile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from dashboard.drawing.raster import LEVELS, N_COLOURS, row_height
from dashboard.drawing.theme import font, look, px
from streamer.messages import Array

STEPS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LABEL_ROWS = 3


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a time."""

    ago: float
    """s before the right edge."""
    text: str
    kind: Literal["marker", "fired", "vetoed"]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is drawn."""

    note: str = ""
    """A word in place of traces."""
    names: tuple[str, ...] = ()
    bad: frozenset[int] = frozenset()
    """Places in ``names``."""
    seconds: float = 10.0
    scale_uv: float = 50.0
    """Between two traces."""
    gaps: tuple[tuple[float, float], ...] = ()
    """Beginning and end, s before the right edge."""
    silent: float = 0.0
    """s without EEG before the right edge; 0 while it comes."""
    events: tuple[Event, ...] = ()
    volumes: tuple[float, ...] = ()
    """s before the right edge."""
    session_time: float | None = None
    """Of the right edge, s since the session began; None shows the present."""


class EegTraces(QWidget):
    """Draws a scene and the image of its traces."""

    paged = Signal(int)
    """The wheel was turned: pages to go down."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(px(200), px(80))
        self.setToolTip("┃ marker   ▼ trigger   ✕ trigger held back   ╷ volume (lower edge)")
        self.scene = Scene(note="no EEG yet")
        self._image: QImage | None = None
        self._samples: Array | None = None
        self._frame: tuple[object, QPixmap] | None = None

    def field(self) -> QRect:
        """Where the traces are."""
        left, below = px(54), px(34)
        return QRect(left, 2, max(10, self.width() - left - 5), max(10, self.height() - below - 2))

    def pixels(self) -> QSize:
        """Tell the size of the field in the pixels of the screen."""
        ratio, field = self.devicePixelRatioF(), self.field()
        return QSize(round(field.width() * ratio), round(field.height() * ratio))

    def show_scene(self, scene: Scene, picture: Array | None = None) -> None:
        """Show ``scene`` and a picture of colours (uint32, shape (height, width)) of its traces."""
        self.scene = scene
        self._samples, self._image = picture, None
        if picture is not None:
            height, width = picture.shape
            form = QImage.Format.Format_ARGB32_Premultiplied
            # the image does not copy: the array is kept beside it
            self._image = QImage(picture.data.cast("B"), width, height, 4 * width, form)
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        if event.angleDelta().y():
            self.paged.emit(-1 if event.angleDelta().y() > 0 else 1)
        event.accept()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        scene, field = self.scene, self.field()
        painter.drawPixmap(0, 0, self._framed())
        painter.setClipRect(field)
        self._draw_gaps(painter, field)
        if self._image is not None:
            painter.drawImage(field, self._image)
        self._draw_volumes(painter, field)
        self._draw_events(painter, field)
        if self._image is not None and not scene.note:
            self._draw_scale(painter, field)
        if scene.note:
            painter.setFont(font(15))
            painter.setPen(QColor(look().faint))
            painter.drawText(field, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, scene.note)
        painter.setClipping(False)
        painter.setPen(QColor(look().edge))
        painter.drawRect(field)
        painter.end()

    def _framed(self) -> QPixmap:
        """Give ground, grid, names and axis, which change less often than the traces."""
        scene = self.scene
        ratio = self.devicePixelRatioF()
        key = (self.size(), ratio, scene.names, scene.bad, scene.seconds, scene.session_time, look().name)
        if self._frame is None or self._frame[0] != key:
            made = QPixmap(self.size() * ratio)
            made.setDevicePixelRatio(ratio)
            made.fill(Qt.GlobalColor.transparent)
            painter, field = QPainter(made), self.field()
            painter.fillRect(field, QColor(look().well))
            self._draw_axis(painter, field)
            self._draw_names(painter, field)
            painter.end()
            self._frame = key, made
        return self._frame[1]

    def _x(self, field: QRect, ago: float) -> float:
        return field.left() + field.width() * (1 - ago / self.scene.seconds)

    def _draw_axis(self, painter: QPainter, field: QRect) -> None:
        scene = self.scene
        painter.setFont(font(11))
        most = max(1.0, field.width() / px(52))
        step = next((s for s in STEPS_S if scene.seconds / s <= most), STEPS_S[-1])
        end = scene.session_time
        first = 0.0 if end is None else end % step
        for i in range(int((scene.seconds - first) / step + 1e-9) + 1):
            ago = first + i * step
            x = self._x(field, ago)
            painter.setPen(QPen(QColor(look().grid), 1, Qt.PenStyle.DotLine))
            if field.left() < x < field.right():
                painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
            text = (f"−{ago:g}" if ago else "0") if end is None else clock_text(end - ago, step)
            painter.setPen(QColor(look().faint))
            width = painter.fontMetrics().horizontalAdvance(text) + 2
            at = min(max(x - width / 2, 0), self.width() - width)
            painter.drawText(QRectF(at, field.bottom() + 3, width, px(15)), Qt.AlignmentFlag.AlignCenter, text)
        title = "time (s before now)" if end is None else "time since the session began (min:s)"
        place = QRectF(field.left(), field.bottom() + px(16), field.width(), px(16))
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, title)

    def _draw_names(self, painter: QPainter, field: QRect) -> None:
        scene = self.scene
        if not scene.names:
            return
        row = row_height(field.height(), len(scene.names))
        # sizes of text are scaled by `font`
        size = min(12.0, max(9.0, row * 0.85 * 100 / px(100)))
        plain, struck = font(size), font(size, bold=True)
        struck.setStrikeOut(True)
        every = max(1, math.ceil(px(10) / row))
        for i, name in enumerate(scene.names):
            bad = i in scene.bad
            # of names that would overlap some are left out, but never that of a bad channel
            if i % every and not bad:
                continue
            if not bad and every > 1 and any(j in scene.bad for j in range(i - every + 1, i + every)):
                continue
            self._draw_name(
                painter,
                QRectF(0, field.top() + (i + 1) * row - px(10), field.left() - 5, px(20)),
                name,
                i,
                struck if bad else plain,
            )

    def _draw_name(self, painter: QPainter, place: QRectF, name: str, index: int, chosen: QFont) -> None:
        middle = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        bad = index in self.scene.bad
        painter.setFont(chosen)
        painter.setPen(QColor(look().alarm if bad else look().tints[index % 2]))
        metrics = QFontMetricsF(chosen)
        text = metrics.elidedText(name, Qt.TextElideMode.ElideRight, place.width() - (px(12) if bad else 0))
        painter.drawText(place, middle, text)
        if bad:
            plain = QFont(chosen)
            plain.setStrikeOut(False)
            painter.setFont(plain)
            painter.drawText(place.adjusted(0, 0, -metrics.horizontalAdvance(text) - px(2), 0), middle, "✕")

    def _draw_gaps(self, painter: QPainter, field: QRect) -> None:
        scene = self.scene
        painter.setFont(font(13, bold=True))
        for begin, end in scene.gaps:
            left, right = self._x(field, min(begin, scene.seconds)), self._x(field, max(end, 0.0))
            place = QRectF(left, field.top(), max(2.0, right - left), field.height())
            shade = QColor(look().alarm)
            shade.setAlpha(46)
            painter.fillRect(place, shade)
            shade.setAlpha(110)
            painter.fillRect(place, shade if place.width() < 6 else _hatch(shade))
            silent = scene.silent > 0 and end <= 0
            text = f"no EEG for {scene.silent:.0f} s" if silent else f"gap {begin - end:.1f} s"
            metrics = painter.fontMetrics()
            width = metrics.horizontalAdvance(text) + px(14)
            if silent or width < place.width():
                middle = min(max(place.center().x(), field.left() + width / 2), field.right() - width / 2)
                chip = QRectF(middle - width / 2, field.center().y() - px(12), width, px(24))
                self._chip(painter, chip, text, look().text)

    def _draw_volumes(self, painter: QPainter, field: QRect) -> None:
        painter.setPen(QPen(QColor(look().bold), px(2)))
        for ago in self.scene.volumes:
            x = self._x(field, ago)
            painter.drawLine(QPointF(x, field.bottom() - px(7)), QPointF(x, field.bottom()))

    def _draw_events(self, painter: QPainter, field: QRect) -> None:
        painter.setFont(font(11, bold=True))
        metrics = painter.fontMetrics()
        height = metrics.height() + 2
        taken = [-math.inf] * _LABEL_ROWS
        for event in sorted(self.scene.events, key=lambda each: -each.ago):
            x = self._x(field, event.ago)
            match event.kind:
                case "vetoed":
                    painter.setPen(QColor(look().faint))
                    half = metrics.horizontalAdvance("✕") / 2
                    painter.drawText(QPointF(x - half, field.bottom() - px(9)), "✕")
                    continue
                case "fired":
                    colour, text, style = look().mark, f"▼ {event.text}", Qt.PenStyle.DashLine
                case _:
                    colour, text, style = look().text, event.text, Qt.PenStyle.SolidLine
            painter.setPen(QPen(QColor(colour), max(1, px(1)), style))
            painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
            text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, px(160))
            width = metrics.horizontalAdvance(text) + px(8)
            left = max(field.left() + 1.0, min(x, field.right() - width))
            level = next((i for i, end in enumerate(taken) if end <= left), None)
            if level is not None:
                taken[level] = left + width
                self._chip(painter, QRectF(left, field.top() + 1 + level * height, width, height), text, colour)

    def _draw_scale(self, painter: QPainter, field: QRect) -> None:
        row = row_height(field.height(), len(self.scene.names))
        rows = next((n for n in (1, 2, 5, 10, 20) if n * row >= px(26)), 20)
        tall = min(rows * row, field.height() - px(30))
        if tall < rows * row or field.height() < px(150):
            return
        painter.setFont(font(11))
        text = volts(rows * self.scene.scale_uv)
        width = painter.fontMetrics().horizontalAdvance(text) + px(16)
        bottom = field.bottom() - px(12)
        ground = QColor(look().well)
        ground.setAlpha(215)
        place = QRectF(field.right() - width - px(6), bottom - tall - px(3), width, tall + px(6))
        painter.fillRect(place, ground)
        painter.setPen(QColor(look().text))
        painter.drawText(
            place.adjusted(px(3), 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text
        )
        painter.setPen(QPen(QColor(look().text), px(2)))
        x = place.right() - px(5)
        painter.drawLine(QPointF(x, bottom - tall), QPointF(x, bottom))

    def _chip(self, painter: QPainter, place: QRectF, text: str, colour: str) -> None:
        ground = QColor(look().card)
        ground.setAlpha(225)
        painter.fillRect(place, ground)
        painter.setPen(QColor(colour))
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)


def volts(microvolts: float) -> str:
    """Write a voltage with the unit that suits it."""
    return f"{microvolts:g} µV" if microvolts < 1000 else f"{microvolts / 1000:g} mV"


def clock_text(seconds: float, step: float = 1.0) -> str:
    """Write a time as min:s, with a decimal where ``step`` needs one."""
    sign = "−" if seconds < -1e-6 else ""
    tenths = round(abs(seconds) * 10)
    text = f"{sign}{tenths // 600}:{tenths // 10 % 60:02d}"
    return text if step >= 1 else f"{text}.{tenths % 10}"


def trace_colours(tints: Sequence[str]) -> Array:
    """Make the table of colours of a raster: premultiplied ARGB, uint32, shape (N_COLOURS,)."""
    table = np.zeros(N_COLOURS, np.uint32)
    for i, tint in enumerate(tints):
        colour = QColor(tint)
        red, green, blue = colour.red(), colour.green(), colour.blue()
        for level in range(1, LEVELS + 1):
            cover = 0.92 * level / LEVELS
            parts = [round(255 * cover), round(red * cover), round(green * cover), round(blue * cover)]
            table[i * LEVELS + level] = parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]
    return table


def _hatch(colour: QColor) -> QBrush:
    return QBrush(colour, Qt.BrushStyle.BDiagPattern)
