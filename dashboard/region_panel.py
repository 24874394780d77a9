"""Region traces in % signal change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg

from dashboard.board import Board
from dashboard.card import Card
from dashboard.theme import FAINT, LINES, line_pen, style_plot
from streamer.messages import F64

LONGEST_S = 300.0
SHORTEST_S = 60.0
NAMED = 6


def time_span(times: F64, now: float) -> float:
    """Choose how far back to show, s: the whole run in steps of 30 s, five minutes at most."""
    known = times[np.isfinite(times)]
    age = now - float(known[0]) if len(known) else 0.0
    return float(np.clip(np.ceil(age / 30) * 30, SHORTEST_S, LONGEST_S))


def at_volumes(times: F64, values: F64) -> tuple[F64, F64]:
    """Give missing volumes a time (between their neighbours), so that the line breaks there and not elsewhere."""
    known = np.isfinite(times)
    if known.all() or not known.any():
        return times, values
    number = np.arange(len(times))
    return np.interp(number, number[known], times[known]), values


class RegionPanel(Card):
    """One line per region."""

    def __init__(self) -> None:
        super().__init__("Regions", below=True)
        self._plot: Any = pg.PlotWidget()
        style_plot(self._plot.getPlotItem(), "% signal change", "time (s before now)")
        self._plot.addLine(y=0, pen=pg.mkPen(FAINT, width=1))
        self._curves: list[Any] = []
        self._key: object = None
        self.hold(self._plot)

    def refresh(self, board: Board) -> None:
        """Show the store's traces."""
        view, about = board.view, board.about
        store = view.volumes
        key = (id(store), store.revision if store is not None else 0, id(about), np.floor(view.now))
        if key == self._key:
            return
        self._key = key
        n = store.n_regions if store is not None else 0
        while len(self._curves) < n:
            self._curves.append(self._plot.plot(pen=line_pen(len(self._curves)), connect="finite"))
        while len(self._curves) > n:
            self._plot.removeItem(self._curves.pop())
        if store is None or not store.count:
            self.caption("no volumes yet")
            return
        traces = store.traces()
        span = time_span(traces.times, view.now)
        times, regions = at_volumes(traces.times, traces.regions)
        for i, curve in enumerate(self._curves):
            curve.setData(times - view.now, regions[:, i])
        self._plot.setXRange(-span, 0, padding=0)
        shown = regions[times >= view.now - span]
        known = np.abs(shown[np.isfinite(shown)])
        reach = max(0.5, float(np.ceil(known.max() * 2.2) / 2)) if len(known) else 1.0
        self._plot.setYRange(-reach, reach, padding=0)
        names = (
            about.regions if about is not None and len(about.regions) == n else [f"region {i + 1}" for i in range(n)]
        )
        newest = traces.regions[-1] if len(traces.regions) else np.full(n, np.nan)
        entries = [
            ("━" if i < len(LINES) else "╌", LINES[i % len(LINES)], f"{name} {_percent(newest[i])}")
            for i, name in enumerate(names[:NAMED])
        ]
        if n > NAMED:
            entries.append(("", FAINT, f"and {n - NAMED} more"))
        self.legend(entries)


def _percent(value: float) -> str:
    return f"{value:+.1f} %".replace("-0.0", "0.0").replace("-", "−") if np.isfinite(value) else "…"
