"""A run through the loop: the windows that count, and what the run says of the states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.dataset import Block, Inputs
from models.labels import Labels, blocks_of, rest_spans
from models.own_baseline import beginning, measure, over
from streamer.calibration import Calibration
from streamer.config import Config
from streamer.errors import ModelError
from streamer.messages import F64, Event, Flag, Marker, Output, SessionTime, Tick, Window
from streamer.replay import Origin, Replay, open_origin, prepare

EVERY = 2
"""One in this many windows is kept: neighbours share 39 of 40 parts."""
UNTRUSTED = Flag.WARMING | Flag.GAP | Flag.CLOCK_STEP
"""Windows with one of these flags are left out: in the loop they never lead to a trigger either."""
HEARTBEAT_S = 0.1
"""After the last event there is one more tick, so much later, s."""

Progress = Callable[[float], None]
"""Takes the fraction done."""


@dataclass(frozen=True)
class Reading:
    """How recordings become labelled windows."""

    labels: Labels = field(default_factory=Labels)
    baseline: Literal["start", "within"] = "start"
    """Of runs without a calibration. start: their own first part, whose windows are left out. within: all their rest,
    which is not known before their end."""
    baseline_s: float = 60.0
    """start: length of that part, s."""
    windows: Literal["ticks", "volumes", "events"] = "ticks"
    """ticks: one in ``EVERY`` decisions, labelled by the state at its end. volumes: one for each volume of BOLD as soon
    as it is known, labelled by the state in the middle of its acquisition. events: the EEG around each marker, for
    evoked responses; such windows can be judged, not served."""
    calibration: Path | None = None
    """A recording to calibrate on, or the folder of a calibration; none: what the data set itself has."""


@dataclass(frozen=True)
class Replayed:
    """What a run gave."""

    name: str
    windows: tuple[Window, ...]
    at: F64
    """What each window's label is of, s on the recording's axis, shape (n,)."""
    blocks: tuple[Block, ...]
    inputs: Inputs


def replay_run(
    path: Path, config: Config, given: Calibration | None, subject: str, reading: Reading, progress: Progress
) -> Replayed:
    """Take a run through the loop.

    Parameters
    ----------
    path : Path
    config : Config
        Without a model and a calibration.
    given : Calibration or None
        None takes the baselines from the run itself.
    subject : str
    reading : Reading
    progress : callable
        Takes the fraction done.

    Raises
    ------
    ModelError
        No window counts, nothing is labelled, or there is too little for a baseline.
    RecordingError
        It cannot be read.
    """
    origin = open_origin(path)
    share, since = 0.0, 0.0
    calibration = given
    if calibration is None:
        share = 0.5
        calibration = _own_calibration(origin, config, subject, reading, part_of(progress, 0.0, share))
        since = reading.baseline_s if reading.baseline == "start" else 0.0
        origin = open_origin(path)
    tell = part_of(progress, share, 1.0 - share)
    run = prepare(origin, config, calibration)
    has_eeg = origin.sfreq is not None
    zero: float | None = None
    kept: list[Window] = []
    at: list[float] = []
    markers: list[Marker] = []
    flags: Counter[str] = Counter()
    newest = -np.inf
    for event, outputs in _steps(run):
        zero = beginning(origin, event) if zero is None else zero
        if isinstance(event, Marker):
            markers.append(event)
        for window in outputs:
            if not isinstance(window, Window) or zero is None:
                continue
            flags.update(flag.name or "" for flag in window.flags)
            time, wanted = float(window.end), window.seq % EVERY == 0
            if reading.windows == "volumes":
                time = window.end - window.age_bold if window.bold_valid else newest
                # of one volume it is the same at every tick but for rounding
                wanted, newest = time > newest + 1e-3, max(time, newest)
            if wanted and time - zero >= since and _trusted(window, has_eeg=has_eeg):
                kept.append(window)
                at.append(time - zero)
        tell(origin.fraction(event.received))
    if not kept:
        seen = ", ".join(f"{name} {n}" for name, n in flags.most_common()) or "none at all"
        start, end = origin.span
        raise ModelError(
            f"{origin.name}: {end - start:.1f} s gave no window that counts after {since:g} s for a baseline; flags of "
            f"its windows: {seen}"
        )
    blocks = _blocks(origin, subject, markers, zero or 0.0, run.parts.config, reading.labels)
    core = run.loop.core
    inputs = Inputs(
        tuple(c.name for c in core.lane.channels) if has_eeg else (),
        run.parts.regions if origin.recording is None or origin.recording.bold is not None else (),
        core.lane.sfreq_out,
    )
    return Replayed(
        origin.name,
        tuple(kept),
        np.array(at),
        tuple(b for b in blocks if b.onset_s + b.duration_s > since),
        inputs,
    )


def _steps(run: Replay) -> Iterator[tuple[Event, list[Output]]]:
    at = SessionTime(0.0)
    for event, outputs in run.steps():
        yield event, outputs
        at = event.received
    # the last volume is known when nothing else comes: a live loop's heart beats on
    tick = Tick(SessionTime(at + HEARTBEAT_S), 0.0, SessionTime(at + HEARTBEAT_S))
    run.clock.jump(tick.received)
    yield tick, run.loop.handle(tick)


def _trusted(window: Window, *, has_eeg: bool) -> bool:
    if has_eeg:
        return not window.flags & UNTRUSTED
    # without EEG its part of the window stays WARMING for good
    return window.bold_valid and not window.flags & (Flag.GAP | Flag.CLOCK_STEP)


def _own_calibration(origin: Origin, config: Config, subject: str, reading: Reading, progress: Progress) -> Calibration:
    start = reading.baseline == "start"
    measured = measure(origin, config, reading.baseline_s if start else None, progress)
    spans: Sequence[tuple[float, float]] = [(measured.zero_s, measured.zero_s + reading.baseline_s)]
    if not start:
        everything = Labels(events=reading.labels.events, block_s=reading.labels.block_s)
        blocks = _blocks(origin, subject, measured.markers, measured.zero_s, measured.config, everything)
        spans = [
            (a + measured.zero_s, b + measured.zero_s) for a, b in rest_spans(blocks, origin.span[1] - origin.span[0])
        ]
        if not spans:
            raise ModelError(
                f"{origin.name}: no rest for a baseline: expected stretches between blocks, or baseline = start"
            )
    return over(measured, spans)


def _blocks(
    origin: Origin, subject: str, markers: Sequence[Marker], zero_s: float, config: Config, labels: Labels
) -> list[Block]:
    own = () if origin.recording is None else origin.recording.events
    told = [(float(m.at) - zero_s, m.label) for m in markers if m.label != config.clean.triggers.label]
    return blocks_of(origin.name, subject, own, told, origin.span[1] - origin.span[0], labels)


def part_of(progress: Progress | None, start: float, share: float) -> Progress:
    """Make the progress of a part, which begins at ``start`` and is ``share`` of the whole."""

    def tell(fraction: float) -> None:
        if progress is not None:
            progress(start + share * min(1.0, max(0.0, fraction)))

    return tell
