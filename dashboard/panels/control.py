"""The bar that commands a session: stop above all, then arm, notes, the beginning and the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QVBoxLayout
from shiboken6 import isValid

from dashboard.board import Board
from dashboard.dialogs.annotate import NoteDialog
from dashboard.dialogs.confirm import Question
from dashboard.dialogs.connect import ConnectDialog, Places
from dashboard.drawing.card import PanelCommand
from dashboard.drawing.theme import font, look, px
from dashboard.link.feed import Feed, parse_broker
from dashboard.link.launcher import Launcher
from dashboard.link.operator import OperatorLink, Outcome, Sent
from dashboard.link.sessions import BrokerChoice

CONFIRM_S = 3.0
"""A second press within this time arms, s."""
SHOWN_S = 10.0
"""What went well is shown for so long, s."""
TROUBLE_S = 60.0
"""The same for what did not."""
LOOK_S = 0.25
"""What a session says that was started from here is read so often, s."""
RED, LINE = "#c1121f", 338
"""Of the stop; room for the line below the buttons, pixels at the usual size of text."""
RECENTRE = (
    ("&Follow the data", "on"),
    ("&Hold it where it is", "freeze"),
    ("Go &back and hold it", "rollback"),
)
SIGNS = {
    Outcome.SENT: "…",
    Outcome.TAKEN: "✓",
    Outcome.REFUSED: "✗",
    Outcome.NO_ANSWER: "✗",
    Outcome.NOT_SENT: "✗",
}


class ControlBar(QFrame):
    """Buttons for commands, and what became of the last one.

    Parameters
    ----------
    operator : OperatorLink
    connect : callable
        Makes the window follow a feed, not yet started, and a session (None: the newest); the broker comes with it.
    places : callable
        Tells where brokers are looked for.
    launcher : Launcher or None
        Starts sessions; None offers no start.
    """

    key = "control"

    def __init__(
        self,
        operator: OperatorLink,
        connect: Callable[[Feed, str | None, BrokerChoice], object],
        places: Callable[[], Places],
        launcher: Launcher | None = None,
    ) -> None:
        super().__init__()
        self.operator = operator
        self.launcher = launcher
        self._connect = connect
        self._places = places
        self._arming: tuple[str | None, float] | None = None
        self._looked = float("-inf")
        self._failed = ""
        self._drawn: object = None
        self.setObjectName("bar")
        self.setStyleSheet(
            f"QPushButton {{ padding: 0; }} "
            f"QPushButton:disabled {{ color: {look().faint}; border: 1px dashed {look().edge}; }}"
        )
        self.setFixedHeight(px(92))
        self.stop_button = self._button("", self.stop)
        self.arm_button = self._button("ARM", self.arm)
        self.note_button = self._button("NOTE", self.annotate)
        self.recentre_button = self._button("RECENTRE ▾", self.recentre_menu)
        self.session_button = self._button("END", self.start_or_end)
        self._said = QLabel()
        self._said.setTextFormat(Qt.TextFormat.PlainText)
        self._said.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        # a long text is cut off; it must not widen the bar
        self._said.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._lay_out()

    def _button(self, text: str, do: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        # the keys belong to the window: blank must not press what was clicked last
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda _=False: do())
        return button

    def _lay_out(self) -> None:
        self.stop_button.setFixedSize(px(150), px(52))
        grid = QGridLayout()
        grid.setSpacing(px(4))
        small = (self.arm_button, self.note_button, self.recentre_button, self.session_button)
        for i, button in enumerate(small):
            button.setFixedSize(px(90), px(24))
            grid.addWidget(button, i // 2, i % 2)
        row = QHBoxLayout()
        row.setSpacing(px(6))
        row.addWidget(self.stop_button)
        row.addLayout(grid)
        body = QVBoxLayout(self)
        body.setContentsMargins(px(8), px(5), px(8), px(3))
        body.setSpacing(px(2))
        body.addLayout(row)
        body.addWidget(self._said, 1)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """Tell what stands below the buttons."""
        return self._said.toolTip()

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask for."""
        return (
            PanelCommand("&Stop triggers", self.stop, "S"),
            PanelCommand("Stop triggers, while text is typed", self.stop, "Ctrl+."),
            PanelCommand("&Arm: press twice", self.arm, "A"),
            PanelCommand("&Note …", self.annotate, "N"),
            PanelCommand("Notes again …", self.notes_menu, "Ctrl+N"),
            *(
                PanelCommand(f"Recentre: {name.replace('&', '').lower()}", lambda how=how: self.recentre(how))
                for name, how in RECENTRE
            ),
            *((PanelCommand("Start the session …", self.start),) if self.launcher is not None else ()),
            PanelCommand("&End the session …", self.end),
            PanelCommand("&Connect …", self.connect_dialog, "Ctrl+O"),
        )

    def refresh(self, board: Board) -> None:
        """Look how the session stands; called once per frame."""
        self.operator.refresh(board)
        now = self.operator.now()
        if self._arming is not None and (self._arming[0] != self.operator.session or now > self._arming[1]):
            self._arming = None
        if self.launcher is not None and now - self._looked >= LOOK_S:
            self._looked = now
            self._look_at_child(self.launcher)
        self._draw(now)

    def stop(self) -> None:
        """Stop triggers, at once."""
        self._sent(self.operator.stop())

    def arm(self) -> None:
        """Let triggers leave again, at the second call within 3 s."""
        now, session = self.operator.now(), self.operator.session
        if self.operator.cannot("arm") or (self._arming is not None and self._arming[0] == session):
            self._sent(self.operator.arm())
        elif self.operator.armed:
            self._say(f"{session} is armed already")
        else:
            self._arming = (session, now + CONFIRM_S)
            self._say("")

    def annotate(self) -> None:
        """Ask for a note; its time is now."""
        if self.operator.cannot("annotate"):
            self._sent(self.operator.annotate(""))
            return
        at, session = self.operator.now(), self.operator.session

        def send(text: str) -> None:
            if self.operator.session == session:
                self._sent(self.operator.annotate(text, at))
            else:
                self._say(f"the note was not sent: {session} is not followed any more")

        NoteDialog(self.window(), session or "", send, self.stop).open_now()

    def recentre(self, how: str) -> None:
        """Tell the model's reference to follow, stay, or go back."""
        self._sent(self.operator.recentre(how))

    def recentre_menu(self) -> None:
        """Offer the ways to recentre."""
        self._menu([(name, lambda how=how: self.recentre(how)) for name, how in RECENTRE], self.recentre_button)

    def notes_menu(self) -> None:
        """Offer the last notes again."""
        at = self.operator.now()
        again = [
            (note.replace("&", "&&"), lambda note=note: self._sent(self.operator.annotate(note, at)))
            for note in self.operator.notes
        ]
        self._menu([*again, ("&New note …", self.annotate)], self.note_button)

    def _menu(self, entries: Sequence[tuple[str, Callable[[], object]]], below: QPushButton) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for text, do in entries:
            menu.addAction(text).triggered.connect(lambda _=False, do=do: do())
        menu.addSeparator()
        # an open menu takes all keys: there the S of this line stops
        menu.addAction("&Stop triggers").triggered.connect(lambda _=False: self.stop())
        menu.popup(below.mapToGlobal(QPoint(0, below.height())))

    def start_or_end(self) -> None:
        """Do what the button says."""
        if self._offers_start():
            self.start()
        else:
            self.end()

    def start(self) -> None:
        """Start a session, once that was confirmed."""
        launcher = self.launcher
        if launcher is None:
            self._say("no session to start: give --run SESSION.toml")
        elif launcher.running:
            self._say("the session that was started from here runs already")
        else:
            self._ask(
                "Start a session?",
                f"It runs as {launcher.config} says, as a process of its own: it goes on when this window is closed. "
                "It is armed from its beginning: triggers leave as soon as its data are good.",
                [("&Start it", lambda: self._start(launcher))],
            )

    def _start(self, launcher: Launcher) -> None:
        self._failed = ""
        self._say(launcher.start() or f"starting {launcher.config.name}")

    def end(self) -> None:
        """End the session, once that was confirmed."""
        session = self.operator.session
        reason = self.operator.cannot("end")
        launcher = self.launcher
        started = launcher is not None and launcher.running
        ours = launcher is not None and launcher.told is not None and launcher.told.session == session
        if launcher is not None and started and (reason or ours or not self.operator.online):
            name = launcher.told.session if launcher.told is not None else launcher.config.name
            self._ask_end(name, launcher.end)
        elif reason:
            self._sent(self.operator.end())
        else:
            self._ask_end(session or "", lambda: self._end(session))

    def _ask_end(self, name: str, do: Callable[[], object]) -> None:
        self._ask(
            f"End {name}?",
            f"The loop of {name} stops, and writes out what it has. No trigger leaves from then on, and the session "
            "cannot be continued: the next one is another recording.",
            [(f"&End {name}", do)],
        )

    def _end(self, session: str | None) -> None:
        if self.operator.session == session:
            self._sent(self.operator.end())
        else:
            self._say(f"nothing was ended: {session} is not followed any more")

    def connect_dialog(self) -> None:
        """Offer brokers and sessions."""
        ConnectDialog(self.window(), self._places(), self._connect, self.stop).open_now()

    def may_close(self) -> bool:
        """Tell whether the window may close now; asks where a session was started from here."""
        launcher = self.launcher
        if launcher is None or launcher.left or not launcher.running or launcher.ending:
            return True
        name = launcher.told.session if launcher.told is not None else launcher.config.name

        window = self.window()

        def close(*, end: bool) -> None:
            launcher.leave()
            if end:
                launcher.end()
            window.close()

        self._ask(
            f"{name} still runs",
            "It was started from this window. It can go on without it: then `streamer dashboard` shows it again.",
            [("&Leave it running", lambda: close(end=False)), ("&End it", lambda: close(end=True))],
            cancel="&Stay here",
        )
        return False

    def _ask(
        self, title: str, text: str, choices: Sequence[tuple[str, Callable[[], object]]], cancel: str = "&Cancel"
    ) -> None:
        Question(self.window(), title, text, choices, self.stop, cancel).open_now()

    def _look_at_child(self, launcher: Launcher) -> None:
        begun = launcher.look()
        if begun is not None:
            # what it drew as its key lies in its folder
            self.operator.keys = replace(self.operator.keys, folder=begun.folder.parent)
            choice = self._places().now
            if choice.address != parse_broker(begun.broker):
                choice = BrokerChoice(begun.broker)
            feed, connect = Feed(choice.address, begun.session, choice.access()), self._connect
            # it may put another bar into the place of this one, which is in the middle of a frame
            QTimer.singleShot(0, lambda: connect(feed, begun.session, choice))
        failure = launcher.failure
        if failure and failure != self._failed:
            self._failed = failure
            self._say(f"the session that was started here failed: {failure.splitlines()[-1]}", trouble=True)
            self._ask("The session ended with an error", failure, [], cancel="&Close")

    def _offers_start(self) -> bool:
        return self.launcher is not None and not self.launcher.running and not self.operator.online

    def _sent(self, sent: Sent) -> None:
        self._arming = None
        # the link keeps it, and what becomes of it
        self._draw(sent.at)

    def _say(self, text: str, *, trouble: bool = False) -> None:
        now = self.operator.now()
        outcome = Outcome.NOT_SENT if trouble else Outcome.SENT
        self.operator.last = Sent("", "", "", now, outcome, text) if text else None
        self._draw(now)

    def _draw(self, now: float) -> None:
        if not isValid(self):
            # a dialog that it opened outlived it: another bar shows the same link
            return
        operator = self.operator
        reasons = {action: operator.cannot(action) for action in ("stop", "arm", "annotate", "recentre", "end")}
        sign, said, trouble = self._line(now, reasons["stop"])
        key = (tuple(reasons.values()), operator.armed, self._arming, self._offers_start(), sign, said, trouble)
        if key == self._drawn:
            return
        self._drawn = key
        self._draw_stop(reasons["stop"])
        armed = operator.armed and not reasons["arm"]
        self.arm_button.setText("AGAIN?" if self._arming is not None else "ARM")
        _allow(self.arm_button, reasons["arm"] or ("it is armed already" if armed else ""), "A, then A again")
        hot = self._arming is not None or (operator.armed is False and not reasons["arm"])
        ring = f"QPushButton {{ border: 2px solid {look().mark}; font-weight: bold; }}"
        self.arm_button.setStyleSheet(ring if hot else "")
        _allow(self.note_button, reasons["annotate"], "N: a note goes into the recording; Ctrl+N: one of the last")
        _allow(self.recentre_button, reasons["recentre"], "The model's reference follows the data, stays, or goes back")
        if self._offers_start():
            self.session_button.setText("START …")
            _allow(self.session_button, "", "Start the session that --run names")
        else:
            self.session_button.setText("END …")
            ours = self.launcher is not None and self.launcher.running
            _allow(self.session_button, "" if ours else reasons["end"], "End the session, once that was confirmed")
        line = f"{sign} {said}".strip()
        self._said.setText(QFontMetrics(font(12, bold=trouble)).elidedText(line, Qt.TextElideMode.ElideRight, px(LINE)))
        self._said.setToolTip(said)
        self._said.setStyleSheet(
            f"font-size: {px(12)}px; font-weight: {'bold' if trouble else 'normal'}; "
            f"color: {look().alarm if trouble else look().text};"
        )

    def _draw_stop(self, reason: str) -> None:
        stopped = self.operator.armed is False
        last = self.operator.last
        unheard = last is not None and last.action == "stop" and last.trouble
        self.stop_button.setText(
            "■ STOP AGAIN\nnot heard" if unheard else "■ TRIGGERS\nARE STOPPED" if stopped else "■ STOP\nTRIGGERS"
        )
        filled = not reason and (unheard or not stopped)
        ground, ink, edge = (RED, "#ffffff", RED) if filled else (look().card, look().faint, look().edge)
        self.stop_button.setStyleSheet(
            f"background: {ground}; color: {ink}; border: 2px solid {edge}; border-radius: 7px; "
            f"font-size: {px(17)}px; font-weight: bold; padding: 0;"
        )
        _allow(self.stop_button, reason, "S: at once. Ctrl+. does it while text is typed, too")

    def _line(self, now: float, reason: str) -> tuple[str, str, bool]:
        # a sign, what is to be said, and whether that is trouble
        operator, last = self.operator, self.operator.last
        if self._arming is not None:
            return "▶", f"A again within {CONFIRM_S:g} s arms {operator.session}: triggers may leave then", False
        if last is not None and now - last.at < (TROUBLE_S if last.trouble else SHOWN_S):
            return (SIGNS[last.outcome] if last.action or last.trouble else ""), last.said, last.trouble
        if reason:
            return "◇", reason, False
        cannot = operator.cannot("arm")
        only = f"only a stop can be sent: {cannot.split(':')[0]}" if cannot else ""
        if operator.armed is False:
            return "", f"triggers are stopped; {only or 'A twice lets them leave again'}", False
        armed = "armed: triggers may leave" if operator.armed else ""
        return "", "; ".join(each for each in (armed, only) if each), False


def _allow(button: QPushButton, reason: str, tip: str) -> None:
    button.setEnabled(not reason)
    button.setToolTip(reason or tip)
