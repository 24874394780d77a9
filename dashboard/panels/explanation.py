"""What the newest decisions depend on: parts of the window are taken away, and the model is asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QToolButton, QWidget

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.colour_maps import diverging
from dashboard.drawing.strip import upright
from dashboard.drawing.theme import font, look, minus, px
from dashboard.figures.blocks import setting
from dashboard.figures.relevance import RelevanceMap, relevance_map, strongest
from streamer.messages import F64
from streamer.wire import CardMessage, FeatureMessage

FEATURE = "relevance"
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Ends of the colour scale, log-odds."""
OLD_S = 15.0
"""A map so old speaks of another state, s."""
CAVEAT = "occlusion: what the number depends on, not where the brain's signal is"
HOW_TO_SWITCH_ON = "Not computed. Set [model.relevance] enabled = true in SESSION.toml: one more question per decision."
_SCALE_PX, _ROW_PX, _LEAST_ROW_PX, _REGION_PX, _GAP_PX = 26, 38, 15, 120, 14
_DARK = 0.45
"""Ground above which ink is dark."""


def verdict(card: CardMessage | None) -> tuple[bool, str]:
    """Tell whether the card says that this way of explaining was checked on its model, and in which words."""
    told = "" if card is None else card.explained.get("occlusion", "")
    return bool(told), told or "its map was not checked against a planted truth"


