"""Files in a session's folder that tell others on the same machine how to reach it."""

from __future__ import annotations

RUNNING = "running.json"
"""Where it can be heard, for as long as it lasts: ``session`` and ``broker``."""
COMMAND_KEY = "command.key"
"""The key that its commands are signed with, readable by its owner alone."""
MIN_KEY_BYTES = 16
"""A shorter key is none."""
