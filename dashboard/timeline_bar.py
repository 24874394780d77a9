"""The bar below all panels: where in time the display is, and the way back."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from dashboard.board import Board
from dashboard.drawing.card import put
from dashboard.drawing.theme import font, look, px

_TICKS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_REVEAL_S = 0.25
"""The strip is drawn so often at most, s of the session."""


def clock_text(seconds: float) -> str:
    """Write a time as people do: ``1:02:03`` or ``2:03``."""
    if not math.isfinite(seconds):
        return "…"
    whole = round(seconds)
    sign, whole = ("−", -whole) if whole < 0 else ("", whole)
    hours, rest = divmod(whole, 3600)
    return f"{sign}{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{sign}{rest // 60}:{rest % 60:02d}"


class TimelineBar(QWidget):
    """A strip of time with a cursor, buttons beside it.

    Parameters
    ----------
    recorded : bool
        A recording is shown: it has a beginning, an end and a speed.
    """

    chosen = Signal(float)
    """A time was chosen, SessionTime s."""
    pause_pressed = Signal()
    live_pressed = Signal()

    def __init__(self, *, recorded: bool) -> None:
        super().__init__()
        self.strip = Strip()
        self.strip.chosen.connect(self.chosen)
        self._pause = QPushButton()
        self._pause.setFont(font(13, bold=True))
        self._pause.setMinimumWidth(px(96))
        self._pause.setToolTip("Space")
        self._pause.clicked.connect(self.pause_pressed)
        self._live = QPushButton("▶ END" if recorded else "● LIVE")
        self._live.setFont(font(13, bold=True))
        self._live.setToolTip("L: show the newest")
        self._live.clicked.connect(self.live_pressed)
        self._text = QLabel()
        self._text.setFont(font(13))
        self._text.setMinimumWidth(px(190))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(px(8))
        for widget, stretch in ((self._pause, 0), (self.strip, 1), (self._text, 0), (self._live, 0)):
            row.addWidget(widget, stretch)
        self._recorded = recorded
        for button in (self._pause, self._live):
            # the keys belong to the window: blank must not press what was clicked last
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def text(self) -> str:
        """Tell what stands beside the strip."""
        return self._text.text()

    def refresh(self, board: Board, begin: float, end: float, loaded: float, *, playing: bool) -> None:
        """Show where the display is between ``begin`` and ``end``, SessionTime s; ``loaded`` is known so far."""
        moving = playing if self._recorded else board.live
        put(self._pause, "❚❚ PAUSE" if moving else "▶ PLAY" if self._recorded else "▶ GO ON")
        self._live.setEnabled(not board.live)
        if not math.isfinite(board.shown):
            put(self._text, "no data yet")
        elif self._recorded:
            put(self._text, f"{clock_text(board.shown - begin)} of {clock_text(end - begin)}")
        elif board.live:
            kept = board.shown - max(begin, board.view.began)
            put(self._text, f"live · {clock_text(kept)} kept")
        else:
            put(self._text, f"{clock_text(board.view.now - board.shown)} ago")
        self.strip.show_times(board, begin, end, loaded)


class Strip(QWidget):
    """The strip: time from left to right, markers above, triggers below, a cursor."""

    chosen = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(px(200), px(34))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._key: object = None
        self._begin, self._end, self._loaded, self._shown = 0.0, 1.0, 1.0, 0.0
        self._markers: list[tuple[float, str]] = []
        self._fired: list[float] = []

    def show_times(self, board: Board, begin: float, end: float, loaded: float) -> None:
        """Take what is to be drawn; nothing is done while nothing moves visibly."""
        if not all(map(math.isfinite, (begin, end, loaded))):
            return
        predictions = board.view.predictions
        key = (
            round(begin / _REVEAL_S), round(end / _REVEAL_S), round(loaded / _REVEAL_S), board.live,
            round(board.shown / _REVEAL_S) if math.isfinite(board.shown) else None,
            board.view.markers.revision, predictions.triggers if predictions is not None else 0,
        )  # fmt: skip
        if key == self._key:
            return
        self._key = key
        self._begin, self._end, self._loaded, self._shown = begin, max(end, begin + 1.0), loaded, board.shown
        self._markers = [(m.at, m.label) for m in board.view.markers.between(begin, end)]
        self._fired = [m.at for m in predictions.marks.between(begin, end) if m.fired] if predictions else []
        self.update()

    def time_at(self, x: float) -> float:
        """Give the time below a point of the strip."""
        share = min(max((x - 1) / max(1, self.width() - 2), 0.0), 1.0)
        return self._begin + share * (self._end - self._begin)

    def x_of(self, time: float) -> float:
        """Give the place of a time."""
        return 1 + (time - self._begin) / (self._end - self._begin) * (self.width() - 2)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        self.chosen.emit(self.time_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(self.time_at(event.position().x()))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        c = look()
        painter = QPainter(self)
        field = QRectF(0.5, 0.5, self.width() - 1, self.height() - 1)
        painter.fillRect(field, QColor(c.well))
        known = QRectF(field)
        known.setRight(min(self.x_of(self._loaded), field.right()))
        painter.fillRect(known, QColor(c.card))
        self._draw_ticks(painter)
        painter.setPen(QPen(QColor(c.eeg), 1))
        for at, _ in self._markers:
            x = self.x_of(at)
            painter.drawLine(round(x), 1, round(x), px(8))
        painter.setPen(QPen(QColor(c.mark), 1.4))
        for at in self._fired:
            x = self.x_of(at)
            painter.drawLine(round(x), self.height() - px(8), round(x), self.height() - 2)
        painter.setPen(QPen(QColor(c.edge)))
        painter.drawRect(field)
        if math.isfinite(self._shown):
            x = self.x_of(self._shown)
            painter.setPen(QPen(QColor(c.mark), 2))
            painter.drawLine(round(x), 0, round(x), self.height())
        painter.end()

    def _draw_ticks(self, painter: QPainter) -> None:
        c = look()
        span = self._end - self._begin
        step = next((t for t in _TICKS_S if span / t <= max(2.0, self.width() / px(70))), _TICKS_S[-1])
        painter.setFont(font(11))
        at = math.ceil(span / step) * step - step
        while at >= 0:
            x = self.x_of(self._begin + at)
            painter.setPen(QPen(QColor(c.grid), 1))
            painter.drawLine(round(x), px(9), round(x), self.height() - px(9))
            painter.setPen(QColor(c.faint))
            place = QRectF(x + 3, 0, px(60), self.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, clock_text(at))
            at -= step
