"""Colours, fonts and the look of plots.

The colours of lines are those of Okabe and Ito, told apart with any colour vision; no meaning hangs on colour alone.
"""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QPen

from dashboard.status import Level

BACKGROUND = "#0e1116"
CARD = "#161b22"
WELL = "#10141a"
EDGE = "#262d38"
GRID = "#2b3340"
TEXT = "#e6e9ee"
FAINT = "#97a1b0"

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
BRIGHT_RED = "#ff7a45"
"""Vermillion, bright enough for small text on dark ground."""

LINES = (SKY, ORANGE, "#1fc99a", PURPLE, YELLOW, BRIGHT_RED, "#5b9bff", "#dfe3e8")
STYLES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)

LEVELS: dict[Level, tuple[str, str, str]] = {
    Level.GOOD: (GREEN, "#ffffff", "●"),
    Level.BUSY: (SKY, "#06121c", "◆"),
    Level.IDLE: ("#5a6474", "#ffffff", "○"),
    Level.WARN: (ORANGE, "#1a1200", "▲"),
    Level.ALARM: (VERMILLION, "#ffffff", "■"),
}
"""Ground, ink and sign of a level."""

SANS = ["Inter", "Noto Sans", "DejaVu Sans", "Helvetica Neue", "Segoe UI", "sans-serif"]

STYLE_SHEET = f"""
QWidget {{ background: {BACKGROUND}; color: {TEXT}; }}
QFrame#card {{ background: {CARD}; border: 1px solid {EDGE}; border-radius: 8px; }}
QFrame#card QLabel {{ background: transparent; }}
QLabel#faint {{ color: {FAINT}; }}
"""


def font(pixels: int, *, bold: bool = False) -> QFont:
    """Make a font of a height in pixels."""
    made = QFont(SANS)
    made.setPixelSize(pixels)
    made.setBold(bold)
    return made


def line_pen(index: int) -> QPen:
    """Make the pen of line ``index``: colours first, then dashes, so that many lines stay apart."""
    return pg.mkPen(QColor(LINES[index % len(LINES)]), width=1.6, style=STYLES[index // len(LINES) % len(STYLES)])


def style_plot(plot: Any, left: str, bottom: str | None, *, left_width: int = 44) -> None:
    """Give a plot the axes that all plots here have."""
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.showGrid(x=True, y=True, alpha=0.16)
    plot.getViewBox().setBackgroundColor(WELL)
    plot.getViewBox().setBorder(pg.mkPen(EDGE))
    for name in ("left", "bottom"):
        axis = plot.getAxis(name)
        axis.setPen(pg.mkPen(GRID))
        axis.setTextPen(pg.mkPen(FAINT))
        axis.setStyle(tickFont=font(11), tickLength=-4, tickTextOffset=5)
        axis.enableAutoSIPrefix(False)
    plot.getAxis("left").setWidth(left_width)
    plot.setLabel("left", left, color=FAINT, **{"font-size": "11px"})
    if bottom is None:
        plot.getAxis("bottom").setStyle(showValues=False)
        plot.getAxis("bottom").setHeight(6)
    else:
        plot.setLabel("bottom", bottom, color=FAINT, **{"font-size": "11px"})
        plot.getAxis("bottom").setHeight(34)


def configure_plots() -> None:
    """Set what holds for every plot; called once, before the first is made."""
    pg.setConfigOptions(background=CARD, foreground=FAINT, antialias=True)
