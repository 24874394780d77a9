"""What the participant is shown: the level, where a reward begins, and when nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from dashboard.board import Board
from dashboard.drawing.card import Card
from dashboard.drawing.strip import Pace, SpanButton, Strip, line_of, upright
from dashboard.drawing.theme import font, line_pen, look, px
from dashboard.figures.stretches import stretches
from streamer.messages import F64
from streamer.wire import ScoreMessage

GAP_S = 1.0
_FIRST_AXIS = 1
"""Colour of the first axis; the one before is the level's."""
_BAR_PX = 86


def _none() -> F64:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn; ages are s before the right edge."""

    ages: F64 = field(default_factory=_none)
    levels: F64 = field(default_factory=_none)
    thresholds: F64 = field(default_factory=_none)
    axes: Mapping[str, tuple[F64, F64]] = field(default_factory=dict[str, "tuple[F64, F64]"])
    """Ages and levels by name."""
    neutral: Sequence[tuple[float, float]] = ()
    newest: ScoreMessage | None = None
    word: str = ""
    """Why no level is shown now; empty when one is."""
    empty: str = ""


class ScorePlot(Strip):
    """The course of the level, and the newest as a bar that is read from afar."""

    right = _BAR_PX + 10.0

    def __init__(self) -> None:
        super().__init__()
        self.picture = Picture()

    def paint(self, painter: QPainter) -> None:
        shown, well = self.picture, self.well
        self.shade(painter, shown.neutral)
        for i, (ages, values) in enumerate(shown.axes.values()):
            self.curve(painter, well, ages, values, line_pen(_FIRST_AXIS + i, 1.2))
        self.curve(painter, well, shown.ages, shown.thresholds, QPen(QColor(look().text), 1.0, Qt.PenStyle.DashLine))
        self.curve(painter, well, shown.ages, shown.levels, line_pen(0, 2.4))
        self.name(painter, shown.neutral, "neutral")
        if shown.empty:
            self.notice(painter, shown.empty)
        self._bar(painter)

    def _bar(self, painter: QPainter) -> None:
        c, well, newest = look(), self.well, self.picture.newest
        bar = QRectF(self.width() - px(_BAR_PX), well.top(), px(26), well.height())
        painter.setPen(QPen(QColor(c.edge)))
        painter.setBrush(QColor(c.well))
        painter.drawRect(bar)
        if newest is None:
            return
        beside = QRectF(bar.right() + px(4), well.top(), self.width() - bar.right() - px(4), well.height())
        if self.picture.word:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.edge))
            painter.drawRect(bar)
        else:
            high = min(max(newest.level, 0.0), 1.0) * bar.height()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(line_pen(0).color()))
            painter.drawRect(QRectF(bar.left(), bar.bottom() - high, bar.width(), high))
        if 0 <= newest.threshold <= 1:
            y = bar.bottom() - newest.threshold * bar.height()
            painter.setPen(QPen(QColor(c.text), 2.0))
            painter.drawLine(QPointF(bar.left() - px(4), y), QPointF(bar.right(), y))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(c.text))
            tip, back, half = bar.left() - px(3), bar.left() - px(9), px(4)
            painter.drawPolygon(QPolygonF([QPointF(tip, y), QPointF(back, y - half), QPointF(back, y + half)]))
        word = self.picture.word or f"{newest.level:.2f}"
        # a word is turned upright: it is wider than the room
        painter.setPen(QColor(c.text))
        if self.picture.word:
            painter.setFont(font(15, bold=True))
            upright(painter, beside, word)
        else:
            painter.setFont(font(20, bold=True))
            painter.drawText(beside, Qt.AlignmentFlag.AlignCenter, word)


class ScorePanel(Card):
    """The level over time with its threshold, stretches that showed nothing, and the newest as a bar."""

    key = "score"

    def __init__(self) -> None:
        super().__init__("Score")
        self.plot = ScorePlot()
        self.span = SpanButton()
        self.tool(self.span)
        self._pace = Pace()
        self.hold(self.plot)

    def state(self) -> dict[str, Any]:
        """Give the user's settings."""
        return {"seconds": self.span.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave once."""
        self.span.choose(state.get("seconds"))

    def refresh(self, board: Board) -> None:
        """Show scores up to ``board.shown``."""
        at, store = board.shown, board.view.scores
        settings = (id(board.view), board.live, id(board.about), self.span.seconds)
        content = (store.revision, round(at, 1) if np.isfinite(at) else None)
        if not self._pace.due(board.at, self.span.seconds, settings, content):
            return
        self.plot.seconds, self.plot.live = self.span.seconds, board.live
        self.plot.picture = _picture(board, self.span.seconds)
        self.plot.update()
        self._say(board)

    def _say(self, board: Board) -> None:
        c, shown = look(), self.plot.picture
        entries: list[tuple[str, str, str]] = []
        if board.about is not None and board.about.blinded:
            entries.append(("◑", c.text, "as shown (may be sham)"))
        if shown.newest is None:
            entries.append(("", c.faint, shown.empty))
        else:
            level = shown.word or f"level {shown.newest.level:.2f}"
            entries.append(("━", line_pen(0).color().name(), level))
            reached = (
                "" if shown.word else " reached" if shown.newest.level >= shown.newest.threshold else " not reached"
            )
            entries.append(("┅", c.text, f"threshold {shown.newest.threshold:.2f}{reached}"))
            entries += [
                ("─", line_pen(_FIRST_AXIS + i).color().name(), f"{name} {shown.newest.axes[name]:.2f}")
                for i, name in enumerate(shown.axes)
                if name in shown.newest.axes
            ]
        self.legend(entries)


def _picture(board: Board, seconds: float) -> Picture:
    at, store = board.shown, board.view.scores
    newest = store.messages.at(at) if np.isfinite(at) else None
    if newest is None:
        return Picture(empty="no score yet" if board.live else "no score at this time")
    word = "neutral" if newest.neutral else "expired" if at > newest.expires else ""
    held = store.messages.between(at - seconds, at)
    times, levels, thresholds = store.traces(at, seconds)
    ages, values = line_of(times, np.column_stack([levels, thresholds]), at, GAP_S)
    neutral = stretches(times, np.isnan(levels), GAP_S)
    # a neutral score has none
    names = next((list(message.axes) for message in reversed(held) if message.axes), [])
    axes = {
        name: line_of(times, np.array([message.axes.get(name, np.nan) for message in held]), at, GAP_S)
        for name in names
    }
    return Picture(
        ages, values[:, 0], values[:, 1], axes, [(at - begin, at - end) for begin, end in neutral], newest, word
    )  # fmt: skip
