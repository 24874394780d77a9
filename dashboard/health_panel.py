"""Latency per stage, counts, losses and queues."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from dashboard.board import Board
from dashboard.card import Card, WrappedLabel
from dashboard.feed import Feed
from dashboard.table import Row, Table
from dashboard.theme import BRIGHT_RED, FAINT, TEXT, font


def number(value: int) -> str:
    """Write a count so that it stays short and readable."""
    if value < 1_000_000:
        return f"{value:,}".replace(",", "\u2009")
    return f"{value / 1e6:.2f} M"


def milliseconds(value: float) -> str:
    """Write a latency with three figures."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


class HealthPanel(Card):
    """Telemetry of the loop, and of this window's own feed."""

    def __init__(self, feed: Feed) -> None:
        super().__init__("Health")
        self._feed = feed
        self.latency = Table(Row("latency (ms)", ("p50", "p99")), column=46)
        self.counts = Table(Row("counts", ("",)), column=78)
        self.losses = Table(Row("losses", ("",)), column=52)
        self.queues = Table(Row("queues", ("",)), column=52)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(self.losses, 3)
        right.addWidget(self.queues, 2)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(20)
        row.addWidget(self.latency, 5)
        row.addWidget(self.counts, 4)
        row.addLayout(right, 4)
        body = QWidget()
        body.setLayout(row)
        body.setStyleSheet("background: transparent;")
        self._flags = WrappedLabel()
        self._flags.setFont(font(12))
        self._flags.setWordWrap(True)
        self.hold(body)
        self.hold(self._flags, 0)

    def refresh(self, board: Board) -> None:
        """Show the newest telemetry."""
        health, feed = board.view.health, self._feed
        own = {
            "unreadable here": feed.malformed + board.rejected,
            "dropped here": feed.dropped,
        }
        losses = {_plain(name): n for name, n in health.losses.items()} if health is not None else {}
        self.losses.show_rows(
            [
                Row(name, (("▲ " if n else "") + number(n),), BRIGHT_RED if n else TEXT)
                for name, n in (losses | own).items()
            ]
        )
        if health is None:
            for table in (self.latency, self.counts, self.queues):
                table.show_rows([])
            self.caption("no telemetry yet")
            self._flags.setText("")
            return
        self.latency.show_rows(
            [Row(_plain(stage), tuple(milliseconds(v) for v in values)) for stage, values in health.latency_ms.items()]
        )
        self.counts.show_rows([Row(_plain(name), (number(n),)) for name, n in health.counts.items()])
        self.queues.show_rows([Row(_plain(name), (number(n),)) for name, n in health.queues.items()])
        age = board.view.age("HealthMessage", board.at) or 0.0
        self.caption(f"{health.state} &nbsp;·&nbsp; {age:.0f} s ago &nbsp;·&nbsp; {number(feed.received)} messages")
        said = "   ".join([*(f"▲ {flag}" for flag in health.flags), *health.notes])
        self._flags.setText(said or "no flags")
        self._flags.setStyleSheet(f"color: {BRIGHT_RED if health.flags else FAINT};")
