"""What the window remembers from one run to the next: where panels are, the theme, and each panel's settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from dashboard.drawing.theme import SCALES, THEMES, Theme
from dashboard.kept import write_kept

HOME = "EEGFMRI_DASHBOARD_HOME"
"""Environment variable with the folder that takes the place of the user's own."""
VERSION = 1
FILE = "dashboard.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is remembered."""

    theme: Theme = "dark"
    scale: float = 1.0
    """Of all text."""
    docks: str = ""
    """Where panels are, as Qt saves it, base64; empty for the usual places."""
    geometry: str = ""
    """Of the window, the same way."""
    panels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    """Settings by panel."""


def home() -> Path:
    """Give the folder of what is remembered; it need not exist."""
    if HOME in os.environ:
        return Path(os.environ[HOME])
    from PySide6.QtCore import QStandardPaths

    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(place) / "eeg-fmri-streamer"


def load_layout(path: Path) -> tuple[Layout, str]:
    """Read what is remembered; gives the usual and a note where the file cannot be used."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Layout(), ""
    except (OSError, ValueError, RecursionError) as error:
        return Layout(), f"the layout in {path} cannot be read ({error}): the usual one is taken"
    if not isinstance(found, dict) or cast("dict[str, object]", found).get("version") != VERSION:
        return Layout(), f"the layout in {path} is of another version: the usual one is taken"
    return _checked(cast("dict[str, object]", found)), ""


def _checked(found: Mapping[str, object]) -> Layout:
    made = Layout()
    theme, scale = found.get("theme"), found.get("scale")
    if theme in THEMES:
        made = replace(made, theme=theme)
    if isinstance(scale, int | float) and SCALES[0] <= scale <= SCALES[-1]:
        made = replace(made, scale=float(scale))
    for name in ("docks", "geometry"):
        text = found.get(name)
        if isinstance(text, str) and text.isascii():
            made = replace(made, **{name: text})
    panels = found.get("panels")
    if isinstance(panels, dict):
        entries = cast("dict[str, object]", panels).items()
        made = replace(made, panels={k: cast("dict[str, Any]", v) for k, v in entries if isinstance(v, dict)})
    return made


def save_layout(path: Path, layout: Layout) -> str:
    """Write what is to be remembered; gives a note where that fails."""
    failed = write_kept(path, {"version": VERSION, **asdict(layout)})
    return f"the layout could not be kept in {path}: {failed}" if failed else ""
