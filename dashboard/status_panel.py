"""The status line, readable from two metres."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout

from dashboard.board import Board
from dashboard.feed import Feed
from dashboard.status import Situation, StatusLine, status_line
from dashboard.theme import FAINT, LEVELS, font


def situation(board: Board, feed: Feed) -> Situation:
    """Gather all that the status line depends on."""
    peer, about, view = board.peer, board.about, board.view
    status = peer.status if peer is not None else None
    health = view.health
    return Situation(
        connected=feed.connected,
        broker=feed.broker.text,
        problem=feed.problem,
        wanted=board.wanted,
        session=board.session,
        online=peer is not None and peer.online,
        ended=board.ended,
        state=status.state if status is not None else "",
        detail=status.detail if status is not None else "",
        health_age=view.age("HealthMessage", board.at),
        followed=board.at - board.started if board.started is not None else 0.0,
        expects_eeg=about is None or any(channel.kind == "eeg" for channel in about.channels),
        eeg_age=view.age("EegPreview", board.at),
        expects_volumes=about is None or bool(about.regions),
        volumes=view.volumes.count if view.volumes is not None else 0,
        flags=health.flags if health is not None else (),
        losses=health.losses if health is not None else {},
        notes=health.notes if health is not None else (),
    )


class StatusPanel(QFrame):
    """One word, what to do, and which session this is."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self.line: StatusLine | None = None
        self.setObjectName("card")
        self.setFixedHeight(92)
        self._word = QLabel()
        self._word.setFont(font(44, bold=True))
        self._word.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._word.setMinimumWidth(380)
        self._advice = QLabel()
        self._advice.setFont(font(21))
        self._advice.setWordWrap(True)
        self._advice.setTextFormat(Qt.TextFormat.PlainText)
        self._advice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._session = QLabel()
        self._session.setFont(font(16, bold=True))
        self._session.setTextFormat(Qt.TextFormat.PlainText)
        self._link = QLabel()
        self._link.setFont(font(13))
        self._link.setObjectName("faint")
        self._keys = QLabel()
        self._keys.setFont(font(13))
        self._keys.setObjectName("faint")
        side = QVBoxLayout()
        side.setSpacing(3)
        side.addStretch(1)
        for label in (self._session, self._link, self._keys):
            label.setAlignment(Qt.AlignmentFlag.AlignRight)
            side.addWidget(label)
        side.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 16, 0)
        row.setSpacing(20)
        row.addWidget(self._word)
        row.addWidget(self._advice, 1)
        row.addLayout(side)

    def text(self) -> str:
        """Tell all that it shows, one line each."""
        labels = (self._word, self._advice, self._session, self._link, self._keys)
        return "\n".join(label.text() for label in labels)

    def refresh(self, board: Board, *, paused: bool = False) -> None:
        """Show how things stand."""
        feed = self._feed
        line = status_line(situation(board, feed))
        if line != self.line:
            self.line = line
            ground, ink, sign = LEVELS[line.level]
            self._word.setStyleSheet(f"background: {ground}; color: {ink}; border-radius: 7px; padding: 0 26px;")
            self._word.setText(f"{sign} {line.word}")
            self._advice.setText(line.advice)
        about = board.about
        _set(self._session, f"session {board.session}" if board.session is not None else "no session")
        model = f" · {about.model}" if about is not None and about.model else ""
        _set(self._link, f"{'●' if feed.connected else '○'} {feed.broker.text}{model}")
        elapsed = f"{_clock(board.at - board.started)} followed · " if board.started is not None else ""
        _set(
            self._keys,
            f"{elapsed}{'DISPLAY PAUSED: space goes on' if paused else 'space pauses · + − scale · Q quits'}",
        )
        self._keys.setStyleSheet("color: #F0E442; font-weight: bold;" if paused else f"color: {FAINT};")


def _set(label: QLabel, text: str) -> None:
    if label.text() != text:
        label.setText(text)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
