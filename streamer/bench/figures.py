"""A measured figure and the bar that it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    """What it should reach; None where nothing was set."""
    better: Literal["less", "more"] = "less"

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        # numpy's own truth values are none to JSON
        return bool(self.value <= self.bar if self.better == "less" else self.value >= self.bar)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = {"name": self.name, "value": float(f"{self.value:.5g}"), "unit": self.unit}
        if self.bar is not None:
            values.update(bar=self.bar, better=self.better, met=self.met)
        return values
