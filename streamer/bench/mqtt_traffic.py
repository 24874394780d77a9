"""What a session of 64 channels sends, made up, and a subscriber in another process that takes its time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from streamer import wire
from streamer.broker import EmbeddedBroker
from streamer.clock import LiveClock
from streamer.emit.mqtt import MqttSettings, MqttSink
from streamer.messages import CleanEeg, Prediction, Score, SessionTime, Trigger

N_CHANNELS = 64
BEAT_S = 0.01
"""s between two looks at how late the loop is; EEG is put at every one."""
LIFE_S = 600.0
"""s that a trigger is good for: what is counted is loss, not lateness."""
_READY_S = 20.0
_END_S = 20.0


@dataclass
class Heard:
    """What the subscriber tells at the end."""

    values: dict[str, list[tuple[int, float]]] = field(default_factory=dict[str, list[tuple[int, float]]])
    """By kind, in order of arrival: sequence number and age on arrival, s; of previews the bytes."""

    def ages_ms(self, kind: str) -> list[float]:
        """How old each message of ``kind`` was on arrival, ms."""
        return [1e3 * age for _, age in self.values.get(kind, [])]

    def numbers(self, kind: str) -> list[int]:
        """Sequence numbers of ``kind``, in order of arrival."""
        return [number for number, _ in self.values.get(kind, [])]


@asynccontextmanager
async def listening(broker: EmbeddedBroker, session: str) -> AsyncGenerator[Heard]:
    """Run the subscriber; what it gives is filled in when the block ends."""
    heard = Heard()
    port = broker.url.rsplit(":", 1)[1]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer.bench.mqtt_listener", port, session,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("a child without pipes")
    try:
        async with asyncio.timeout(_READY_S):
            await child.stdout.readline()
        yield heard
        child.stdin.close()
        async with asyncio.timeout(_END_S):
            # it says so again after every reconnection
            while (line := await child.stdout.readline()).startswith(b"ready"):
                pass
            heard.values = {kind: [(n, age) for n, age in found] for kind, found in json.loads(line).items()}
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.terminate()
        await child.wait()


@asynccontextmanager
async def publishing_to(
    broker: EmbeddedBroker, session: str, settings: MqttSettings, sfreq: float
) -> AsyncGenerator[MqttSink]:
    """Run a sink, connected."""
    sink = MqttSink(settings, broker.url, session, LiveClock())
    task = asyncio.create_task(sink.run())
    try:
        async with asyncio.timeout(_READY_S):
            while not sink.connected:  # noqa: ASYNC110  the broker is another process
                await asyncio.sleep(BEAT_S)
        sink.publish_about(about(session, sfreq))
        yield sink
    finally:
        await sink.close()
        await asyncio.gather(task, return_exceptions=True)


def about(session: str, sfreq: float) -> wire.About:
    """Describe the session."""
    return wire.About(
        session=session,
        eeg_sfreq=sfreq,
        channels=[wire.ChannelEntry(f"E{k}", "eeg") for k in range(N_CHANNELS)],
        regions=["brain"],
        classes=["rest", "task"],
        model="none",
        tick_hz=10.0,
        thresholds={},
        versions={},
    )


class Traffic:
    """Puts EEG, predictions, scores and triggers.

    Parameters
    ----------
    sfreq : float
        Of the EEG, Hz.
    sink : MqttSink
    """

    def __init__(self, sfreq: float, sink: MqttSink) -> None:
        self.triggers = 0
        """How many were put."""
        self.late_ms: list[float] = []
        """By how much every beat came late, ms."""
        self._sink = sink
        self._sfreq = sfreq
        self._clock = LiveClock()
        self._sample = 0
        self._decisions = 0
        self._owed = 0.0
        noise = np.random.default_rng(0).normal(0, 2e-5, (int(sfreq * BEAT_S) + 1, N_CHANNELS))
        self._noise = noise.astype(np.float32)

    async def run(self, seconds: float, decide_s: float, trigger_s: float, tell: Callable[[float], None]) -> None:
        """Put EEG at every beat, a decision every ``decide_s`` and a trigger every ``trigger_s``."""
        start = self._clock.now()
        decide, trigger = start + decide_s, start + trigger_s
        due = start
        while due < start + seconds:
            due += BEAT_S
            await self._clock.sleep_until(SessionTime(due))
            now = self._clock.now()
            self.late_ms.append(1e3 * (now - due))
            self._eeg(due)
            if due >= decide:
                decide += decide_s
                self._decide()
            if due >= trigger:
                trigger += trigger_s
                self.trigger()
                tell((due - start) / seconds)

    def trigger(self) -> None:
        """Put one trigger."""
        now = self._clock.now()
        self._sink.put(
            Trigger(self.triggers, self._decisions, "feedback", 0.9, now, now, SessionTime(now + LIFE_S), "measured")
        )
        self.triggers += 1

    def _eeg(self, at: float) -> None:
        self._owed += self._sfreq * BEAT_S
        n_times = int(self._owed)
        self._owed -= n_times
        if n_times:
            times = at + np.arange(-n_times, 0) / self._sfreq
            self._sink.put(CleanEeg(self._noise[:n_times], times, self._sample, self._sample))
            self._sample += n_times

    def _decide(self) -> None:
        now = self._clock.now()
        seq = self._decisions
        self._decisions += 1
        probabilities = (0.25, 0.75)
        self._sink.put(
            Prediction(
                seq, "m@0", ("rest", "task"), probabilities, 0.8, {"eeg": 0.5, "bold": 0.5}, now, 0.0, 1.0, ready=now
            )
        )
        now = self._clock.now()
        self._sink.put(Score(seq, 0.75, {}, 0.7, False, 0.75, now, SessionTime(now + 1.0), ready=now))
