"""Three pictures of a head side by side, with a cross through one place; planes or projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from dashboard.drawing.colour_bar import WIDTH, paint_bar
from dashboard.drawing.theme import font, look, px
from dashboard.figures.place import Mm, Scale
from dashboard.figures.planes import AXES, Grid, Steps, Table

GROUND = "#000000"
"""Of pictures of the head, in either theme: so greys and colours over them look as they are known to."""
INK = "#f2f4f7"
CROSS = "#ffe45c"
ACROSS = ((1, 2), (0, 2), (0, 1))
"""Axes to the right and upwards in a plane across each axis."""
ENDS = (("L", "R"), ("P", "A"), ("I", "S"))
ORDER = (2, 1, 0)
"""Axial, coronal, sagittal from left to right."""
NAMES = ("sagittal", "coronal", "axial")
_GAP = 4


@dataclass(frozen=True, slots=True)
class Dot:
    """A named place."""

    name: str
    mm: Mm


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be seen."""

    grid: Grid
    grey: tuple[Steps, Steps, Steps]
    """Across each axis, see :meth:`Grid.plane`."""
    greys: Table
    mm: Mm
    radiological: bool
    heat: tuple[Steps, Steps, Steps] | None = None
    heats: Table | None = None
    scale: Scale | None = None
    unit: str = ""
    readout: tuple[str, ...] = ()
    """The most important first."""
    dots: tuple[Dot, ...] = field(default=())


