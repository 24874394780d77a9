"""A network as a picture: on a circle, seen from above, or as a matrix."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QHelpEvent, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QToolTip, QWidget

from dashboard.drawing.colour_maps import diverging
from dashboard.drawing.theme import font, line_colour, look, minus, px
from dashboard.figures.connectivity import Network
from streamer.messages import F64

Layout = Literal["circle", "brain", "matrix"]
LAYOUTS: tuple[Layout, ...] = ("circle", "brain", "matrix")
MOST_EDGES = 200
"""The strongest are drawn."""
_NODE = 5
_BAR = 40
_TALL = 150
"""Pixels from which there is room for a line below."""
_WIDEST = 5.0
_FAINTEST = 0.4
"""Of the colour scale: a line that is fainter cannot be seen."""
_PIECE = 4
_BEND = 0.1
_BEND_MORE = 0.6
_ELLIPSE = (0.86, 1.0)


class NetworkView(QWidget):
    """Draws a :class:`Network`; names, strengths and what is not drawn for want of room are told under the mouse."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Network | None = None
        self.layout_shown: Layout = "circle"
        self._places: F64 | None = None
        self._largest = 1.0
        self._word = ""
        self._foot = ""
        self._nodes: list[QPointF] = []
        self._radius = float(px(_NODE))
        self._matrix = QRectF()
        self.setMinimumSize(px(80), px(60))

    def show_word(self, word: str) -> None:
        """Show a word and nothing else."""
        self._word, self.network = word, None
        self.update()

    def show_network(self, network: Network, layout: Layout, places: F64 | None, foot: str) -> None:
        """Show a network and a line below it; ``places`` are right and front, -1 to 1, needed for ``brain``."""
        self._word, self._foot, self.network = "", foot, network
        self.layout_shown = "circle" if layout == "brain" and places is None else layout
        self._places = places
        known = np.abs(network.strength[np.isfinite(network.strength)])
        largest = float(known.max()) if len(known) else 1.0
        # a correlation's scale is fixed; other measures are far smaller
        self._largest = 1.0 if network.measure == "correlation" else max(0.2, math.ceil(largest * 10) / 10)
        self.update()

    def word(self) -> str:
        """Tell the word that is shown; empty where a network is."""
        return self._word

    def foot(self) -> str:
        """Tell the line below the network."""
        return self._foot if self.network is not None else ""

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._nodes, self._matrix = [], QRectF()
        area = QRectF(self.rect())
        if self.network is None:
            painter.setFont(font(14))
            painter.setPen(QColor(look().faint))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._word)
        else:
            if area.height() > px(_TALL):
                area.setBottom(self._draw_foot(painter, area))
            bar = px(_BAR)
            if area.width() > 5 * bar:
                self._draw_bar(painter, QRectF(area.right() - bar, area.top(), bar, area.height()))
                area.setRight(area.right() - bar)
            if self.layout_shown == "matrix":
                self._draw_matrix(painter, area, self.network)
            else:
                self._draw_nodes(painter, area, self.network)
        painter.end()

    def _draw_foot(self, painter: QPainter, area: QRectF) -> float:
        """Write the line below; gives where the picture ends."""
        painter.setFont(font(11))
        painter.setPen(QColor(look().faint))
        metrics = painter.fontMetrics()
        signs = "● above chance" if self.layout_shown == "matrix" else "━ together   ╌ opposed"
        text = f"{self._foot}   {signs}"
        if metrics.horizontalAdvance(text) > area.width():
            text = metrics.elidedText(self._foot, Qt.TextElideMode.ElideRight, int(area.width()))
        top = area.bottom() - metrics.height()
        painter.drawText(QRectF(area.left(), top, area.width(), metrics.height()), Qt.AlignmentFlag.AlignVCenter, text)
        return top - px(3)

    def _colour(self, value: float) -> QColor:
        table = diverging(look().name)
        share = min(max(value / self._largest, -1.0), 1.0)
        red, green, blue = table[round((share + 1) / 2 * (len(table) - 1))].tolist()
        return QColor(red, green, blue)

    def _pen(self, value: float) -> QPen:
        share = min(abs(value) / self._largest, 1.0)
        colour = self._colour(math.copysign(max(_FAINTEST, share) * self._largest, value))
        made = QPen(colour, px(1) * (0.8 + (_WIDEST - 0.8) * share * share))
        # pieces of a whole line overlap, so that no seam shows
        made.setCapStyle(Qt.PenCapStyle.SquareCap if value > 0 else Qt.PenCapStyle.FlatCap)
        return made

    def _draw_nodes(self, painter: QPainter, area: QRectF, network: Network) -> None:
        painter.setFont(font(11))
        metrics = QFontMetricsF(painter.font())
        longest = max((metrics.horizontalAdvance(name) for name in network.names), default=0.0)
        room = min(longest, area.width() * 0.26) + px(12)
        inner = area.adjusted(room, metrics.height() * 1.3, -room, -metrics.height() * 1.3)
        if self.layout_shown == "brain" and self._places is not None:
            self._nodes = _seen_from_above(painter, area, metrics, self._places)
        else:
            self._nodes = _on_circle(inner, len(network.names))
        middle = inner.center() if self.layout_shown == "circle" else None
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for one, other, value in network.edges[-MOST_EDGES:]:
            painter.setPen(self._pen(value))
            pieces = _edge(self._nodes[one], self._nodes[other], middle)
            painter.drawLines(pieces if value > 0 else [piece for i, piece in enumerate(pieces) if i % 3])
        self._radius = min(px(_NODE), max(2.0, min(inner.width(), inner.height()) / 25))
        # nodes without an edge are rings: whether one is connected does not hang on colour
        connected = network.connected
        for i, node in enumerate(self._nodes):
            colour = QColor(line_colour(i))
            painter.setPen(QPen(colour, 1.5))
            painter.setBrush(colour if connected[i] else QColor(look().card))
            painter.drawEllipse(node, self._radius, self._radius)
        self._name_nodes(painter, area, metrics, room - px(12))

    def _name_nodes(self, painter: QPainter, area: QRectF, metrics: QFontMetricsF, room: float) -> None:
        assert self.network is not None
        taken: list[QRectF] = [QRectF(n.x() - px(4), n.y() - px(4), px(8), px(8)) for n in self._nodes]
        centre = area.center().x()
        connected = self.network.connected
        # where there is no room for all, those that are connected are named
        for i in sorted(range(len(self._nodes)), key=lambda i: not connected[i]):
            node = self._nodes[i]
            name = metrics.elidedText(self.network.names[i], Qt.TextElideMode.ElideMiddle, room)
            width, height = metrics.horizontalAdvance(name) + 2, metrics.height()
            gap = px(_NODE + 4)
            left = node.x() + gap if node.x() > centre - 1 else node.x() - gap - width
            above = self.layout_shown == "circle" and abs(node.x() - centre) < px(3)
            if above:
                up = node.y() < area.center().y()
                where = QRectF(
                    node.x() - width / 2, node.y() + (-gap - height * 0.8 if up else gap * 0.6), width, height
                )
            else:
                where = QRectF(left, node.y() - height / 2, width, height)
            others = taken[:i] + taken[i + 1 :]
            if any(where.intersects(other) for other in others) or not area.contains(where.center()):
                continue
            taken.append(where)
            painter.setPen(QColor(look().text if connected[i] else look().faint))
            painter.drawText(where, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextDontClip, name)

    def _draw_matrix(self, painter: QPainter, area: QRectF, network: Network) -> None:
        n = len(network.names)
        painter.setFont(font(11))
        metrics = QFontMetricsF(painter.font())
        longest = max(metrics.horizontalAdvance(name) for name in network.names) + px(6)
        names = min(longest, area.width() * 0.35)
        side = min(area.width() - names, area.height() - 4)
        if side / n < metrics.height() * 0.8:
            names, side = 0.0, min(area.width(), area.height() - 4)
        cell = side / n
        left = area.left() + (area.width() - names - side) / 2 + names
        self._matrix = QRectF(left, area.top() + (area.height() - side) / 2, side, side)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=False)
        painter.drawImage(self._matrix, self._image(network))
        if cell >= px(6):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(look().text))
            for one, other in np.argwhere(network.shown).tolist():
                where = QPointF(self._matrix.left() + (other + 0.5) * cell, self._matrix.top() + (one + 0.5) * cell)
                painter.drawEllipse(where, min(px(2.5), cell / 5), min(px(2.5), cell / 5))
        painter.setPen(QPen(QColor(look().edge), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(self._matrix)
        if names:
            for i, name in enumerate(network.names):
                painter.setPen(QColor(line_colour(i)))
                where = QRectF(left - names, self._matrix.top() + i * cell, names - px(6), cell)
                text = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, where.width())
                painter.drawText(where, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)

    def _image(self, network: Network) -> QImage:
        table = diverging(look().name)
        known = np.isfinite(network.strength)
        share = np.where(known, network.strength / self._largest, 0.0).clip(-1, 1)
        ground = QColor(look().well)
        pixels = table[np.rint((share + 1) / 2 * (len(table) - 1)).astype(np.intp)]
        pixels[~known] = ground.red(), ground.green(), ground.blue()
        n = len(pixels)
        # the bytes go with the call: a copy stays
        return QImage(np.ascontiguousarray(pixels).tobytes(), n, n, 3 * n, QImage.Format.Format_RGB888).copy()

    def _draw_bar(self, painter: QPainter, area: QRectF) -> None:
        height = min(area.height() - px(24), px(150))
        if height < px(40):
            return
        table = np.ascontiguousarray(diverging(look().name)[::-1])
        image = QImage(table.tobytes(), 1, len(table), 3, QImage.Format.Format_RGB888)
        bar = QRectF(area.left() + px(4), area.center().y() - height / 2, px(9), height)
        painter.drawImage(bar, image)
        painter.setFont(font(10))
        painter.setPen(QColor(look().faint))
        line = painter.fontMetrics().height()
        for share in (1.0, 0.0, -1.0):
            y = bar.center().y() - share * height / 2
            text = minus(f"{share * self._largest:+.1f}") if share else "0"
            where = QRectF(bar.right() + px(3), y - line / 2, area.right() - bar.right(), line)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextDontClip, text)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.tell(QPointF(event.pos()))
            if text:
                QToolTip.showText(event.globalPos(), text, self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)

    def tell(self, at: QPointF) -> str:
        """Say what is drawn at a place; empty where nothing is."""
        network = self.network
        if network is None:
            return ""
        if self._matrix.contains(at):
            n = len(network.names)
            row = min(n - 1, int((at.y() - self._matrix.top()) / self._matrix.height() * n))
            column = min(n - 1, int((at.x() - self._matrix.left()) / self._matrix.width() * n))
            return "" if row == column else _pair_text(network, row, column)
        for i, node in enumerate(self._nodes):
            if math.hypot(at.x() - node.x(), at.y() - node.y()) <= px(_NODE) + 3:
                found = [k for k in np.argsort(-np.abs(network.strength[i])).tolist() if network.shown[i, k]]
                return "\n".join([network.names[i], *(_pair_text(network, i, k) for k in found[:12])])
        return ""


