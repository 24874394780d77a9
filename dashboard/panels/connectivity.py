"""Which regions go together now, and how the rhythms of channel groups do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.theme import look
from dashboard.figures.blocks import setting
from dashboard.figures.choices import stepped
from dashboard.figures.connectivity import (
    LEAST_VOLUMES,
    Network,
    centre_of_groups,
    correlate,
    from_feature,
    places_from_above,
)
from dashboard.figures.volume_traces import above, at_volumes, credible, fd_limit
from dashboard.panels.network_view import LAYOUTS, MOST_EDGES, Layout, NetworkView
from dashboard.panels.time_lines import Later
from streamer.messages import F64
from streamer.wire import FeatureMessage

SPANS_S = (60.0, 120.0, 180.0, 240.0, 300.0)
USUAL_S = 180.0
EEG_FEATURE = "connectivity"
REDRAW_S = 5.0
"""Volumes leave the window also while none comes."""
_LAYOUT_WORDS: dict[Layout, str] = {"circle": "circle", "brain": "above", "matrix": "matrix"}


class ConnectivityPanel(Card):
    """A network of regions, or of channel groups."""

    key = "connectivity"

    def __init__(self) -> None:
        super().__init__("Connectivity")
        self.span_s = USUAL_S
        self.layout_wanted: Layout = "circle"
        self.of_eeg = False
        self.view = NetworkView()
        self.hold(self.view)
        self._source_button = self.button("BOLD", "Regions, or channel groups (Ctrl+E)", self.switch_source)
        self._layout_button = self.button("circle", "Circle, from above, or matrix (C)", self.next_layout)
        self._drawing = Later(4)

    def commands(self) -> Sequence[PanelCommand]:
        """Layout, source and span."""
        return (
            PanelCommand("Circle, from above, or matrix", self.next_layout, "C"),
            PanelCommand("Regions or channel groups", self.switch_source, "Ctrl+E"),
            PanelCommand("Shorter window", lambda: self.stretch(-1)),
            PanelCommand("Longer window", lambda: self.stretch(+1)),
        )

    def state(self) -> dict[str, Any]:
        """Give what the user has set."""
        return {"span_s": self.span_s, "layout": self.layout_wanted, "eeg": self.of_eeg}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave; what does not fit is passed over."""
        if state.get("span_s") in SPANS_S:
            self.span_s = float(state["span_s"])
        if state.get("layout") in LAYOUTS:
            self.layout_wanted = state["layout"]
        self.of_eeg = state.get("eeg") is True
        self._drawing.now()

    def next_layout(self) -> None:
        """Go on from circle to the view from above to the matrix."""
        self.layout_wanted = LAYOUTS[(LAYOUTS.index(self.layout_wanted) + 1) % len(LAYOUTS)]
        self._drawing.now()

    def switch_source(self) -> None:
        """Show channel groups instead of regions, or regions again."""
        self.of_eeg = not self.of_eeg
        self._drawing.now()

    def stretch(self, steps: int) -> None:
        """Take a longer window (positive) or a shorter one."""
        self.span_s = stepped(SPANS_S, self.span_s, steps)
        self._drawing.now()

    def refresh(self, board: Board) -> None:
        """Show what goes together before the time that is shown."""
        view, about, shown = board.view, board.about, board.shown
        store, feature = view.volumes, view.features.get(EEG_FEATURE)
        config = board.config
        revision = (store.revision if store is not None else 0) if not self.of_eeg else None
        newest = feature.at(shown) if self.of_eeg and feature is not None else None
        moment = round(shown / (REDRAW_S if board.live else 0.5)) if np.isfinite(shown) else None
        key = (store, revision, newest, about, config, moment)
        if not self._drawing.due(key):
            return
        self._source_button.setText("EEG" if self.of_eeg else "BOLD")
        self._layout_button.setText(_LAYOUT_WORDS[self.layout_wanted])
        if self.of_eeg:
            self._show_eeg(board, newest)
        else:
            self._show_regions(board)

    def _nothing(self, word: str, caption: str = "") -> None:
        self.view.show_word(word)
        self.caption(caption)

    def _show_regions(self, board: Board) -> None:
        store, about, shown = board.view.volumes, board.about, board.shown
        if store is None or not store.count or not np.isfinite(shown):
            self._nothing("waiting for volumes", "no volumes yet")
            return
        if about is not None and about.blinded:
            self._nothing("blinded: region signals are not sent", "blinded")
            return
        n = store.n_regions
        if n < 2:
            self._nothing("this session has fewer than two regions")
            return
        traces = store.traces().until(shown)
        limit, _ = fd_limit(board.settings)
        values = credible(traces.regions)
        moved = above(traces.fd, limit)
        values[moved] = np.nan
        inside = at_volumes(traces.times) > shown - self.span_s
        values, censored = values[inside], int((moved & inside).sum())
        names = about.regions if about is not None and len(about.regions) == n else [f"{i + 1}" for i in range(n)]
        network = correlate(values, names)
        if network.n_volumes < LEAST_VOLUMES:
            censoring = f" ({censored} moved and were left out)" if censored else ""
            self._nothing(
                f"too few volumes yet: {network.n_volumes} in the last {self.span_s / 60:g} min{censoring}, "
                f"needs {LEAST_VOLUMES}",
                "too few volumes yet",
            )
            return
        places = places_from_above(about.regions_mm, n) if about is not None else None
        self._show(network, places, censored)

    def _show_eeg(self, board: Board, message: FeatureMessage | None) -> None:
        about = board.about
        if message is None:
            self._nothing("no EEG connectivity in this session", "it is switched on with extra.connectivity")
            return
        network = from_feature(message.labels, message.values, message.uncertainty)
        if network is None or not message.valid or not np.isfinite(network.strength).any():
            self._nothing("EEG connectivity is not valid now", ", ".join(message.flags).lower())
            return
        late = board.shown - message.expires
        if late > REDRAW_S:
            self._nothing(f"EEG connectivity is stale: nothing new for {late:.0f} s", "stale")
            return
        places = None
        config = board.config
        if about is not None and config is not None:
            groups = setting(config.settings, "extra", "connectivity", "groups")
            positions = {channel.name: channel.position for channel in about.channels}
            places = places_from_above(centre_of_groups(network.names, groups, positions), len(network.names))
        self._show(network, places)

    def _show(self, network: Network, places: F64 | None, censored: int = 0) -> None:
        n_edges = len(network.edges)
        if network.judged:
            edges = f"{n_edges} of {network.tested} edges above chance"
        else:
            edges = f"all {network.tested} edges, not tested"
        told = [network.measure] if self.of_eeg else []
        if network.n_volumes:
            moved = f", {censored} moved and left out" if censored else ""
            independent = f"≈ {network.n_effective:.0f} independent{moved}"
            told.append(f"{self.span_s / 60:g} min: {network.n_volumes} volumes, {independent}")
        if n_edges > MOST_EDGES and self.layout_wanted != "matrix":
            told.append(f"strongest {MOST_EDGES} drawn")
        if self.layout_wanted == "brain" and places is None:
            told.append("places not known")
        self.view.show_network(network, self.layout_wanted, places, " · ".join(told))
        self.legend([("", look().faint, edges)])
