"""How the loop is: latency against budgets, losses, queues, the quality of the EEG; and how this window itself is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dashboard.board import Board
from dashboard.drawing.card import Card
from dashboard.drawing.table import Row, Section, Sheet, Weight
from dashboard.drawing.theme import look, minus
from dashboard.figures.blocks import setting
from dashboard.figures.latency import STAGES, Judged, budgets, judge
from dashboard.figures.volume_traces import between_volumes
from dashboard.flags import ranked
from streamer.wire import HealthMessage

FRAME_BUDGET_MS = 33.0
LEAST_FPS = 25.0
"""Of the 30 that are asked for: below it motion is seen to stutter."""
WINDOW_S = 2.0
"""The window's own figures are shown anew so often, s."""
FULL = 0.5
"""Share of a queue's size from which it is told in alarm."""


class FeedFigures(Protocol):
    """What is shown of a feed."""

    received: int
    malformed: int
    dropped: int


class WindowMeter(Protocol):
    """What is shown of the window itself."""

    @property
    def fps(self) -> float:
        """Frames per second; NaN while unknown."""
        ...

    @property
    def frame_ms_p99(self) -> float:
        """99 % of frames take no longer, ms; NaN while unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Limited:
    """A figure of the EEG's quality: its name in plain words, its unit, and between which values it is good."""

    name: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    digits: int = 0

    def row(self, value: float | None) -> Row:
        """Write one value, with the limit that it breaks."""
        if value is None:
            return Row(self.name, ("…",), Weight.FAINT)
        told = minus(f"{value:.{self.digits}f}{f' {self.unit}' if self.unit else ''}")
        if value < self.low:
            return Row(self.name, (f"{told} (< {self.low:g})",), Weight.ALARM)
        if value > self.high:
            return Row(self.name, (f"{told} (> {self.high:g})",), Weight.ALARM)
        return Row(self.name, (told,))


_PULSE_DB = {"fast": 4.0, "balanced": 2.0, "best": 1.0}
"""Pulse artefact that may be left, by mode."""
EEG_FIGURES = {
    "template_epochs": Limited("volumes in the template"),
    "template_age_s": Limited("age of the template", "s", digits=1),
    "slice_residual_db": Limited("gradient left", "dB", high=3.0, digits=1),
    "pulse_residual_db": Limited("pulse artefact left", "dB", high=4.0, digits=1),
    "r_confidence": Limited("R-peak confidence", low=0.5, digits=2),
    "heart_rate_bpm": Limited("heart rate", "/min", 40.0, 150.0),
    "line_50_db": Limited("50 Hz over its neighbours", "dB", digits=1),
    "line_60_db": Limited("60 Hz over its neighbours", "dB", digits=1),
    "bad_channels": Limited("bad channels"),
}
"""In the order in which they are shown."""


def number(value: int) -> str:
    """Write a count so that it stays short and readable."""
    if value < 1_000_000:
        return f"{value:,}".replace(",", "\u2009")
    return f"{value / 1e6:.2f} M"


def milliseconds(value: float) -> str:
    """Write a latency with three figures."""
    if not math.isfinite(value):
        return "…"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


