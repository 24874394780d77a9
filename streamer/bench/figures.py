"""A measured figure and the bar that it is held against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

_SIGNS = {"less": "≤", "more": "≥", "near": "±"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    """What it should reach; None where nothing was set."""
    better: Literal["less", "more", "near"] = "less"
    """``near``: the nearer to 0, the better."""
    peer: str = ""
    """What others reach, with who and how; empty where nobody's is known."""
    note: str = ""
    """What it was measured on, or what it is made of."""

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        value = abs(self.value) if self.better == "near" else self.value
        # numpy's own truth values are none to JSON
        return bool(value >= self.bar if self.better == "more" else value <= self.bar)

    @property
    def limit(self) -> str:
        """The bar as people read it."""
        return "" if self.bar is None else f"{_SIGNS[self.better]} {self.bar:g}"

    def plain(self) -> dict[str, Any]:
        """As JSON values; a value that could not be measured is null."""
        value = float(f"{self.value:.5g}")
        values: dict[str, Any] = {
            "name": self.name,
            "value": value if math.isfinite(value) else None,
            "unit": self.unit,
        }
        if self.bar is not None:
            values.update(bar=self.bar, better=self.better, met=self.met)
        if self.peer:
            values["peer"] = self.peer
        if self.note:
            values["note"] = self.note
        return values
