"""The pictures: thermometers, a ball, a fixation cross, a patch for a photodiode.

A level above the threshold is told by brightness as well as by hue, a reward by a frame: no meaning hangs on colour.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from dashboard.drawing.theme import SKY, YELLOW, font
from dashboard.feedback.settings import Corner
from dashboard.feedback.store import Look

GROUND = QColor("#05070a")
"""Dark: a projector lights the bore."""
DIM = QColor("#4a5361")
INK = QColor("#c9cfd8")
LIT = QColor("#ffffff")
BELOW, REACHED = QColor(SKY), QColor(YELLOW)
PATCH = 0.09
"""Side of the patch for a photodiode, of the height."""


def draw_cross(painter: QPainter, area: QRectF) -> None:
    """Draw a fixation cross in the middle."""
    arm = 0.035 * area.height()
    painter.setPen(_pen(INK, 0.011 * area.height()))
    middle = area.center()
    painter.drawLine(middle - QPointF(arm, 0), middle + QPointF(arm, 0))
    painter.drawLine(middle - QPointF(0, arm), middle + QPointF(0, arm))


def draw_text(painter: QPainter, area: QRectF, text: str) -> None:
    """Write what the experimenter chose above the middle, smaller where it would not fit."""
    box = QRectF(
        area.left() + 0.1 * area.width(), area.top() + 0.06 * area.height(), 0.8 * area.width(), 0.36 * area.height()
    )
    how = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.setPen(INK)
    for share in (0.05, 0.035, 0.025, 0.018):
        painter.setFont(font(max(8, round(share * area.height()))))
        if box.contains(painter.boundingRect(box, how, text)):
            break
    painter.drawText(box, how, text)


def draw_thermometers(painter: QPainter, area: QRectF, look: Look) -> None:
    """Draw one tube per level."""
    n = len(look.levels)
    height, width = 0.72 * area.height(), 0.13 * area.height()
    step = 2.2 * width
    left = area.center().x() - (n - 1) * step / 2 - width / 2
    top = area.center().y() - height / 2
    for i, level in enumerate(look.levels):
        tube = QRectF(left + i * step, top, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(REACHED if look.reached else BELOW)
        painter.drawRect(QRectF(tube.left(), tube.bottom() - level * height, width, level * height))
        _frame(painter, tube, 0.0, area.height(), flash=look.flash)
        if look.threshold is not None:
            y = tube.bottom() - look.threshold * height
            _mark(painter, tube.left() - 0.35 * width, tube.right() + 0.35 * width, y, area.height())


def draw_ball(painter: QPainter, area: QRectF, look: Look) -> None:
    """Draw a ball: on a track from bottom to top, or in the plane of two levels, the first to the right."""
    side = 0.78 * area.height()
    radius = 0.045 * area.height()
    plane = len(look.levels) == 2
    width = side if plane else 2.6 * radius
    field = QRectF(area.center().x() - width / 2, area.center().y() - side / 2, width, side)
    _frame(painter, field, 1.3 * radius, area.height(), flash=look.flash)
    room = side - 2.6 * radius

    def height_of(level: float) -> float:
        return field.bottom() - 1.3 * radius - level * room

    if look.threshold is not None:
        _mark(painter, field.left() - radius, field.right() + radius, height_of(look.threshold), area.height())
    x = field.left() + 1.3 * radius + look.levels[0] * room if plane else field.center().x()
    painter.setPen(_pen(LIT, 0.012 * area.height()) if look.flash else QPen(Qt.PenStyle.NoPen))
    painter.setBrush(REACHED if look.reached else BELOW)
    painter.drawEllipse(QPointF(x, height_of(look.levels[-1])), radius, radius)


def draw_patch(painter: QPainter, area: QRectF, corner: Corner, *, bright: bool) -> None:
    """Draw the patch for a photodiode: black or white, in the named corner."""
    side = PATCH * area.height()
    x = area.left() if corner in {Corner.TOP_LEFT, Corner.BOTTOM_LEFT} else area.right() - side
    y = area.top() if corner in {Corner.TOP_LEFT, Corner.TOP_RIGHT} else area.bottom() - side
    painter.fillRect(QRectF(x, y, side, side), QColor("#ffffff" if bright else "#000000"))


def draw_reward(painter: QPainter, area: QRectF) -> None:
    """Frame the cross: a reward while there is no level to show."""
    size = 0.2 * area.height()
    middle = area.center()
    _frame(
        painter, QRectF(middle.x() - size / 2, middle.y() - size / 2, size, size), size / 2, area.height(), flash=True
    )


def _pen(ink: QColor, thick: float) -> QPen:
    return QPen(ink, thick, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap, Qt.PenJoinStyle.MiterJoin)


def _frame(painter: QPainter, box: QRectF, corner: float, unit: float, *, flash: bool) -> None:
    thick = (0.018 if flash else 0.004) * unit
    painter.setPen(_pen(LIT if flash else DIM, thick))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    around = box.adjusted(-thick / 2, -thick / 2, thick / 2, thick / 2)
    painter.drawRoundedRect(around, corner, corner)


def _mark(painter: QPainter, left: float, right: float, y: float, unit: float) -> None:
    # on dark, so that it is seen on the lit part too
    for ink, thick in ((GROUND, 0.016), (LIT, 0.008)):
        painter.setPen(_pen(ink, thick * unit))
        painter.drawLine(QPointF(left, y), QPointF(right, y))
