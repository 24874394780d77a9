"""Colour maps that are read alike with any colour vision.

Kovesi's maps for colour-blind viewers (arXiv:1509.03700), as pyqtgraph ships them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from dashboard.drawing.theme import Theme

_N = 256


@cache
def diverging(theme: Theme) -> NDArray[np.uint8]:
    """Blue to yellow over the theme's own ground, for values with a sign; RGB, shape (256, 3), 0 in the middle."""
    return _table("CET-CBD1" if theme == "light" else "CET-D6")


@cache
def sequential() -> NDArray[np.uint8]:
    """From dark to bright, for values from 0 on; RGB, shape (256, 3)."""
    return _table("CET-CBL2")


def _table(name: str) -> NDArray[np.uint8]:
    found: Any = cast("Any", pg.colormap).get(name)
    return np.array(found.getLookupTable(nPts=_N, alpha=False), np.uint8)
