"""Small files that the window keeps from one run to the next."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_kept(path: Path, values: Mapping[str, Any]) -> str:
    """Write plain values; gives the reason where that fails, else nothing.

    Two windows that close at once do not leave half of each.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        return str(error)
    return ""
