"""The participant's screen: it paints when what is to be seen changes, and at once."""

from __future__ import annotations

from pylsl import local_clock
from PySide6.QtCore import QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from dashboard.feedback.drawing import (
    GROUND,
    draw_ball,
    draw_cross,
    draw_patch,
    draw_reward,
    draw_text,
    draw_thermometers,
)
from dashboard.feedback.feed import ScoreFeed
from dashboard.feedback.latency import Latency
from dashboard.feedback.settings import Style, ViewSettings
from dashboard.feedback.store import FeedbackStore, Look

LOOK_MS = 10
"""How often is looked whether what is shown still counts, ms."""
LEAST_FRAME_S = 0.008
"""No two paintings are closer than this, s: a flood of messages must not take the processor."""
ESCAPE_S = 1.5
"""Within this time Esc must be pressed again to end, s."""


class FeedbackView(QWidget):
    """The participant's screen.

    Parameters
    ----------
    feed : ScoreFeed
        Not yet started, stamping by ``pylsl.local_clock``: :meth:`start` starts it, :meth:`stop` stops it.
    settings : ViewSettings
    session : str or None
        The session to follow; None follows the one that is there.
    """

    came = Signal()

    def __init__(self, feed: ScoreFeed, settings: ViewSettings, session: str | None = None) -> None:
        super().__init__()
        self.setWindowTitle(" ")
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setCursor(Qt.CursorShape.BlankCursor)
        self.resize(1000, 700)
        self.feed = feed
        self.settings = settings
        self.store = FeedbackStore(session)
        self.latency = Latency()
        self.flips = 0
        """How often the photodiode's patch has changed."""
        self.frames = 0
        self.closed = False
        self._look = Look()
        self._changed = True
        self._painted_at = 0.0
        self._escaped_at = -ESCAPE_S
        self._woken = False
        self.came.connect(self.frame, Qt.ConnectionType.QueuedConnection)
        feed.wake = self._wake
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.frame)

    @property
    def look(self) -> Look:
        """What is on the screen, or is to be with the next painting."""
        return self._look

    def start(self) -> None:
        """Start the feed and the frames."""
        self.feed.start()
        self._timer.start()

    def stop(self) -> None:
        """End the frames and the feed."""
        self._timer.stop()
        self.feed.stop()

    def frame(self) -> None:
        """Take what has come; paint if what is to be seen has changed."""
        self._woken = False
        for heard in self.feed.take_all():
            self.store.take(heard)
        now = local_clock()
        if now - self._painted_at < LEAST_FRAME_S:
            # the timer comes back soon
            return
        look = self.store.look(now, connected=self.feed.connected)
        fresh = look.serial != self._look.serial
        if look != self._look:
            self.flips += fresh
            self._look = look
            self._changed = True
        if not self._changed:
            return
        self.repaint()
        self._painted_at = local_clock()
        # one that is hidden does not paint: it is tried again
        if not self._changed and fresh and look.serial and (times := self.store.times) is not None:
            self.latency.add(times, self._painted_at)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        del event
        area = QRectF(self.rect())
        look, settings = self._look, self.settings
        with QPainter(self) as painter:
            painter.fillRect(area, GROUND)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.save()
            if settings.mirror:
                painter.translate(area.width(), 0)
                painter.scale(-1, 1)
            if look.neutral:
                if settings.text:
                    draw_text(painter, area, settings.text)
                draw_cross(painter, area)
                if look.flash:
                    draw_reward(painter, area)
            elif settings.style is Style.BALL and len(look.levels) <= 2:
                draw_ball(painter, area, look)
            else:
                draw_thermometers(painter, area, look)
            painter.restore()
            if settings.photodiode is not None:
                draw_patch(painter, area, settings.photodiode, bright=self.flips % 2 == 1)
        self.frames += 1
        self._changed = False

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        # a participant's button box types, and may hold a key down
        if event.isAutoRepeat():
            return
        now = local_clock()
        escaped_at, self._escaped_at = self._escaped_at, -ESCAPE_S
        if event.key() == Qt.Key.Key_F:
            self.full_screen(not self.isFullScreen())
        elif event.key() == Qt.Key.Key_Escape:
            self._escaped_at = now
            if now - escaped_at < ESCAPE_S:
                self.close()

    def full_screen(self, on: bool, place: QRect | None = None) -> None:
        """Fill the screen, or leave it; ``place`` is the geometry of the screen to go to."""
        if place is not None:
            self.setGeometry(place)
        if on:
            self.showFullScreen()
        else:
            self.showNormal()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        self.closed = True
        event.accept()

    def _wake(self) -> None:
        # one is enough, however many messages came
        if not self._woken:
            self._woken = True
            self.came.emit()
