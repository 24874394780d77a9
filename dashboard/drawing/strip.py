"""A plot of the last seconds, painted by hand: some lines a few times a second need no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QToolButton, QWidget

from dashboard.drawing.theme import font, look, px
from dashboard.figures.choices import stepped
from dashboard.figures.stretches import broken, columns
from streamer.messages import F64

SPANS_S = (30.0, 60.0, 120.0, 300.0)
"""Seconds that a plot can show."""
_TICKS_S = (5, 10, 15, 30, 60)
_TICK_PX = 62
_OFTEN_S, _STEPS = 0.09, 700


class Pace:
    """Says when a plot is to be drawn: when something changed, but no more often than its pixels can show.

    Plots that merely go on take turns, one a frame: together they would hold up a frame that others need, too.
    """

    _turn: ClassVar[float] = float("-inf")

    def __init__(self) -> None:
        self._settings: object = None
        self._content: object = None
        self._at = float("-inf")

    def due(self, at: float, seconds: float, settings: object, content: object) -> bool:
        """Tell whether to draw now.

        Parameters
        ----------
        at : float
            Time of the frame, s on the window's own clock.
        seconds : float
            Length that the plot shows.
        settings, content : object
            What it depends on; a change of settings is drawn at once.
        """
        soon = 0 < at - self._at < max(_OFTEN_S, seconds / _STEPS) or (0 < at == Pace._turn)
        if settings == self._settings and (content == self._content or soon):
            return False
        self._settings, self._content, self._at = settings, content, at
        Pace._turn = at
        return True


class SpanButton(QToolButton):
    """Tells how many seconds are shown; a click shows the next span."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 60.0
        self.setStyleSheet(f"font-size: {px(11)}px; padding: 0 {px(5)}px;")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setToolTip("Seconds that are shown: click for another span")
        self.clicked.connect(lambda: self.choose(SPANS_S[(SPANS_S.index(self.seconds) + 1) % len(SPANS_S)]))
        self.choose(self.seconds)

    def choose(self, seconds: object) -> None:
        """Take one of the spans; anything else is left aside."""
        if isinstance(seconds, int | float) and seconds in SPANS_S:
            self.seconds = float(seconds)
            self.setText(f"{seconds:g} s")

    def step(self, by: int) -> None:
        """Go to a longer (above 0) or shorter span."""
        self.choose(stepped(SPANS_S, self.seconds, by))


