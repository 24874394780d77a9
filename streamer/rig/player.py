"""Plays a recording out as a scanner room would: an amplifier on the network, a scanner that exports into a directory.

Times are the recording's: at speed 1 a sample is sent when its last neighbour in the chunk was taken, and a file is
complete when the scanner had it complete. What comes late is caught up and never dropped. At another speed the waiting
is shorter, yet the stamps keep the recording's spacing, so that sample counts and stamps stay in step; above 1 they run
ahead of the clock, and ages computed from them mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamer.acquire.recording import EegPart, Recording
from streamer.clock import LiveClock, pause
from streamer.errors import StreamNotFound, UsageError
from streamer.rig.exporter import Exporter
from streamer.rig.faulty import Plan, plan
from streamer.rig.ledger import Injected
from streamer.rig.outlets import Amplifier, StreamNames
from streamer.rig.rda_server import RdaServer
from streamer.rig.room import HEARD_S, Played, Room, Sender
from streamer.rig.schedule import RigSettings, left_out, span

__all__ = ["Played", "RigSettings", "play"]

_LONGEST_PAUSE_S = 0.05
_HEAD_START_S = 0.05


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
    SourceError
        The directory does not take a file.
    UsageError
        There is nothing to play, or the directory cannot take the volumes.
    """
    start_s, stop_s = span(recording, settings)
    if start_s >= stop_s:
        raise UsageError(f"{recording.name}: {stop_s:g} s long, cannot be played from {start_s:g} s on")
    if recording.eeg is None and export is None:
        raise UsageError(f"{recording.name}: volumes alone, and no directory to export them into")
    if recording.eeg is None and settings.rda_port is not None:
        raise UsageError(f"{recording.name}: volumes alone, and no EEG to send as BrainVision Recorder")
    # the directory is looked at first: a wrong one ends the rig before anybody connects
    remove = "directory_gone_s" in settings.faults.names
    bold = export is not None and recording.bold is not None
    exporter = Exporter(recording, export, remove=remove) if export is not None and bold else None
    planned = plan(recording, settings, export=bold)
    clock = LiveClock()
    opener = None if recording.eeg is None else _Opener(recording.eeg, settings)
    room = Room(opener, exporter, clock.now, wait_consumers=settings.wait_consumers)
    room.played.rda_port = None if opener is None else opener.port
    room.played.markers_left_out, volumes = left_out(recording, settings)
    room.played.volumes_left_out = volumes if bold else 0
    try:
        return _play(planned, room, start_s, clock, settings, report, stopped)
    finally:
        room.close()


class _Opener:
    """Puts the amplifier on the network, and brings it back to the same place."""

    def __init__(self, eeg: EegPart, settings: RigSettings) -> None:
        self._eeg, self._settings = eeg, settings
        self.port = settings.rda_port

    def __call__(self) -> Sender:
        name = self._settings.stream_name
        if self.port is None:
            return Amplifier(self._eeg, StreamNames(name, f"{name}-markers", f"rig-{name}"))
        server = RdaServer(self._eeg, port=self.port, block_s=self._settings.chunk_s, lookup=False)
        self.port = server.port
        return server


def _play(
    planned: Plan,
    room: Room,
    start_s: float,
    clock: LiveClock,
    settings: RigSettings,
    report: Report,
    stopped: Callable[[], bool],
) -> Played:
    played = room.played
    report("ready", played)
    if (
        room.sender is not None
        and settings.wait_consumers
        and not _wait_for_listeners(room.sender, clock, settings, stopped)
    ):
        report("stopped", played)
        return played
    t0 = clock.now() + _HEAD_START_S
    room.begin(t0 - start_s)
    report("playing", played)
    told = t0
    for at, action in planned.actions:
        due = t0 + (at - start_s) / settings.speed
        if not _sleep_until(due, clock, stopped):
            reached = start_s + (clock.now() - t0) * settings.speed
            played.faults = _ledger(planned, room, reached)
            report("stopped", played)
            return played
        now = clock.now()
        # what lies before the beginning is due at once
        played.late_ms = max(played.late_ms, round((now - max(due, t0)) * 1e3, 3))
        room.perform(at, action)
        if now - told >= 1.0:
            told = now
            report("progress", played)
    played.faults = _ledger(planned, room)
    if room.sender is None:
        report("done", played)
        return played
    # what the network still holds is given a moment before anybody is told that all was sent
    _sleep_until(clock.now() + min(0.3, settings.linger_s), clock, stopped)
    report("done", played)
    _sleep_until(clock.now() + settings.linger_s, clock, stopped)
    return played


def _ledger(planned: Plan, room: Room, reached: float = float("inf")) -> list[Injected]:
    happened = [entry for entry in planned.ledger if entry.at_s <= reached]
    return sorted([*happened, *room.held_back], key=lambda entry: entry.at_s)


def _wait_for_listeners(sender: Sender, clock: LiveClock, settings: RigSettings, stopped: Callable[[], bool]) -> bool:
    deadline = clock.now() + settings.wait_s
    while not sender.heard():
        if stopped():
            return False
        if clock.now() > deadline:
            streams = (settings.stream_name, f"{settings.stream_name}-markers")
            missing = [name for name, there in zip(streams, sender.listeners(), strict=True) if not there]
            if isinstance(sender, RdaServer):
                missing = [f"port {sender.port}"]
            raise StreamNotFound(
                f"nobody listened to {' and '.join(missing)} for {settings.wait_s:g} s: start `streamer run`, or play "
                "all the same with --no-wait-consumers"
            )
        pause(_LONGEST_PAUSE_S)
    return _sleep_until(clock.now() + HEARD_S, clock, stopped)


def _sleep_until(due: float, clock: LiveClock, stopped: Callable[[], bool]) -> bool:
    while True:
        if stopped():
            return False
        left = due - clock.now()
        if left <= 0:
            return True
        pause(min(left, _LONGEST_PAUSE_S))
