"""What asks for a trigger beside the score: an event in the EEG, or the phase of a rhythm."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.messages import Flag, SessionTime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trigger that is asked for; the decision applies the same vetoes, limits and refractory time to it."""

    source: str
    """``phase``, ``spindle`` or ``spike``."""
    action: str
    level: float
    """0..1: how sure it is."""
    about: SessionTime
    """When what it speaks of happened."""
    fire_at: SessionTime
    """When it is to be acted on; for a phase a little ahead."""
    expires: SessionTime
    """After this time it is of no use."""
    reason: str
    flags: Flag = Flag.NONE
