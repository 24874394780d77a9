"""Class probabilities of the last minute, with thresholds, triggers and vetoes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from dashboard.board import PREDICTION_SECONDS, Board
from dashboard.card import Card
from dashboard.stores import PredictionStore
from dashboard.theme import BRIGHT_RED, FAINT, LINES, TEXT, YELLOW, line_pen, style_plot

TRIGGER_Y = 1.06
VETO_Y = -0.06


class DecisionPanel(Card):
    """One line per class; triggers stand above, vetoes below."""

    def __init__(self) -> None:
        super().__init__("Decision")
        self._plot: Any = pg.PlotWidget()
        style_plot(self._plot.getPlotItem(), "probability", "time (s before now)")
        self._plot.setYRange(-0.12, 1.12, padding=0)
        self._plot.setXRange(-PREDICTION_SECONDS, 0, padding=0)
        self._plot.getAxis("left").setTicks([[(v, f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1)]])
        self._curves: list[Any] = []
        self._limits: list[Any] = []
        self._limits_of: object = None
        self._fired = pg.ScatterPlotItem(symbol="t", size=13, pen=None, brush=QColor(YELLOW))
        self._held = pg.ScatterPlotItem(symbol="x", size=10, pen=None, brush=QColor(BRIGHT_RED))
        self._stems: Any = pg.PlotDataItem(pen=pg.mkPen(YELLOW, width=1), connect="pairs")
        for item in (self._stems, self._fired, self._held):
            self._plot.addItem(item)
        self._key: object = None
        self.hold(self._plot)

    def refresh(self, board: Board) -> None:
        """Show the store's probabilities and marks."""
        view, about = board.view, board.about
        store = view.predictions
        thresholds = about.thresholds if about is not None else {}
        if thresholds != self._limits_of:
            self._show_limits(thresholds)
        key = (id(store), store.revision if store is not None else 0, round(view.now, 1))
        if key == self._key:
            return
        self._key = key
        self._show_curves(store, view.now)
        if store is None:
            self.caption("no decisions yet")
            return
        newest = view.prediction.probabilities if view.prediction is not None else {}
        entries = [
            ("━", LINES[i % len(LINES)], f"{name} {newest[name]:.2f}" if name in newest else name)
            for i, name in enumerate(store.classes)
        ]
        if view.prediction is not None:
            entries.append(("", FAINT, f"uncertainty {view.prediction.uncertainty:.2f}"))
        entries.append(("▼", YELLOW, f"{store.triggers} triggers"))
        entries.append(("✕", BRIGHT_RED, f"{store.vetoes} vetoes"))
        self.legend(entries)

    def _show_curves(self, store: PredictionStore | None, at: float) -> None:
        n = len(store.classes) if store is not None else 0
        while len(self._curves) < n:
            pen = line_pen(len(self._curves))
            pen.setWidthF(2.0)
            self._curves.append(self._plot.plot(pen=pen, connect="finite"))
        while len(self._curves) > n:
            self._plot.removeItem(self._curves.pop())
        if store is None:
            self._show_marks(np.empty(0), np.empty(0))
            return
        times, probabilities = store.traces()
        for i, curve in enumerate(self._curves):
            curve.setData(times - at, probabilities[:, i])
        marks = [mark for mark in store.marks.values() if mark.at >= at - store.seconds]
        self._show_marks(
            np.array([mark.at - at for mark in marks if mark.fired]),
            np.array([mark.at - at for mark in marks if not mark.fired]),
        )

    def _show_marks(self, fired: Any, held: Any) -> None:
        self._fired.setData(fired, np.full(len(fired), TRIGGER_Y))
        self._held.setData(held, np.full(len(held), VETO_Y))
        stems = np.repeat(fired, 2)
        self._stems.setData(stems, np.tile([0.0, TRIGGER_Y], len(fired)))

    def _show_limits(self, thresholds: dict[str, float]) -> None:
        for line in self._limits:
            self._plot.removeItem(line)
        self._limits = [
            pg.InfiniteLine(
                value,
                angle=0,
                pen=pg.mkPen(TEXT, width=1, style=Qt.PenStyle.DashLine),
                label=f"{name} {value:g}",
                labelOpts={"position": 0.015, "anchors": [(0, 1), (0, 1)], "color": TEXT, "fill": (16, 20, 26, 190)},
            )
            for name, value in thresholds.items()
            if 0 <= value <= 1
        ]
        for line in self._limits:
            line.setZValue(10)
            self._plot.addItem(line)
        self._limits_of = dict(thresholds)
