"""The status line: one word, and what to do about it. A pure function of what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

EEG_SILENT_S = 1.5
LOOP_SILENT_S = 4.0


class Level(Enum):
    """How urgent it is; each has a colour and a sign of its own."""

    GOOD = "good"
    BUSY = "busy"
    IDLE = "idle"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the status line depends on."""

    connected: bool = False
    broker: str = ""
    problem: str = ""
    wanted: str | None = None
    session: str | None = None
    online: bool = False
    ended: bool = False
    state: str = ""
    detail: str = ""
    health_age: float | None = None
    """s since the loop's last health message; None when none came."""
    followed: float = 0.0
    """s since the session was taken up."""
    expects_eeg: bool = True
    eeg_age: float | None = None
    """s since the last EEG came; None when none came."""
    expects_volumes: bool = True
    volumes: int = 0
    flags: Sequence[str] = ()
    losses: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StatusLine:
    """What the line shows."""

    word: str
    level: Level
    advice: str


ADVICE = {
    "RECORDING_LOST": "The disk is full or too slow: free space now, raw data is being lost.",
    "BAD_CHANNELS": "Too many EEG channels are bad: check the cap's impedances.",
    "UNSYNCED": "No volume trigger fits: check the trigger cable and the scanner's clock box.",
    "MISALIGNED": "Volumes and triggers do not go together: check the trigger cable and the first volume's number.",
    "GAP": "EEG samples are missing: check the amplifier's link.",
    "CLOCK_STEP": "The amplifier's clock jumped: check the clock synchronisation.",
    "CLIPPED": "EEG is at the rail: check electrodes and the amplifier's range.",
    "NO_EEG": "No usable EEG in the window: check the amplifier and its stream.",
    "NO_BOLD": "No usable volume in the window: check the scanner's export.",
    "STALE": "Data is older than allowed: check the scanner's export and the processor load.",
    "LATE": "Data arrives late: check the network and the processor load.",
    "MOTION": "Head motion is above its limit: remind the participant to lie still.",
    "UNCALIBRATED": "No calibration was given: baselines come from this run, and no trigger fires.",
    "WARMING": "Templates and baselines are still settling.",
    "ABSTAINED": "The model cannot tell the states apart now. It passes by itself; if it stays, calibrate anew.",
}
"""What to do about a flag, the most urgent first."""


def status_line(now: Situation) -> StatusLine:
    """Say how things stand, the most fundamental trouble first."""
    absent = _absent(now)
    if absent is not None:
        return absent
    if now.health_age is None and now.followed > LOOP_SILENT_S:
        return StatusLine("LOOP SILENT", Level.ALARM, "The loop says that it is there, but sends nothing. Restart it.")
    if now.health_age is not None and now.health_age > LOOP_SILENT_S:
        return StatusLine(
            "LOOP SILENT", Level.ALARM, f"Nothing from the loop for {now.health_age:.0f} s. Is its process alive?"
        )
    if now.state == "STARTING":
        return StatusLine("STARTING", Level.BUSY, now.detail or "The loop is finding its streams.")
    if now.expects_eeg and now.state != "STOPPED":
        if now.eeg_age is not None and now.eeg_age > EEG_SILENT_S:
            return StatusLine(
                "EEG SILENT",
                Level.ALARM,
                f"No EEG for {now.eeg_age:.0f} s: is the amplifier recording, and its LSL stream up?",
            )
        if now.eeg_age is None and now.followed > LOOP_SILENT_S:
            return StatusLine("EEG SILENT", Level.ALARM, "No EEG yet: start the amplifier's LSL stream.")
    if now.expects_volumes and not now.volumes and now.state in {"WARMING", "RUNNING", "DEGRADED"}:
        return StatusLine(
            "WAITING FOR VOLUMES", Level.BUSY, "EEG is there. Start the scan; is the real-time export switched on?"
        )
    return _state(now)


def _absent(now: Situation) -> StatusLine | None:
    if not now.connected:
        why = f" ({now.problem})" if now.problem else ""
        return StatusLine("NO BROKER", Level.ALARM, f"{now.broker}{why}. Trying again; is the loop running?")
    if now.session is None or (now.wanted is not None and not now.online and not now.state):
        name = f"session {now.wanted}" if now.wanted is not None else "a session"
        return StatusLine("NO SESSION", Level.IDLE, f"Connected to {now.broker}. Waiting for {name}: streamer run …")
    if now.ended:
        return StatusLine("ENDED", Level.IDLE, f"{now.detail or 'The session is over.'} Waiting for the next.")
    if not now.online:
        return StatusLine(
            "OFFLINE", Level.ALARM, "The loop vanished without a goodbye: no triggers. Start it again: streamer run …"
        )
    return None


def _state(now: Situation) -> StatusLine:
    lost = {name: n for name, n in now.losses.items() if n}
    losses = "Lost: " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in lost.items()) + ". " if lost else ""
    match now.state:
        case "RUNNING":
            advice = losses + _advice(now, "Triggers are on." if lost else "All lanes are good. Triggers are on.")
            return StatusLine("RUNNING", Level.WARN if lost else Level.GOOD, advice)
        case "WARMING":
            return StatusLine("WARMING", Level.BUSY, losses + _advice(now, "Baselines settle. Triggers are off."))
        case "DEGRADED":
            return StatusLine("DEGRADED", Level.WARN, losses + _advice(now, "Triggers are off until data is good."))
        case "STOPPED":
            return StatusLine("STOPPED", Level.IDLE, now.detail or "The loop has stopped and writes out its data.")
        case _:
            return StatusLine(now.state or "UNKNOWN", Level.WARN, now.detail or "This window does not know this state.")


def _advice(now: Situation, otherwise: str) -> str:
    # while it warms up, unsettled data is no news
    skip = {"WARMING", "UNCALIBRATED"} if now.state != "DEGRADED" else set[str]()
    known = [text for flag, text in ADVICE.items() if flag in now.flags and flag not in skip]
    if known:
        return known[0]
    return now.detail or (now.notes[0] if now.notes else otherwise)
