"""Power spectrum of the cleaned EEG and how it went: bands, the alpha peak, gaps left empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QComboBox

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.colour_maps import sequential
from dashboard.drawing.range_bar import coloured, number
from dashboard.drawing.theme import font, px
from dashboard.figures.channel_groups import ALL, channel_groups
from dashboard.figures.spectra import HOP_S, WINDOW_S, Peak, Spectra, alpha_peak, decibels, mean_of_known
from dashboard.panels.spectrum_view import SpectrumScene, SpectrumView
from dashboard.stores import EegStore
from streamer.messages import F64

SECONDS = 60.0
"""How long the spectrogram is."""
MEAN_S = 8.0
"""What the spectrum is the mean of."""
DEFAULT_RANGE = (-15.0, 25.0)
"""dB µV²/Hz: from what an amplifier leaves of the highest frequencies to a strong alpha rhythm."""
_COLUMNS_PER_FRAME = 4
_STEP_DB = 5.0


class SpectrumPanel(Card):
    """A spectrum of the newest seconds and a spectrogram of the last minute, of a channel or the mean of several."""

    key = "spectrum"

    def __init__(self) -> None:
        super().__init__("EEG spectrum")
        self.range = DEFAULT_RANGE
        self._group = ALL
        self._names: tuple[str, ...] = ()
        self._members: dict[str, list[int]] = {}
        self._spectra: Spectra | None = None
        self._of: EegStore | None = None
        self._drawn: object = None
        self._fit = False
        self.peak: Peak | None = None
        """The alpha peak that is shown."""
        self.groups = QComboBox()
        self.groups.setToolTip("The channels whose mean is shown")
        self.groups.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.groups.setFont(font(11))
        self.groups.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.groups.setMinimumWidth(px(56))
        self.groups.textActivated.connect(self.choose)
        self.tool(self.groups)
        tip = "Fit the scale to what is shown; it stays until the next time"
        self.fit_button = self.button("fit", tip, self.fit, tight=True)
        self.view = SpectrumView()
        self.hold(self.view)
        self._offer(())

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return (
            PanelCommand("Spectrum: next channels", self._next),
            PanelCommand("Spectrum: fit the scale", self.fit),
        )

    def state(self) -> dict[str, Any]:
        """Give the settings, as plain values."""
        return {"group": self._group, "range": list(self.range)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take settings; what makes no sense is passed over."""
        group, limits = state.get("group"), state.get("range")
        if isinstance(group, str):
            self._group = group
            self._offer(self._names)
        if isinstance(limits, list) and len(cast("list[object]", limits)) == 2:
            low, high = cast("list[Any]", limits)
            if all(isinstance(v, int | float) and math.isfinite(v) for v in (low, high)) and high - low >= _STEP_DB:
                self.range = (float(low), float(high))

    @property
    def group(self) -> str:
        """Whose mean is shown: a group, or a channel; all where the one that was chosen is not there."""
        return self._group if self._group in self._members else ALL

    def choose(self, group: str) -> None:
        """Show ``group``."""
        self._group = group
        self.groups.setCurrentText(self.group)

    def _next(self) -> None:
        self.choose(self.groups.itemText((self.groups.currentIndex() + 1) % self.groups.count()))

    def fit(self) -> None:
        """Choose the scale by what is shown."""
        self._fit = True

    def _offer(self, names: tuple[str, ...]) -> None:
        self._names = names
        singles = {name: [i] for i, name in enumerate(names)}
        self._members = singles | channel_groups(names)
        ordered = [*channel_groups(names), *singles]
        self.groups.blockSignals(True)
        self.groups.clear()
        self.groups.addItems(ordered)
        self.groups.setCurrentText(self.group)
        self.groups.blockSignals(False)

    def refresh(self, board: Board) -> None:
        """Show the spectrum before ``board.shown``."""
        store, end = board.eeg(), board.shown
        if store is None:
            if self._drawn is not None:
                self._drawn, self._of, self._spectra = None, None, None
                self.view.show_scene(SpectrumScene(note="no EEG yet", low=self.range[0], high=self.range[1]))
                self.caption("")
            return
        names = tuple(board.eeg_names)
        if names != self._names:
            self._offer(names)
        if self._spectra is None or self._of is not store:
            self._spectra, self._of = Spectra(store.sfreq, store.rows.width, SECONDS + WINDOW_S), store
        spectra = self._spectra
        right = spectra.column_before(store.number_at(end))
        changed = spectra.update(store.rows, min(right, spectra.column_before(store.rows.end)), _COLUMNS_PER_FRAME)
        key = (id(store), right, self.group, self.range, store.bad, board.live)
        if changed or self._fit or key != self._drawn:
            self._drawn = key
            self._draw(spectra, store, right, live=board.live)

    def _draw(self, spectra: Spectra, store: EegStore, right: int, *, live: bool) -> None:
        members = self._members.get(self.group, [])
        good = [i for i in members if i not in store.bad] or members
        count = round(SECONDS / HOP_S)
        columns = spectra.mean(right, count, good)
        # columns that end in the last seconds and speak of nothing before them
        newest = columns[-(round((MEAN_S - WINDOW_S) / HOP_S) + 1) :]
        known = np.isfinite(newest).any()
        spectrum = decibels(mean_of_known(newest, axis=0)) if known else None
        image_db = decibels(columns.T[::-1])
        if self._fit and np.isfinite(image_db).any():
            self._fit_to(image_db, spectrum)
        self.peak = alpha_peak(spectra.frequencies, spectrum) if spectrum is not None else None
        hop_s = spectra.hop / spectra.sfreq
        low, high = self.range
        image: QImage = coloured(image_db, low, high, sequential())
        self.view.show_scene(
            SpectrumScene(
                note="" if known else "no EEG",
                frequencies=spectra.frequencies,
                spectrum=spectrum,
                peak=self.peak,
                image=image,
                # a column stands where the middle of its samples is
                newest_ago=WINDOW_S / 2 - hop_s / 2,
                image_s=count * hop_s,
                seconds=SECONDS,
                low=low,
                high=high,
                right="now" if live else "the time shown",
            )
        )
        left_out = len(members) - len(good)
        parts = [
            self.group if len(members) == 1 else f"{self.group}: mean of {len(good)} channels",
            f"{left_out} bad left out" if left_out else "",
            f"last {MEAN_S:g} s",
            f"α peak {self.peak.frequency:.1f} Hz, {self.peak.height_db:.0f} dB" if self.peak else "no α peak",
            f"{number(low)} to {number(high)} dB",
        ]
        self.caption(" &nbsp;·&nbsp; ".join(part for part in parts if part))

    def _fit_to(self, values_db: F64, spectrum: F64 | None) -> None:
        low, high = np.nanpercentile(values_db, (5, 99.5))
        # a peak of the line must not be cut off
        high = max(high, float(np.nanmax(spectrum))) if spectrum is not None else high
        bottom = math.floor(low / _STEP_DB) * _STEP_DB
        # an even number of steps, so that the middle is a round number too
        pairs = max(1, math.ceil((high - bottom) / (2 * _STEP_DB)))
        self.range = (bottom, bottom + 2 * _STEP_DB * pairs)
        self._fit = False