class HealthPanel(Card):
    """Telemetry of the loop, and of this window.

    Parameters
    ----------
    feed : FeedFigures
    meter : WindowMeter
    """

    key = "health"

    def __init__(self, feed: FeedFigures, meter: WindowMeter) -> None:
        super().__init__("Health")
        self._feed = feed
        self._meter = meter
        self.sheet = Sheet()
        self._shown: object = None
        self.hold(self.sheet)

    def refresh(self, board: Board) -> None:
        """Show the last telemetry before ``board.shown``, and the window's own."""
        health = board.view.health.at(board.shown) if np.isfinite(board.shown) else None
        # arrival numbers change with every message: once in a while is enough for the eye
        key = (
            id(board.view),
            health.at if health is not None else None,
            int(board.at / WINDOW_S),
            board.live,
            id(board.about),
            board.rejected,
            self._feed.malformed,
            self._feed.dropped,
        )
        if key == self._shown:
            return
        self._shown = key
        own = Section("this window", ("",), self._own(board))
        if health is None:
            self.sheet.show_sections((own,))
            self.caption("no telemetry yet" if board.live else "no telemetry at this time")
            return
        judged = _judged(board, health)
        counts = [Row(_plain(name), (number(n),), Weight.FAINT) for name, n in health.counts.items()]
        self.sheet.show_sections(
            (
                Section("now", (), _flags(health)),
                Section("latency (ms)", ("p50", "p99", "limit"), [_latency(each) for each in judged]),
                Section("lost", ("",), [_loss(name, n) for name, n in health.losses.items()]),
                Section("queues", ("",), _queues(board, health)),
                Section("EEG", ("",), _eeg(board, health)),
                own,
                Section("counts", ("",), counts),
            )
        )
        self.sheet.setToolTip("\n".join(health.notes))
        self._say(board, health, judged)

    def _say(self, board: Board, health: HealthMessage, judged: Sequence[Judged]) -> None:
        c = look()
        age = (board.view.age("HealthMessage", board.at) or 0.0) if board.live else board.shown - health.at
        entries = [("", c.text, health.state), ("", c.faint if age < 3 else c.alarm, f"{age:.0f} s ago")]
        over, lost = sum(each.over for each in judged), sum(health.losses.values())
        entries += [("▲", c.alarm, f"{over} over budget")] if over else []
        entries += [("▲", c.alarm, f"{number(lost)} lost")] if lost else []
        self.legend(entries)

    def _own(self, board: Board) -> list[Row]:
        fps, slow = self._meter.fps, self._meter.frame_ms_p99
        losses = {"unreadable": self._feed.malformed + board.rejected, "dropped": self._feed.dropped}
        return [
            Row(
                "frames per second",
                (f"{fps:.0f}" if math.isfinite(fps) else "…",),
                Weight.ALARM if fps < LEAST_FPS else Weight.PLAIN,
            ),
            Row(
                "a frame takes (p99)",
                (f"{milliseconds(slow)} ms",),
                Weight.ALARM if slow > FRAME_BUDGET_MS else Weight.PLAIN,
            ),
            Row("messages", (number(self._feed.received),), Weight.FAINT),
            *(_loss(name, n) for name, n in losses.items()),
        ]


def _flags(health: HealthMessage) -> list[Row]:
    known = dict(ranked(health.flags))
    rows = [Row(meaning.said, (), Weight.ALARM) for meaning in known.values()]
    rows += [Row(_plain(flag.lower()), (), Weight.ALARM) for flag in health.flags if flag not in known]
    return [*rows, *(Row(note) for note in health.notes)] or [Row("no flags", (), Weight.FAINT)]


def _judged(board: Board, health: HealthMessage) -> list[Judged]:
    about = board.about
    declared = about.eeg_delay_s + about.eeg_hold_s if about is not None else 0.0
    known = budgets(declared, _tr(board))
    return [judge(stage, values, known) for stage, values in health.latency_ms.items()]


def _tr(board: Board) -> float | None:
    about, volumes = board.about, board.view.volumes
    if about is not None and about.tr_s is not None:
        return about.tr_s
    return between_volumes(volumes.traces().times) if volumes is not None else None


def _latency(judged: Judged) -> Row:
    limit = judged.budget.p99
    shares = judged.shares
    return Row(
        STAGES.get(judged.stage, _plain(judged.stage)),
        (milliseconds(judged.p50), milliseconds(judged.p99), "–" if limit is None else milliseconds(limit)),
        Weight.ALARM if judged.over else Weight.PLAIN if limit is not None else Weight.FAINT,
        shares if math.isfinite(shares[1]) else None,
    )


def _loss(name: str, n: int) -> Row:
    return Row(_plain(name), (number(n),), Weight.ALARM if n else Weight.FAINT)


def _queues(board: Board, health: HealthMessage) -> list[Row]:
    sizes = dict(health.queue_sizes)
    size = setting(board.settings, "mqtt", "queue_size")
    if isinstance(size, int):
        sizes.setdefault("mqtt", size)
    return [_queue(name, depth, sizes.get(name)) for name, depth in health.queues.items()]


def _queue(name: str, depth: int, size: int | None) -> Row:
    if not size:
        return Row(_plain(name), (number(depth),))
    share = depth / size
    weight = Weight.ALARM if share >= FULL else Weight.PLAIN
    return Row(_plain(name), (f"{number(depth)} of {number(size)}",), weight, (share, share))


def _eeg(board: Board, health: HealthMessage) -> list[Row]:
    pulse = board.about.pulse if board.about is not None else "off"
    rows: list[Row] = []
    for name in [*(n for n in EEG_FIGURES if n in health.eeg), *(n for n in health.eeg if n not in EEG_FIGURES)]:
        limited = EEG_FIGURES.get(name, Limited(_plain(name), digits=2))
        if name == "pulse_residual_db" and pulse in _PULSE_DB:
            limited = Limited(limited.name, limited.unit, high=_PULSE_DB[pulse], digits=limited.digits)
        rows.append(limited.row(health.eeg[name]))
    return rows
