"""The operator's window beside the running loop: how fast it draws, how late it is, and what it costs the loop.

Live, the loop runs alone first, then beside the window with its usual places, then beside one that shows all panels at
once, and then alone again: what changes in the course of a session must not be taken for the window's doing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from streamer import wire
from streamer.bench.dashboard_soak import bench_soak
from streamer.bench.dashboard_window import WatchedWindow, on_a_screen
from streamer.bench.figures import Figure
from streamer.bench.loop import (
    Chunks,
    read_chunks,
)
from streamer.bench.loop_listener import Listener
from streamer.bench.loop_session import SESSION, STREAM, make_loop_session
from streamer.calibrate import part_of
from streamer.child import Child, child
from streamer.clock import LiveClock, pause
from streamer.errors import StreamerError, UsageError
from streamer.messages import F64

LAYOUTS: Mapping[str, tuple[str, ...]] = {"usual places": (), "all panels at once": ("--all-panels",)}
LEAST_MINUTES = 2.0
_SETTLE_S = 20.0
"""Decisions of the first seconds pay for what is set up lazily, s."""
_OPENING_S = 8.0
"""A window loads its libraries and draws for the first time, s."""
_LEFT_S = 4.0
_SIMULATING, _LIVE = 0.5, 0.2
_FPS, _FRAME_MS, _PIXELS_MS, _MOVED_MS = 30.0, 33.0, 100.0, 2.0


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, s on the LSL clock."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Beside:
    """What a window was like that ran beside the loop."""

    layout: str
    opening: Span
    open: Span
    cpu_share: float
    """% of a core."""
    memory_mb: float
    said: Mapping[str, Any]
    """Its own summary."""


def bench_dashboard(
    folder: Path, minutes: float, hours: float, speed: float, progress: Callable[[float], None], *, quick: bool = False
) -> list[Figure]:
    """Measure the window beside the loop, then its memory in a session that is sent faster than it would come.

    Parameters
    ----------
    folder : Path
        New.
    minutes : float
        Length of the live run; at least 2.
    hours : float
        Length of the session that memory is watched in.
    speed : float
        How many times as fast it is sent.
    progress : callable
        Takes the fraction done.
    quick : bool
        Leave memory out.

    Raises
    ------
    UsageError
        ``minutes`` is too short.
    StreamerError
        Nothing arrived, or the window does not open.
    """
    if minutes < LEAST_MINUTES:
        raise UsageError(f"--minutes {minutes:g}: expected {LEAST_MINUTES:g} or more for the dashboard")
    settings, _ = make_loop_session(folder, minutes, part_of(progress, 0.0, _SIMULATING))
    with on_a_screen(folder / "home") as screen:
        figures = bench_beside(folder, settings, minutes, screen)
    progress(_SIMULATING + _LIVE)
    if not quick:
        rest = part_of(progress, _SIMULATING + _LIVE, 1.0 - _SIMULATING - _LIVE)
        figures += bench_soak(hours, speed, rest)
    progress(1.0)
    return figures


def bench_beside(folder: Path, settings: Path, minutes: float, screen: str) -> list[Figure]:
    """Run rig and loop, with a window and without one.

    Parameters
    ----------
    folder : Path
        With the simulated session.
    settings : Path
        SESSION.toml.
    minutes : float
        Length of the run.
    screen : str
        Where windows open: the note of what they tell.
    """
    # the listener must find the outlets where the other processes have them
    os.environ.setdefault("LSLAPICFG", str(files("streamer") / "lsl_api.cfg"))
    (folder / "export").mkdir(exist_ok=True)
    task = str(folder / "recording" / "task" / "recording.toml")
    spans = len(LAYOUTS) + 2
    length = (60.0 * minutes - _SETTLE_S - _LEFT_S - len(LAYOUTS) * _OPENING_S) / spans
    with (
        child("run", str(settings), "--json") as run,
        child("rig", task, "--export", str(folder / "export"), "--stream-name", STREAM, "--json") as rig,
    ):
        running = run.wait_for(lambda m: m.get("event") == "running", 90.0)
        broker = str(running["broker"])
        with Listener(broker, SESSION) as heard:
            rig.wait_for(lambda m: m.get("state") == "playing", 60.0)
            pause(_SETTLE_S)
            alone = [_passing(length)]
            beside = [_beside(broker, layout, options, length) for layout, options in LAYOUTS.items()]
            alone.append(_passing(length))
            sent = rig.wait_for(lambda m: m.get("state") == "done", 60.0 * minutes + 180.0)
            pause(1.0)
        summary = _stop(run)
    decisions = [(at, message) for at, message in heard.predictions() if message.ready is not None]
    if not decisions:
        raise StreamerError(f"no decision arrived: {'; '.join(summary['notes']) or 'nothing was said'}")
    took = Decisions.of(read_chunks(folder / SESSION), decisions)
    lost = int(sent["samples"]) - int(summary["counts"]["samples"])
    return [
        Figure("samples lost", float(lost), "", 0.0),
        Figure("volumes lost", float(summary["losses"].get("volumes", 0)), "", 0.0),
        *loop_rows(took, alone, beside),
        *(row for each in beside for row in window_rows(each, screen)),
    ]


def _stop(run: Child) -> dict[str, Any]:
    run.process.send_signal(signal.SIGTERM)
    summary = run.wait_for(lambda m: m.get("event") == "summary", 60.0)
    run.process.wait(120.0)
    return summary


def _passing(seconds: float) -> Span:
    clock = LiveClock()
    begin = clock.now()
    pause(seconds)
    return Span(begin, clock.now())


def _beside(broker: str, layout: str, options: Sequence[str], seconds: float) -> Beside:
    with WatchedWindow(broker, SESSION, *options) as window:
        opening = _passing(_OPENING_S)
        window.mark()
        seen = _passing(seconds)
        share, memory = window.cpu_share(), window.memory_mb
        return Beside(layout, opening, seen, share, memory, window.close())


@dataclass(frozen=True, slots=True)
class Decisions:
    """When decisions arrived at a client, and how long after the sample that completed their window."""

    at: F64
    """LSL time, s."""
    ms: F64

    @classmethod
    def of(cls, chunks: Chunks, heard: Sequence[tuple[float, wire.PredictionMessage]]) -> Decisions:
        """Follow them back; each must say when it was known."""
        rows = [(message.ready, at) for at, message in heard]
        ready, arrived = (np.array(column, float) for column in zip(*rows, strict=True))
        return cls(arrived, 1e3 * (arrived - chunks.last_at[chunks.at(ready)]))

    def within(self, *spans: Span) -> F64:
        """Give how long those took that arrived within any of ``spans``, ms."""
        chosen = np.zeros(len(self.at), bool)
        for span in spans:
            chosen |= (span.begin <= self.at) & (self.at < span.end)
        return self.ms[chosen]


def loop_rows(took: Decisions, alone: Sequence[Span], beside: Sequence[Beside]) -> list[Figure]:
    """Compare the loop beside windows with the loop alone."""
    name = "loop {}: sample to decision in hand, p{}"
    quiet = took.within(*alone)
    figures = [_share(name.format("alone", p), quiet, p) for p in (50, 99)]
    for each in beside:
        there = took.within(each.open)
        figures += [_share(name.format(f"beside {each.layout}", p), there, p) for p in (50, 99)]
        moved = figures[-1].value - figures[1].value
        figures.append(Figure(f"loop beside {each.layout}: p99 moved by", moved, "ms", _MOVED_MS))
    opening = took.within(*(each.opening for each in beside))
    figures.append(_share(name.format("while a window opens", 99), opening, 99))
    return figures


def window_rows(beside: Beside, screen: str) -> list[Figure]:
    """Lay out what a window said of itself."""
    said = beside.said
    figures = [
        Figure("frames per second", _known(said["fps"]), "", _FPS, "more", note=f"{said['frames']} frames {screen}"),
        *_quantiles("frame", said["frame"], {"p50": None, "p95": None, "p99": _FRAME_MS}),
        *_quantiles("message to pixels", said["arrival_to_pixels"], {"p50": None, "p95": _PIXELS_MS}),
        *_quantiles("decision known to pixels", said["ready_to_pixels"], {"p50": None, "p95": None}),
        Figure("messages", float(said["messages"]), ""),
        *(Figure(f"messages {what}", float(said[what]), "", 0.0) for what in ("dropped", "malformed", "rejected")),
        Figure("of a core", beside.cpu_share, "%"),
        Figure("memory", beside.memory_mb, "MB"),
    ]
    return [replace(figure, name=f"{beside.layout}: {figure.name}") for figure in figures]


def _share(name: str, values: F64, p: int) -> Figure:
    value = float(np.percentile(values, p)) if len(values) else float("nan")
    return Figure(name, value, "ms", note=f"{len(values)} decisions")


def _quantiles(name: str, said: Mapping[str, float] | None, bars: Mapping[str, float | None]) -> list[Figure]:
    return [Figure(f"{name}, {p}", _known((said or {}).get(f"{p}_ms")), "ms", bar) for p, bar in bars.items()]


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)
