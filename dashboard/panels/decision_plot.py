"""The plot of class probabilities: triggers above, vetoes below, then the uncertainty and the last events in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPen

from dashboard.drawing.strip import Strip
from dashboard.drawing.theme import font, line_pen, look, px
from dashboard.flags import in_words
from dashboard.stores import Mark
from streamer.messages import F64

_LANE_PX, _EVENT_PX, _PLOT_PX, _MOST_EVENTS = 34, 17, 175, 6


def _none() -> F64:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn; ages are s before the right edge."""

    ages: F64 = field(default_factory=_none)
    probabilities: F64 = field(default_factory=lambda: np.empty((0, 0)))
    uncertainty: F64 = field(default_factory=_none)
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    """Thresholds that stay, by name."""
    moving: tuple[F64, F64] = field(default_factory=lambda: (_none(), _none()))
    """Ages and values of a threshold that follows the participant."""
    abstained: Sequence[tuple[float, float]] = ()
    marks: Sequence[tuple[float, Mark]] = ()
    """Ages of triggers and vetoes, the oldest first."""
    doubt: str = ""
    """How sure the newest is, in words."""
    empty: str = ""
    """Why there is nothing."""


class DecisionPlot(Strip):
    """Probabilities with triggers above and vetoes below; under them the uncertainty and the last events in words."""

    top = 18.0

    def __init__(self) -> None:
        super().__init__()
        self.picture = Picture()
        self.setMouseTracking(True)

    @property
    def events(self) -> int:
        """Lines of the list of events for which there is room."""
        room = (self.height() - px(_PLOT_PX)) // px(_EVENT_PX)
        return max(0, min(_MOST_EVENTS, room, len(self.picture.marks)))

    @property
    def lane(self) -> QRectF:
        """Where the uncertainty is drawn."""
        well = super().well
        high = px(_LANE_PX) if self.height() > px(_PLOT_PX) else 0
        return QRectF(well.left(), well.bottom() - self.events * px(_EVENT_PX) - high, well.width(), high)

    @property
    def well(self) -> QRectF:
        whole, lane = super().well, self.lane
        # vetoes stand between the well and the lane
        return QRectF(whole.left(), whole.top(), whole.width(), max(8.0, lane.top() - px(16) - whole.top()))

    @property
    def foot(self) -> float:
        return self.lane.bottom() + 1.0

    def paint(self, painter: QPainter) -> None:
        shown, well = self.picture, self.well
        self.shade(painter, shown.abstained)
        self._limits(painter)
        for i in range(shown.probabilities.shape[1]):
            pen = line_pen(i, 2.0)
            self.curve(painter, well, shown.ages, shown.probabilities[:, i], pen)
        self._limit_names(painter)
        self.name(painter, shown.abstained, "abstained")
        if shown.empty:
            self.notice(painter, shown.empty)
        self._uncertainty(painter)
        self._marks(painter)
        self._list(painter)

    def _limits(self, painter: QPainter) -> None:
        well, pen = self.well, QPen(QColor(look().text), 1.0, Qt.PenStyle.DashLine)
        self.curve(painter, well, *self.picture.moving, pen)
        painter.setPen(pen)
        for value in self.picture.limits.values():
            y = well.bottom() - value * well.height()
            painter.drawLine(QPointF(well.left(), y), QPointF(well.right(), y))

    def _limit_names(self, painter: QPainter) -> None:
        well, values = self.well, self.picture.moving[1]
        painter.setFont(font(11))
        measure = painter.fontMetrics()
        named = [(f"{name} {value:.2f}", value, False) for name, value in self.picture.limits.items()]
        if len(values) and np.isfinite(values[-1]):
            named.append((f"threshold, follows: {values[-1]:.2f}", float(values[-1]), True))
        for word, value, newest in named:
            wide, high = measure.horizontalAdvance(word) + 6, measure.height()
            left = well.right() - wide - 4 if newest else well.left() + 4
            above = well.bottom() - value * well.height() - high - 1
            self.told(painter, QRectF(left, max(above, well.top()), wide, high), word, look().text)

    def told(self, painter: QPainter, place: QRectF, word: str, colour: str) -> None:
        """Write a word over what is drawn."""
        ground = QColor(look().well)
        ground.setAlpha(190)
        painter.fillRect(place, ground)
        painter.setPen(QColor(colour))
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, word)

    def _uncertainty(self, painter: QPainter) -> None:
        c, lane, shown = look(), self.lane, self.picture
        if lane.height() < 1:
            return
        painter.setPen(QPen(QColor(c.edge)))
        painter.setBrush(QColor(c.well))
        painter.drawRect(lane)
        self.curve(painter, lane, shown.ages, shown.uncertainty, QPen(QColor(c.faint), 1.6))
        painter.setFont(font(11))
        painter.setPen(QColor(c.faint))
        high = painter.fontMetrics().height()
        for value, y in (("1", lane.top()), ("0", lane.bottom() - high)):
            painter.drawText(QRectF(0, y, lane.left() - px(5), high), Qt.AlignmentFlag.AlignRight, value)
        word = painter.fontMetrics().elidedText(shown.doubt, Qt.TextElideMode.ElideRight, int(lane.width() - 12))
        wide = painter.fontMetrics().horizontalAdvance(word) + 6
        self.told(painter, QRectF(lane.left() + 4, lane.bottom() - high - 1, wide, high), word, c.faint)

    def _marks(self, painter: QPainter) -> None:
        c, well = look(), self.well
        painter.setFont(font(13, bold=True))
        for x, (_, mark) in zip(self._marked(), self.picture.marks, strict=True):
            if mark.fired:
                painter.setPen(QPen(QColor(c.mark), 1.0))
                painter.drawLine(QPointF(x, well.top()), QPointF(x, well.bottom()))
            painter.setPen(QColor(c.mark if mark.fired else c.alarm))
            y = well.top() - px(17) if mark.fired else well.bottom() + px(1)
            place = QRectF(x - px(8), y, px(16), px(16))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, sign_of(mark))

    def _list(self, painter: QPainter) -> None:
        c, lane = look(), self.lane
        painter.setFont(font(12))
        top = self.foot + px(17)
        last = self.picture.marks[-self.events :] if self.events else ()
        for i, (age, mark) in enumerate(reversed(last)):
            y = top + i * px(_EVENT_PX)
            for text, colour, left, wide in (
                (f"−{age:.0f} s", c.faint, 0, lane.left() + px(12)),
                (sign_of(mark), c.mark if mark.fired else c.alarm, lane.left() + px(16), px(14)),
                (words_of(mark), c.text, lane.left() + px(34), self.width() - lane.left() - px(38)),
            ):
                painter.setPen(QColor(colour))
                said = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, max(1, int(wide)))
                side = Qt.AlignmentFlag.AlignRight if text.startswith("−") else Qt.AlignmentFlag.AlignLeft
                painter.drawText(QRectF(left, y, wide, px(_EVENT_PX)), side | Qt.AlignmentFlag.AlignVCenter, said)

    def _marked(self) -> list[float]:
        ages = np.array([age for age, _ in self.picture.marks])
        return self.along(ages).tolist()

    def told_at(self, x: float) -> str:
        """Say what the marks near ``x`` (pixels) are; empty for none."""
        placed = zip(self._marked(), self.picture.marks, strict=True)
        near = [mark for at, mark in placed if abs(at - x) <= px(8)]
        return "\n".join(f"−{age:.1f} s  {sign_of(mark)} {words_of(mark)}" for age, mark in near)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        super().mouseMoveEvent(event)
        self.setToolTip(self.told_at(event.position().x()))


def sign_of(mark: Mark) -> str:
    """Give the sign of a trigger or of one held back."""
    return "▼" if mark.fired else "✕"


def words_of(mark: Mark) -> str:
    """Say what fired, or why nothing did."""
    return f"trigger: {mark.text}" if mark.fired else f"held back: {in_words(mark.text)}"
