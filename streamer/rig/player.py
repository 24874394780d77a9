"""Plays a recording out as a scanner room would: an amplifier on LSL, a scanner that exports into a directory.

Times are the recording's: at speed 1 a sample is sent when its last neighbour in the chunk was taken, and a file is
complete when the scanner had it complete. What comes late is caught up and never dropped. At another speed the waiting
is shorter, yet the stamps keep the recording's spacing, so that sample counts and stamps stay in step; above 1 they run
ahead of the clock, and ages computed from them mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamer.acquire.recording import Recording
from streamer.clock import LiveClock, pause
from streamer.errors import StreamNotFound, UsageError
from streamer.rig.exporter import Exporter
from streamer.rig.outlets import Amplifier, StreamNames
from streamer.rig.schedule import RigSettings, SendChunk, SendMarker, WriteVolume, schedule, span

__all__ = ["Played", "RigSettings", "play"]

_LONGEST_PAUSE_S = 0.05
_HEARD_S = 0.25
"""From the moment somebody listens until the first sample, s: a listener that just connected settles."""
_HEAD_START_S = 0.05


@dataclass
class Played:
    """What was sent so far."""

    samples: int = 0
    markers: int = 0
    volumes: int = 0
    late_ms: float = 0.0
    """Greatest lateness of an action."""


Report = Callable[[str, Played], None]
"""Takes a state (``ready``, ``playing``, ``progress``, ``done`` or ``stopped``) and what was sent so far."""


def play(
    recording: Recording,
    export: Path | None,
    settings: RigSettings,
    report: Report = lambda _state, _played: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Played:
    """Play a recording; returns when all is sent, and lingers for what is on its way.

    Parameters
    ----------
    recording : Recording
    export : Path or None
        Directory that volumes drop into; None plays the EEG alone.
    settings : RigSettings
    report : callable
        Called at each change of state, and with ``progress`` about once a second.
    stopped : callable
        Asked often; True ends the playing.

    Raises
    ------
    StreamNotFound
        Nobody listens in time.
    UsageError
        There is nothing to play, or the directory cannot take the volumes.
    """
    start_s, stop_s = span(recording, settings)
    if start_s >= stop_s:
        raise UsageError(f"{recording.name}: {stop_s:g} s long, cannot be played from {start_s:g} s on")
    if recording.eeg is None and export is None:
        raise UsageError(f"{recording.name}: volumes alone, and no directory to export them into")
    # the directory is looked at first: a wrong one ends the rig before anybody connects
    exporter = Exporter(recording, export) if export is not None and recording.bold is not None else None
    amplifier = None
    if recording.eeg is not None:
        names = StreamNames(settings.stream_name, f"{settings.stream_name}-markers", f"rig-{settings.stream_name}")
        amplifier = Amplifier(recording.eeg, names)
    try:
        return _play(recording, amplifier, exporter, settings, report, stopped)
    finally:
        if amplifier is not None:
            amplifier.close()


def _play(
    recording: Recording,
    amplifier: Amplifier | None,
    exporter: Exporter | None,
    settings: RigSettings,
    report: Report,
    stopped: Callable[[], bool],
) -> Played:
    clock = LiveClock()
    played = Played()
    report("ready", played)
    if (
        amplifier is not None
        and settings.wait_consumers
        and not _wait_for_listeners(amplifier, clock, settings, stopped)
    ):
        report("stopped", played)
        return played
    start_s, _ = span(recording, settings)
    t0 = clock.now() + _HEAD_START_S
    if amplifier is not None:
        amplifier.begin(t0 - start_s)
    report("playing", played)
    told = t0
    for at, action in schedule(recording, settings):
        due = t0 + (at - start_s) / settings.speed
        if not _sleep_until(due, clock, stopped):
            report("stopped", played)
            return played
        now = clock.now()
        played.late_ms = max(played.late_ms, round((now - due) * 1e3, 3))
        match action:
            case SendChunk(first, stop) if amplifier is not None:
                amplifier.send(first, stop)
                played.samples += stop - first
            case SendMarker(label, at_s) if amplifier is not None:
                amplifier.mark(label, at_s)
                played.markers += 1
            case WriteVolume(k, part, parts) if exporter is not None:
                exporter.write(k, part, parts)
                played.volumes += part + 1 == parts
            case _:
                pass
        if now - told >= 1.0:
            told = now
            report("progress", played)
    if amplifier is None:
        report("done", played)
        return played
    # what the network still holds is given a moment before anybody is told that all was sent
    _sleep_until(clock.now() + min(0.3, settings.linger_s), clock, stopped)
    report("done", played)
    _sleep_until(clock.now() + settings.linger_s, clock, stopped)
    return played


def _wait_for_listeners(
    amplifier: Amplifier, clock: LiveClock, settings: RigSettings, stopped: Callable[[], bool]
) -> bool:
    deadline = clock.now() + settings.wait_s
    while not amplifier.heard():
        if stopped():
            return False
        if clock.now() > deadline:
            missing = [
                f"{settings.stream_name}{end}"
                for end, there in zip(("", "-markers"), amplifier.listeners(), strict=True)
                if not there
            ]
            raise StreamNotFound(
                f"nobody listened to {' and '.join(missing)} for {settings.wait_s:g} s: start `streamer run`, or play "
                "all the same with --no-wait-consumers"
            )
        pause(_LONGEST_PAUSE_S)
    return _sleep_until(clock.now() + _HEARD_S, clock, stopped)


def _sleep_until(due: float, clock: LiveClock, stopped: Callable[[], bool]) -> bool:
    while True:
        if stopped():
            return False
        left = due - clock.now()
        if left <= 0:
            return True
        pause(min(left, _LONGEST_PAUSE_S))
