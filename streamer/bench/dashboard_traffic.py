"""All that a session of 64 channels and volumes of 64 x 64 x 36 sends, made up, at the speed of a given clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from streamer import wire
from streamer.clock import ReplayClock
from streamer.emit.mqtt import MqttSink
from streamer.emit.mqtt_messages import volume_preview
from streamer.emit.mqtt_queue import BYTES, RAW, Outgoing
from streamer.formats.montage import electrode_positions
from streamer.messages import (
    F64,
    BoldFrame,
    CleanEeg,
    Feature,
    Flag,
    Health,
    Prediction,
    Score,
    SessionTime,
    State,
    Trigger,
    Veto,
    VolumeView,
)
from streamer.simulate.montage import EEG_NAMES
from streamer.wire.preview_bytes import encode_preview

SFREQ = 250.0
TR_S = 2.0
GRID = (64, 64, 36)
BEAT_S = 0.1
BLOCK_S = 20.0
CLASSES = ("rest", "task")
REGIONS = ("precuneus", "occipital", "motor left", "motor right", "insula", "cingulate", "frontal", "thalamus")
GROUPS = ("frontal", "central", "parietal", "occipital", "temporal")
BANDS = ("theta", "alpha", "beta")
_HOPS = 5
"""Per beat."""
_WAITING = 8
"""Messages that may wait in the sink when the next are made."""
_WAIT_S = 0.002
_START = 1000.0
_STAGES: tuple[str, ...] = (
    "eeg_transport",
    "align",
    "clean_eeg",
    "features",
    "window",
    "model",
    "decide",
    "sample_to_decision",
)


def session_about(session: str) -> wire.About:
    """Describe the session."""
    places = electrode_positions(EEG_NAMES)
    around = np.linspace(0.0, 2 * np.pi, len(REGIONS), endpoint=False)
    centres = np.stack([50 * np.cos(around), 60 * np.sin(around), np.full(len(REGIONS), 20.0)], axis=1)
    return wire.About(
        session=session,
        eeg_sfreq=SFREQ,
        channels=[
            wire.ChannelEntry(name, "eeg", place.tolist() if np.isfinite(place).all() else None)
            for name, place in zip(EEG_NAMES, places, strict=True)
        ],
        regions=list(REGIONS),
        classes=list(CLASSES),
        model="soak@0",
        tick_hz=1.0 / BEAT_S,
        thresholds={"on": 0.7, "off": 0.55},
        versions={},
        regions_mm=[centre.tolist() for centre in centres],
        tr_s=TR_S,
    )


class SessionTraffic:
    """Puts what a session sends into a sink, beat by beat.

    Everything that would come within a beat of 0.1 s comes at its end: EEG raw and cleaned, a decision, features, and
    from time to time volumes, health, triggers, vetoes and markers.

    Parameters
    ----------
    sink : MqttSink
        Connected; its clock is ``clock``.
    clock : ReplayClock
    """

    def __init__(self, sink: MqttSink, clock: ReplayClock) -> None:
        self._sink = sink
        self._clock = clock
        rng = np.random.default_rng(0)
        self._n_channels = len(EEG_NAMES)
        n_beats = round(10.0 / BEAT_S)
        times = np.arange(round(10.0 * SFREQ)) / SFREQ
        alpha = 2e-5 * np.sin(2 * np.pi * 10.0 * times)[:, None] * rng.uniform(0.2, 1.0, self._n_channels)
        noise = rng.normal(0.0, 1e-5, (len(times), self._n_channels))
        self._eeg = (alpha + noise).astype(np.float32).reshape(n_beats, -1, self._n_channels)
        cells = np.indices(GRID).astype(np.float32)
        middle = (np.array(GRID, np.float32) - 1) / 2
        distance = np.sqrt((((cells - middle[:, None, None, None]) / middle[:, None, None, None]) ** 2).sum(axis=0))
        self._inside = distance < 0.9
        self._mean = np.where(self._inside, 1000.0 * (1.2 - distance), 20.0).astype(np.float32)
        self._maps = rng.normal(0.0, 1.0, (4, *GRID)).astype(np.float32)
        self._affine = np.diag([3.0, 3.0, 3.5, 1.0])
        self._affine[:3, 3] = -self._affine.diagonal()[:3] * middle
        self._rng = rng
        self._beat = 0
        self._triggers = 0
        self._volumes = 0

    async def run(self, seconds: float, tell: Callable[[float], None]) -> None:
        """Send a session of so many seconds; ``tell`` takes at every beat how many are over."""
        for self._beat in range(round(seconds / BEAT_S)):
            over = (self._beat + 1) * BEAT_S
            await self._clock.sleep_until(SessionTime(_START + over))
            # nothing is to be lost on this side: a sink that is behind is waited for
            while self._sink.depth > _WAITING:  # noqa: ASYNC110  the sink tells nobody
                await asyncio.sleep(_WAIT_S)
            await asyncio.sleep(0)
            self._put(self._clock.now(), over)
            tell(over)

    def _put(self, now: SessionTime, over: float) -> None:
        self._put_eeg(now)
        self._decide(now)
        for every_s, put in (
            (1.0, self._put_second), (TR_S, self._put_volume), (7.0, self._fire), (11.0, self._hold_back),
            (BLOCK_S, self._begin_block),
        ):  # fmt: skip
            beats = round(every_s / BEAT_S)
            if (self._beat + 1) % beats == 0:
                put(now, over)

    def _put_eeg(self, now: SessionTime) -> None:
        data = self._eeg[self._beat % len(self._eeg)]
        first = self._beat * len(data)
        times = now - (len(data) - np.arange(len(data))) / SFREQ
        length = len(data) // _HOPS
        for start in range(0, len(data), length):
            hop = slice(start, start + length)
            self._sink.put(CleanEeg(data[hop], times[hop], first + start, first + start + length))
        raw = encode_preview(
            3e6 * data, first_sample=first, t0=float(times[0]), sfreq=SFREQ, flags=Flag.NONE, bad=[], interpolated=[],
            hold_s=0.0, raw=True,
        )  # fmt: skip
        self._sink.add(Outgoing(RAW, raw, content=BYTES))

    def _decide(self, now: SessionTime) -> None:
        task = round(0.5 + 0.45 * math.sin(now / 5.0), 5)
        self._sink.put(
            Prediction(
                self._beat, "soak@0", CLASSES, (1.0 - task, task), 0.4, {"eeg": 0.6, "bold": 0.4}, now, 0.02, 1.5,
                ready=now,
            )
        )  # fmt: skip
        self._sink.put(Score(self._beat, task, {}, 0.7, False, task, now, SessionTime(now + 1.0), ready=now))
        self._feature(now, "phase.occipital", ("envelope_v", "phase_rad"), (1e-5 * task, math.sin(now)))

    def _put_second(self, now: SessionTime, over: float) -> None:
        counts = {"samples": round(over * 5000), "volumes": self._volumes, "triggers": self._triggers}
        latency = dict.fromkeys(_STAGES, (0.5, 2.5))
        queues = {"loop": 1, "mqtt": self._sink.depth}
        eeg = {"gradient_residual": 0.05, "r_confidence": 0.9}
        self._sink.put(Health(State.RUNNING, now, counts, {"samples": 0}, latency, queues, eeg=eeg))
        cells = [f"eeg.{group}.{band}" for group in GROUPS for band in BANDS]
        labels = ("target_index", "eeg", "bold", *cells, *(f"bold.{region}" for region in REGIONS))
        values = (1.0, *self._rng.normal(0.0, 0.5, len(labels) - 1).tolist())
        self._feature(now, "relevance", labels, values)
        pairs = [f"imcoh {a}~{b}" for a, b in combinations(GROUPS, 2)]
        values = (*self._rng.uniform(-0.5, 0.5, len(pairs)).tolist(), 40.0)
        self._feature(now, "connectivity", (*pairs, "n_independent"), values)

    def _put_volume(self, now: SessionTime, _over: float) -> None:
        regions = self._rng.normal(0.0, 0.5, len(REGIONS)).astype(np.float32)
        motion: F64 = 1e-2 * self._rng.normal(size=6) * np.repeat([1.0, 0.01], 3)
        acquired = SessionTime(now - 1.5 * TR_S)
        index = self._volumes
        self._volumes += 1
        means = np.full(len(REGIONS), 900.0, np.float32)
        self._sink.put(BoldFrame(index, "1", regions, means, motion, 0.1, TR_S, acquired, now, z=regions, dvars=1.0))
        change, t_map = (
            np.where(self._inside, self._maps[(index + k) % len(self._maps)], np.nan).astype(np.float32) for k in (0, 1)
        )
        maps = {"change": (change, "%"), "t task": (t_map, "t")}
        view = VolumeView(index, "1", now, self._affine, self._mean, maps)
        self._sink.add(volume_preview(view, blinded=False))

    def _fire(self, now: SessionTime, _over: float) -> None:
        expires = SessionTime(now + 1.0)
        self._sink.put(Trigger(self._triggers, self._beat, "feedback", 0.8, now, now, expires, "above the threshold"))
        self._triggers += 1

    def _hold_back(self, now: SessionTime, _over: float) -> None:
        self._sink.put(Veto(self._beat, "MOTION", now))

    def _begin_block(self, now: SessionTime, over: float) -> None:
        label = CLASSES[round(over / BLOCK_S) % 2]
        self._sink.add(wire.MarkerMessage(label=label, at=now))

    def _feature(self, now: SessionTime, name: str, labels: Sequence[str], values: Sequence[float]) -> None:
        sample = (self._beat + 1) * self._eeg.shape[1]
        self._sink.put(Feature(name, sample, now, 0.1, tuple(labels), tuple(values), (), True, ready=now))
