"""Head motion: framewise displacement with its limit, and the six parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from dashboard.board import Board
from dashboard.card import Card
from dashboard.region_panel import at_volumes, time_span
from dashboard.theme import BRIGHT_RED, FAINT, LINES, SKY, style_plot

FD_LIMIT_MM = 0.5
"""Usual limit of framewise displacement for censoring (Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018)."""
NAMES = ("x", "y", "z", "pitch", "roll", "yaw")


class MotionPanel(Card):
    """Two plots over the same time."""

    def __init__(self) -> None:
        super().__init__("Head motion")
        grid: Any = pg.GraphicsLayoutWidget()
        grid.ci.layout.setContentsMargins(0, 0, 0, 0)
        grid.ci.layout.setSpacing(2)
        self._fd_plot: Any = grid.addPlot(row=0, col=0)
        self._plot: Any = grid.addPlot(row=1, col=0)
        style_plot(self._fd_plot, "FD (mm)", None)
        style_plot(self._plot, "mm, °", "time (s before now)")
        self._plot.setXLink(self._fd_plot)
        limit = pg.InfiniteLine(
            FD_LIMIT_MM,
            angle=0,
            pen=pg.mkPen(BRIGHT_RED, width=1.2, style=Qt.PenStyle.DashLine),
            label=f"limit {FD_LIMIT_MM:g} mm",
            labelOpts={"position": 0.04, "anchors": [(0, 1), (0, 1)], "color": BRIGHT_RED},
        )
        self._fd_plot.addItem(limit)
        self._fd = self._fd_plot.plot(pen=pg.mkPen(SKY, width=1.6), connect="finite")
        self._above = pg.ScatterPlotItem(symbol="t1", size=9, pen=None, brush=QColor(BRIGHT_RED))
        self._fd_plot.addItem(self._above)
        self._curves = [
            self._plot.plot(
                pen=pg.mkPen(LINES[i % 3], width=1.5, style=Qt.PenStyle.SolidLine if i < 3 else Qt.PenStyle.DotLine),
                connect="finite",
            )
            for i in range(6)
        ]
        self._key: object = None
        self.hold(grid)

    def refresh(self, board: Board) -> None:
        """Show the store's motion."""
        view = board.view
        store = view.volumes
        key = (id(store), store.revision if store is not None else 0, np.floor(view.now))
        if key == self._key:
            return
        self._key = key
        if store is None or not store.count:
            for curve in (self._fd, *self._curves):
                curve.setData([], [])
            self._above.setData([], [])
            self.caption("no volumes yet")
            return
        traces = store.traces()
        times, fd = at_volumes(traces.times, traces.fd)
        times = times - view.now
        span = time_span(traces.times, view.now)
        shown = times >= -span
        self._fd.setData(times, fd)
        high = np.nan_to_num(fd) > FD_LIMIT_MM
        self._above.setData(times[high], fd[high])
        motion = traces.motion.copy()
        motion[:, 3:] = np.degrees(motion[:, 3:])
        for i, curve in enumerate(self._curves):
            curve.setData(times, motion[:, i])
        self._fd_plot.setXRange(-span, 0, padding=0)
        self._fd_plot.setYRange(0, max(0.8, _largest(fd[shown]) * 1.15), padding=0)
        reach = max(0.2, _largest(np.abs(motion[shown])) * 1.2)
        self._plot.setYRange(-reach, reach, padding=0)
        entries = [("━" if i < 3 else "┅", LINES[i % 3], name) for i, name in enumerate(NAMES)]
        newest = f"FD {fd[-1]:.2f} mm" if np.isfinite(fd[-1]) else "FD …"
        colour = BRIGHT_RED if high[-1] else FAINT
        self.legend([("▲" if high[-1] else "", colour, newest), *entries])


def _largest(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0
