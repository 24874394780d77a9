"""How many V a unit is, by the many names that files and streams give it."""

from __future__ import annotations

_NAMES = {
    1.0: ("v", "volt", "volts"),
    1e-3: ("mv", "millivolt", "millivolts"),
    1e-6: ("uv", "µv", "μv", "microvolt", "microvolts"),
    1e-9: ("nv", "nanovolt", "nanovolts"),
}
_VOLTS = {name: volts for volts, names in _NAMES.items() for name in names}


def volts_per(unit: str) -> float | None:
    """Give V per ``unit``; None when that is no voltage or unknown."""
    return _VOLTS.get(unit.strip().casefold())
