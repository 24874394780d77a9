"""Class probabilities, how unsure they are, and triggers with what held them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.strip import Pace, SpanButton, line_of
from dashboard.drawing.theme import line_colour, look
from dashboard.figures.stretches import stretches
from dashboard.flags import in_words
from dashboard.panels.decision_plot import DecisionPlot, Picture
from dashboard.stores import PredictionStore
from streamer.messages import F64
from streamer.wire import PredictionMessage

OLD_S = 2.0
"""A decision so old is not that of now, s."""
GAP_S = 1.0


class DecisionPanel(Card):
    """One line per class; triggers stand above, vetoes below, with their reasons."""

    key = "decision"

    def __init__(self) -> None:
        super().__init__("Decision")
        self.plot = DecisionPlot()
        self.span = SpanButton()
        self.tool(self.span)
        self._pace = Pace()
        self.hold(self.plot)

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return (
            PanelCommand("Show more time", lambda: self.span.step(+1), "Alt+Left"),
            PanelCommand("Show less time", lambda: self.span.step(-1), "Alt+Right"),
        )

    def state(self) -> dict[str, Any]:
        """Give the user's settings."""
        return {"seconds": self.span.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave once."""
        self.span.choose(state.get("seconds"))

    def refresh(self, board: Board) -> None:
        """Show probabilities and marks up to ``board.shown``."""
        view, store = board.view, board.view.predictions
        content = (
            0 if store is None else store.revision,
            view.prediction.revision,
            view.scores.revision,
            round(board.shown, 1) if np.isfinite(board.shown) else None,
        )
        settings = (id(view), id(store), board.live, id(board.about), self.span.seconds)
        if not self._pace.due(board.at, self.span.seconds, settings, content):
            return
        self.plot.seconds, self.plot.live = self.span.seconds, board.live
        self.plot.picture = self._picture(board)
        self.plot.update()
        self._say(board)

    def _picture(self, board: Board) -> Picture:
        view, about, at, seconds = board.view, board.about, board.shown, self.span.seconds
        store = view.predictions
        limits = {} if about is None else {n: v for n, v in about.thresholds.items() if 0 <= v <= 1}
        if store is None or not np.isfinite(at):
            return Picture(limits=limits, empty=_why_empty(board))
        times, probabilities, uncertainty = store.traces(at, seconds)
        gap_s = max(GAP_S, 3.0 / store.tick_hz)
        ages, values = line_of(times, np.column_stack([probabilities, uncertainty]), at, gap_s)
        moving = _moving(board, at, seconds, limits.get("on"))
        return Picture(
            ages,
            values[:, :-1],
            values[:, -1],
            {} if len(moving[0]) else limits,
            moving,
            _abstained(view.prediction.between(at - seconds, at), at, gap_s),
            [(at - mark.at, mark) for mark in store.marks.between(at - seconds, at)],
            _doubt(view.prediction.at(at)),
            "" if len(ages) else _why_empty(board),
        )

    def _say(self, board: Board) -> None:
        c, store = look(), board.view.predictions
        newest = board.view.prediction.at(board.shown)
        if store is None:
            self.caption(_why_empty(board))
            return
        entries = _probabilities(store, newest)
        if newest is not None:
            age = board.shown - newest.about
            entries += [("", c.alarm, f"{age:.0f} s old")] if age > OLD_S else []
            if "ABSTAINED" in newest.flags:
                entries.append(("◆", c.text, "abstained"))
        seen = [mark for _, mark in self.plot.picture.marks]
        fired, held = store.triggers, store.vetoes
        where = ""
        if not board.live:
            fired = sum(mark.fired for mark in seen)
            held, where = len(seen) - fired, f" in {self.span.seconds:g} s"
        entries.append(("▼", c.mark, f"{fired} triggers{where}"))
        reasons = [in_words(mark.text) for mark in seen if not mark.fired]
        entries.append(("✕", c.alarm, f"{held} vetoes{where}{f': {reasons[-1]}' if reasons else ''}"))
        self.legend(entries)


def _probabilities(store: PredictionStore, newest: PredictionMessage | None) -> list[tuple[str, str, str]]:
    known = newest.probabilities if newest is not None else {}
    return [
        ("━", line_colour(i), f"{name} {known[name]:.2f}" if name in known else name)
        for i, name in enumerate(store.classes)
    ]


def _doubt(newest: PredictionMessage | None) -> str:
    if newest is None:
        return ""
    words = f"uncertainty {newest.uncertainty:.2f} of 1 (entropy)"
    if newest.candidates is None:
        return words
    # a conformal set may be empty: then no class is usual
    return f"{words} · candidates: {', '.join(newest.candidates) or 'none'}"


def _abstained(messages: Sequence[PredictionMessage], at: float, gap_s: float) -> list[tuple[float, float]]:
    on = np.array(["ABSTAINED" in message.flags for message in messages], dtype=bool)
    if not on.any():
        return []
    times = np.array([message.about for message in messages])
    return [(at - begin, at - end) for begin, end in stretches(times, on, gap_s)]


def _moving(board: Board, at: float, seconds: float, fixed: float | None) -> tuple[F64, F64]:
    times, _, thresholds = board.view.scores.traces(at, seconds)
    # one that stays where the session announced it is drawn as that
    if not len(times) or (fixed is not None and np.allclose(thresholds, fixed, atol=1e-3)):
        return np.empty(0), np.empty(0)
    return line_of(times, thresholds, at, GAP_S)


def _why_empty(board: Board) -> str:
    if board.about is not None and board.about.blinded:
        return "blinded: probabilities are not sent"
    return "no decisions yet" if board.live else "no decisions at this time"
