"""The status line: one word that says how the session stands, how urgent that is, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dashboard.flags import Level, Meaning, ranked

EEG_SILENT_S = 1.5
LOOP_SILENT_S = 4.0

__all__ = ["EEG_SILENT_S", "LOOP_SILENT_S", "Level", "Situation", "StatusLine", "status_line"]


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
    """As the session's status says."""
    health_state: str = ""
    """As the loop's last health message says."""
    armed: bool | None = None
    """Whether the loop lets triggers leave; None when it does not say."""
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
    bold_age: float | None = None
    """s, age of the newest volume that the model sees; None when it sees none."""
    flags: Collection[str] = ()
    vetoing: Collection[str] = ()
    """Flags that hold triggers back in this session, as far as it says."""
    bad_channels: Sequence[str] = ()
    losses: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: Sequence[str] = ()
    replayed: float | None = None
    """How much of a recording was read, 0..1; None for a session that runs."""
    overloaded: bool = False
    """This window drops messages."""


@dataclass(frozen=True, slots=True)
class StatusLine:
    """What the line shows."""

    word: str
    level: Level
    advice: str


def status_line(now: Situation) -> StatusLine:
    """Say how things stand, the most fundamental trouble first.

    What makes the rest unknowable comes first (no broker, no session, a silent loop), then what is lost for ever (EEG
    that does not come, raw data that is not written), then what the operator decided and may have forgotten (triggers
    stopped), then what the session waits for, then flags by their urgency. A window that cannot follow says so before
    it speaks of single flags, which it may have missed.
    """
    found = _replay(now) if now.replayed is not None else _absent(now) or _silent(now)
    return found or _stopped(now) or _waiting(now) or _state(now)


def _replay(now: Situation) -> StatusLine | None:
    share = now.replayed or 0.0
    if now.problem:
        return StatusLine("REPLAY BROKEN", Level.ALARM, f"{now.broker}: {now.problem}")
    if now.session is None:
        return StatusLine("REPLAY", Level.BUSY, f"Reading {now.broker}.")
    read = "Read to its end. " if share >= 1 else f"{100 * share:.0f} % read. "
    state = now.health_state or now.state or "nothing yet"
    # a flag may say what the state says
    then = dict.fromkeys([state, *(meaning.word for _, meaning in ranked(now.flags))])
    return StatusLine("REPLAY", Level.IDLE, f"{read}Then: {' · '.join(then)}")


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


def _silent(now: Situation) -> StatusLine | None:
    if now.health_age is None and now.followed > LOOP_SILENT_S:
        return StatusLine("LOOP SILENT", Level.ALARM, "The loop says that it is there, but sends nothing. Restart it.")
    if now.health_age is not None and now.health_age > LOOP_SILENT_S and not _closing(now):
        return StatusLine(
            "LOOP SILENT", Level.ALARM, f"Nothing from the loop for {now.health_age:.0f} s. Is its process alive?"
        )
    if now.state == "STARTING":
        return StatusLine("STARTING", Level.BUSY, now.detail or "The loop is finding its streams.")
    if now.expects_eeg and not _closing(now):
        if now.eeg_age is not None and now.eeg_age > EEG_SILENT_S:
            return StatusLine(
                "EEG SILENT",
                Level.ALARM,
                f"No EEG for {now.eeg_age:.0f} s: is the amplifier recording, and its LSL stream up?",
            )
        if now.eeg_age is None and now.followed > LOOP_SILENT_S:
            return StatusLine("EEG SILENT", Level.ALARM, "No EEG yet: start the amplifier's LSL stream.")
    return None


def _closing(now: Situation) -> bool:
    # stopped triggers are telemetry too; a loop that closes says STOPPED and tells no more of its health
    return now.state == "STOPPED" and now.health_state != "STOPPED"


def _stopped(now: Situation) -> StatusLine | None:
    if _closing(now):
        return StatusLine("STOPPED", Level.IDLE, now.detail or "The loop has stopped and writes out its data.")
    if "RECORDING_LOST" in now.flags:
        return _flagged(now, *next(ranked({"RECORDING_LOST"})))
    if now.overloaded:
        return StatusLine(
            "WINDOW BEHIND",
            Level.WARN,
            "This window cannot follow and leaves data out; the loop is not affected. Close panels or other programs.",
        )
    if now.state == "STOPPED" or now.armed is False:
        trouble = [meaning.advice for _, meaning in ranked(set(now.flags) - {"WARMING", "ABSTAINED"})]
        return StatusLine(
            "TRIGGERS STOPPED",
            Level.WARN,
            f"No trigger leaves, and what is shown is neutral. Arm to go on. {trouble[0] if trouble else ''}".rstrip(),
        )
    return None


def _waiting(now: Situation) -> StatusLine | None:
    if now.expects_volumes and not now.volumes and now.state in {"WARMING", "RUNNING", "DEGRADED"}:
        return StatusLine(
            "WAITING FOR VOLUMES", Level.BUSY, "EEG is there. Start the scan; is the real-time export switched on?"
        )
    return None


def _state(now: Situation) -> StatusLine:
    lost = {name: n for name, n in now.losses.items() if n}
    losses = "Lost: " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in lost.items()) + ". " if lost else ""
    if now.state not in {"RUNNING", "WARMING", "DEGRADED"}:
        return StatusLine(now.state or "UNKNOWN", Level.WARN, now.detail or "This window does not know this state.")
    for name, meaning in ranked(now.flags):
        if now.state == "DEGRADED" or (now.state == "RUNNING" and name not in {"WARMING", "UNCALIBRATED"}):
            return _flagged(now, name, meaning)
        if now.state == "WARMING" and meaning.early:
            return _flagged(now, name, meaning)
    match now.state:
        case "RUNNING":
            level = Level.WARN if lost else Level.GOOD
            otherwise = "Triggers are on." if lost or now.bad_channels else "All lanes are good. Triggers are on."
        case "WARMING":
            level, otherwise = Level.BUSY, "Baselines settle. Triggers are off."
        case _:
            level, otherwise = Level.WARN, "Triggers are off until data is good."
    told = now.detail or (now.notes[0] if now.notes else otherwise)
    bad = f"Bad: {_some(now.bad_channels)}. " if now.bad_channels else ""
    return StatusLine(now.state, level, losses + bad + told)


def _flagged(now: Situation, name: str, meaning: Meaning) -> StatusLine:
    word, advice = meaning.word, meaning.advice
    flags = set(now.flags)
    if name == "STALE":
        if "NO_BOLD" in flags and "NO_EEG" not in flags:
            word = "STALE BOLD"
            age = f" for {now.bold_age:.0f} s" if now.bold_age is not None else ""
            advice = f"No new volume{age}: is the scan still running, and its real-time export?"
        elif "NO_EEG" in flags and "NO_BOLD" not in flags:
            word = "STALE EEG"
    if now.bad_channels and name in {"BAD_CHANNELS", "CLIPPED"}:
        advice = f"{advice.rstrip('.')}. Bad: {_some(now.bad_channels)}."
    held = " Triggers wait." if name in now.vetoing and now.state in {"RUNNING", "DEGRADED"} else ""
    return StatusLine(word, meaning.level, advice + held)


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
