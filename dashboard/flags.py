"""What a flag means to an operator: a word, how urgent it is, what to do, and a reason in plain words."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How urgent it is; each has a colour and a sign of its own."""

    GOOD = "good"
    BUSY = "busy"
    IDLE = "idle"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one flag."""

    word: str
    """As the status line says it."""
    level: Level
    said: str
    """As a reason for something."""
    advice: str
    early: bool = False
    """News even while the session warms up, when unsettled data is expected."""


MEANINGS = {
    "RECORDING_LOST": Meaning(
        "NOT RECORDED",
        Level.ALARM,
        "raw data is being lost",
        "The disk is full or too slow: free space now, raw data is being lost.",
        early=True,
    ),
    "NO_EEG": Meaning(
        "NO EEG",
        Level.ALARM,
        "no usable EEG",
        "No usable EEG in the window: check the amplifier and its stream.",
    ),
    "BAD_CHANNELS": Meaning(
        "BAD CHANNELS",
        Level.WARN,
        "too many bad channels",
        "Too many EEG channels are bad: check the cap's impedances.",
        early=True,
    ),
    "CLIPPED": Meaning(
        "CLIPPED",
        Level.WARN,
        "EEG at the rail",
        "EEG is at the rail: check electrodes and the amplifier's range.",
        early=True,
    ),
    "UNSYNCED": Meaning(
        "NO SYNC",
        Level.WARN,
        "no volume trigger fits",
        "No volume trigger fits: check the trigger cable and the scanner's clock box.",
        early=True,
    ),
    "MISALIGNED": Meaning(
        "MISALIGNED",
        Level.WARN,
        "volumes and triggers do not go together",
        "Volumes and triggers do not go together: check the trigger cable and the first volume's number.",
        early=True,
    ),
    "GAP": Meaning(
        "EEG GAP", Level.WARN, "EEG samples are missing", "EEG samples are missing: check the amplifier's link."
    ),
    "CLOCK_STEP": Meaning(
        "CLOCK JUMP",
        Level.WARN,
        "the EEG's clock jumped",
        "The amplifier's clock jumped: check the clock synchronisation.",
    ),
    "MOTION": Meaning(
        "MOTION",
        Level.WARN,
        "the head moves",
        "Head motion is above its limit: remind the participant to lie still.",
        early=True,
    ),
    "STALE": Meaning(
        "STALE DATA",
        Level.WARN,
        "data too old",
        "Data is older than allowed: check the scanner's export and the processor load.",
    ),
    "NO_BOLD": Meaning(
        "NO BOLD",
        Level.WARN,
        "no usable volume",
        "No usable volume in the window: check the scanner's export.",
    ),
    "LATE": Meaning(
        "LATE", Level.WARN, "data arrives late", "Data arrives late: check the network and the processor load."
    ),
    "UNCALIBRATED": Meaning(
        "UNCALIBRATED",
        Level.WARN,
        "no calibration",
        "No calibration was given: baselines come from this run, and no trigger fires.",
    ),
    "WARMING": Meaning("WARMING", Level.BUSY, "still settling", "Templates and baselines are still settling."),
    "ABSTAINED": Meaning(
        "ABSTAINED",
        Level.BUSY,
        "the model cannot tell",
        "The model cannot tell the states apart now. It passes by itself; if it stays, calibrate anew.",
    ),
}
"""By name, the most urgent first.

What cannot be made good afterwards leads; a cause stands before what follows from it: bad channels before the trigger
that no template finds, a lost trigger before the volume without a time, motion before the data it masks.
"""


def ranked(flags: Collection[str]) -> Iterator[tuple[str, Meaning]]:
    """Give those of ``flags`` that are known, the most urgent first."""
    return ((name, meaning) for name, meaning in MEANINGS.items() if name in flags)


def in_words(reason: str) -> str:
    """Say plainly a reason put together of flags and sentences, such as ``MOTION, stopped by the operator``."""
    parts = [part.strip() for part in reason.split(",")]
    return ", ".join(MEANINGS[part].said if part in MEANINGS else part for part in parts if part)
