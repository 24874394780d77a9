"""A map of the scalp: the power of a band, or the voltage of a moment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.colour_maps import diverging, sequential
from dashboard.drawing.range_bar import coloured
from dashboard.drawing.theme import font, look, px
from dashboard.figures.scalp_map import LEAST, map_matrix, on_disc, places
from dashboard.figures.spectra import BANDS, HOP_S, WINDOW_S, Spectra, decibels, mean_of_known
from dashboard.panels.scalp_view import Electrode, ScalpScene, ScalpView
from dashboard.stores import EegStore
from streamer.messages import F32, F64

VOLTAGE = "voltage"
Scale = Literal["change", "power", "voltage"]
MINUTE_S = 60.0
"""What a change is against."""
SILENT_S = 1.0
PIXELS = 64
_KEPT_MATRICES = 8
_COLUMNS_PER_FRAME = 4
_LEAST_COLUMNS = 12
"""Columns that a mean needs before anything is held against it."""
_VOLTAGES = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_UNITS: dict[Scale, str] = {"change": "dB", "power": "dB", "voltage": "µV"}


class ScalpPanel(Card):
    """Values at the electrodes, and splines between them."""

    key = "scalp"

    def __init__(self) -> None:
        super().__init__("Scalp map")
        self.band = "alpha"
        """A band, or the voltage."""
        self.against = True
        """Whether power is shown as its change against the last minute."""
        self.limits: dict[Scale, tuple[float, float]] = {"change": (-6, 6), "power": (-10, 20), "voltage": (-50, 50)}
        self.values: F64 = np.zeros(0)
        """What the map shows, at every channel; NaN where nothing is known."""
        self._about: object = None
        self._directions = np.zeros((0, 3))
        self._spectra: Spectra | None = None
        self._of: EegStore | None = None
        self._drawn: object = None
        self._fit = False
        self._matrices: dict[bytes, F32] = {}
        self.bands = self._list([*BANDS, VOLTAGE], "What the map shows (Ctrl+B: the next)")
        self.bands.setCurrentText(self.band)
        self.bands.textActivated.connect(self.choose)
        self.measures = self._list(["change", "power"], "Against the mean of the last minute, or as it is")
        self.measures.activated.connect(self._choose_measure)
        tip = "Fit the scale to what is shown; it stays until the next time"
        self.fit_button = self.button("fit", tip, self.fit, tight=True)
        self.view = ScalpView()
        self.hold(self.view)

    def _list(self, items: Sequence[str], tip: str) -> QComboBox:
        made = QComboBox()
        made.addItems(items)
        made.setToolTip(tip)
        made.setFont(font(11))
        made.setMinimumWidth(px(44))
        made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tool(made)
        return made

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return (
            PanelCommand("Scalp map: next band", self.next_band, "Ctrl+B"),
            PanelCommand("Scalp map: change or power", lambda: self._choose_measure(int(self.against))),
            PanelCommand("Scalp map: fit the scale", self.fit),
        )

    def state(self) -> dict[str, Any]:
        """Give the settings, as plain values."""
        limits = {scale: list(pair) for scale, pair in self.limits.items()}
        return {"band": self.band, "against": self.against, "limits": limits}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take settings; what makes no sense is passed over."""
        band = state.get("band")
        if isinstance(band, str) and (band in BANDS or band == VOLTAGE):
            self.choose(band)
        if isinstance(state.get("against"), bool):
            self._choose_measure(int(not state["against"]))
        limits = state.get("limits")
        for scale in get_args(Scale):
            pair = cast("Mapping[str, Any]", limits).get(scale) if isinstance(limits, Mapping) else None
            if isinstance(pair, list) and len(cast("list[Any]", pair)) == 2:
                low, high = cast("list[Any]", pair)
                if all(isinstance(v, int | float) and math.isfinite(v) for v in (low, high)) and low < high:
                    self.limits[scale] = (float(low), float(high))

    def choose(self, band: str) -> None:
        """Show ``band``, or the voltage."""
        self.band = band
        self.bands.setCurrentText(band)
        self.measures.setEnabled(band != VOLTAGE)

    def next_band(self) -> None:
        """Show the next band."""
        self.choose(self.bands.itemText((self.bands.currentIndex() + 1) % self.bands.count()))

    def _choose_measure(self, index: int) -> None:
        self.against = index == 0
        self.measures.setCurrentIndex(index)

    def fit(self) -> None:
        """Choose the scale by what is shown."""
        self._fit = True

    @property
    def scale(self) -> Scale:
        """Which of the scales is in use."""
        if self.band == VOLTAGE:
            return "voltage"
        return "change" if self.against else "power"

    def refresh(self, board: Board) -> None:
        """Show the map at ``board.shown``."""
        store, end = board.eeg(), board.shown
        if store is None:
            self._show_note("no EEG yet")
            return
        self._see_montage(board, store.rows.width)
        placed = int(np.isfinite(self._directions).all(axis=1).sum())
        if placed < LEAST:
            self._show_note(f"{placed} electrodes have a known place: a map needs {LEAST}")
            return
        if self._spectra is None or self._of is not store:
            self._spectra = Spectra(store.sfreq, store.rows.width, MINUTE_S, list(BANDS.values()))
            self._of = store
        spectra = self._spectra
        last = min(store.number_at(end), store.rows.end)
        column = spectra.column_before(last)
        silent = end - store.newest > SILENT_S
        changed = spectra.update(store.rows, column, _COLUMNS_PER_FRAME)
        key = (id(store), column, silent, self.scale, self.band, self.limits[self.scale], store.bad, self._about)
        if changed or self._fit or key != self._drawn:
            self._drawn = key
            self._draw(board, store, column, last, silent=silent)

    def _show_note(self, note: str) -> None:
        if self._drawn != note:
            self._drawn, self._of, self._spectra = note, None, None
            self.values = np.zeros(0)
            self.view.show_scene(ScalpScene(note=note))
            self.caption("")

    def _see_montage(self, board: Board, width: int) -> None:
        about = board.about
        known = [channel for channel in about.channels if channel.kind == "eeg"] if about is not None else []
        positions = [channel.position for channel in known] if len(known) == width else [None] * width
        montage = tuple(None if position is None else tuple(position) for position in positions)
        if montage != self._about:
            self._about = montage
            self._directions = places(positions)
            self._matrices.clear()

    def _draw(self, board: Board, store: EegStore, column: int, last: int, *, silent: bool) -> None:
        spectra = cast("Spectra", self._spectra)
        names = board.eeg_names
        values, what = self._values(spectra, store, column, last)
        placed = np.isfinite(self._directions).all(axis=1)
        bad = np.isin(np.arange(store.rows.width), list(store.bad))
        used = placed & ~bad & np.isfinite(values)
        self.values = np.where(used, values, np.nan)
        shown = not silent and int(used.sum()) >= LEAST
        if shown and self._fit:
            self._fit_to(values[used])
        low, high = self.limits[self.scale]
        table = sequential() if self.scale == "power" else diverging(look().name)
        disc = on_disc(self._directions[placed])
        spots = zip(np.flatnonzero(placed).tolist(), disc.tolist(), strict=True)
        note = "" if shown else "no EEG"
        if not shown and not silent and int((placed & np.isfinite(values)).sum()) >= LEAST:
            note = "too few good channels"
        self.view.show_scene(
            ScalpScene(
                note=note,
                image=coloured(self._map(values, used), low, high, table) if shown else None,
                electrodes=tuple(Electrode(names[i], x, y, i in store.bad) for i, (x, y) in spots),
                table=table,
                low=low,
                high=high,
                unit=_UNITS[self.scale],
            )
        )
        parts = [f"✕ {int((placed & bad).sum())} bad left out"] if (placed & bad).any() else []
        unknown = [names[i] for i in np.flatnonzero(~placed)]
        if unknown:
            parts.append(f"no place known: {', '.join(unknown)}")
        parts.append(what)
        self.view.setToolTip("; ".join(parts))
        self.caption(" &nbsp;·&nbsp; ".join(escape(part) for part in parts))

    def _values(self, spectra: Spectra, store: EegStore, column: int, last: int) -> tuple[F64, str]:
        """Give the value of every channel, and what it is."""
        if self.band == VOLTAGE:
            return store.rows.between(last - 1, last)[0].astype(np.float64), "voltage now, µV"
        place = list(BANDS).index(self.band)
        low, high = BANDS[self.band]
        named = f"{low:g}–{high:g} Hz, last {WINDOW_S:g} s"
        held: F32 = spectra.columns(column, round(MINUTE_S / HOP_S))[:, place, :]
        if not self.against:
            return decibels(held[-1]).astype(np.float64), f"{named}, dB of µV²/Hz"
        known = int(np.any(np.isfinite(held), axis=1).sum())
        if known < _LEAST_COLUMNS:
            return np.full(store.rows.width, np.nan), f"{named}: the mean to compare with is settling"
        past = f"the last {known * HOP_S:.0f} s" if known < held.shape[0] else "the last minute"
        return decibels(held[-1]) - decibels(mean_of_known(held, axis=0)), f"{named} against {past}, dB"

    def _map(self, values: F64, used: NDArray[np.bool_]) -> F32:
        key = used.tobytes()
        if key not in self._matrices:
            if len(self._matrices) >= _KEPT_MATRICES:
                del self._matrices[next(iter(self._matrices))]
            self._matrices[key] = map_matrix(self._directions[used], PIXELS)
        found: F32 = self._matrices[key] @ values[used].astype(np.float32)
        return found.reshape(PIXELS, PIXELS)

    def _fit_to(self, values: F64) -> None:
        self._fit = False
        largest = float(np.percentile(np.abs(values), 95))
        match self.scale:
            case "change":
                reach = float(max(1, math.ceil(largest)))
                self.limits["change"] = (-reach, reach)
            case "power":
                low, high = np.percentile(values, (5, 95))
                bottom = math.floor(low / 5) * 5.0
                self.limits["power"] = (bottom, max(math.ceil(high / 5) * 5.0, bottom + 5.0))
            case _:
                reach = next((step for step in _VOLTAGES if step >= largest), _VOLTAGES[-1])
                self.limits["voltage"] = (-reach, reach)
