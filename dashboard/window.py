"""The operator's window: a timer drains the feed, the board takes it all, every panel that is seen draws once."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from PySide6.QtCore import QByteArray, QCoreApplication, QElapsedTimer, QEvent, Qt, QTimer
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QVBoxLayout, QWidget

from dashboard.arrangement import ALL_AT_ONCE, COLUMNS, Docks, make_panels, put_into_docks
from dashboard.board import Board
from dashboard.dialogs.connect import Places
from dashboard.drawing.card import Card
from dashboard.drawing.raster import warm_up
from dashboard.drawing.theme import SCALES, Theme, choose, font, style_sheet
from dashboard.figures.choices import stepped
from dashboard.figures.place import Place
from dashboard.layout import Layout, home, load_layout, save_layout
from dashboard.link.feed import Arrival, Feed
from dashboard.link.keys import Keys
from dashboard.link.launcher import Launcher
from dashboard.link.operator import OperatorLink
from dashboard.link.played import PlayedFeed
from dashboard.link.sessions import FILE as BROKERS
from dashboard.link.sessions import LOOPBACK, BrokerChoice
from dashboard.menus import fill_menus
from dashboard.meter import FrameMeter
from dashboard.panels.control import ControlBar
from dashboard.panels.status_line import StatusPanel
from dashboard.stores import HISTORY_S
from dashboard.timeline_bar import TimelineBar

FRAME_MS = 33
TAKING_S = 0.012
"""Messages are taken in for so long in a frame at most: the rest waits for the next."""
RECORDED_S = 24 * 3600.0
"""Of a recording all is kept, up to a day."""
SPEEDS = (1.0, 2.0, 5.0, 10.0, 30.0)
STARTED = "started"
"""Folder of what sessions say that are started from here, beside the layout."""


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How a window is made."""

    session: str | None = None
    """The session to follow; None follows the newest."""
    layout: Path | None = None
    """File of what is remembered; None remembers nothing."""
    fresh: bool = False
    """Begin with the usual places."""
    all_panels: bool = False
    """Begin with all panels at once, none behind a tab."""
    theme: Theme | None = None
    """None takes the one that is remembered."""
    size: tuple[int, int] = (1600, 1000)
    broker: BrokerChoice = field(default_factory=lambda: BrokerChoice(LOOPBACK))
    """Of the feed, as it is offered again."""
    keys: Keys = field(default_factory=Keys)
    """What commands are signed with."""
    observer: bool = False
    """Command nothing, not even a stop."""
    run: Path | None = None
    """SESSION.toml of the session that can be started from here."""


