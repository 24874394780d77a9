"""What plots of volumes over time have in common: the spans to choose from, their axis, and lines that paint fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph import functions
from pyqtgraph.graphicsItems import PlotCurveItem
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from dashboard.board import Board
from dashboard.drawing.theme import font, look
from streamer.messages import F64

_functions: Any = functions
_curves: Any = PlotCurveItem

SPANS_S = (60.0, 120.0, 180.0, 300.0, 600.0)
USUAL_S = 300.0
_REDRAW_S = 0.25


class Later:
    """Puts a panel's drawing off by some frames, so that a volume does not make all panels draw in the same one.

    Parameters
    ----------
    frames : int
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._left: int | None = None
        self._drawn: object = None

    def due(self, key: object) -> bool:
        """Tell whether to draw in this frame; ``key`` differs whenever the picture would."""
        if key == self._drawn:
            return False
        if self._left is None:
            self._left = self._frames if self._drawn is not None else 0
        if self._left:
            self._left -= 1
            return False
        self._left, self._drawn = None, key
        return True

    def now(self) -> None:
        """Draw in the next frame, as after the user set something."""
        self._left, self._drawn = None, None


def moment(board: Board, span_s: float, width: int) -> int | None:
    """Number the time that is shown, in steps in which it moves on by about a pixel; None while there is none."""
    step = max(_REDRAW_S, span_s / max(1, width))
    return round(board.shown / step) if np.isfinite(board.shown) else None


def name_axis(plot: Any, side: str, text: str) -> None:
    """Say what an axis of a plot item shows; nothing is done while it stays."""
    if plot.getAxis(side).labelText != text:
        plot.setLabel(side, text, color=look().faint, **{"font-size": f"{font(11).pixelSize()}px"})


def time_axis(board: Board) -> str:
    """Say what the time of a plot is counted from."""
    return "s before now" if board.live else "s before the time shown"


class TimeCurve(pg.GraphicsObject):
    """A line that breaks at NaN.

    Qt paints a wide smooth line as one outline, a hundred times slower than its pieces, and pieces under a scale six
    times slower than in pixels: so it is mapped to pixels here and painted in pieces. A line with dashes has no pieces
    and is always thin.

    Parameters
    ----------
    plot : PlotItem
        That it is added to.
    pen : QPen
    """

    def __init__(self, plot: Any, pen: QPen) -> None:
        super().__init__()
        self._pen = QPen(pen)
        self._solid = pen.style() == Qt.PenStyle.SolidLine
        self._pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        if not self._solid:
            self._pen.setWidthF(1.0)
        self.times: F64 = np.empty(0)
        self.values: F64 = np.empty(0)
        self._area: QRectF | None = None
        plot.addItem(self, ignoreBounds=True)

    def show_line(self, times: F64, values: F64) -> None:
        """Show a line; both of shape (n,), times finite."""
        self.times, self.values = times, values
        self.update()

    def viewRangeChanged(self) -> None:  # noqa: N802 (pyqtgraph's name)
        self._area = None
        self.prepareGeometryChange()

    def boundingRect(self) -> QRectF:  # noqa: N802 (Qt's name)
        if self._area is None:
            found: Any = self.viewRect()
            self._area = QRectF() if found is None else QRectF(found)
        return self._area

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        if len(self.times) < 2:
            return
        to_pixels = painter.transform()
        x = self.times * to_pixels.m11() + to_pixels.dx()
        y = self.values * to_pixels.m22() + to_pixels.dy()
        known = np.isfinite(y)
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._pen)
        if self._solid:
            pieces = _curves.arrayToLineSegments(x, y, connect="finite", finiteCheck=True)
            painter.drawLines(*pieces.drawargs())
        else:
            # a dash goes on from piece to piece
            edges = np.flatnonzero(np.diff(known)) + 1
            for part in np.split(np.arange(len(x)), edges):
                if known[part[0]] and len(part) > 1:
                    painter.drawPolyline(_functions.arrayToQPolygonF(x[part], y[part]))
        painter.restore()
