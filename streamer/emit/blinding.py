"""Whether a session's condition is sealed, and what it is once it was opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer.emit.run_files import read_json
from streamer.errors import FormatError

FOLDER = "sham"
"""In a session's folder, where its condition is sealed."""
OPENED = "opened.json"
"""In that folder, once the session was unblinded: an object with ``condition``."""


@dataclass(frozen=True, slots=True)
class Blinding:
    """What is known of a session's condition."""

    sealed: bool = False
    """The session may have had sham feedback."""
    condition: str | None = None
    """None while it is sealed, and where there is none."""

    @property
    def hidden(self) -> bool:
        """Whether nothing may be shown that would tell the condition."""
        return self.sealed and self.condition is None


def read_blinding(folder: Path, config: Mapping[str, Any] | None) -> Blinding:
    """Read what a session's folder says of its condition.

    Parameters
    ----------
    folder : Path
    config : mapping or None
        The session's configuration as plain values; None where it is not known.
    """
    kept = folder / FOLDER
    sealed = kept.is_dir() or bool(((config or {}).get("sham") or {}).get("list"))
    try:
        opened = read_json(kept / OPENED) or {}
    except FormatError:
        # in doubt, blind
        opened = {}
    condition = opened.get("condition")
    return Blinding(sealed, condition if isinstance(condition, str) and condition else None)