class Strip(QWidget):
    """A scale from 0 to 1 over the last seconds; what is drawn comes from a subclass."""

    top = 4.0
    """Room above the well, below it (time's own numbers included), and beside it."""
    bottom = 18.0
    left = 34.0
    right = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 60.0
        self.live = True

    @property
    def well(self) -> QRectF:
        """Where values are drawn."""
        left, top, right, bottom = px(self.left), px(self.top), px(self.right), px(self.bottom)
        return QRectF(left, top, max(8, self.width() - left - right), max(8, self.height() - top - bottom))

    @property
    def foot(self) -> float:
        """Where time's numbers begin, from the top."""
        return self.height() - px(self.bottom) + 1.0

    def along(self, ages: F64) -> F64:
        """Give places of times, s before the right edge."""
        well = self.well
        return well.right() - ages / self.seconds * well.width()

    def paint(self, painter: QPainter) -> None:
        """Draw into the well."""
        raise NotImplementedError

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._ground(painter)
            self.paint(painter)

    def _ground(self, painter: QPainter) -> None:
        c, well = look(), self.well
        painter.setPen(QPen(QColor(c.edge)))
        painter.setBrush(QColor(c.well))
        painter.drawRect(well)
        painter.setFont(font(11))
        line = painter.fontMetrics().height()
        values = (0.0, 0.5, 1.0) if well.height() < 5 * line else (0.0, 0.25, 0.5, 0.75, 1.0)
        for value in values:
            y = well.bottom() - value * well.height()
            painter.setPen(QPen(QColor(c.grid)))
            painter.drawLine(QPointF(well.left(), y), QPointF(well.right(), y))
            painter.setPen(QColor(c.faint))
            place = QRectF(0, y - line / 2, well.left() - px(5), line)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:g}")
        room = max(1, int(well.width() / px(_TICK_PX)))
        step = next((s for s in _TICKS_S if self.seconds / s <= room), self.seconds)
        for age in np.arange(0.0, self.seconds + 0.1, step):
            x = float(self.along(np.array(age)))
            painter.setPen(QPen(QColor(c.grid)))
            painter.drawLine(QPointF(x, well.top()), QPointF(x, well.bottom()))
            painter.setPen(QColor(c.faint))
            word = f"−{age:g}" if age else "now" if self.live else "shown"
            wide = painter.fontMetrics().horizontalAdvance(word)
            begin = min(max(x - wide / 2, 0.0), self.width() - wide - 1.0)
            painter.drawText(QRectF(begin, self.foot, wide + 2, line), Qt.AlignmentFlag.AlignLeft, word)

    def curve(self, painter: QPainter, area: QRectF, ages: F64, values: F64, pen: QPen) -> None:
        """Draw a line of values from 0 to 1 into ``area``; NaN breaks it."""
        if not len(ages):
            return
        path = path_of(*columns(self.along(ages), area.bottom() - np.clip(values, 0.0, 1.0) * area.height()))
        wide = pen.widthF()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        # Qt draws a line of one pixel twenty times as fast as a wider one: some beside each other make one
        thin = QPen(pen)
        thin.setWidthF(min(wide, 1.0))
        painter.setPen(thin)
        half = (wide - 1.0) / 2
        for dx, dy in ((0.0, half), (0.0, -half), (half, 0.0), (-half, 0.0)) if wide > 1 else ((0.0, 0.0),):
            painter.drawPath(path.translated(dx, dy))

    def shade(self, painter: QPainter, spans: Sequence[tuple[float, float]]) -> None:
        """Hatch stretches of the well; ages of begin and end, s."""
        ground = QColor(look().faint)
        ground.setAlpha(46)
        painter.setPen(Qt.PenStyle.NoPen)
        for place in self._places(spans):
            painter.setBrush(ground)
            painter.drawRect(place)
            painter.setBrush(QBrush(ground, Qt.BrushStyle.BDiagPattern))
            painter.drawRect(place)

    def name(self, painter: QPainter, spans: Sequence[tuple[float, float]], word: str) -> None:
        """Write ``word`` into stretches that have room for it, over what is drawn."""
        painter.setFont(font(11, bold=True))
        wide, line = painter.fontMetrics().horizontalAdvance(word) + 8.0, painter.fontMetrics().height() + 0.0
        ground = QColor(look().well)
        ground.setAlpha(200)
        for place in self._places(spans):
            across = place.width() >= wide
            if not across and (place.width() < line or place.height() < wide):
                continue
            size = (wide, line) if across else (line, wide)
            inside = QRectF(place.center().x() - size[0] / 2, place.top() + 2, *size)
            painter.fillRect(inside, ground)
            painter.setPen(QColor(look().text))
            if across:
                painter.drawText(inside, Qt.AlignmentFlag.AlignCenter, word)
            else:
                upright(painter, inside, word)

    def _places(self, spans: Sequence[tuple[float, float]]) -> list[QRectF]:
        well = self.well
        edges = [np.clip(self.along(np.array(span)), well.left(), well.right()) for span in spans]
        return [QRectF(float(a), well.top(), max(1.0, float(b - a)), well.height()) for a, b in edges]

    def notice(self, painter: QPainter, text: str) -> None:
        """Say in the middle of the well why there is nothing."""
        painter.setFont(font(13))
        painter.setPen(QColor(look().faint))
        painter.drawText(self.well, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, text)


def upright(painter: QPainter, place: QRectF, word: str) -> None:
    """Write a word from below upwards, in the middle of ``place``."""
    painter.save()
    painter.translate(place.center())
    painter.rotate(-90)
    turned = QRectF(-place.height() / 2, -place.width() / 2, place.height(), place.width())
    painter.drawText(turned, Qt.AlignmentFlag.AlignCenter, word)
    painter.restore()


def path_of(x: F64, y: F64) -> QPainterPath:
    """Make a line that breaks at NaN."""
    made: QPainterPath = pg.arrayToQPath(np.ascontiguousarray(x), np.ascontiguousarray(y), connect="finite")
    return made


def line_of(times: F64, values: F64, at: float, gap_s: float) -> tuple[F64, F64]:
    """Give ages (s before ``at``) and values of a series, broken at its gaps."""
    kept, values = broken(times, values, gap_s)
    return at - kept, values
