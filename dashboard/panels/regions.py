"""Region signals over the last minutes, with the task's blocks behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.theme import axes, font, line_colour, line_pen, look, minus, px, style_plot
from dashboard.figures.blocks import Block, blocks_of_design, blocks_of_markers
from dashboard.figures.choices import stepped
from dashboard.figures.volume_traces import (
    above,
    at_volumes,
    between_volumes,
    credible,
    fd_limit,
    run_begin,
    silent_for,
    with_breaks,
)
from dashboard.panels.block_shades import BlockShades
from dashboard.panels.line_names import LineName, LineNames
from dashboard.panels.name_chooser import NameChooser
from dashboard.panels.time_lines import SPANS_S, USUAL_S, Later, TimeCurve, moment, name_axis, time_axis
from dashboard.stores import VolumeStore
from streamer.messages import F64

MOST_LINES = 12
"""So many regions are shown unless others are chosen: more lines nobody can tell apart."""
_ROOM = 1.2
_SHORT = 150
"""Pixels below which there is no room for what the axis is called."""


class RegionPanel(Card):
    """One line per region."""

    key = "regions"

    def __init__(self) -> None:
        super().__init__("Regions")
        self.span_s = USUAL_S
        self.as_z = False
        self.chosen: list[str] | None = None
        """Names of the regions that are shown; None for the first ones."""
        self.plot: Any = pg.PlotWidget(axisItems=axes())
        style_plot(self.plot.getPlotItem(), "% signal change", "s before now")
        self.shades = BlockShades()
        self.plot.addItem(self.shades, ignoreBounds=True)
        self.plot.addLine(y=0, pen=pg.mkPen(look().faint, width=1))
        self._moved = pg.ScatterPlotItem(symbol="x", size=8, pen=None, brush=QColor(look().alarm))
        self.plot.addItem(self._moved, ignoreBounds=True)
        self._curves: list[TimeCurve] = []
        self._pens: list[int] = []
        self.names = LineNames()
        self.word = QLabel()
        self.word.setFont(font(14))
        self.word.setWordWrap(True)
        self.word.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.word.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        QVBoxLayout(self.plot).addWidget(self.word)
        body = QWidget()
        line = QHBoxLayout(body)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(0)
        line.addWidget(self.plot, 1)
        line.addWidget(self.names)
        self.hold(body)
        tip = "Percent signal change, or standard deviations of the past (Z)"
        self._unit_button = self.button("%", tip, self.toggle_z)
        self._choose_button = self.button("Regions…", "Choose the regions that are shown (Ctrl+R)", self.choose)
        self.chooser: NameChooser | None = None
        self._all_names: list[str] = []
        self._drawing = Later(0)
        self._blocks: list[Block] = []
        self._blocks_key: object = None

    def commands(self) -> Sequence[PanelCommand]:
        """Unit, choice and span."""
        return (
            PanelCommand("Percent or standard deviations", self.toggle_z, "Z"),
            PanelCommand("Choose regions…", self.choose, "Ctrl+R"),
            PanelCommand("Show less time", lambda: self.stretch(-1), "Shift+Right"),
            PanelCommand("Show more time", lambda: self.stretch(+1), "Shift+Left"),
        )

    def state(self) -> dict[str, Any]:
        """Give what the user has set."""
        return {"span_s": self.span_s, "z": self.as_z, "chosen": self.chosen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave; what does not fit is passed over."""
        if state.get("span_s") in SPANS_S:
            self.span_s = float(state["span_s"])
        self.as_z = state.get("z") is True
        chosen: object = state.get("chosen")
        if isinstance(chosen, list):
            self.chosen = [name for name in cast("list[object]", chosen) if isinstance(name, str)]
        self._drawing.now()

    def toggle_z(self) -> None:
        """Show standard deviations instead of percent, or percent again."""
        self.as_z = not self.as_z
        self._drawing.now()

    def stretch(self, steps: int) -> None:
        """Show more time (positive) or less."""
        self.span_s = stepped(SPANS_S, self.span_s, steps)
        self._drawing.now()

    def choose(self) -> None:
        """Open the list of regions."""
        shown = [self._all_names[i] for i in self._shown_regions()]
        self.chooser = NameChooser(self, self._all_names, shown, self._take_choice)
        self.chooser.open_below(self._choose_button)

    def _take_choice(self, names: list[str]) -> None:
        self.chosen = names
        self._drawing.now()

    def _shown_regions(self) -> list[int]:
        found = [i for i, name in enumerate(self._all_names) if self.chosen is not None and name in self.chosen]
        # regions that were chosen in another session are not there in this one
        known = self.chosen == [] or found
        return found if self.chosen is not None and known else list(range(min(len(self._all_names), MOST_LINES)))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self.names.fit(self.width())
        self.plot.getAxis("left").showLabel(self.height() >= px(_SHORT))

    def refresh(self, board: Board) -> None:
        """Show the store's traces up to the time that is shown."""
        view, about, shown = board.view, board.about, board.shown
        store = view.volumes
        config = board.config
        revision = (store.revision if store is not None else 0, view.markers.revision)
        key = (store, about, config, *revision, moment(board, self.span_s, self.plot.width()), board.live)
        if not self._drawing.due(key):
            return
        self._show_head(board)
        if store is None or not store.count or not np.isfinite(shown):
            self._nothing("waiting for volumes")
            self.caption("no volumes yet")
            return
        self._name_regions(store, about.regions if about is not None else [])
        traces = store.traces().until(shown)
        self._find_blocks(board, store, traces.times)
        self.shades.show_blocks(self._blocks, shown)
        self.plot.setXRange(-self.span_s, 0, padding=0)
        if not len(traces.times):
            self._nothing("no volumes up to here")
            self.caption("no volumes up to here")
            return
        limit, _ = fd_limit(board.settings)
        times = at_volumes(traces.times) - shown
        seen = times >= -self.span_s
        chosen = self._shown_regions()
        values = credible(traces.z if self.as_z else traces.regions)[:, chosen]
        marks_at = self._show_lines(times, values, seen, chosen)
        moved = seen & above(traces.fd, limit)
        self._moved.setData(times[moved], np.full(int(moved.sum()), marks_at))
        blinded = about is not None and about.blinded
        self._say(values[seen], blinded=blinded)
        if blinded:
            self.caption("blinded")
        else:
            self._show_caption(len(chosen), int(moved.sum()), limit, silent_for(traces.times, shown))

    def _show_head(self, board: Board) -> None:
        plot = self.plot.getPlotItem()
        name_axis(plot, "left", "SD of the past" if self.as_z else "% signal change")
        name_axis(plot, "bottom", time_axis(board))
        self._unit_button.setText("z" if self.as_z else "%")

    def _nothing(self, word: str) -> None:
        self.word.setText(word)
        for curve in self._curves:
            curve.show_line(np.empty(0), np.empty(0))
        self._moved.setData([], [])
        self.names.show_entries([])

    def _name_regions(self, store: VolumeStore, names: Sequence[str]) -> None:
        n = store.n_regions
        self._all_names = list(names) if len(names) == n else [f"region {i + 1}" for i in range(n)]
        self._choose_button.setEnabled(n > 0)

    def _find_blocks(self, board: Board, store: VolumeStore, times: F64) -> None:
        markers = board.view.markers
        at = markers.times(-np.inf, board.shown)
        key = (markers, markers.revision, len(at), board.about, board.peer, len(times) < 2)
        if key == self._blocks_key:
            return
        self._blocks_key = key
        about, config = board.about, board.config
        labels = [marker.label for marker in markers.between(-np.inf, board.shown)]
        classes = about.classes if about is not None else []
        self._blocks = blocks_of_markers(zip(at, labels, strict=True), classes)
        if not any(not block.rest for block in self._blocks) and config is not None:
            everything = store.traces().times
            tr = (about.tr_s if about is not None else None) or between_volumes(everything)
            begin = None if tr is None else run_begin(everything, store.rows.end - len(everything), tr)
            if begin is not None:
                self._blocks = blocks_of_design(config.settings, begin) or self._blocks

    def _show_lines(self, times: F64, values: F64, seen: Any, chosen: list[int]) -> float:
        """Show lines; gives the height at which marks stand."""
        if chosen != self._pens:
            for curve in self._curves:
                self.plot.removeItem(curve)
            self._curves = [TimeCurve(self.plot, line_pen(i)) for i in chosen]
            self._pens = list(chosen)
        # one volume more at the left, so that lines begin at the edge
        first = max(0, int(np.argmax(seen)) - 1) if seen.any() else len(times)
        part = values[first:]
        at, lines = with_breaks(times[first:], part)
        for i, curve in enumerate(self._curves):
            curve.show_line(at, lines[:, i])
        known = part[np.isfinite(part)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 1.0)
        # in steps, so that the scale does not change with every volume; marks stand below, names above
        low, high = min(-0.5, np.floor(2.0 * _ROOM * low) / 2), max(0.5, np.ceil(2.0 * _ROOM * high) / 2)
        self.plot.setYRange(low, high, padding=0)
        self._name_lines(part, chosen)
        return low + 0.04 * (high - low)

    def _name_lines(self, values: F64, chosen: list[int]) -> None:
        unit = "" if self.as_z else " %"
        entries: list[LineName] = []
        for place, i in enumerate(chosen):
            known = np.flatnonzero(np.isfinite(values[:, place]))
            if len(known):
                last = float(values[known[-1], place])
                fresh = known[-1] == len(values) - 1
                value = f"{_signed(last)}{unit}" if fresh else "…"
                entries.append(
                    LineName(self._all_names[i], value, last, line_colour(i), self.plot, line_pen(i).style())
                )
        entries.sort(key=lambda entry: -abs(entry.y))
        self.names.show_entries(entries)

    def _say(self, values: F64, *, blinded: bool) -> None:
        if blinded:
            self.word.setText("blinded: region signals are not sent")
        elif not values.shape[1]:
            self.word.setText("no region is chosen" if self._all_names else "this session has no regions")
        elif not np.isfinite(values).any():
            self.word.setText("too few volumes for z yet" if self.as_z else "no baseline yet")
        else:
            self.word.setText("")

    def _show_caption(self, n: int, n_moved: int, limit: float, silent: float | None) -> None:
        faint = look().faint
        entries = [("", faint, f"{self.span_s / 60:g} min")]
        if n < len(self._all_names):
            entries.append(("", faint, f"{n} of {len(self._all_names)} regions"))
        if n_moved:
            entries.append(("✕", look().alarm, f"{n_moved} moved (FD > {limit:g} mm)"))
        if silent is not None:
            entries.insert(0, ("▲", look().alarm, f"no volume for {silent:.0f} s"))
        self.legend(entries)


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in {"-0.0", "+0.0"} else minus(text)
