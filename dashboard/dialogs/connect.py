"""Which session to follow: those that can be heard at the brokers that are known, or another broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from dashboard.dialogs.base import Dialog
from dashboard.drawing.theme import look, px
from dashboard.link.feed import Access, BrokerAddress, Feed
from dashboard.link.sessions import (
    LOOPBACK,
    BrokerChoice,
    FoundBroker,
    FoundSession,
    Search,
    local_brokers,
    remember,
    remembered,
    unique,
)
from streamer.errors import UsageError

LOOK_MS = 200
SILENT_S = 4.0
COLUMNS = ("Session", "How it stands", "Heard", "Model", "Broker")
NEWEST = "the newest there"
"""In place of a session's name: whichever is online."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where brokers are looked for."""

    now: BrokerChoice
    """The one that the window is connected to, or was given."""
    sessions: Path
    """Folder of the sessions of this machine."""
    kept: Path | None
    """File of the brokers that were connected to; None keeps none."""

    def choices(self) -> list[BrokerChoice]:
        """List the brokers to ask."""
        kept = remembered(self.kept) if self.kept is not None else []
        return unique([self.now, *local_brokers(self.sessions), BrokerChoice(LOOPBACK), *kept])


@dataclass(frozen=True, slots=True)
class _Row:
    url: str
    session: str | None
    texts: tuple[str, ...]
    usable: bool


