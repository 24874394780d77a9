"""One step of the loop, the same live and in replay: number, record, feed, hand out.

Feed order is the truth: an event is numbered and given to the recorder before anything is done with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from streamer.clock import Clock
from streamer.contracts import Sink
from streamer.emit.gate import Gate
from streamer.emit.quality import QualityTally
from streamer.engine import EegCore
from streamer.messages import (
    BoldFrame,
    CleanEeg,
    Command,
    EegChunk,
    Event,
    Feature,
    Flag,
    Health,
    Marker,
    Output,
    Prediction,
    Score,
    SessionTime,
    Tick,
    Trigger,
    Veto,
    Volume,
    Window,
)
from streamer.meter import Meter

REFUSED = "refused"
"""Action under which the log keeps that the gate refused a trigger: its number, a blank, the reason."""


STOPPED = "stopped by the operator"
"""What the gate says of a trigger after ``stop``."""


class Journal(Protocol):
    """Where events are recorded; never blocks."""

    def record(self, number: int, event: Event, /) -> None: ...

    def losses(self) -> dict[str, int]: ...


class Loop:
    """Number, record, feed, hand out.

    Parameters
    ----------
    core : EegCore
    clock : Clock
        Live, or moved by the recording.
    gate : Gate
        The last check before a trigger leaves.
    sinks : sequence of Sink
        Each gets every output; a trigger only when the gate admits it.
    journal : Journal or None
        Where events are recorded.
    meter : Meter
    """

    def __init__(
        self, core: EegCore, clock: Clock, gate: Gate, sinks: Sequence[Sink], journal: Journal | None, meter: Meter
    ) -> None:
        self.core = core
        self.clock = clock
        self.gate = gate
        self.sinks = sinks
        self.journal = journal
        self.meter = meter
        self.number = 0
        self.volumes_seen: set[tuple[str, int]] = set()
        self.flags = Flag.NONE
        self.last_eeg: SessionTime | None = None
        self.recording_failed = False
        self.tally = QualityTally()
        """What was good so far and what was not."""

    def handle(self, event: Event) -> list[Output]:
        """Take one event through the whole loop; gives what the core made of it."""
        self._count(event)
        if self.journal is not None:
            self.journal.record(self.number, event)
        self.number += 1
        if isinstance(event, Command):
            self._command(event)
        outputs = self.core.feed(event)
        self.tally.take(outputs, lambda: self.core.lane.bad_channels)
        for output in outputs:
            self._hand_out(output)
        return outputs

    def _command(self, event: Command) -> None:
        match event.action:
            case "stop":
                self.gate.disarm(STOPPED)
            case "arm":
                self.gate.arm()
            case _:
                pass

    def _count(self, event: Event) -> None:
        counts = self.meter.counts
        match event:
            case EegChunk():
                counts["chunks"] += 1
                counts["samples"] += len(event.data)
                self.last_eeg = event.received
                self.meter.add("eeg_transport", event.received - float(event.times[-1]))
            case Marker():
                counts["markers"] += 1
            case Volume():
                counts["volumes"] += 1
                self.volumes_seen.add((event.series, event.index))
            case BoldFrame():
                counts["bold_frames"] += 1
            case Tick():
                self.meter.add("loop_lag", event.lag)
            case _:
                counts["other_events"] += 1

    def _hand_out(self, output: Output) -> None:
        now = self.clock.now()
        counts = self.meter.counts
        match output:
            case Window():
                counts["windows"] += 1
                self.flags = output.flags
                return
            case Prediction():
                counts["decisions"] += 1
                output = replace(output, ready=now)
                self.meter.add("sample_to_decision", now - output.about)
            case Trigger():
                admitted, reason = self.gate.admit(output, now)
                if not admitted:
                    self._log_refusal(output.seq, reason, now)
                    output = Veto(output.window, f"gate: {reason}", output.about)
                    counts["vetoes"] += 1
                else:
                    counts["triggers"] += 1
                    self.meter.add("sample_to_trigger", now - output.about)
            case Veto():
                counts["vetoes"] += 1
            case BoldFrame():
                if output.acquired is not None:
                    self.meter.add("volume_to_frame", now - output.acquired + output.after_onset_s - output.tr)
            case CleanEeg():
                counts["clean_samples"] += len(output.data)
            case Feature():
                counts["features"] += 1
                output = replace(output, ready=now)
            case Score():
                counts["scores"] += 1
                output = replace(output, ready=now)
        for sink in self.sinks:
            sink.put(output)

    def _log_refusal(self, seq: int, reason: str, now: SessionTime) -> None:
        # how late the loop was is not in what was fed: without this line a replay would let the trigger pass
        if self.journal is not None:
            self.journal.record(self.number, Command(REFUSED, f"{seq} {reason}", now))
        self.number += 1

    def lost_volumes(self) -> int:
        """Count acquisition numbers that are missing between the first and the last of each series."""
        lost = 0
        for series in {s for s, _ in self.volumes_seen}:
            indices = [i for s, i in self.volumes_seen if s == series]
            lost += max(indices) - min(indices) + 1 - len(indices)
        return lost

    def losses(self) -> dict[str, int]:
        """Count all that was lost, by name."""
        found = {"samples": self.core.timeline.lost_samples, "volumes": self.lost_volumes()}
        if self.journal is not None:
            found.update({f"recording_{k}": v for k, v in self.journal.losses().items()})
        for sink in self.sinks:
            found.update({f"{sink.name}_{k}": v for k, v in sink.losses().items()})
        return found

    def health(
        self,
        queues: Mapping[str, int],
        notes: tuple[str, ...] = (),
        sizes: Mapping[str, int] | None = None,
        *,
        armed: bool | None = None,
    ) -> Health:
        """Sum up how the loop is.

        Parameters
        ----------
        queues : mapping
            Depth by name.
        notes : tuple of str
        sizes : mapping, optional
            What each queue holds at most.
        armed : bool, optional
            Whether triggers may leave; None where none does.
        """
        return Health(
            state=self.core.state,
            at=self.clock.now(),
            counts=dict(self.meter.counts),
            losses=self.losses(),
            latency_ms=self.meter.latency_ms(),
            queues=dict(queues),
            flags=self.flags | (Flag.RECORDING_LOST if self.recording_failed else Flag.NONE),
            notes=notes,
            eeg=self.core.lane.quality.overall(),
            armed=armed,
            queue_sizes={} if sizes is None else dict(sizes),
        )
