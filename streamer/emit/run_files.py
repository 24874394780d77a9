"""Reading the small JSON files that a run leaves: a crash may have kept any of them from being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamer.errors import FormatError

SUMMARY = "summary.json"
TIMINGS = "timings.json"


def read_json(path: Path) -> dict[str, Any] | None:
    """Read an object of JSON; None when there is no such file.

    Raises
    ------
    FormatError
        It is there, and cannot be read or is no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path} holds {type(found).__name__}: expected an object")
    return found


def read_latency_ms(folder: Path) -> dict[str, dict[str, float]]:
    """Read p50 and p99 per stage, ms; empty where the run did not get so far as to write them."""
    for name in (SUMMARY, TIMINGS):
        try:
            found = (read_json(folder / name) or {}).get("latency_ms")
        except FormatError:
            continue
        if isinstance(found, dict) and found:
            return {stage: dict(values) for stage, values in found.items()}
    return {}
