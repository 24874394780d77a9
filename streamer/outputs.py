"""The ways out of a session beside MQTT, as its settings want them, and the watchdog over those that hold a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamer.clock import Clock, wall_time
from streamer.compose import Parts
from streamer.contracts import Sink
from streamer.emit.clean_eeg_file import CleanEegFile
from streamer.emit.gate import Gate
from streamer.emit.lsl_outlet import CleanEegOutlet, ScoreOutlet, TriggerOutlet
from streamer.emit.osc import OscSink
from streamer.emit.results import ResultsSink
from streamer.emit.ttl import TtlSink
from streamer.emit.watchdog import Watchdog
from streamer.engine import EegCore


@dataclass(frozen=True)
class Outputs:
    """What was opened."""

    sinks: tuple[Sink, ...]
    watchdog: Watchdog
    clean: CleanEegFile | None
    """Takes markers, too."""
    ttl: TtlSink | None

    @property
    def problems(self) -> list[str]:
        """What does not work now."""
        return [f"ttl: {self.ttl.problem}"] if self.ttl is not None and self.ttl.problem else []

    async def close(self) -> None:
        """Make everything neutral, write out what waits, and free everything."""
        self.watchdog.close()
        for sink in self.sinks:
            await sink.close()


def open_outputs(
    parts: Parts, name: str, folder: Path, core: EegCore, gate: Gate, clock: Clock, tell: Callable[[str], None]
) -> Outputs:
    """Open the ways out that the settings want.

    Parameters
    ----------
    parts : Parts
    name : str
        Of the session.
    folder : Path
        The session's.
    core : EegCore
    gate : Gate
        Asked again by outputs that hold a trigger until its time.
    clock : Clock
    tell : callable
        Takes what the operator should know, from any thread.

    Raises
    ------
    UsageError
        The folder holds results already.
    """
    config, wanted = parts.config, parts.config.output
    neutral = config.decision.neutral
    # a blinded score has no axes
    axes = () if parts.sham is not None else tuple(config.decision.axes)
    sinks: list[Sink] = []
    if wanted.trigger_stream:
        sinks.append(TriggerOutlet(name))
    score = ScoreOutlet(name, axes, neutral, gate, clock) if wanted.score_stream else None
    osc = OscSink(wanted.osc, neutral, gate, clock, wall_time, tell) if wanted.osc.enabled else None
    ttl = TtlSink(wanted.ttl, gate, clock, tell) if wanted.ttl.port else None
    held = [output for output in (score, osc, ttl) if output is not None]
    sinks += held
    if wanted.clean_eeg_stream and config.eeg.enabled:
        sinks.append(CleanEegOutlet(name, core.lane.channels, core.lane.sfreq_out))
    clean = None
    if wanted.record:
        sinks.append(ResultsSink(folder, parts.regions))
        if config.eeg.enabled:
            clean = CleanEegFile(folder, core.lane.channels, core.lane.sfreq_out)
            sinks.append(clean)
    watchdog = Watchdog(gate, clock, held, tell)
    watchdog.start()
    return Outputs(tuple(sinks), watchdog, clean, ttl)
