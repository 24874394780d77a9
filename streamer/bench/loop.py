"""From the amplifier to those who listen, live and at full size: how long each part of the way takes.

Four processes: the rig (amplifier and scanner), the loop with its BOLD worker, the broker, and this one, which listens.
All times are those of one LSL clock, that of the machine. Of every decision and trigger::

    planted step ── evidence ── about ── declared ── handed over ── transport ── loop ── way out ── in hand

==============  ======================================================================================================
evidence        from the step to the time that the decision speaks of: the envelope rises, and decisions come every
                tenth of a second
declared        from there to the stamp of the last raw sample of the chunk that completed the window: delays of
                filters, which are taken off all times, and the rest of a hop and of a chunk
transport       from that stamp until the loop takes the chunk: the sender's lateness, LSL, reader, queue
loop            from there until the decision is known: alignment, cleaning, features, window, score, decision
way out         from there until a client in another process has it
==============  ======================================================================================================

``sample to decision`` is transport, loop and way out: LSL's own way is in it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from streamer.bench.figures import Figure
from streamer.bench.loop_listener import Listener
from streamer.bench.loop_session import SESSION, STEP_S, STREAM, make_loop_session
from streamer.child import child
from streamer.clock import pause
from streamer.errors import StreamerError
from streamer.messages import F64, EegChunk
from streamer.runlog_read import read_session

_SETTLE_S = 20.0
"""Decisions of the first seconds pay for what is set up lazily, s."""
_LATEST_S = 1.5
"""A trigger later than this after a step is not that step's, s."""
STAGES = ("evidence", "declared", "transport", "loop", "way out")


@dataclass(frozen=True)
class Chunks:
    """Every chunk of a session, in order."""

    first: F64
    """First sample."""
    last_at: F64
    """Stamp of its last sample, s."""
    taken: F64
    """When the loop took it, s."""
    sfreq: float

    def at(self, known: F64) -> Any:
        """Place of the chunk that completed what was known at these times."""
        return np.maximum(0, np.searchsorted(self.taken, known, side="right") - 1)

    def time_of(self, samples: F64) -> F64:
        """Times of samples of the recording that was played."""
        ends = np.append(self.first[1:], np.inf)
        place = np.searchsorted(ends, samples, side="right")
        return self.last_at[place] - (ends[place] - 1 - samples) / self.sfreq


def bench_loop(folder: Path, minutes: float, progress: Callable[[float], None]) -> list[Figure]:
    """Run rig, loop and a listener on one machine, and follow decisions and planted steps through all of it.

    Parameters
    ----------
    folder : Path
        New.
    minutes : float
        Length of the run.
    progress : callable
        Takes the fraction done of the simulation.

    Raises
    ------
    StreamerError
        Nothing arrived.
    """
    # the listener must find the outlets where the other processes have them
    os.environ.setdefault("LSLAPICFG", str(files("streamer") / "lsl_api.cfg"))
    settings, onsets = make_loop_session(folder, minutes, progress)
    (folder / "export").mkdir()
    task = str(folder / "recording" / "task" / "recording.toml")
    with (
        child("run", str(settings), "--json") as run,
        child("rig", task, "--export", str(folder / "export"), "--stream-name", STREAM, "--json") as rig,
    ):
        running = run.wait_for(lambda m: m.get("event") == "running", 90.0)
        with Listener(str(running["broker"]), SESSION) as heard:
            sent = rig.wait_for(lambda m: m.get("state") == "done", 60.0 * minutes + 180.0)
            pause(1.0)
        run.process.send_signal(signal.SIGTERM)
        summary = run.wait_for(lambda m: m.get("event") == "summary", 60.0)
        run.process.wait(120.0)
    if not heard.predictions():
        raise StreamerError(f"no decision arrived: {'; '.join(summary['notes']) or 'nothing was said'}")
    chunks = read_chunks(folder / SESSION)
    lost = int(sent["samples"]) - int(summary["counts"]["samples"])
    return [
        Figure("samples lost", float(lost), "", 0.0),
        Figure("volumes lost", float(summary["losses"].get("volumes", 0)), "", 0.0),
        *_transport(heard, chunks),
        *_truth(heard, chunks, onsets),
    ]