class ExplanationPanel(Card):
    """Channel groups by bands, and regions, with numbers; which class they speak of, and whether to believe them."""

    key = "explanation"

    def __init__(self) -> None:
        super().__init__("Explanation")
        self.map = MapView()
        self._button = QToolButton()
        self._button.setStyleSheet(f"font-size: {px(11)}px; padding: 0 {px(5)}px;")
        self._button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._button.setToolTip("Ends of the colour scale in log-odds: click for another")
        self._button.clicked.connect(lambda: self.rescale(+1))
        self.tool(self._button)
        self._shown: object = None
        self._choose(1.0)
        self.hold(self.map)

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return (PanelCommand("Another colour scale", lambda: self.rescale(+1)),)

    def rescale(self, steps: int) -> None:
        """Take another scale; after the widest comes the finest."""
        self._choose(SCALES[(SCALES.index(self.map.end) + steps) % len(SCALES)])

    def state(self) -> dict[str, Any]:
        """Give the user's settings."""
        return {"scale": self.map.end}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave once."""
        end = state.get("scale")
        if isinstance(end, int | float) and end in SCALES:
            self._choose(float(end))

    def _choose(self, end: float) -> None:
        self.map.end = end
        self._button.setText(f"± {end:g}")
        self.map.update()

    def refresh(self, board: Board) -> None:
        """Show the last map before ``board.shown``."""
        found = board.view.features.get(FEATURE)
        newest = found.at(board.shown) if found is not None and np.isfinite(board.shown) else None
        card = board.card
        config = board.config
        age = round(board.shown - newest.about) if newest is not None else None
        sample = newest.sample if newest is not None else None
        key = (id(board.view), sample, age, id(card), id(config), id(board.about), board.live)
        if key == self._shown:
            return
        self._shown = key
        if newest is None:
            self.map.show_map(None, _why_none(board))
            self.caption("")
            return
        self.map.show_map(relevance_map(newest.labels, newest.values), "")
        self._say(board, newest, age or 0, card)

    def _say(self, board: Board, newest: FeatureMessage, age: int, card: CardMessage | None) -> None:
        c, found = look(), self.map.found
        classes = board.about.classes if board.about is not None else []
        target = found.target if found is not None else None
        name = classes[target] if target is not None and 0 <= target < len(classes) else "the likeliest class"
        checked, words = verdict(card)
        badge, colour = ("● VALIDATED", c.lines[2]) if checked else ("▲ NOT VALIDATED", c.alarm)
        old = f'<span style="color:{c.alarm}">▲ {age} s old</span>' if age > OLD_S else f"{age} s old"
        settling = "" if newest.valid else f' · <span style="color:{c.alarm}">▲ not valid</span>'
        model = f" of {escape(card.name)} ({escape(card.model_kind)})" if card is not None else ""
        self.caption(f'<span style="color:{colour}"><b>{badge}</b></span> · <b>{escape(name)}</b> · {old}{settling}')
        earned = f"\nThe model: {card.verdict}" if card is not None and card.verdict else ""
        self.setToolTip(f"Explanation{model}: {words}.\nThis is {CAVEAT}.{earned}")


def _why_none(board: Board) -> str:
    if board.about is not None and board.about.blinded:
        return "blinded: not sent"
    enabled = setting(board.settings, "model", "relevance", "enabled")
    if enabled:
        return "waiting for the first round" if board.live else "nothing at this time"
    return HOW_TO_SWITCH_ON if enabled is False else f"nothing yet. {HOW_TO_SWITCH_ON.removeprefix('Not computed. ')}"


class MapView(QWidget):
    """Two blocks of coloured cells with their numbers, and the scale beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.end = 1.0
        """Log-odds at both ends of the scale."""
        self.found: RelevanceMap | None = None
        self.word = ""
        """Said in place of a map."""
        self.hidden = 0
        """Rows that found no room."""

    def show_map(self, found: RelevanceMap | None, word: str) -> None:
        """Show a map, or a word."""
        self.found, self.word = found, word
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        with QPainter(self) as painter:
            if self.found is not None:
                self._paint(painter, self.found)
                return
            painter.setFont(font(13))
            painter.setPen(QColor(look().faint))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(px(8), 0, -px(8), 0), flags, self.word)

    def _paint(self, painter: QPainter, found: RelevanceMap) -> None:
        self.hidden = 0
        # the caveat stands in the tooltip, too: rows go first
        lines = 2 + max(len(found.groups), len(found.regions) and 1)
        foot = px(_LEAST_ROW_PX) if self.height() >= lines * px(_LEAST_ROW_PX) else 0
        if foot:
            self._head(painter, QRectF(0, self.height() - foot, self.width(), foot), CAVEAT)
        high = self.height() - foot
        room = QRectF(0, 0, self.width() - px(_SCALE_PX + 42), high)
        both = bool(found.groups) and bool(found.regions)
        share = 0.56 if both else 1.0
        if found.groups:
            self._eeg(painter, found, QRectF(0, 0, room.width() * share - (px(_GAP_PX) if both else 0), room.height()))
        if found.regions:
            left = room.width() * share if both else 0.0
            self._bold(painter, found, QRectF(left, 0, room.width() - left, room.height()))
        self._scale(painter, QRectF(self.width() - px(_SCALE_PX + 22), px(8), px(12), high - px(16)))

    def _head(self, painter: QPainter, place: QRectF, text: str) -> None:
        painter.setFont(font(11))
        painter.setPen(QColor(look().faint))
        told = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(place.width()))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignHCenter, told)

    def _eeg(self, painter: QPainter, found: RelevanceMap, room: QRectF) -> None:
        painter.setFont(font(12))
        name_room = min(
            max(painter.fontMetrics().horizontalAdvance(name) for name in found.groups) + px(8), room.width() * 0.4
        )  # fmt: skip
        line = px(_LEAST_ROW_PX)
        fit = max(1, int((room.height() - line) // line))
        # the line that counts the others takes the place of one
        rows = strongest(found.eeg, fit if fit >= len(found.groups) else max(1, fit - 1))
        hidden = len(found.groups) - len(rows)
        self.hidden += hidden
        high = min(float(px(_ROW_PX)), (room.height() - line) / (len(rows) + (hidden > 0)))
        wide = (room.width() - name_room) / len(found.bands)
        whole = found.whole.get("eeg", np.nan)
        self._head(painter, QRectF(0, 0, name_room, line), f"EEG {_number(whole)}")
        for k, band in enumerate(found.bands):
            self._head(painter, QRectF(name_room + k * wide, 0, wide, line), band)
        for i, row in enumerate(rows):
            y = line + i * high
            painter.setFont(font(12))
            painter.setPen(QColor(look().text))
            name = painter.fontMetrics().elidedText(found.groups[row], Qt.TextElideMode.ElideRight, int(name_room - 4))
            painter.drawText(QRectF(0, y, name_room, high), Qt.AlignmentFlag.AlignVCenter, name)
            for k in range(len(found.bands)):
                self._cell(painter, QRectF(name_room + k * wide, y, wide - 1, high - 1), float(found.eeg[row, k]))

        if hidden:
            self._head(painter, QRectF(0, line + len(rows) * high, room.width(), high), f"{hidden} weaker not shown")

    def _bold(self, painter: QPainter, found: RelevanceMap, room: QRectF) -> None:
        line = px(_LEAST_ROW_PX)
        most = max(1, int(room.width() // px(_REGION_PX)))
        fit = max(1, int((room.height() - line) // line))
        rows = strongest(found.bold, fit * most)
        self.hidden += len(found.regions) - len(rows)
        columns = min(most, -(-len(rows) // fit))
        per_column = -(-len(rows) // columns)
        high = min(float(px(_ROW_PX)), (room.height() - line) / per_column)
        wide = room.width() / columns
        whole = found.whole.get("bold", np.nan)
        more = f", {len(found.regions) - len(rows)} weaker not shown" if len(rows) < len(found.regions) else ""
        self._head(painter, QRectF(room.left(), 0, room.width(), line), f"BOLD {_number(whole)}{more}")
        for i, row in enumerate(rows):
            x, y = room.left() + i // per_column * wide, line + i % per_column * high
            painter.setFont(font(12))
            cell_room = painter.fontMetrics().horizontalAdvance("−0.00") + px(14)
            painter.setPen(QColor(look().text))
            name_room = int(wide - cell_room - px(6))
            name = painter.fontMetrics().elidedText(found.regions[row], Qt.TextElideMode.ElideRight, name_room)
            painter.drawText(QRectF(x + px(2), y, name_room, high), Qt.AlignmentFlag.AlignVCenter, name)
            self._cell(painter, QRectF(x + wide - cell_room - px(2), y, cell_room, high - 1), float(found.bold[row]))

    def _cell(self, painter: QPainter, place: QRectF, value: float) -> None:
        c = look()
        if not np.isfinite(value):
            painter.fillRect(place, QColor(c.well))
            painter.fillRect(place, QBrush(QColor(c.edge), Qt.BrushStyle.BDiagPattern))
            ink = c.faint
        else:
            ground = _colour(value / self.end)
            painter.fillRect(place, ground)
            ink = "#101010" if ground.lightnessF() > _DARK else "#ffffff"
        painter.setFont(font(12))
        painter.setPen(QColor(ink))
        if place.width() >= painter.fontMetrics().horizontalAdvance("−0.00"):
            # beyond the scale the colour says no more: a sign does
            over = "▸" if np.isfinite(value) and abs(value) > self.end else ""
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, over + _number(value))

    def _scale(self, painter: QPainter, place: QRectF) -> None:
        c = look()
        # a QImage keeps pointing at the array: it must live until it is drawn
        table = np.ascontiguousarray(diverging(c.name)[::-1, None, :])
        image = QImage(table.data, 1, len(table), 3, QImage.Format.Format_RGB888)
        painter.drawImage(place, image)
        painter.setPen(QColor(c.edge))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(place)
        painter.setFont(font(11))
        painter.setPen(QColor(c.faint))
        high = painter.fontMetrics().height()
        for value, y in ((self.end, place.top()), (0.0, place.center().y()), (-self.end, place.bottom())):
            beside = QRectF(place.right() + px(4), y - high / 2, px(34), high)
            painter.drawText(beside, Qt.AlignmentFlag.AlignVCenter, minus(f"{value:+g}") if value else "0")
        upright(painter, QRectF(place.left() - high - px(2), 0, high, place.bottom() + px(8)), "log-odds")


def _colour(share: float) -> QColor:
    table = diverging(look().name)
    place = round((min(max(share, -1.0), 1.0) + 1.0) / 2.0 * (len(table) - 1))
    r, g, b = (int(v) for v in table[place])
    return QColor(r, g, b)


def _number(value: float | F64) -> str:
    return minus(f"{float(value):+.2f}") if np.isfinite(value) else "–"