class ConnectDialog(Dialog):
    """Shows brokers and sessions as they are heard, and connects to what is chosen.

    Parameters
    ----------
    parent : QWidget
    places : Places
    connect : callable
        Takes a feed, not yet started, the session to follow (None: the newest), and the broker.
    stop : callable
        Stops triggers.
    make : callable
        Makes a feed.
    """

    def __init__(
        self,
        parent: QWidget,
        places: Places,
        connect: Callable[[Feed, str | None, BrokerChoice], object],
        stop: Callable[[], object],
        make: Callable[[BrokerAddress, str | None, Access], Feed] = Feed,
    ) -> None:
        super().__init__(parent, "Connect", stop)
        self._places, self._connect, self._make = places, connect, make
        self._choices = places.choices()
        self._passwords: dict[str, str] = {}
        self._rows: list[_Row] = []
        self._chose = False
        self.table = QTableWidget(0, len(COLUMNS))
        self.said = QLabel()
        self.said.setWordWrap(True)
        self.said.setTextFormat(Qt.TextFormat.PlainText)
        self.go = QPushButton("&Connect")
        self.url, self.user, self.variable, self.password, self.ca = (QLineEdit() for _ in range(5))
        self._lay_out()
        self._search = Search(self._choices)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        self._timer.start(LOOK_MS)
        self.finished.connect(self._leave)
        self.look()

    def _lay_out(self) -> None:
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setStyleSheet(
            f"QTableWidget::item:selected {{ background: {look().eeg}; color: {look().background}; }}"
        )
        header = self.table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.itemActivated.connect(lambda _: self.take())
        self.table.itemSelectionChanged.connect(self._chosen_by_hand)
        self.body.addWidget(QLabel("Sessions that can be heard now. Return or a double click follows one."))
        self.body.addWidget(self.table, 1)
        form = QFormLayout()
        self.url.setPlaceholderText("mqtt://HOST:PORT or mqtts://HOST:PORT")
        self.variable.setPlaceholderText("environment variable that holds the password")
        self.password.setPlaceholderText("or the password itself; it is kept nowhere")
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        self.ca.setPlaceholderText("certificates to trust, PEM; empty for the system's")
        for name, line in (
            ("Another &broker", self.url),
            ("&User name", self.user),
            ("Password &variable", self.variable),
            ("&Password", self.password),
            ("Certi&ficates", self.ca),
        ):
            form.addRow(name, line)
            line.returnPressed.connect(self.ask)
        self.body.addLayout(form)
        self.body.addWidget(self.said)
        buttons = QHBoxLayout()
        ask, leave = QPushButton("&Ask it"), QPushButton("Cancel")
        ask.setAutoDefault(False)
        ask.clicked.connect(self.ask)
        leave.setAutoDefault(False)
        leave.clicked.connect(self.reject)
        # Return in a line asks; in the table it follows
        self.go.setAutoDefault(False)
        self.go.clicked.connect(self.take)
        buttons.addWidget(ask)
        buttons.addStretch(1)
        for button in (self.go, leave):
            buttons.addWidget(button)
        self.body.addLayout(buttons)
        self.resize(px(820), px(520))
        self.table.setFocus()

    def look(self) -> None:
        """Show what was heard so far."""
        self._search.look()
        rows = [row for broker in self._search.brokers for row in _rows(broker)]
        if rows == self._rows:
            return
        at = self.chosen()
        self._rows = rows
        self.table.blockSignals(True)
        self.table.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for k, text in enumerate(row.texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if not row.usable:
                    item.setFlags(Qt.ItemFlag.NoItemFlags)
                self.table.setItem(i, k, item)
        self._select(at)
        self.table.blockSignals(False)
        self.go.setEnabled(self.chosen() is not None)

    def _select(self, before: _Row | None) -> None:
        # what a hand chose stays; else the first session that is there
        same = [i for i, row in enumerate(self._rows) if before is not None and _same(row, before)]
        best = [i for i, row in enumerate(self._rows) if row.usable and row.session is not None]
        usable = [i for i, row in enumerate(self._rows) if row.usable]
        at = (same if self._chose else []) or best or usable
        self.table.clearSelection()
        if at:
            self.table.selectRow(at[0])

    def _chosen_by_hand(self) -> None:
        self._chose = True
        self.go.setEnabled(self.chosen() is not None)

    def chosen(self) -> _Row | None:
        """Give the row that is selected; None while none is."""
        at = self.table.currentRow()
        selected = self.table.selectionModel().hasSelection()
        return self._rows[at] if selected and 0 <= at < len(self._rows) and self._rows[at].usable else None

    def ask(self) -> None:
        """Ask the broker that was typed in, too."""
        choice = BrokerChoice(
            self.url.text().strip(),
            self.user.text().strip() or None,
            self.variable.text().strip() or None,
            self.ca.text().strip() or None,
        )
        try:
            address = choice.address
            choice.access()
        except UsageError as error:
            self.said.setText(str(error))
            return
        if self.password.text():
            self._passwords[choice.url] = self.password.text()
        self.said.setText(f"asking {address.text}")
        self._choices = unique([choice, *self._choices])
        self._search.end()
        self._search = Search(self._choices, self._passwords)
        self._chose = False
        self.look()

    def take(self) -> None:
        """Follow what is selected."""
        row = self.chosen()
        if row is None:
            return
        choice = next(each for each in self._choices if each.url == row.url)
        try:
            feed = self._make(choice.address, row.session, choice.access(self._passwords.get(choice.url)))
        except UsageError as error:
            self.said.setText(str(error))
            return
        if self._places.kept is not None:
            remember(self._places.kept, choice)
        self.accept()
        self._connect(feed, row.session, choice)

    def _leave(self) -> None:
        self._timer.stop()
        self._search.end()


def _same(one: _Row, other: _Row) -> bool:
    return (one.url, one.session) == (other.url, other.session)


def _rows(broker: FoundBroker) -> Sequence[_Row]:
    url = broker.choice.url
    if broker.feed is None or not broker.feed.connected:
        return [_Row(url, None, ("—", broker.said, "", "", url), usable=False)]
    now = broker.feed.now()
    found = sorted(broker.sessions.values(), key=lambda s: (not s.online, s.heard is None, s.name))
    rows = [_Row(url, s.name, _texts(s, url, now), usable=True) for s in found]
    waits = "" if any(s.online for s in found) else "no session is online; one that comes is followed"
    return [*rows, _Row(url, None, (NEWEST, waits, "", "", url), usable=True)]


def _texts(found: FoundSession, url: str, now: float) -> tuple[str, ...]:
    state = found.state or "?"
    stands = f"● online, {state}" if found.online else f"○ over, {state}"
    blinded = ", blinded" if found.blinded else ""
    some = "channel" if found.eeg_channels == 1 else "channels"
    channels = f", {found.eeg_channels} EEG {some}" if found.eeg_channels else ""
    if found.heard is None:
        heard = "nothing yet" if found.online else ""
    else:
        silent = now - found.heard
        heard = "now" if silent < SILENT_S else f"{silent:.0f} s ago"
    return found.name, stands + channels + blinded, heard, found.model, url
