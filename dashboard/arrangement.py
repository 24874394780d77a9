"""Which panels there are, and where they stand in a window that remembers nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow

from dashboard.drawing.card import Card
from dashboard.drawing.theme import px
from dashboard.figures.place import Place
from dashboard.panels.brain import BrainPanel
from dashboard.panels.connectivity import ConnectivityPanel
from dashboard.panels.decision import DecisionPanel
from dashboard.panels.eeg import EegPanel
from dashboard.panels.explanation import ExplanationPanel
from dashboard.panels.health import FeedFigures, HealthPanel, WindowMeter
from dashboard.panels.modality import ModalityPanel
from dashboard.panels.motion import MotionPanel
from dashboard.panels.planes import PlanesPanel
from dashboard.panels.regions import RegionPanel
from dashboard.panels.scalp import ScalpPanel
from dashboard.panels.score import ScorePanel
from dashboard.panels.spectrum import SpectrumPanel

Columns = tuple[tuple[int, tuple[tuple[int, tuple[str, ...]], ...]], ...]
"""Width of each column, and in it heights and what stands there: several are tabs, the first in front."""

COLUMNS: Columns = (
    (600, ((560, ("eeg",)), (300, ("spectrum", "scalp")))),
    (500, ((400, ("planes", "brain")), (240, ("regions", "connectivity")), (220, ("motion",)))),
    (500, ((260, ("decision",)), (170, ("score",)), (120, ("modality", "explanation")), (310, ("health",)))),
)
ALL_AT_ONCE: Columns = (
    (600, ((640, ("eeg",)), (460, ("spectrum",)))),
    (420, ((400, ("planes",)), (340, ("brain",)), (360, ("scalp",)))),
    (420, ((280, ("regions",)), (400, ("connectivity",)), (220, ("motion",)), (200, ("modality",)))),
    (480, ((300, ("decision",)), (220, ("score",)), (240, ("explanation",)), (340, ("health",)))),
)
"""For a large screen: nothing behind a tab."""


def make_panels(feed: FeedFigures, meter: WindowMeter, place: Place) -> tuple[Card, ...]:
    """Make all panels, in the order of the menu."""
    return (
        EegPanel(),
        SpectrumPanel(),
        ScalpPanel(),
        PlanesPanel(place),
        BrainPanel(place),
        RegionPanel(),
        ConnectivityPanel(),
        MotionPanel(),
        DecisionPanel(),
        ScorePanel(),
        ModalityPanel(),
        ExplanationPanel(),
        HealthPanel(feed, meter),
    )


@dataclass(frozen=True, slots=True)
class Docks:
    """The docks of a window, by panel."""

    window: QMainWindow
    docks: dict[str, QDockWidget]

    def usual(self, columns: Columns = COLUMNS) -> None:
        """Put all panels where they usually stand, or into other columns."""
        for dock in self.docks.values():
            dock.setFloating(False)
            self.window.removeDockWidget(dock)
        window = self.window
        tops = [self.docks[column[0][1][0]] for _, column in columns]
        window.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, tops[0])
        for left, right in pairwise(tops):
            window.splitDockWidget(left, right, Qt.Orientation.Horizontal)
        for _, column in columns:
            heads = [self.docks[keys[0]] for _, keys in column]
            for above, below in pairwise(heads):
                window.splitDockWidget(above, below, Qt.Orientation.Vertical)
            for _, keys in column:
                for before, after in pairwise(keys):
                    window.tabifyDockWidget(self.docks[before], self.docks[after])
        # what is not shown cannot be resized
        for dock in self.docks.values():
            dock.show()
        for _, column in columns:
            heads = [self.docks[keys[0]] for _, keys in column]
            window.resizeDocks(heads, [px(height) for height, _ in column], Qt.Orientation.Vertical)
        window.resizeDocks(tops, [px(width) for width, _ in columns], Qt.Orientation.Horizontal)
        for _, column in columns:
            for _, keys in column:
                self.docks[keys[0]].raise_()


def put_into_docks(window: QMainWindow, panels: tuple[Card, ...]) -> Docks:
    """Make a dock for every panel; the panel's title line moves it."""
    docks: dict[str, QDockWidget] = {}
    for panel in panels:
        dock = QDockWidget(panel.title, window)
        dock.setObjectName(panel.key)
        dock.setAllowedAreas(Qt.DockWidgetArea.AllDockWidgetAreas)
        dock.setTitleBarWidget(panel.head)
        dock.setWidget(panel)
        docks[panel.key] = dock
    return Docks(window, docks)
