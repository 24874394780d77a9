"""EEG, cleaned or raw: traces below each other, gaps and events in plain sight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, cast

import numpy as np
from PySide6.QtGui import QKeySequence, QShortcut

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.raster import Columns, raster
from dashboard.drawing.theme import look, px
from dashboard.figures.choices import stepped
from dashboard.figures.spectra import mean_of_known
from dashboard.panels.eeg_channels import PAGES, ChannelPicker
from dashboard.panels.eeg_traces import EegTraces, Event, Scene, trace_colours, volts
from dashboard.stores import EegStore
from streamer.messages import F32, F64

SCALES_UV = tuple(base * 10.0**power for power in range(5) for base in (1, 2, 5))
"""µV between two neighbouring traces."""
SECONDS = (5, 10, 20, 30)
CLEANED, RAW = "cleaned", "raw"
SILENT_S = 1.0
"""EEG is late by a little at all times; beyond this it counts as absent."""
_MOST_SAMPLED = 600
"""Samples per channel that are looked at to find a scale or an offset."""


class EegPanel(Card):
    """Traces below each other."""

    key = "eeg"

    def __init__(self) -> None:
        super().__init__("EEG, cleaned")
        self.kind = CLEANED
        self.seconds = 10
        self.per_page = 0
        self.page = 0
        self.scales: dict[str, float | None] = {CLEANED: 50.0, RAW: None}
        """µV per row; None until it is fitted to what comes."""
        self._chosen: frozenset[str] | None = None
        self._names: list[str] = []
        self._offsets: F32 = np.zeros(0, np.float32)
        self._fit = False
        self._drawn: object = None
        self._volumes: tuple[object, F64] = (None, np.zeros(0))
        self._picture = np.empty((0, 0), np.uint32)
        self._colours = trace_colours(look().tints)
        self.traces = EegTraces()
        self.traces.paged.connect(self.turn)
        self.picker = ChannelPicker(self)
        self.picker.changed.connect(self._picked)
        self.raw_button = self.button("raw", "EEG as it came, before any cleaning (R)", self.toggle_raw, tight=True)
        self.raw_button.setCheckable(True)
        self.button("fit", "Fit the scale to what is shown (F)", self.fit, tight=True)
        self.channels_button = self.button("channels", "Choose channels (E)", self.pick, tight=True)
        # in a narrow panel its text is cut off
        self.channels_button.setMinimumWidth(px(30))
        self.hold(self.traces)
        # what "+" is without Shift
        QShortcut(QKeySequence("="), self, lambda: self.rescale(-1))

    def commands(self) -> Sequence[PanelCommand]:
        """Give what the menu and the keyboard can ask of the panel."""
        return (
            PanelCommand("EEG: raw or cleaned", self.toggle_raw, "R"),
            PanelCommand("EEG: fit the scale", self.fit, "F"),
            PanelCommand("EEG: larger traces", lambda: self.rescale(-1), "+"),
            PanelCommand("EEG: smaller traces", lambda: self.rescale(+1), "-"),
            PanelCommand("EEG: fewer seconds", lambda: self.stretch(-1), "Ctrl+Left"),
            PanelCommand("EEG: more seconds", lambda: self.stretch(+1), "Ctrl+Right"),
            PanelCommand("EEG: choose channels …", self.pick, "E"),
        )

    def state(self) -> dict[str, Any]:
        """Give the settings, as plain values."""
        return {
            "kind": self.kind,
            "seconds": self.seconds,
            "per_page": self.per_page,
            "scales": dict(self.scales),
            "channels": None if self._chosen is None else sorted(self._chosen),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take settings; what makes no sense is passed over."""
        if state.get("kind") in (CLEANED, RAW):
            self._show_kind(cast("str", state["kind"]))
        if state.get("seconds") in SECONDS:
            self.seconds = int(state["seconds"])
        if state.get("per_page") in PAGES:
            self.per_page = int(state["per_page"])
        scales = state.get("scales")
        if isinstance(scales, Mapping):
            for kind in self.scales:
                value = cast("Mapping[str, Any]", scales).get(kind)
                if value in SCALES_UV:
                    self.scales[kind] = float(cast("float", value))
        channels = state.get("channels")
        if isinstance(channels, list):
            names = [name for name in cast("list[object]", channels) if isinstance(name, str)]
            self._chosen = frozenset(names) or None

    @property
    def scale_uv(self) -> float | None:
        """µV between two neighbouring traces; None until it is fitted."""
        return self.scales[self.kind]

    def toggle_raw(self) -> None:
        """Show raw EEG in place of cleaned, or the other way round."""
        self._show_kind(CLEANED if self.kind == RAW else RAW)

    def _show_kind(self, kind: str) -> None:
        self.kind = kind
        self.raw_button.setChecked(kind == RAW)
        self._title.setText(f"EEG, {kind}")

    def fit(self) -> None:
        """Choose the scale by what is shown."""
        self._fit = True

    def rescale(self, steps: int) -> None:
        """Make traces larger (steps below 0) or smaller."""
        now = self.scale_uv
        if now is not None:
            self.scales[self.kind] = stepped(SCALES_UV, now, steps)

    def stretch(self, steps: int) -> None:
        """Show more seconds (steps above 0) or fewer."""
        self.seconds = int(stepped(SECONDS, self.seconds, steps))

    def turn(self, pages: int) -> None:
        """Go ``pages`` of channels down."""
        self.page = min(max(self.page + pages, 0), self._n_pages() - 1)

    def _n_pages(self) -> int:
        return max(1, -(-len(self._picked_of()) // self.per_page)) if self.per_page else 1

    def pick(self) -> None:
        """Open the list of channels."""
        self.picker.offer(self._names, self._picked_of(), self.per_page)
        self.picker.move(self.channels_button.mapToGlobal(self.channels_button.rect().bottomLeft()))
        self.picker.show()

    def _picked(self) -> None:
        chosen = self.picker.chosen()
        everything = not chosen or len(chosen) == len(self._names)
        self._chosen = None if everything else frozenset(self._names[i] for i in chosen)
        self.per_page, self.page = self.picker.per_page(), 0

    def _picked_of(self) -> list[int]:
        everything = range(len(self._names))
        chosen = self._chosen
        # a session with none of the channels that were chosen in another shows all
        return [i for i in everything if chosen is None or self._names[i] in chosen] or list(everything)

    def shown_channels(self) -> list[int]:
        """Give the indices of the channels on this page."""
        chosen = self._picked_of()
        if not self.per_page:
            return chosen
        first = min(self.page, self._n_pages() - 1) * self.per_page
        return chosen[first : first + self.per_page]

    def refresh(self, board: Board) -> None:
        """Show the traces before ``board.shown``."""
        view, end = board.view, board.shown
        store = board.eeg(raw=self.kind == RAW)
        if store is None:
            waiting = "no EEG yet"
            if self.kind == RAW and view.eeg is not None:
                waiting = "no raw EEG is sent in this session: R shows the cleaned"
            self._note(waiting)
            return
        names = board.eeg_names
        width = store.rows.width
        self._names = names if len(names) == width else [f"{i + 1}" for i in range(width)]
        pixels = self.traces.pixels()
        last = store.number_at(end)
        key = (
            (id(store), store.revision, last, board.live, pixels, self.traces.size()),
            (self.scale_uv, self.seconds, self._chosen, self.per_page, self.page, tuple(self._names), self._fit),
            (view.markers.revision, view.predictions and view.predictions.revision),
            (id(view.volumes), view.volumes and view.volumes.revision, view.began, store.bad),
        )
        if key != self._drawn:
            self._drawn = key
            self._draw(board, store, last)

    def _note(self, text: str) -> None:
        if self._drawn != text:
            self._drawn = text
            self.traces.show_scene(Scene(note=text, seconds=float(self.seconds)))
            self.caption("")

    def _draw(self, board: Board, store: EegStore, last: int) -> None:
        pixels, seconds, end = self.traces.pixels(), float(self.seconds), board.shown
        columns = Columns.before(last, seconds * store.sfreq, pixels.width())
        everything = cast("F32", store.rows.between(columns.first, columns.end))
        silent = end - store.newest if end - store.newest > SILENT_S else 0.0
        gaps = _gaps(everything, store, columns.first, last, silent=silent > 0)
        channels = self.shown_channels()
        data = everything if len(channels) == store.rows.width else everything[:, channels]
        if self.kind == RAW:
            data = data - self._offsets_of(everything, store)[channels]
        if self._fit or self.scale_uv is None:
            self._fit_to(data)
        scale = self.scale_uv or 50.0
        if self._picture.shape != (pixels.height(), pixels.width()):
            self._picture = np.empty((pixels.height(), pixels.width()), np.uint32)
        thickness = 1.25 * self.traces.devicePixelRatioF()
        raster(self._picture, data, columns, scale, self._colours, thickness)
        nothing = last <= store.rows.first
        scene = Scene(
            note="no EEG is held for this time" if nothing else "",
            names=tuple(self._names[i] for i in channels),
            bad=frozenset(place for place, i in enumerate(channels) if i in store.bad),
            seconds=seconds,
            scale_uv=scale,
            gaps=gaps,
            silent=silent,
            events=self._events(board, seconds),
            volumes=self._volume_times(board, seconds),
            session_time=None if board.live else end - board.view.began,
        )
        self.traces.show_scene(scene, None if nothing else self._picture)
        self._tell(store, scale, len(channels))

    def _offsets_of(self, data: F32, store: EegStore) -> F32:
        """Give what is taken off each channel: where it lay when last it went off by half a row."""
        level = mean_of_known(_thinned(data), axis=0).astype(np.float32)
        if self._offsets.shape != level.shape:
            self._offsets = np.full(store.rows.width, np.nan, np.float32)
        reach = (self.scale_uv or math.inf) / 2
        # a channel that was never seen has NaN, which is not near anything
        away = np.isfinite(level) & ~(np.abs(level - self._offsets) <= reach)
        if away.any() or self._fit:
            moved = away | (np.isfinite(level) & self._fit)
            self._offsets = np.where(moved, level, self._offsets)
        return np.nan_to_num(self._offsets)

    def _fit_to(self, data: F32) -> None:
        seen = _thinned(data)
        seen = seen[:, np.isfinite(seen).any(axis=0)]
        if seen.size:
            low, high = np.nanpercentile(seen, (2, 98), axis=0)
            spread = float(np.median(high - low))
            place = int(np.searchsorted(SCALES_UV, spread))
            self.scales[self.kind] = SCALES_UV[min(place, len(SCALES_UV) - 1)]
            self._fit = False

    def _events(self, board: Board, seconds: float) -> tuple[Event, ...]:
        view, end = board.view, board.shown
        events = [Event(end - m.at, m.label, "marker") for m in view.markers.between(end - seconds, end)]
        if view.predictions is not None:
            marks = view.predictions.marks.between(end - seconds, end)
            events += [Event(end - mark.at, mark.text, "fired" if mark.fired else "vetoed") for mark in marks]
        return tuple(events)

    def _volume_times(self, board: Board, seconds: float) -> tuple[float, ...]:
        store, end = board.view.volumes, board.shown
        if store is None:
            return ()
        key = (id(store), store.revision)
        if key != self._volumes[0]:
            self._volumes = key, store.traces().times
        times = self._volumes[1]
        ago = end - times[(times >= end - seconds) & (times <= end)]
        return tuple(ago.tolist())

    def _tell(self, store: EegStore, scale: float, n_shown: int) -> None:
        rows, alarm = store.rows, f'<span style="color:{look().alarm}">'
        bad = ", ".join(self._names[i] for i in sorted(store.bad) if i < len(self._names))
        # what is wrong first: a narrow title cuts off what comes last
        parts = [f"{alarm}▲ {rows.missing} samples missing</span>"] if rows.missing else []
        if bad:
            parts.append(f"{alarm}✕ bad: {escape(bad)}</span>")
        parts.append(f"{rows.width} channels" if n_shown == rows.width else f"{n_shown} of {rows.width} channels")
        if self._n_pages() > 1:
            parts.append(f"page {min(self.page, self._n_pages() - 1) + 1} of {self._n_pages()}")
        parts.append(f"{volts(scale)} per row")
        if self.kind == RAW:
            parts.append(f"least and largest of every {2000 / store.sfreq:.3g} ms, offsets taken off")
        else:
            parts.append(f"{store.sfreq:g} Hz")
        if not rows.missing:
            parts.append("no samples missing")
        self.caption(" &nbsp;·&nbsp; ".join(parts))


def _gaps(data: F32, store: EegStore, first: int, last: int, *, silent: bool) -> tuple[tuple[float, float], ...]:
    """Find where no channel has a sample: beginnings and ends, s before sample ``last``."""
    blank = np.isnan(data[:, 0])
    # channels may be unknown one by one: only where the first is, the others need a look
    blank[blank] = np.isnan(data[blank]).all(axis=1)
    # before the first sample that is held nothing is missing; behind the newest it may be on its way
    blank[: max(0, store.rows.first - first)] = False
    blank[max(0, store.rows.end - first) :] = silent
    edges = np.flatnonzero(np.diff(blank.astype(np.int8), prepend=0, append=0)) + first
    if silent and len(edges):
        edges[-1] = max(edges[-1], last)
    ago = ((last - edges) / store.sfreq).tolist()
    return tuple(zip(ago[::2], ago[1::2], strict=True))


def _thinned(data: F32) -> F32:
    # an odd step: of raw EEG every second sample is a least one or a largest
    return data[:: len(data) // _MOST_SAMPLED | 1]
