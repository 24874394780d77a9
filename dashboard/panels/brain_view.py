"""A head in 3-D with a cross through the place that is looked at; the mouse turns it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from dashboard.drawing.colour_bar import HEAT, WIDTH, paint_bar
from dashboard.drawing.gl_scene import Camera, GlScene
from dashboard.drawing.theme import font, look, px
from dashboard.figures.brain_mesh import Blobs, Mesh
from dashboard.figures.place import Mm, Scale
from dashboard.figures.planes import heat_colour
from dashboard.panels.plane_view import CROSS, ENDS, GROUND, INK, Dot, write_over

DEGREES_PER_PIXEL = 0.5
STEP_DEGREES = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen."""

    head: Mesh
    folded: bool
    """Whether it is a cortex, with glass behind glass."""
    blobs: Blobs | None
    scale: Scale | None
    unit: str
    mm: Mm | None
    dots: tuple[Dot, ...]


class BrainView(QWidget):
    """Shows a :class:`Scene`.

    Parameters
    ----------
    scene : GlScene
        Draws it.
    """

    def __init__(self, scene: GlScene) -> None:
        super().__init__()
        self.setMinimumSize(px(60), px(40))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.camera = Camera()
        self.shown: Scene | None = None
        self.word = ""
        """Shown while there is no scene."""
        self.drawn = 0
        """Pictures that OpenGL made."""
        self._scene = scene
        self._image: QImage | None = None
        self._image_of: object = None
        self._changes = 0
        self._grabbed: QPointF | None = None

    def display(self, scene: Scene | None, word: str = "") -> None:
        """Show a scene, or a word in its place."""
        before, self.shown, self.word = self.shown, scene, word
        if scene is not None:
            if before is None or before.head is not scene.head:
                self._scene.set_head(scene.head, folded=scene.folded)
                self._changes += 1
            if before is None or before.blobs is not scene.blobs or before.scale != scene.scale:
                if scene.blobs is None or scene.scale is None:
                    self._scene.set_solids(None, None)
                else:
                    colours = heat_colour(scene.blobs.strongest / scene.scale.limit, HEAT)
                    self._scene.set_solids(scene.blobs.mesh, colours)
                self._changes += 1
        self.update()

    def look_from(self, camera: Camera) -> None:
        """Move the camera."""
        if camera != self.camera:
            self.camera = camera
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        shown = self.shown
        if shown is None:
            painter.setPen(QColor(look().faint))
            painter.setFont(font(13))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.word)
            return
        bar = px(WIDTH) if shown.scale is not None and self.width() > px(240) and self.height() > px(90) else 0
        width, height = max(1, self.width() - bar), max(1, self.height())
        key = (self._changes, self.camera, width, height)
        if self._image is None or key != self._image_of:
            self._image, self._image_of = self._scene.draw(width, height, self.camera), key
            self.drawn += 1
        room = QRectF(0, 0, width, height)
        painter.fillRect(room, QColor(GROUND))
        if self._image.isNull():
            painter.setPen(QColor(INK))
            painter.setFont(font(13))
            wrapped = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(room, wrapped, "OpenGL gave no picture: choose flat")
            return
        painter.drawImage(room, self._image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if shown.scale is not None and bar:
            paint_bar(painter, QRectF(width, 0, bar, height), shown.scale, shown.unit)
        painter.setClipRect(room)
        self._paint_over(painter, shown)

    def _paint_over(self, painter: QPainter, shown: Scene) -> None:
        low, high = shown.head.vertices.min(axis=0), shown.head.vertices.max(axis=0)
        middle = (low + high) / 2
        painter.setFont(font(12, bold=True))
        for axis in range(3):
            for letter, end in zip(ENDS[axis], (low, high), strict=True):
                at = middle.copy()
                at[axis] += 1.12 * (end[axis] - middle[axis])
                placed = self._at(at)
                # an end that points at the viewer, or away, names no side of the picture
                if (placed - self._at(middle)).manhattanLength() > px(40):
                    write_over(painter, placed + QPointF(-px(4), px(5)), letter)
        painter.setFont(font(11))
        for dot in shown.dots:
            at = self._scene.on_picture(dot.mm)
            painter.setPen(QPen(QColor(INK), 1.2))
            painter.setBrush(QColor("#20262f"))
            painter.drawEllipse(at, px(3.5), px(3.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            write_over(painter, at + QPointF(px(6), -px(4)), dot.name)
        if shown.mm is not None:
            painter.setPen(QPen(QColor(CROSS), 1))
            painter.setOpacity(0.75)
            place = np.array(shown.mm)
            for axis in range(3):
                ends = [place.copy(), place.copy()]
                ends[0][axis], ends[1][axis] = min(low[axis], place[axis]), max(high[axis], place[axis])
                painter.drawLine(QLineF(self._at(ends[0]), self._at(ends[1])))
            painter.setOpacity(1.0)
            painter.setPen(QPen(QColor(CROSS), 1.6))
            painter.drawEllipse(self._at(place), px(4.5), px(4.5))

    def _at(self, mm: object) -> QPointF:
        x, y, z = (float(v) for v in np.asarray(mm))
        return self._scene.on_picture((x, y, z))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._grabbed = event.position()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self._grabbed = None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if self._grabbed is not None and event.buttons() & Qt.MouseButton.LeftButton:
            moved = event.position() - self._grabbed
            self._grabbed = event.position()
            self.look_from(self.camera.turned(-DEGREES_PER_PIXEL * moved.x(), DEGREES_PER_PIXEL * moved.y()))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802 (Qt's name)
        self.look_from(self.camera.zoomed(1.1 ** (event.angleDelta().y() / 120)))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        match event.key():
            case Qt.Key.Key_Left:
                self.look_from(self.camera.turned(STEP_DEGREES, 0))
            case Qt.Key.Key_Right:
                self.look_from(self.camera.turned(-STEP_DEGREES, 0))
            case Qt.Key.Key_Up:
                self.look_from(self.camera.turned(0, -STEP_DEGREES))
            case Qt.Key.Key_Down:
                self.look_from(self.camera.turned(0, STEP_DEGREES))
            case Qt.Key.Key_PageUp:
                self.look_from(self.camera.zoomed(1.1))
            case Qt.Key.Key_PageDown:
                self.look_from(self.camera.zoomed(1 / 1.1))
            case Qt.Key.Key_Home:
                self.look_from(Camera())
            case _:
                super().keyPressEvent(event)
