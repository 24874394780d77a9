"""What takes the time that the core's stages need; telemetry only."""

from __future__ import annotations

from typing import Protocol


class Probe(Protocol):
    """Takes the time that stages need."""

    def start(self) -> None:
        """Begin: what comes before belongs to no stage."""
        ...

    def lap(self, stage: str) -> None:
        """Say that ``stage`` ends now."""
        ...


class NoProbe:
    """Takes no time."""

    def start(self) -> None:
        """Do nothing."""

    def lap(self, stage: str) -> None:
        """Do nothing."""
