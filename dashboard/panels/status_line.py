"""The status line, readable from two metres; it speaks of the present even while the past is shown."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol, cast

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout

from dashboard.board import Board
from dashboard.drawing.card import put
from dashboard.drawing.theme import LEVELS, font, look, px
from dashboard.figures.blocks import setting
from dashboard.link.played import PlayedFeed
from dashboard.status import Level, Situation, StatusLine, status_line

FLAGS_FROM_S = 2.0
"""A flag of single decisions counts when half of them had it for so long, s: a word that flickers cannot be read."""
OVERLOAD_S = 10.0
"""So long after a message was dropped the window counts as overloaded, s."""
NARROW = 1000
"""A narrower line leaves out where messages come from, pixels."""
WORD_PX, ADVICE_PX = (44, 38, 32, 27, 23), (21, 18, 16, 14, 12)
"""Sizes of text: the largest that fits is taken."""
WORD_SHARE = 0.42
"""Of the line, for the word at most."""


class Place(Protocol):
    """Where messages come from."""

    @property
    def text(self) -> str:
        """As people write it."""
        ...


class Source(Protocol):
    """What the line has to know of a feed."""

    connected: bool
    problem: str
    dropped: int

    @property
    def broker(self) -> Place:
        """Where it is."""
        ...


def situation(board: Board, feed: Source, *, overloaded: bool = False) -> Situation:
    """Gather all that the status line depends on: of now, or of the time that a recording shows."""
    peer, about, view = board.peer, board.about, board.view
    recorded = isinstance(feed, PlayedFeed)
    at = board.shown if recorded else view.now
    status = peer.status if peer is not None else None
    health, quality = view.health.at(at), view.quality.at(at)
    prediction = view.prediction.at(at)
    veto = setting(board.settings, "decision", "veto")
    return Situation(
        connected=feed.connected,
        broker=feed.broker.text,
        problem=feed.problem,
        wanted=board.wanted,
        session=board.session,
        online=peer is not None and peer.online,
        ended=board.ended,
        state=status.state if status is not None else "",
        health_state=health.state if health is not None else "",
        armed=health.armed if health is not None else None,
        detail=status.detail if status is not None else "",
        health_age=view.age("HealthMessage", board.at),
        followed=board.at - board.started if board.started is not None else 0.0,
        # without previews the EEG's silence is told by a flag alone
        expects_eeg=setting(board.settings, "mqtt", "preview") != "none"
        and (about is None or any(channel.kind == "eeg" for channel in about.channels)),
        eeg_age=view.age("EegPreview", board.at),
        expects_volumes=about is None or bool(about.regions),
        volumes=view.volumes.count if view.volumes is not None else 0,
        bold_age=prediction.age_bold_s if prediction is not None else None,
        flags=_flags(board, at),
        vetoing=frozenset(map(str, cast("list[Any]", veto))) if isinstance(veto, list) else frozenset(),
        bad_channels=tuple(quality.bad_channels) if quality is not None else (),
        losses=health.losses if health is not None else {},
        notes=health.notes if health is not None else (),
        replayed=feed.progress if isinstance(feed, PlayedFeed) else None,
        overloaded=overloaded,
    )


def _flags(board: Board, at: float) -> frozenset[str]:
    view = board.view
    health = view.health.at(at)
    recent = view.prediction.between(at - FLAGS_FROM_S, at)
    counted = Counter(flag for message in recent for flag in message.flags)
    lasting = {flag for flag, n in counted.items() if 2 * n >= len(recent)}
    return frozenset(lasting.union(health.flags if health is not None else ()))


class StatusPanel(QFrame):
    """One word, what to do, marks of what is special, and which session this is.

    Parameters
    ----------
    feed : Source
    """

    def __init__(self, feed: Source) -> None:
        super().__init__()
        self._feed = feed
        self.line: StatusLine | None = None
        self._dropped = feed.dropped
        self._dropped_at = float("-inf")
        self._styled: object = None
        self.setObjectName("card")
        self.setFixedHeight(px(92))
        self._word = QLabel()
        self._word.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._advice = QLabel()
        self._advice.setWordWrap(True)
        self._advice.setTextFormat(Qt.TextFormat.PlainText)
        self._advice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._marks = QLabel()
        self._marks.setTextFormat(Qt.TextFormat.PlainText)
        self._marks.setStyleSheet(f"{_size(17)} font-weight: bold; color: {look().mark};")
        self._marks.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._session = QLabel()
        self._session.setStyleSheet(f"{_size(16)} font-weight: bold;")
        self._link = QLabel()
        self._time = QLabel()
        for label in (self._link, self._time):
            label.setObjectName("faint")
        side = QVBoxLayout()
        side.setSpacing(px(3))
        side.addStretch(1)
        for label in (self._session, self._link, self._time):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setAlignment(Qt.AlignmentFlag.AlignRight)
            side.addWidget(label)
        side.addStretch(1)
        middle = QVBoxLayout()
        middle.setContentsMargins(0, px(4), 0, px(4))
        middle.setSpacing(0)
        middle.addWidget(self._advice, 1)
        middle.addWidget(self._marks)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, px(16), 0)
        row.setSpacing(px(20))
        row.addWidget(self._word)
        row.addLayout(middle, 1)
        row.addLayout(side)
        self._fit()

    def text(self) -> str:
        """Tell all that it shows, one line each."""
        labels = (self._word, self._advice, self._marks, self._session, self._link, self._time)
        return "\n".join(label.text() for label in labels)

    def refresh(
        self,
        board: Board,
        *,
        paused: bool = False,
        scrolled: float | None = None,
        observer: bool = False,
        note: str = "",
    ) -> None:
        """Show how things stand.

        Parameters
        ----------
        board : Board
        paused : bool
            The display stands still; the loop goes on.
        scrolled : float or None
            How far back the display shows, s; None takes it from the board.
        observer : bool
            No command can be given from this window.
        note : str
            What is to be known of the window itself.
        """
        if self._feed.dropped > self._dropped:
            self._dropped, self._dropped_at = self._feed.dropped, board.at
        self._say(status_line(situation(board, self._feed, overloaded=board.at - self._dropped_at < OVERLOAD_S)))
        about, recorded = board.about, isinstance(self._feed, PlayedFeed)
        behind = scrolled if scrolled is not None else 0.0 if board.live else board.view.now - board.shown
        marks: list[str] = []
        if not recorded and (paused or not board.live):
            marks.append(f"‖ SHOWS THE PAST, {_clock(behind)} ago: L returns" if behind >= 1 else "‖ PAUSED: L goes on")
        if about is not None and about.blinded:
            marks.append("◑ BLINDED")
        if observer:
            marks.append("◇ READ-ONLY")
        put(self._marks, "     ".join([*marks, *([note] if note else [])]))
        self._marks.setVisible(bool(self._marks.text()))
        put(self._session, f"session {board.session}" if board.session is not None else "no session")
        model = f" · {about.model}" if about is not None and about.model else ""
        put(self._link, f"{'●' if self._feed.connected else '○'} {self._feed.broker.text}{model}")
        followed = f"{_clock(board.at - board.started)} followed" if board.started is not None else ""
        put(self._time, "" if recorded else followed)

    def _say(self, line: StatusLine) -> None:
        if line == self.line:
            return
        self.line = line
        put(self._word, f"{LEVELS[line.level][2]} {line.word}")
        put(self._advice, line.advice)
        self._advice.setToolTip(line.advice)
        self._fit()

    def _fit(self) -> None:
        narrow = self.width() < px(NARROW)
        level = self.line.level if self.line is not None else Level.IDLE
        room = self.width() - px(36)
        word = next((size for size in WORD_PX if self._word_width(size) <= WORD_SHARE * room), WORD_PX[-1])
        self._link.setVisible(not narrow)
        labels = (self._session, self._link, self._time)
        side = max(label.sizeHint().width() for label in labels if label.isVisibleTo(self))
        advice = self._advice_size(room - self._word_width(word) - side - px(40))
        if (word, advice, level) == self._styled:
            return
        # styles are dear: only where they change
        self._styled = (word, advice, level)
        ground, ink, _ = LEVELS[level]
        # not by setFont: the window's style sheet has the last word on sizes
        self._word.setStyleSheet(
            f"{_size(word)} font-weight: bold; background: {ground}; color: {ink}; "
            f"border-radius: 7px; padding: 0 {px(22)}px;"
        )
        self._advice.setStyleSheet(_size(advice))

    def _word_width(self, size: float) -> int:
        return QFontMetrics(font(size, bold=True)).horizontalAdvance(self._word.text()) + 2 * px(22)

    def _advice_size(self, width: float) -> float:
        place = QRect(0, 0, max(1, round(width)), self.height() - px(16))
        for size in ADVICE_PX:
            needed = QFontMetrics(font(size)).boundingRect(place, Qt.TextFlag.TextWordWrap, self._advice.text())
            if needed.height() <= place.height() and needed.width() <= place.width():
                return size
        return ADVICE_PX[-1]

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._fit()


def _size(pixels: float) -> str:
    return f"font-size: {px(pixels)}px;"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
