"""The folder of a short session that was recorded, with a trigger, a veto and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.emit.recorder import Recorder
from streamer.emit.results import ResultsSink
from streamer.messages import (
    ChannelInfo,
    EegChunk,
    Flag,
    Marker,
    Prediction,
    Score,
    SessionHeader,
    SessionTime,
    Trigger,
    Veto,
    Volume,
)


def recorded_session(folder: Path) -> tuple[np.ndarray, float]:
    """A session with a gap in its EEG, two volumes, a trigger and a veto."""
    header = SessionHeader(
        session="s",
        config={"decision": {"target": "task", "threshold_on": 0.7}},
        config_sha256="",
        card_sha256="",
        versions={},
        processor="",
        eeg_sfreq=500.0,
        channels=(ChannelInfo("Cz", "eeg"), ChannelInfo("ECG", "ecg")),
        regions=(),
        calibration={"threshold_on": 0.625},
    )
    recorder = Recorder(folder, header)
    rng = np.random.default_rng(1)
    data = rng.normal(scale=1e-5, size=(2000, 2)).astype(np.float32)
    zero, number = 777.25, 0
    for first in range(0, 2000, 20):
        # a second is lost in the middle
        raw = 50.0 + (first + np.arange(20)) / 500 + (first >= 1000)
        received = SessionTime(float(raw[-1]) - 50.0 + zero)
        recorder.record(number, EegChunk("EEG", data[first : first + 20], raw, raw - 50.0 + zero, first, received))
        number += 1
        if first in {500, 1500}:
            at = raw[4]
            recorder.record(number, Marker("R128", SessionTime(at - 50.0 + zero), at, None, received))
            grid = np.full((4, 5, 3), first, np.uint16)
            volume = Volume(grid, np.diag([3.0, 3, 4, 1]), "a", first // 1000, None, 3.0, (), SessionTime(received + 3))
            recorder.record(number + 1, volume)
            number += 2
    recorder.close(xdf=False)
    assert not recorder.losses()
    sink = ResultsSink(folder, [])
    about = SessionTime(zero + 2.0)
    flags = Flag.MOTION | Flag.GAP
    sink.put(Prediction(7, "m@0", ("rest", "task"), (0.2, 0.8), 0.5, {}, about, 0.004, 2.5, flags))
    sink.put(Trigger(0, 7, "reward", 0.8, about, SessionTime(zero + 2.125), SessionTime(zero + 9), "p", flags))
    sink.put(Veto(6, "flags: WARMING", SessionTime(zero + 1.5)))
    for k in range(20, 26):
        at = SessionTime(zero + k / 10)
        sink.put(Score(k, k / 100, {"EEG": 0.25}, 0.6, k == 22, 0.77, at, SessionTime(at + 1), Flag.NONE))
    sink.finish()
    return data, zero