def _pair_text(network: Network, one: int, other: int) -> str:
    value = network.strength[one, other]
    text = minus(f"{value:+.2f}") if np.isfinite(value) else "not known"
    above = "" if network.shown[one, other] or not network.judged else ", not above chance"
    return f"{network.names[one]} – {network.names[other]}: {text}{above}"


def _on_circle(area: QRectF, n: int) -> list[QPointF]:
    radius = max(px(8), min(area.width(), area.height()) / 2)
    centre = area.center()
    turn = [2 * math.pi * i / max(1, n) - math.pi / 2 for i in range(n)]
    return [QPointF(centre.x() + radius * math.cos(a), centre.y() + radius * math.sin(a)) for a in turn]


def _seen_from_above(painter: QPainter, area: QRectF, metrics: QFontMetricsF, places: F64) -> list[QPointF]:
    """Draw the outline of a head and say where its nodes lie."""
    half = max(px(12), min(area.width() / _ELLIPSE[0], area.height() - 2 * metrics.height()) / 2)
    centre = area.center()
    painter.setPen(QPen(QColor(look().edge), px(1.5)))
    painter.setBrush(QColor(look().well))
    painter.drawEllipse(centre, half * _ELLIPSE[0], half)
    painter.setPen(QColor(look().faint))
    side, line = half * _ELLIPSE[0], metrics.height()
    middle = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextDontClip
    for text, x, y in (("front", 0.0, -half - line / 2), ("L", -side - line / 2, 0.0), ("R", side + line / 2, 0.0)):
        painter.drawText(QRectF(centre.x() + x - line, centre.y() + y - line / 2, 2 * line, line), middle, text)
    # all within the outline: its inner square, and a little more, for heads are round
    reach = half * 0.72
    return [QPointF(centre.x() + x * reach, centre.y() - y * reach) for x, y in places.tolist()]


def _edge(one: QPointF, other: QPointF, middle: QPointF | None) -> list[QLineF]:
    """Give the pieces of a line, bent towards the middle where there is one; Qt is slow with whole wide curves."""
    start, end = np.array([one.x(), one.y()]), np.array([other.x(), other.y()])
    length = float(np.hypot(*(end - start)))
    bend = half = (start + end) / 2
    if middle is not None:
        inwards = np.array([middle.x(), middle.y()]) - half
        # so that edges of neighbours do not run along the circle: the shorter, the less, for long ones pass the middle
        radius = math.hypot(length / 2, float(np.hypot(*inwards)))
        bend = half + inwards * (_BEND + _BEND_MORE * length / max(1.0, 2 * radius))
    n = max(6, round(length / px(_PIECE)))
    t = np.linspace(0, 1, n + 1)[:, None]
    points = ((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end).tolist()
    return [QLineF(*points[i], *points[i + 1]) for i in range(n)]