def image_of(steps: Steps, table: Table, *, clear: bool) -> QImage:
    """Make a picture of bytes; ``clear`` where the table is, else black there, which is painted sooner."""
    # the format that is painted without another conversion
    alpha = table[:, 3].astype(np.uint32)
    red, green, blue = (table[:, i] * alpha // 255 for i in range(3))
    words = alpha << 24 | red << 16 | green << 8 | blue
    pixels = words[steps.view(np.uint8)]
    height, width = steps.shape
    kind = QImage.Format.Format_ARGB32_Premultiplied if clear else QImage.Format.Format_RGB32
    return QImage(pixels.data, width, height, 4 * width, kind).copy()


def write_over(painter: QPainter, at: QPointF, text: str) -> None:
    """Write on a picture of the head, legible over bright colours, too."""
    for shift, colour in ((1, GROUND), (0, INK)):
        painter.setPen(QColor(colour))
        painter.drawText(at + QPointF(shift, shift), text)


class PlaneView(QWidget):
    """Shows a :class:`Picture`; a click, a drag, the wheel and the arrow keys choose another place."""

    chosen = Signal(tuple)
    """A place, RAS+ mm."""
    stepped = Signal(int, bool)
    """The wheel over the colour bar: steps, and whether the limit is meant instead of the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(px(60), px(40))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.picture: Picture | None = None
        self.word = ""
        """Shown while there is no picture."""
        self._images: list[tuple[QImage, QImage | None]] = []
        self._mm: Mm = (0.0, 0.0, 0.0)
        self._active = 2
        self._dragged: int | None = None

    def display(self, picture: Picture | None, word: str = "") -> None:
        """Show a picture, or a word in its place."""
        self.picture, self.word = picture, word
        self._images = []
        if picture is not None:
            self._mm = picture.mm
            for axis in AXES:
                heat = None
                if picture.heat is not None and picture.heats is not None:
                    heat = image_of(picture.heat[axis], picture.heats, clear=True)
                self._images.append((image_of(picture.grey[axis], picture.greys, clear=False), heat))
        self.update()

    def layout_of(self, width: float, height: float) -> tuple[dict[int, QRectF], QRectF, QRectF]:
        """Share out the room: the picture across each axis, the colour bar, and the text; all to one scale."""
        picture = self.picture
        if picture is None:
            return {}, QRectF(), QRectF()
        gap, line = px(_GAP), self._line()
        bar_width = px(WIDTH) if picture.scale is not None and width > px(240) and height > px(90) else 0
        room = width - bar_width
        x, y, z = (picture.grid.size_mm(axis) for axis in AXES)
        below = line if height > px(90) else 0
        row = min((room - 2 * gap) / (2 * x + y), (height - below - gap) / max(y, z))
        square = min((room - gap) / (x + y), (height - gap) / (y + z))
        bar = QRectF(width - bar_width, 0, bar_width, height - below)
        if square > 1.15 * row:
            left, top = (room - gap - (x + y) * square) / 2, (height - gap - (y + z) * square) / 2
            at = {
                1: QRectF(left, top, x * square, z * square),
                0: QRectF(left + x * square + gap, top, y * square, z * square),
                2: QRectF(left, top + z * square + gap, x * square, y * square),
            }
            text = QRectF(at[0].left() + px(8), at[2].top() + px(6), at[0].width() - px(8), at[2].height() - px(6))
            return at, QRectF(bar.left(), 0, bar.width(), height), text
        left = (room - 2 * gap - (2 * x + y) * row) / 2
        tall = height - below - gap
        at = {}
        for axis, wide, high in ((2, x, y), (1, x, z), (0, y, z)):
            at[axis] = QRectF(left, (tall - high * row) / 2, wide * row, high * row)
            left += wide * row + gap
        return at, bar, QRectF(0, height - below, width, below)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        picture = self.picture
        if picture is None:
            painter.setPen(QColor(look().faint))
            painter.setFont(font(13))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.word)
            return
        panes, bar, text = self.layout_of(self.width(), self.height())
        for axis, pane in panes.items():
            self._paint_pane(painter, picture, axis, pane)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if picture.scale is not None and bar.width():
            paint_bar(painter, bar, picture.scale, picture.unit)
        self._paint_readout(painter, picture.readout, text)

    def _paint_pane(self, painter: QPainter, picture: Picture, axis: int, pane: QRectF) -> None:
        painter.save()
        painter.fillRect(pane, QColor(GROUND))
        painter.setClipRect(pane)
        across, up = ACROSS[axis]
        flipped = picture.radiological and across == 0
        grey, heat = self._images[axis]
        if flipped:
            painter.translate(2 * pane.center().x(), 0)
            painter.scale(-1, 1)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(pane, grey)
        # every voxel of the map is seen as it is
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=False)
        if heat is not None:
            painter.drawImage(pane, heat)
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = QColor(INK)
        painter.setFont(font(11))
        line = painter.fontMetrics().height()
        for dot in picture.dots:
            at = self._on_pane(picture, axis, pane, dot.mm)
            painter.setPen(QPen(ink, 1.2))
            painter.drawEllipse(at, px(3), px(3))
            if pane.width() > px(170):
                write_over(painter, at + QPointF(px(5), -px(3)), dot.name)
        cross, apart = self._on_pane(picture, axis, pane, picture.mm), px(6)
        pen = QPen(QColor(CROSS), 1)
        painter.setPen(pen)
        painter.setOpacity(0.8)
        painter.drawLine(QLineF(pane.left(), cross.y(), cross.x() - apart, cross.y()))
        painter.drawLine(QLineF(cross.x() + apart, cross.y(), pane.right(), cross.y()))
        painter.drawLine(QLineF(cross.x(), pane.top(), cross.x(), cross.y() - apart))
        painter.drawLine(QLineF(cross.x(), cross.y() + apart, cross.x(), pane.bottom()))
        painter.setOpacity(1.0)
        if pane.width() > px(50):
            painter.setFont(font(12, bold=True))
            left, right = ENDS[across][::-1] if flipped else ENDS[across]
            bottom, top = ENDS[up]
            inner = pane.adjusted(px(4), px(2), -px(4), -px(2))
            sides = Qt.AlignmentFlag
            for letter, where in (
                (left, sides.AlignLeft | sides.AlignVCenter),
                (right, sides.AlignRight | sides.AlignVCenter),
                (top, sides.AlignHCenter | sides.AlignTop),
                (bottom, sides.AlignHCenter | sides.AlignBottom),
            ):
                for shift, colour in ((1, QColor(GROUND)), (0, ink)):
                    painter.setPen(colour)
                    painter.drawText(inner.translated(shift, shift), where, letter)
        if pane.height() > 6 * line and pane.width() > px(110):
            painter.setFont(font(11))
            painter.setPen(QColor("#b4bcc8"))
            painter.drawText(pane.adjusted(px(5), px(3), 0, 0), Qt.AlignmentFlag.AlignLeft, NAMES[axis])
        if self.hasFocus() and axis == self._active:
            painter.setPen(QPen(QColor(look().eeg), 1.5))
            painter.drawRect(pane.adjusted(0.75, 0.75, -0.75, -0.75))
        painter.restore()

    def _paint_readout(self, painter: QPainter, entries: Sequence[str], room: QRectF) -> None:
        line = self._line()
        if not entries or room.height() < line:
            return
        elide = Qt.TextElideMode.ElideRight
        if room.height() >= line * (len(entries) + 1):
            for i, entry in enumerate(entries):
                sizes = (15, 12, 10) if i == 0 else (12, 10)
                for size in sizes:
                    painter.setFont(font(size, bold=i == 0))
                    if painter.fontMetrics().horizontalAdvance(entry) <= room.width():
                        break
                painter.setPen(QColor(look().text if i == 0 else look().faint))
                text = painter.fontMetrics().elidedText(entry, elide, int(room.width()))
                top = room.top() + i * line * 1.15 + (px(5) if i else 0)
                painter.drawText(QRectF(room.left(), top, room.width(), 1.4 * line), Qt.AlignmentFlag.AlignLeft, text)
            return
        painter.setFont(font(12))
        metrics = painter.fontMetrics()
        left = room.left()
        for i, entry in enumerate(entries):
            text = metrics.elidedText(entry, elide, int(room.right() - left))
            painter.setPen(QColor(look().text if i == 0 else look().faint))
            painter.drawText(QRectF(left, room.top(), room.right() - left, line), Qt.AlignmentFlag.AlignVCenter, text)
            left += metrics.horizontalAdvance(entry) + px(18)
            if left > room.right() - px(40):
                break

    def _line(self) -> float:
        return 1.35 * px(13)

    def _on_pane(self, picture: Picture, axis: int, pane: QRectF, mm: Mm) -> QPointF:
        grid = picture.grid
        shares = [
            (mm[a] - grid.first[a] + grid.pitch[a] / 2) / grid.size_mm(a) for a in ACROSS[axis]
        ]  # fmt: skip
        if picture.radiological and ACROSS[axis][0] == 0:
            shares[0] = 1 - shares[0]
        return QPointF(pane.left() + shares[0] * pane.width(), pane.bottom() - shares[1] * pane.height())

    def place_at(self, axis: int, at: QPointF) -> Mm | None:
        """Tell the place that is drawn at a point of the picture across ``axis``; its depth is that of the cross."""
        picture = self.picture
        panes, _, _ = self.layout_of(self.width(), self.height())
        if picture is None or axis not in panes:
            return None
        pane, grid = panes[axis], picture.grid
        shares = [(at.x() - pane.left()) / pane.width(), (pane.bottom() - at.y()) / pane.height()]
        if picture.radiological and ACROSS[axis][0] == 0:
            shares[0] = 1 - shares[0]
        point = list(grid.point(self._mm))
        for a, share in zip(ACROSS[axis], shares, strict=True):
            point[a] = int(share * grid.index.shape[a] // 1)
        return grid.centre((point[0], point[1], point[2]))

    def _pane_at(self, at: QPointF) -> int | None:
        panes, _, _ = self.layout_of(self.width(), self.height())
        return next((axis for axis, pane in panes.items() if pane.contains(at)), None)

    def step(self, axis: int, steps: int) -> None:
        """Go ``steps`` lattice points along an axis."""
        picture = self.picture
        if picture is not None:
            point = list(picture.grid.point(self._mm))
            point[axis] += steps
            self._choose(picture.grid.centre((point[0], point[1], point[2])))

    def _choose(self, mm: Mm) -> None:
        # several may come before the next picture does
        self._mm = mm
        self.chosen.emit(mm)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._dragged = self._pane_at(event.position())
        if self._dragged is not None:
            self._active = self._dragged
        self._drag(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._drag(event)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._dragged = None

    def _drag(self, event: QMouseEvent) -> None:
        if self._dragged is not None and event.buttons() & Qt.MouseButton.LeftButton:
            mm = self.place_at(self._dragged, event.position())
            if mm is not None:
                self._choose(mm)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        steps = 1 if event.angleDelta().y() > 0 else -1 if event.angleDelta().y() < 0 else 0
        axis = self._pane_at(event.position())
        _, bar, _ = self.layout_of(self.width(), self.height())
        if axis is not None:
            self.step(axis, steps)
        elif bar.contains(event.position()):
            self.stepped.emit(steps, bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        across, up = ACROSS[self._active]
        right = -1 if self.picture is not None and self.picture.radiological and across == 0 else 1
        moves = {
            Qt.Key.Key_Right: (across, right),
            Qt.Key.Key_Left: (across, -right),
            Qt.Key.Key_Up: (up, 1),
            Qt.Key.Key_Down: (up, -1),
            Qt.Key.Key_PageUp: (self._active, 1),
            Qt.Key.Key_PageDown: (self._active, -1),
        }
        move = moves.get(Qt.Key(event.key()))
        if move is None:
            super().keyPressEvent(event)
        else:
            self.step(*move)
