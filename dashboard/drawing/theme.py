"""Colours, fonts and the look of plots, dark or light.

The colours of lines are those of Okabe and Ito, told apart with any colour vision; no meaning hangs on colour alone.
Widgets ask :func:`look` when they are made and when they paint; a change of theme makes them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QPen

from dashboard.status import Level

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = ("dark", "light")
STYLES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)
SANS = ["Inter", "Noto Sans", "DejaVu Sans", "Helvetica Neue", "Segoe UI", "sans-serif"]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours by what they are for."""

    name: Theme
    background: str
    card: str
    """Ground of a panel."""
    well: str
    """Ground of a plot."""
    edge: str
    grid: str
    text: str
    faint: str
    """Text that is not in front."""
    alarm: str
    """Bad values: legible as small text on ``card``."""
    mark: str
    """Triggers, cursors, the present."""
    eeg: str
    bold: str
    lines: tuple[str, ...]
    """Of plots, one after the other."""
    tints: tuple[str, str]
    """Two that neighbouring EEG traces take in turn."""


DARK = Look(
    name="dark",
    background="#0e1116",
    card="#161b22",
    well="#10141a",
    edge="#262d38",
    grid="#2b3340",
    text="#e6e9ee",
    faint="#97a1b0",
    alarm="#ff7a45",
    mark=YELLOW,
    eeg=SKY,
    bold=ORANGE,
    lines=(SKY, ORANGE, "#1fc99a", PURPLE, YELLOW, "#ff7a45", "#5b9bff", "#dfe3e8"),
    tints=("#8fd0f5", "#f2c46b"),
)
LIGHT = Look(
    name="light",
    background="#eceff3",
    card="#ffffff",
    well="#fbfcfd",
    edge="#cdd4dd",
    grid="#d8dee6",
    text="#15191f",
    faint="#5a6472",
    alarm="#b83a00",
    mark="#8a6d00",
    eeg=BLUE,
    bold="#b36b00",
    lines=(BLUE, "#b36b00", "#007a59", "#a8527f", "#7a6a00", "#b83a00", "#3a5fb0", "#3d4550"),
    tints=("#0d5c8f", "#8a5a00"),
)

LEVELS: dict[Level, tuple[str, str, str]] = {
    Level.GOOD: (GREEN, "#ffffff", "●"),
    Level.BUSY: (SKY, "#06121c", "◆"),
    Level.IDLE: ("#5a6474", "#ffffff", "○"),
    Level.WARN: (ORANGE, "#1a1200", "▲"),
    Level.ALARM: (VERMILLION, "#ffffff", "■"),
}
"""Ground, ink and sign of a level."""

