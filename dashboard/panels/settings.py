"""A session's settings, as far as it tells them."""

from __future__ import annotations

from typing import Any, cast

from dashboard.board import Board


def setting(board: Board, *path: str) -> object:
    """Give the setting at ``path`` (section, then name by name) of the session that is followed; None where unknown."""
    config = board.peer.config if board.peer is not None else None
    found: Any = config.settings if config is not None else None
    for name in path:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found
