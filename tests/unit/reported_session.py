"""The folder of a session, as the program writes one, with a course of scores that is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from streamer.config import Config
from streamer.emit.recorder import Recorder
from streamer.emit.results import ResultsSink
from streamer.messages import (
    BoldFrame,
    ChannelInfo,
    Command,
    Feature,
    Flag,
    Prediction,
    Score,
    SessionHeader,
    SessionTime,
    Trigger,
    Veto,
)

CHANNELS = (ChannelInfo("Cz", "eeg"), ChannelInfo("O1", "eeg"), ChannelInfo("ECG", "ecg"))
ZERO = 500.0
TASK = ((20.0, 40.0), (60.0, 80.0), (100.0, 120.0))
OWN = 0.421337
"""What the participant's own score was where sham was shown."""


def level_at(t: float) -> float:
    """0.3 at rest; 0.8, then 0.82, then 0.84 in the blocks of the task."""
    return next((0.8 + 0.02 * k for k, (a, b) in enumerate(TASK) if a <= t < b), 0.3)


def session(
    folder: Path, config: Config | None = None, *, sham: bool = False, header: bool = True, ended: bool = True
) -> Path:
    """Write the folder of a session of two minutes as the program does."""
    config = config or Config()
    plain = config.plain() | ({"sham": {"list": "list.json", "code": "P07"}} if sham else {})
    about = SessionHeader("made", plain, "ab" * 32, "", {"streamer": "1"}, "test", 1000.0, CHANNELS, ("a", "b"))
    if header:
        recorder = Recorder(folder, about)
        recorder.record(0, Command("stop", "by the keyboard", SessionTime(ZERO + 50)))
        recorder.record(1, Command("refused", "3 expired", SessionTime(ZERO + 51)))
        recorder.close(xdf=False)
    if sham:
        (folder / "sham").mkdir(parents=True)
    sink = ResultsSink(folder, ["a", "b"])
    for k in range(1400):
        at, flags = SessionTime(ZERO + k / 10), Flag.MOTION if 600 <= k < 650 else Flag.NONE
        level = level_at(k / 10)
        sink.put(Prediction(k, "score@0123", ("rest", "task"), (1 - level, level), 0.5, {}, at, 0.004, 1.5, flags))
        shown, neutral = (0.5, True) if flags else (level, False)
        own = OWN if sham else level
        sink.put(Score(k, shown, {}, 0.7, neutral, own, at, SessionTime(at + 1), flags))
    at = SessionTime(ZERO + 21)
    sink.put(Trigger(0, 210, "reward", 0.8, at, at, SessionTime(at + 1), "p(task) = 0.8 <above>"))
    sink.put(Feature("phase.occipital", 10, at, 0.09, ("phase (rad)",), (0.1,), (), valid=True))
    sink.put(Veto(620, "MOTION", SessionTime(ZERO + 62)))
    for k in range(70):
        middle = SessionTime(ZERO + 2.0 * k + 1.0)
        values = np.zeros(2, np.float32)
        sink.put(BoldFrame(k, "s", values, values, np.zeros(6), 0.1, 2.0, middle, SessionTime(middle + 1)))
    sink.finish()
    if ended:
        latency = {"sample_to_decision": {"p50": 17.0, "p99": 21.0}, "model": {"p50": 0.1, "p99": 0.2}}
        summary = {"session": "made", "seconds": 140.0, "losses": {"samples": 3, "volumes": 0}, "latency_ms": latency}
        (folder / "summary.json").write_text(json.dumps({**summary, "notes": ["the broker was gone"]}))
        windows = {"windows": 1400, "flags_windows": {"MOTION": 50}}
        (folder / "quality.json").write_text(json.dumps({"schema": 1, "windows": windows}))
    return folder


def events(path: Path) -> Path:
    lines = "".join(f"{a}\t{b - a}\ttask\n{b}\t20\trest\n" for a, b in TASK)
    path.write_text(f"onset\tduration\ttrial_type\n0\t20\trest\n{lines}")
    return path
