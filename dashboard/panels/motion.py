"""Head motion: framewise displacement with its limit, change of the signal, and the six parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.theme import axes, line_colour, look, minus, px, style_plot
from dashboard.figures.choices import stepped
from dashboard.figures.volume_traces import FD_LIMIT_MM, above, at_volumes, credible, fd_limit, silent_for, with_breaks
from dashboard.panels.line_names import LineName, LineNames
from dashboard.panels.time_lines import SPANS_S, USUAL_S, Later, TimeCurve, moment, name_axis, time_axis
from dashboard.stores import VolumeTraces
from streamer.messages import F64, Array

NAMES = ("x", "y", "z", "pitch", "roll", "yaw")
_LEAST_FD_MM = 0.6
_LEAST_REACH = 0.2
_TALL = 260
"""Pixels from which there is room for the change of the signal."""
_SHORT = 150
"""Pixels below which there is no room for what the axes are called."""
_DVARS = 6


class MotionPanel(Card):
    """Three plots over the same time."""

    key = "motion"

    def __init__(self) -> None:
        super().__init__("Head motion")
        self.span_s = USUAL_S
        grid: Any = pg.GraphicsLayoutWidget()
        grid.ci.layout.setContentsMargins(0, 0, 0, 0)
        grid.ci.layout.setSpacing(2)
        self.fd_plot: Any = grid.addPlot(row=0, col=0, axisItems=axes())
        self.dvars_plot: Any = grid.addPlot(row=1, col=0, axisItems=axes())
        self.plot: Any = grid.addPlot(row=2, col=0, axisItems=axes())
        style_plot(self.fd_plot, "FD (mm)", None)
        style_plot(self.dvars_plot, "DVARS", None)
        style_plot(self.plot, "mm, °", "s before now")
        self._grid = grid
        for plot in (self.fd_plot, self.dvars_plot):
            plot.setXLink(self.plot)
        self._usual = self._limit_line(look().faint)
        self._own = self._limit_line(look().alarm)
        self._fd = TimeCurve(self.fd_plot, pg.mkPen(look().eeg, width=1.6))
        self._above = pg.ScatterPlotItem(symbol="t1", size=9, pen=None, brush=QColor(look().alarm))
        self.fd_plot.addItem(self._above, ignoreBounds=True)
        self._dvars = TimeCurve(self.dvars_plot, pg.mkPen(line_colour(_DVARS), width=1.0))
        # translations solid, rotations dotted: an axis has the same colour in both
        solid, dotted = Qt.PenStyle.SolidLine, Qt.PenStyle.DotLine
        self._curves = [
            TimeCurve(self.plot, pg.mkPen(line_colour(i % 3), width=1.5, style=solid if i < 3 else dotted))
            for i in range(6)
        ]
        self.names = LineNames(92)
        body = QWidget()
        line = QHBoxLayout(body)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        line.addWidget(grid, 1)
        line.addWidget(self.names)
        self.hold(body)
        self._has_dvars = False
        self._drawing = Later(2)
        self._share_out()

    def _limit_line(self, colour: str) -> Any:
        made = pg.InfiniteLine(angle=0, pen=pg.mkPen(colour, width=1.2, style=Qt.PenStyle.DashLine))
        self.fd_plot.addItem(made, ignoreBounds=True)
        return made

    def commands(self) -> Sequence[PanelCommand]:
        """Span."""
        return (
            PanelCommand("Show less time", lambda: self.stretch(-1)),
            PanelCommand("Show more time", lambda: self.stretch(+1)),
        )

    def state(self) -> dict[str, Any]:
        """Give what the user has set."""
        return {"span_s": self.span_s}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave; what does not fit is passed over."""
        if state.get("span_s") in SPANS_S:
            self.span_s = float(state["span_s"])
        self._drawing.now()

    def stretch(self, steps: int) -> None:
        """Show more time (positive) or less."""
        self.span_s = stepped(SPANS_S, self.span_s, steps)
        self._drawing.now()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self.names.fit(self.width())
        self._share_out()

    def _share_out(self) -> None:
        self.dvars_plot.setVisible(self._has_dvars and self.height() >= px(_TALL))
        shown = self.dvars_plot.isVisible()
        layout = self._grid.ci.layout
        for row, share in enumerate((3, 2 if shown else 0, 4)):
            layout.setRowStretchFactor(row, share)
        layout.setRowMaximumHeight(1, 1e6 if shown else 0)
        for plot in (self.fd_plot, self.plot):
            plot.getAxis("left").showLabel(self.height() >= px(_SHORT))

    def refresh(self, board: Board) -> None:
        """Show the store's motion up to the time that is shown."""
        view, shown = board.view, board.shown
        store = view.volumes
        config = board.config
        key = (
            store,
            store.revision if store is not None else 0,
            config,
            moment(board, self.span_s, self._grid.width()),
            board.live,
        )
        if not self._drawing.due(key):
            return
        name_axis(self.plot, "bottom", time_axis(board))
        limit, own = fd_limit(board.settings)
        self._show_limits(limit, own=own)
        self.plot.setXRange(-self.span_s, 0, padding=0)
        if store is None or not store.count or not np.isfinite(shown):
            self._nothing("no volumes yet")
            return
        traces = store.traces().until(shown)
        if not len(traces.times):
            self._nothing("no volumes up to here")
            return
        self._show(traces, shown, limit)

    def _nothing(self, word: str) -> None:
        for curve in (self._fd, self._dvars, *self._curves):
            curve.show_line(np.empty(0), np.empty(0))
        self._above.setData([], [])
        self.names.show_entries([])
        self.caption(word)

    def _show_limits(self, limit: float, *, own: bool) -> None:
        self._own.setValue(limit)
        self._usual.setValue(FD_LIMIT_MM)
        # the usual one too, where the session has another
        self._usual.setVisible(own and limit != FD_LIMIT_MM)

    def _show(self, traces: VolumeTraces, shown: float, limit: float) -> None:
        times = at_volumes(traces.times) - shown
        seen = times >= -self.span_s
        first = max(0, int(np.argmax(seen)) - 1) if seen.any() else len(times)
        motion = np.hstack([traces.motion[:, :3], np.degrees(traces.motion[:, 3:])])
        at, lines = with_breaks(times[first:], credible(np.column_stack([traces.fd, traces.dvars, motion])[first:]))
        for i, curve in enumerate((self._fd, self._dvars, *self._curves)):
            curve.show_line(at, lines[:, i])
        high: Array = seen & above(traces.fd, limit)
        self._above.setData(times[high], credible(traces.fd[high]))
        fd, dvars, six = lines[:, 0], lines[:, 1], lines[:, 2:]
        self.fd_plot.setYRange(0, max(_LEAST_FD_MM, 1.5 * limit, _largest(fd) * 1.1), padding=0)
        self.dvars_plot.setYRange(0, max(1.0, _largest(dvars) * 1.15), padding=0)
        reach = max(_LEAST_REACH, _largest(np.abs(six)) * 1.15)
        self.plot.setYRange(-reach, reach, padding=0)
        has_dvars = bool(np.isfinite(dvars).any())
        if has_dvars != self._has_dvars:
            self._has_dvars = has_dvars
            self._share_out()
        self._name_lines(fd, dvars, six, limit)
        self._say(credible(traces.fd), limit, silent_for(traces.times, shown))

    def _name_lines(self, fd: F64, dvars: F64, six: F64, limit: float) -> None:
        c, dashed = look(), Qt.PenStyle.DashLine
        entries = [LineName("limit", f"{limit:g} mm", limit, c.alarm, self.fd_plot, dashed)]
        moved = _last(fd)
        if moved is not None:
            entries.append(LineName("FD", f"{moved:.2f} mm", moved, c.eeg, self.fd_plot))
        if self._usual.isVisible():
            entries.append(LineName("usual", f"{FD_LIMIT_MM:g} mm", FD_LIMIT_MM, c.faint, self.fd_plot, dashed))
        for i, name in enumerate(NAMES):
            last = _last(six[:, i])
            if last is not None:
                style = Qt.PenStyle.SolidLine if i < 3 else Qt.PenStyle.DotLine
                value = minus(f"{last:+.2f}{' mm' if i < 3 else '°'}")
                entries.append(LineName(name, value, last, line_colour(i % 3), self.plot, style))
        change = _last(dvars)
        if change is not None and self.dvars_plot.isVisible():
            entries.append(LineName("DVARS", f"{change:.1f} %", change, line_colour(_DVARS), self.dvars_plot))
        self.names.show_entries(entries)

    def _say(self, fd: F64, limit: float, silent: float | None) -> None:
        c = look()
        known = fd[np.isfinite(fd)]
        last = _last(fd)
        entries: list[tuple[str, str, str]] = []
        if silent is not None:
            entries.append(("▲", c.alarm, f"no volume for {silent:.0f} s"))
        elif last is None:
            entries.append(("", c.faint, "FD …"))
        elif last > limit:
            entries.append(("▲", c.alarm, f"moved: FD {last:.2f} mm"))
        else:
            entries.append(("●", c.faint, f"still: FD {last:.2f} mm"))
        if len(known):
            n = int(above(known, limit).sum())
            entries.append(
                ("", c.faint, f"{n} of {len(known)} volumes ({100 * n / len(known):.0f} %) above {limit:g} mm")
            )
        self.legend(entries)


def _largest(values: F64) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0


def _last(values: F64) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else None
