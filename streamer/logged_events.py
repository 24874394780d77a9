"""A session's own log as events: in feed order, with BOLD frames made anew and what the gate refused."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace

from streamer.bold_core import BoldCore
from streamer.config import Config
from streamer.emit.gate import LoggedGate
from streamer.loop import REFUSED
from streamer.messages import BoldFrame, Command, Event, SourceState, Volume
from streamer.runlog_read import SessionLog


def log_events(log: SessionLog, core: BoldCore) -> Iterator[Event]:
    """Give a log's events in feed order; every BOLD frame is made anew and fed where the log has it."""
    # a volume that came twice was cleaned twice
    made: defaultdict[tuple[str, int], deque[BoldFrame]] = defaultdict(deque)
    framed = False
    for _, event in log.events:
        match event:
            case Volume():
                for frame in core.feed(event):
                    if isinstance(frame, BoldFrame):
                        made[frame.series, frame.index].append(frame)
                yield event
            case SourceState(source="bold", state="back"):
                # the worker had died: the new one knew its reference if a frame had come of it
                core.restart(keep_reference=framed)
                yield event
            case BoldFrame():
                framed = True
                again = made.pop((event.series, event.index), None)
                # a frame whose volume the log lost is fed as it was logged
                yield event if again is None else replace(again.popleft(), received=event.received)
                if again:
                    made[event.series, event.index] = again
            case _:
                yield event


def with_refusals(events: Iterator[Event], gate: LoggedGate) -> Iterator[Event]:
    """Tell the gate what it refused before the event from which the trigger came."""
    held: Event | None = None
    for event in events:
        if isinstance(event, Command) and event.action == REFUSED:
            seq, _, reason = event.text.partition(" ")
            gate.refuse(int(seq), reason)
            continue
        if held is not None:
            yield held
        held = event
    if held is not None:
        yield held


def decides_as_logged(config: Config, log: SessionLog) -> bool:
    """Whether triggers are made by the settings that they were made by in the session."""
    now = config.plain()
    # the code stands for the section: its paths are others in a replay, since a session keeps its own copies
    if (log.header.config.get("sham") or {}).get("code", "") != config.sham.code:
        return False
    return all(log.header.config.get(section) == now[section] for section in ("decision", "gate"))