class Window(QMainWindow):
    """The operator's window.

    Parameters
    ----------
    feed : Feed or PlayedFeed
        Not yet started: :meth:`start` starts it, :meth:`stop` stops it.
    settings : WindowSettings, optional
    """

    def __init__(self, feed: Feed | PlayedFeed, settings: WindowSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or WindowSettings()
        self.feed = feed
        self.recorded = isinstance(feed, PlayedFeed)
        self.board = Board(self.settings.session, RECORDED_S if self.recorded else HISTORY_S)
        self.meter = FrameMeter()
        self.place = Place()
        self.operator = OperatorLink(_live(feed), self.settings.keys, observer=self.settings.observer)
        run = self.settings.run
        self.launcher = Launcher(run, home() / STARTED) if run is not None else None
        self.broker = self.settings.broker
        self.playing = self.recorded
        self.speed = SPEEDS[0]
        self.note = ""
        """What the operator should know of the window itself."""
        self._theme: Theme
        self._scale: float
        self.docks: Docks
        self.panels: tuple[Card, ...] = ()
        self.status: StatusPanel
        self.control: ControlBar
        self.timeline: TimelineBar
        self._waiting: deque[Arrival] = deque()
        self._before = 0.0
        self._warming: Thread | None = None
        self._gone: list[QWidget] = []
        self._clock = QElapsedTimer()
        self._clock.start()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.frame)
        # a timer of its own, not QTimer.singleShot: that calls back before what was changed is painted
        self._after_painting = QTimer(self)
        self._after_painting.setSingleShot(True)
        self._after_painting.timeout.connect(self._painted)
        self._drawn: list[tuple[float, list[Arrival]]] = []
        self.setWindowTitle("EEG-fMRI Streamer")
        self.setDockNestingEnabled(True)
        self.setContentsMargins(6, 0, 6, 6)
        self.resize(*self.settings.size)
        self.layout_now = Layout()
        if self.settings.layout is not None and not self.settings.fresh:
            self.layout_now, self.note = load_layout(self.settings.layout)
        self._build(self.settings.theme or self.layout_now.theme, self.layout_now.scale)
        if self.layout_now.geometry:
            self.restoreGeometry(_bytes(self.layout_now.geometry))

    def _build(self, theme: Theme, scale: float) -> None:
        choose(theme, scale)
        self._theme, self._scale = theme, scale
        self.setStyleSheet(style_sheet())
        self.setFont(font(13))
        self.panels = make_panels(self.feed, self.meter, self.place)
        for panel in self.panels:
            panel.restore(self.layout_now.panels.get(panel.key, {}))
        self.status = StatusPanel(self.feed)
        self.control = ControlBar(self.operator, self.follow, self._places, self.launcher)
        self.timeline = TimelineBar(recorded=self.recorded)
        self.timeline.chosen.connect(self.go_to)
        self.timeline.pause_pressed.connect(self.pause)
        self.timeline.live_pressed.connect(self.go_live)
        self.docks = put_into_docks(self, self.panels)
        self.docks.usual(ALL_AT_ONCE if self.settings.all_panels else COLUMNS)
        if self.layout_now.docks and not self.settings.all_panels:
            self.restoreState(_bytes(self.layout_now.docks))
        fill_menus(self)
        top = QWidget()
        lines = QVBoxLayout(top)
        lines.setContentsMargins(8, 2, 8, 4)
        lines.setSpacing(4)
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.status, 1)
        line.addWidget(self.control)
        lines.addWidget(self.menuBar())
        lines.addLayout(line)
        lines.addWidget(self.timeline)
        self.setMenuWidget(top)

    def _rebuild(self, theme: Theme, scale: float) -> None:
        self.layout_now = self.remembered()
        # Python must hold what Qt has yet to delete: it may be painting it
        self._gone = [*self.panels, *self.docks.docks.values(), self.status, self.control, self.timeline]
        for dock in self.docks.docks.values():
            dock.hide()
            self.removeDockWidget(dock)
            dock.deleteLater()
            # one that still waits for its end would take part in the new layout; all else that waits may be at work
            QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
        for action in self.actions():
            self.removeAction(action)
            action.deleteLater()
        self._build(theme, scale)
        self.frame()

    def remembered(self) -> Layout:
        """Give what would be remembered now."""
        return Layout(
            theme=self._theme,
            scale=self._scale,
            docks=self.saveState().toBase64().toStdString(),
            geometry=self.saveGeometry().toBase64().toStdString(),
            panels={panel.key: panel.state() for panel in self.panels},
        )

    @property
    def theme(self) -> Theme:
        """Dark or light."""
        return self._theme

    @property
    def scale(self) -> float:
        """Size of all text."""
        return self._scale

    def use_theme(self, theme: Theme) -> None:
        """Make everything dark or light."""
        self._rebuild(theme, self._scale)

    def resize_text(self, steps: int) -> None:
        """Make all text larger or smaller."""
        self._rebuild(self._theme, stepped(SCALES, self._scale, steps))

    def usual_layout(self) -> None:
        """Put all panels back."""
        self.docks.usual()

    def follow(self, feed: Feed, session: str | None, broker: BrokerChoice) -> None:
        """Leave what was followed, and follow a session of another broker, which is offered again from now on."""
        self.broker = broker
        self.connect_to(feed, session)

    def _places(self) -> Places:
        kept = self.settings.layout.parent / BROKERS if self.settings.layout is not None else None
        return Places(self.broker, self.operator.keys.folder, kept)

    def connect_to(self, feed: Feed | PlayedFeed, session: str | None) -> None:
        """Leave what was followed, and follow ``session`` (None: the newest) of another feed, not yet started."""
        if isinstance(self.feed, Feed):
            self.feed.stop(wait=False)
        else:
            self.feed.stop()
        self.feed = feed
        self.operator.sender = _live(feed)
        self.recorded = isinstance(feed, PlayedFeed)
        self.playing = self.recorded
        self.board = Board(session, RECORDED_S if self.recorded else HISTORY_S)
        self._waiting.clear()
        feed.start()
        self._rebuild(self._theme, self._scale)

    def start(self) -> None:
        """Start the feed and the frames."""
        self._warming = warm_up()
        self.feed.start()
        self._timer.start()
        self.frame()

    def now(self) -> float:
        """Seconds since the window was made."""
        return self._clock.nsecsElapsed() / 1e9

    def frame(self) -> None:
        """Take what has come and draw it; the status line goes on while the past is shown."""
        begin = self.now()
        self.board.at = begin
        taken = self._take(begin)
        if self.recorded:
            self._play(begin - self._before)
        self._before = begin
        # first: what the session says settles what was commanded
        self.control.refresh(self.board)
        self.status.refresh(
            self.board,
            paused=not self.board.live and not self.recorded,
            observer=self.settings.observer,
            note=self.operator.alarm or self.note,
        )
        first, last, loaded = self._span()
        self.timeline.refresh(self.board, first, last, loaded, playing=self.playing)
        for panel in self.panels:
            # what lies behind another tab is not drawn
            if not panel.visibleRegion().isEmpty():
                panel.refresh(self.board)
        self._drawn.append((begin, taken))
        self._after_painting.start(0)

    def _painted(self) -> None:
        drawn, self._drawn = self._drawn, []
        for begin, taken in drawn:
            self.meter.add(begin, self.now())
            if isinstance(self.feed, Feed):
                self.meter.shown(taken, self.feed.now())

    def _take(self, begin: float) -> list[Arrival]:
        # the rest waits in the feed, which is bounded
        if not self._waiting:
            self._waiting.extend(self.feed.drain())
        taken: list[Arrival] = []
        while self._waiting:
            arrival = self._waiting.popleft()
            self.board.take(arrival.session, arrival.message)
            taken.append(arrival)
            if self.now() - begin > TAKING_S:
                break
        return taken

    def _span(self) -> tuple[float, float, float]:
        now, view = self.board.view.now, self.board.view
        if isinstance(self.feed, PlayedFeed):
            first, last = self.feed.span
            return first, max(last, now), now
        since = view.health.first_at
        held = self.board.history_s if since is None else min(self.board.history_s, now - since)
        return now - max(held, 60.0), now, now

    def _play(self, passed: float) -> None:
        board, first = self.board, self._span()[0]
        if not math.isfinite(board.view.now):
            return
        if board.held is None:
            board.hold(first)
        elif self.playing:
            board.hold(board.held + min(passed, 0.5) * self.speed)

    def pause(self) -> None:
        """Hold what is shown, or go on; the loop knows nothing of it."""
        if self.recorded:
            self.playing = not self.playing
        elif self.board.live:
            if math.isfinite(self.board.view.now):
                self.board.hold(self.board.view.now)
        else:
            self.board.release()

    def go_to(self, time: float) -> None:
        """Show the past up to ``time``, SessionTime s; the newest end is the present."""
        if not math.isfinite(self.board.view.now) or not math.isfinite(time):
            return
        if not self.recorded and time >= self.board.view.now:
            self.board.release()
        else:
            self.board.hold(time)

    def show_second(self, second: float) -> bool:
        """Stop a recording at ``second`` of it; False while it is not loaded so far."""
        first, _, loaded = self._span()
        if not isinstance(self.feed, PlayedFeed) or not math.isfinite(loaded):
            return False
        if loaded < first + second and not self.feed.ended:
            return False
        self.playing = False
        self.go_to(first + second)
        return True

    def step(self, seconds: float) -> None:
        """Go back (below 0) or forth."""
        self.go_to(self.board.shown + seconds)

    def go_live(self) -> None:
        """Show the present; of a recording, what was loaded last."""
        if self.recorded:
            self.go_to(self.board.view.now)
        else:
            self.board.release()

    def faster(self, steps: int) -> None:
        """Play a recording faster or slower."""
        self.speed = stepped(SPEEDS, self.speed, steps)

    def save(self, path: Path) -> bool:
        """Save a picture of the window as PNG; False when it cannot be written."""
        self.frame()
        return self.grab().save(str(path), "PNG")

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        if not self.control.may_close():
            event.ignore()
            return
        if self.settings.layout is not None and not self.settings.all_panels:
            self.note = save_layout(self.settings.layout, self.remembered()) or self.note
        super().closeEvent(event)

    def stop(self) -> None:
        """End the frames and the feed. Closing alone does not: a last picture may still be wanted."""
        if self.launcher is not None:
            # it asks when a hand closes the window, not when that was told to end
            self.launcher.leave()
        self._timer.stop()
        self.feed.stop()
        if self._warming is not None:
            self._warming.join()


def _live(feed: Feed | PlayedFeed) -> Feed | None:
    return feed if isinstance(feed, Feed) else None


def _bytes(text: str) -> QByteArray:
    return QByteArray.fromBase64(QByteArray(text.encode("ascii")))