def read_chunks(session: Path) -> Chunks:
    """Read what a recorded session knows of its chunks."""
    log = read_session(session)
    found = [
        (event.first_sample, float(event.times[-1]), event.received)
        for _, event in log.events
        if isinstance(event, EegChunk)
    ]
    first, last_at, taken = (np.array(column, float) for column in zip(*found, strict=True))
    return Chunks(first, last_at, taken, log.header.eeg_sfreq)


def _stages(chunks: Chunks, about: F64, ready: F64, arrived: F64) -> F64:
    """Give declared, transport, loop and way out of each decision, s, shape (n, 4)."""
    place = chunks.at(ready)
    handed, taken = chunks.last_at[place], chunks.taken[place]
    return np.stack([handed - about, taken - handed, ready - taken, arrived - ready], axis=1)


def _transport(heard: Listener, chunks: Chunks) -> list[Figure]:
    rows = [(p.about, p.ready, at) for at, p in heard.predictions() if p.ready is not None]
    about, ready, arrived = (np.array(column, float) for column in zip(*rows, strict=True))
    stages = _stages(chunks, about, ready, arrived)[ready > chunks.taken[0] + _SETTLE_S]
    figures = [Figure("decisions over MQTT", float(len(stages)), "")]
    figures += _shares("sample to decision in hand", stages[:, 1:].sum(axis=1), {50: 5.0, 99: 12.0})
    for name, column in zip(STAGES[1:], stages.T, strict=True):
        figures += _shares(f"decision: {name}", column, {50: None, 99: None})
    known = {p.about: p.ready for _, p in heard.predictions() if p.ready is not None}
    pulses = [(t.about, known[t.about], at) for at, t in heard.pulses() if t.about in known]
    figures.append(Figure("triggers on the LSL outlet", float(len(pulses)), ""))
    if pulses:
        about, ready, arrived = (np.array(column, float) for column in zip(*pulses, strict=True))
        took = _stages(chunks, about, ready, arrived)[:, 1:].sum(axis=1)
        figures += _shares("sample to trigger on LSL", took, {50: None, 99: 10.0})
    return figures


def _truth(heard: Listener, chunks: Chunks, onsets: F64) -> list[Figure]:
    known = {p.about: p.ready for _, p in heard.predictions() if p.ready is not None}
    pulses = [(at, t.about, known[t.about]) for at, t in heard.pulses() if t.about in known]
    begins = chunks.time_of(onsets)
    rows: list[list[float]] = []
    for begin in begins.tolist():
        caught = next((pulse for pulse in pulses if begin < pulse[0] <= begin + _LATEST_S), None)
        if caught is not None:
            arrived, about, ready = caught
            later = _stages(chunks, *(np.array([value]) for value in (about, ready, arrived)))[0]
            rows.append([about - begin, *later.tolist()])
    of_a_step = [any(begin < at <= begin + STEP_S + _LATEST_S for begin in begins.tolist()) for at, *_ in pulses]
    figures = [
        Figure("planted steps", float(len(onsets)), ""),
        Figure("steps with a trigger", 100.0 * len(rows) / max(1, len(onsets)), "%", 90.0, "more"),
        Figure("triggers without a step", float(len(of_a_step) - sum(of_a_step)), ""),
    ]
    if rows:
        stages = np.array(rows)
        figures += _shares("step in the raw EEG to trigger in hand", stages.sum(axis=1), {50: None, 95: 400.0})
        for name, column in zip(STAGES, stages.T, strict=True):
            figures += _shares(f"of it, {name}", column, {50: None, 95: None})
    return figures


def _shares(name: str, seconds: F64, bars: dict[int, float | None]) -> Sequence[Figure]:
    return [Figure(f"{name}, p{p}", 1e3 * float(np.percentile(seconds, p)), "ms", bar) for p, bar in bars.items()]
