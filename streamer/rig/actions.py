"""What a scanner room does, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send the EEG's samples ``start`` to ``stop`` (excluded)."""

    start: int
    stop: int
    offset_s: float = 0.0
    """What is added to the stamps, s."""
    ppm: float = 0.0
    """How much faster than the axis the sender's clock runs, parts per million."""


@dataclass(frozen=True, slots=True)
class SendMarker:
    """Send a marker, stamped with its own time."""

    label: str
    at_s: float
    """On the recording's axis, s."""
    place: int | None = None
    """Among the recording's markers; None for one that was not recorded."""
    sample: int | None = None
    """Its sample, where the recording knows it."""
    offset_s: float = 0.0
    """As that of a chunk."""
    ppm: float = 0.0
    """As that of a chunk."""


@dataclass(frozen=True, slots=True)
class WriteVolume:
    """Write a part of a volume's file; all of it is there when ``part`` is ``parts - 1``."""

    k: int
    part: int
    parts: int
    suffix: str = ""
    """Put behind its name until it is renamed."""


@dataclass(frozen=True, slots=True)
class RenameVolume:
    """Give a volume's file its final name."""

    k: int
    suffix: str


@dataclass(frozen=True, slots=True)
class RepeatVolume:
    """Write a volume's file once more: over itself, or under another name."""

    k: int
    over: bool


Foreign = Literal["moco", "text", "hidden"]
"""A volume of the scanner's own motion-corrected series, a text file, a hidden file."""


@dataclass(frozen=True, slots=True)
class WriteForeign:
    """Write something that is no volume of the series, beside volume ``k``."""

    k: int
    what: Foreign


@dataclass(frozen=True, slots=True)
class StartSeries:
    """From volume ``first`` on, volumes belong to a new series and are numbered anew."""

    first: int


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Remove the export directory with all that was exported."""


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make the export directory again."""


@dataclass(frozen=True, slots=True)
class CloseStreams:
    """Take the amplifier off the network."""


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """Bring the amplifier back under the same identity."""


FileAction = WriteVolume | RenameVolume | RepeatVolume | WriteForeign | StartSeries | RemoveDirectory | MakeDirectory
StreamAction = SendChunk | SendMarker | CloseStreams | OpenStreams
Action = StreamAction | FileAction
Timed = tuple[float, Action]
"""s on the recording's axis, and what to do then."""