SCALES = (0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
"""Sizes of all text, from a small laptop to a large screen far away."""


@dataclass(slots=True)
class _Chosen:
    look: Look = DARK
    scale: float = 1.0


_chosen = _Chosen()


def look() -> Look:
    """Give the colours that are chosen."""
    return _chosen.look


def px(pixels: float) -> int:
    """Scale a length in pixels as text is scaled."""
    return max(1, round(pixels * _chosen.scale))


def choose(theme: Theme, scale: float = 1.0) -> None:
    """Choose the look of all that is made from now on."""
    _chosen.look = DARK if theme == "dark" else LIGHT
    _chosen.scale = scale
    pg.setConfigOptions(background=_chosen.look.card, foreground=_chosen.look.faint, antialias=True)


def style_sheet() -> str:
    """Make the window's style sheet."""
    c = _chosen.look
    return f"""
QMainWindow, QDialog {{ background: {c.background}; }}
QWidget {{ color: {c.text}; }}
QMainWindow::separator {{ background: {c.background}; width: {px(6)}px; height: {px(6)}px; }}
QMainWindow::separator:hover {{ background: {c.edge}; }}
QFrame#card {{ background: {c.card}; border: 1px solid {c.edge}; border-top: 0;
  border-bottom-left-radius: 8px; border-bottom-right-radius: 8px; }}
QWidget#head {{ background: {c.card}; border: 1px solid {c.edge}; border-bottom: 0;
  border-top-left-radius: 8px; border-top-right-radius: 8px; }}
QFrame#bar {{ background: {c.card}; border: 1px solid {c.edge}; border-radius: 8px; }}
QFrame#bar QLabel, QWidget#head QLabel {{ background: transparent; }}
QFrame#card QLabel {{ background: transparent; }}
QLabel#faint {{ color: {c.faint}; }}
QMenuBar, QMenu, QToolTip {{ background: {c.card}; color: {c.text}; border: 1px solid {c.edge}; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {c.edge}; }}
QMenu::item:disabled {{ color: {c.faint}; }}
QTabBar {{ qproperty-drawBase: 0; }}
QTabBar::tab {{ background: {c.background}; color: {c.faint}; padding: {px(3)}px {px(12)}px; border: 0; }}
QTabBar::tab:selected {{ background: {c.card}; color: {c.text}; border-top: 2px solid {c.eeg}; }}
QPushButton, QToolButton, QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox, QListWidget, QTableWidget {{
  background: {c.well}; color: {c.text}; border: 1px solid {c.edge}; border-radius: 5px;
  padding: {px(2)}px {px(8)}px; }}
QPushButton:hover, QToolButton:hover, QComboBox:hover {{ border-color: {c.faint}; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus {{ border-color: {c.eeg}; }}
QPushButton:disabled, QToolButton:disabled {{ color: {c.edge}; }}
QToolButton:checked, QPushButton:checked {{ background: {c.edge}; border-color: {c.eeg}; }}
QComboBox QAbstractItemView {{ background: {c.card}; color: {c.text}; selection-background-color: {c.edge}; }}
QHeaderView::section {{ background: {c.card}; color: {c.faint}; border: 0; }}
QScrollBar {{ background: {c.background}; }}
"""


def font(pixels: float, *, bold: bool = False) -> QFont:
    """Make a font of a height in pixels, scaled."""
    made = QFont(SANS)
    made.setPixelSize(px(pixels))
    made.setBold(bold)
    return made


def line_colour(index: int) -> str:
    """Colour of line ``index``."""
    lines = _chosen.look.lines
    return lines[index % len(lines)]


def line_pen(index: int, width: float = 1.6) -> QPen:
    """Make the pen of line ``index``: colours first, then dashes, so that many lines stay apart."""
    n = len(_chosen.look.lines)
    return pg.mkPen(QColor(line_colour(index)), width=width, style=STYLES[index // n % len(STYLES)])


def minus(text: str) -> str:
    """Write numbers with a minus that is as wide as a plus."""
    return text.replace("-", "−")


class Axis(pg.AxisItem):
    """An axis whose numbers have the same minus as all other text here."""

    def tickStrings(self, values: Any, scale: Any, spacing: Any) -> list[str]:  # noqa: N802 (pyqtgraph's name)
        """Write the numbers."""
        made: Any = super().tickStrings(values, scale, spacing)
        return [minus(text) for text in made]


def axes() -> dict[str, Axis]:
    """Make the axes of a plot: its ``axisItems``."""
    return {"left": Axis("left"), "bottom": Axis("bottom")}


def style_plot(plot: Any, left: str, bottom: str | None, *, left_width: int = 44) -> None:
    """Give a plot the axes that all plots here have."""
    c = _chosen.look
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.showGrid(x=True, y=True, alpha=0.16)
    plot.getViewBox().setBackgroundColor(c.well)
    plot.getViewBox().setBorder(pg.mkPen(c.edge))
    for name in ("left", "bottom"):
        axis = plot.getAxis(name)
        axis.setPen(pg.mkPen(c.grid))
        axis.setTextPen(pg.mkPen(c.faint))
        axis.setStyle(tickFont=font(11), tickLength=-4, tickTextOffset=5)
        axis.enableAutoSIPrefix(False)
    size = {"font-size": f"{px(11)}px"}
    plot.getAxis("left").setWidth(px(left_width))
    plot.setLabel("left", left, color=c.faint, **size)
    if bottom is None:
        plot.getAxis("bottom").setStyle(showValues=False)
        plot.getAxis("bottom").setHeight(6)
    else:
        plot.setLabel("bottom", bottom, color=c.faint, **size)
        plot.getAxis("bottom").setHeight(px(34))
