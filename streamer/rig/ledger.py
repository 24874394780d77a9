"""What was done to a recording while it was played."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamer.errors import UsageError
from streamer.rig.faults import RigFaults

UNHEARD = "unheard"
"""Name of what the rig itself held back: between a stream's coming back and somebody listening to it."""
SWALLOWED = "swallowed"
"""Name of what a marker suffers that lies in a lost block of RDA."""


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault."""

    fault: str
    """Name of it in ``RigFaults``, ``unheard`` or ``swallowed``."""
    at_s: float
    """When it takes effect, s on the recording's axis."""
    value: float | None = None
    """Its size, in the unit of the setting; s for a delay."""
    samples: tuple[int, int] | None = None
    """EEG samples that it concerns: the first, and the one after the last."""
    marker: int | None = None
    """Place among the recording's markers."""
    volume: int | None = None
    """Place among the recording's volumes."""
    detail: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value not in {None, ""}}


def check_ledger(path: Path) -> None:
    """Raise UsageError when a ledger cannot be written there."""
    if path.exists():
        raise UsageError(f"{path} is there already; nothing is overwritten")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: no such folder as {path.parent}")


def write_ledger(path: Path, faults: RigFaults, seed: int, injected: Sequence[Injected]) -> None:
    """Write a ledger as JSON."""
    whole = {
        "schema": 1,
        "kind": "rig-ledger",
        "seed": seed,
        "faults": faults.model_dump(exclude_defaults=True),
        "injected": [entry.plain() for entry in injected],
    }
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
