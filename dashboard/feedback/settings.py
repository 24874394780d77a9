"""How the participant's screen looks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Style(StrEnum):
    """What shows the level."""

    THERMOMETER = "thermometer"
    BALL = "ball"


class Corner(StrEnum):
    """A corner of the screen."""

    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How the view looks."""

    style: Style = Style.THERMOMETER
    mirror: bool = False
    """Left and right change places: for a screen that is seen in a mirror."""
    text: str = ""
    """Shown with the fixation cross."""
    photodiode: Corner | None = None
    """Corner of the screen, not of the mirrored picture, whose patch flips with every newly shown score."""
