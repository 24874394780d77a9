"""The window: a timer drains the feed, the board takes it all, every panel draws once."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QElapsedTimer, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from dashboard.board import Board
from dashboard.card import Panel
from dashboard.decision_panel import DecisionPanel
from dashboard.eeg_panel import EegPanel
from dashboard.feed import Feed
from dashboard.health_panel import HealthPanel
from dashboard.modality_panel import ModalityPanel
from dashboard.motion_panel import MotionPanel
from dashboard.region_panel import RegionPanel
from dashboard.status_panel import StatusPanel
from dashboard.theme import STYLE_SHEET, configure_plots

FRAME_MS = 33


class Window(QWidget):
    """The operator's window.

    Parameters
    ----------
    feed : Feed
        Not yet started: :meth:`start` starts it, :meth:`stop` stops it.
    session : str or None
        The session to follow; None follows the newest.
    """

    def __init__(self, feed: Feed, session: str | None = None) -> None:
        configure_plots()
        super().__init__()
        self.setWindowTitle("EEG-fMRI Streamer")
        self.setStyleSheet(STYLE_SHEET)
        self.resize(1600, 1000)
        self.feed = feed
        self.board = Board(session)
        self.paused = False
        self.frames = 0
        self.status = StatusPanel(feed)
        self.eeg = EegPanel()
        self.health = HealthPanel(feed)
        regions, motion, decision, modality = RegionPanel(), MotionPanel(), DecisionPanel(), ModalityPanel()
        self.panels: tuple[Panel, ...] = (self.eeg, regions, motion, decision, modality, self.health)
        lower = QWidget()
        lower.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        below = QHBoxLayout(lower)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(regions, 1)
        below.addWidget(motion, 1)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addWidget(self.eeg, 59)
        left.addWidget(lower, 41)
        right.addWidget(decision, 42)
        right.addWidget(modality, 0)
        right.addWidget(self.health, 46)
        columns = QHBoxLayout()
        columns.addLayout(left, 61)
        columns.addLayout(right, 39)
        body = QVBoxLayout(self)
        body.setContentsMargins(10, 10, 10, 10)
        for layout in (below, left, right, columns, body):
            layout.setSpacing(8)
        body.addWidget(self.status)
        body.addLayout(columns, 1)
        self._clock = QElapsedTimer()
        self._clock.start()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.frame)

    def start(self) -> None:
        """Start the feed and the frames."""
        self.feed.start()
        self._timer.start()
        self.frame()

    def now(self) -> float:
        """Seconds since the window was made."""
        return self._clock.nsecsElapsed() / 1e9

    def frame(self) -> None:
        """Take what has come and draw it; the status line goes on while the display is paused."""
        self.board.at = self.now()
        for arrival in self.feed.drain():
            self.board.take(arrival.session, arrival.message)
        self.status.refresh(self.board, paused=self.paused)
        if not self.paused:
            for panel in self.panels:
                panel.refresh(self.board)
        self.frames += 1

    def save(self, path: Path) -> bool:
        """Save a picture of the window as PNG; False when it cannot be written."""
        self.frame()
        return self.grab().save(str(path), "PNG")

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        match event.key():
            case Qt.Key.Key_Space:
                self.paused = not self.paused
            case Qt.Key.Key_Q:
                self.close()
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.eeg.rescale(-1)
            case Qt.Key.Key_Minus:
                self.eeg.rescale(+1)
            case _:
                super().keyPressEvent(event)

    def stop(self) -> None:
        """End the frames and the feed. Closing alone does not: a last picture may still be wanted."""
        self._timer.stop()
        self.feed.stop()
