"""A live session without its wires: the loop with recorder and sinks, and events that arrive as they do live."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from streamer.bold_core import BoldCore
from streamer.compose import make_header
from streamer.config import Config
from streamer.emit.clean_eeg_file import CleanEegFile
from streamer.emit.recorder import Recorder
from streamer.emit.results import ResultsSink
from streamer.messages import BoldFrame, EegChunk, Event, Marker, SessionTime, Volume
from streamer.replay import open_origin, prepare


@dataclass(frozen=True)
class Faults:
    """What goes wrong on the way in."""

    seed: int
    lost_chunks: frozenset[int]
    doubled_chunks: frozenset[int]
    step_at: int
    step_s: float
    lost_markers: frozenset[int]
    late_volumes: frozenset[int]
    lost_volumes: frozenset[int]
    doubled_volumes: frozenset[int]


faults = st.builds(
    Faults,
    seed=st.integers(0, 2**16),
    lost_chunks=st.frozensets(st.integers(10, 800), max_size=40),
    doubled_chunks=st.frozensets(st.integers(10, 800), max_size=5),
    step_at=st.integers(100, 10_000),
    step_s=st.sampled_from([0.3, -0.2, 3600.0]),
    lost_markers=st.frozensets(st.integers(0, 30), max_size=4),
    late_volumes=st.frozensets(st.integers(0, 15), max_size=3),
    lost_volumes=st.frozensets(st.integers(0, 15), max_size=2),
    doubled_volumes=st.frozensets(st.integers(0, 15), max_size=2),
)


def arriving(events: Iterator[Event], f: Faults, bold: BoldCore) -> Iterator[Event]:
    """Let events arrive as they do live: in other pieces, late, twice or never; frames some chunks after volumes."""
    rng = np.random.default_rng(f.seed)
    seen: dict[type, int] = {}
    late: list[Volume] = []
    frames: deque[tuple[int, BoldFrame]] = deque()

    def volume(event: Volume) -> Volume:
        due = seen.get(EegChunk, 0) + int(rng.integers(0, 30))
        frames.extend((due, frame) for frame in bold.feed(event) if isinstance(frame, BoldFrame))
        return event

    for event in events:
        kind = type(event)
        number = seen[kind] = seen.get(kind, 0) + 1
        match event:
            case EegChunk():
                step = f.step_s if number > f.step_at else 0.0
                stepped = replace(event, times=event.times + step, times_raw=event.times_raw + step - 5.0)
                if number not in f.lost_chunks:
                    yield from _split(stepped, rng)
                if number in f.doubled_chunks:
                    yield stepped
                if number % 50 == 0:
                    yield from (volume(event) for event in late)
                    late.clear()
                while frames and frames[0][0] <= number:
                    yield frames.popleft()[1]
            case Marker():
                if number not in f.lost_markers:
                    yield event
            case Volume():
                if number in f.late_volumes:
                    late.append(event)
                elif number not in f.lost_volumes:
                    yield volume(event)
                if number in f.doubled_volumes:
                    yield volume(event)
            case BoldFrame():
                pass
            case _:
                yield event


def _split(event: EegChunk, rng: np.random.Generator) -> Iterator[EegChunk]:
    cut = int(rng.integers(0, len(event.data)))
    for a, b in ((0, cut), (cut, len(event.data))):
        if b > a:
            yield replace(
                event,
                data=event.data[a:b],
                times_raw=event.times_raw[a:b],
                times=event.times[a:b],
                first_sample=event.first_sample + a,
            )


def live(task: Path, config: Config, folder: Path, f: Faults, late_s: float = 0.0) -> list[Event]:
    """Run a session with its recorder and its sinks beside the loop, as a live one does.

    Now and then the loop is ``late_s`` late.
    """
    origin = open_origin(task)
    run = prepare(origin, config)
    core = run.loop.core
    recorder = Recorder(folder, make_header(run.parts, "parity", origin.sfreq, origin.channels))
    results = ResultsSink(folder, run.parts.regions)
    clean = CleanEegFile(folder, core.lane.channels, core.lane.sfreq_out)
    run.loop.journal, run.loop.sinks = recorder, [results, clean]
    rng = np.random.default_rng(f.seed + 1)
    received = 0.0
    fed: list[Event] = []
    for event in arriving(run.events, f, run.parts.bold.core()):
        received = max(received, float(event.received)) + float(rng.exponential(0.002))
        stamped = replace(event, received=SessionTime(received))
        late = late_s if late_s and rng.random() < 0.005 else 0.0
        run.clock.jump(SessionTime(received + late))
        run.loop.gate.beat(run.clock.now())
        run.loop.handle(stamped)
        if isinstance(stamped, Marker):
            clean.mark(stamped)
        fed.append(stamped)
    results.finish()
    clean.finish()
    recorder.close(xdf=False)
    assert not recorder.losses()
    assert not results.losses()
    assert not clean.losses()
    return fed
