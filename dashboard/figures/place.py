"""What is looked at in the head: one place, one map, and the scale of its colours; shared by all that show volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dashboard.figures.choices import stepped

STEPS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 50.0, 100.0)
"""Thresholds and limits that can be chosen, in the unit of the map."""
Mm = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Which values are shown, and how."""

    threshold: float
    """Values that are nearer to 0 are not shown."""
    limit: float
    """Value of the last colour; what lies beyond has that colour too."""


DEFAULTS = {"%": Scale(0.5, 3.0), "t": Scale(3.0, 10.0)}
"""By unit."""
OTHER = Scale(0.5, 2.0)


class Place:
    """The place, the map and the colours that are chosen; whoever shows them compares :attr:`revision`."""

    def __init__(self) -> None:
        self.mm: Mm | None = None
        """RAS+ mm; None before there is a head to choose it in."""
        self.map = ""
        """Name of the map; empty for the first one."""
        self.units: dict[str, str] = {}
        """The maps that there are, and their units; told by whoever shows them."""
        self.radiological = False
        """Whether the left of the head is on the right of the screen."""
        self.revision = 0
        """Changes whenever a picture would."""
        self._scales: dict[str, Scale] = {}

    def move(self, mm: Sequence[float]) -> None:
        """Choose a place; RAS+ mm."""
        x, y, z = (float(v) for v in mm)
        if (x, y, z) != self.mm and all(map(math.isfinite, (x, y, z))):
            self.mm = (x, y, z)
            self.revision += 1

    def choose(self, name: str) -> None:
        """Choose a map by its name."""
        if name != self.map:
            self.map = name
            self.revision += 1

    @property
    def mapped(self) -> str | None:
        """Which of the maps that there are is looked at; None when there is none."""
        return self.map if self.map in self.units else next(iter(self.units), None)

    def next_map(self) -> None:
        """Go over to the next of the maps that there are."""
        names, now = list(self.units), self.mapped
        if now is not None:
            self.choose(names[(names.index(now) + 1) % len(names)])

    @property
    def unit(self) -> str:
        """Unit of the map that is looked at; empty when there is none."""
        return self.units.get(self.mapped or "", "")

    def flip(self) -> None:
        """Go over from the neurological to the radiological convention, or back."""
        self.radiological = not self.radiological
        self.revision += 1

    def scale(self, unit: str) -> Scale:
        """Give the scale of maps in ``unit``; it changes only when somebody changes it."""
        return self._scales.get(unit) or DEFAULTS.get(unit, OTHER)

    def rethreshold(self, steps: int) -> None:
        """Raise or lower the threshold for maps in the present unit by ``steps`` of :data:`STEPS`, below the limit."""
        unit = self.unit
        now = self.scale(unit)
        wanted = stepped(STEPS, now.threshold, steps)
        if wanted < now.limit:
            self._set(unit, Scale(wanted, now.limit))

    def rescale(self, steps: int) -> None:
        """Raise or lower the limit for maps in the present unit by ``steps`` of :data:`STEPS`, above the threshold."""
        unit = self.unit
        now = self.scale(unit)
        wanted = stepped(STEPS, now.limit, steps)
        if wanted > now.threshold:
            self._set(unit, Scale(now.threshold, wanted))

    def _set(self, unit: str, scale: Scale) -> None:
        if scale != self.scale(unit):
            self._scales[unit] = scale
            self.revision += 1

    def state(self) -> dict[str, Any]:
        """Give what a layout file keeps, in plain values."""
        return {
            "mm": list(self.mm) if self.mm is not None else None,
            "map": self.map,
            "radiological": self.radiological,
            "scales": {unit: [scale.threshold, scale.limit] for unit, scale in self._scales.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave; what cannot be is left out."""
        mm = _numbers(state.get("mm"), 3)
        if mm is not None:
            self.move(mm)
        if isinstance(name := state.get("map"), str):
            self.choose(name)
        if isinstance(radiological := state.get("radiological"), bool) and radiological != self.radiological:
            self.flip()
        scales: object = state.get("scales")
        if isinstance(scales, Mapping):
            for unit, pair in cast("Mapping[object, object]", scales).items():
                values = _numbers(pair, 2)
                if isinstance(unit, str) and values is not None and 0 <= values[0] < values[1]:
                    self._set(unit, Scale(*values))


def _numbers(values: object, n: int) -> list[float] | None:
    if not isinstance(values, list | tuple):
        return None
    items = cast("Sequence[object]", values)
    made = [float(v) for v in items if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    return made if len(made) == len(items) == n else None
