"""A broker that is killed again and again while triggers are sent."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamer.bench.mqtt_traffic import BEAT_S, Traffic, listening, publishing_to
from streamer.broker import EmbeddedBroker
from streamer.emit.mqtt import MqttSettings

SESSION = "bench-restarts"
DOWN_S = 0.3
"""s from the kill to the broker's new start."""
UP_S = 1.2
"""s from there to the next kill."""
_TRIGGER_S = 0.1
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """What came of it."""

    sent: int
    lost: int
    """Triggers that never reached the subscriber."""
    repeated: int
    """Deliveries of a trigger that was there already, with the same id: subscribers drop them."""
    doubled: int
    """Triggers that were doubled after that: one number, two ids."""
    dropped: dict[str, int]
    """What the sink itself counts as lost."""
    calm_ms: list[float]
    """How late the loop's beats were before the kills, ms."""
    beside_ms: list[float]
    """And while the broker was killed and restarted, ms."""


async def kill_again_and_again(folder: Path, kills: int, tell: Callable[[float], None]) -> Restarts:
    """Send ten triggers a second to a subscriber with a session, and kill the broker ``kills`` times.

    Parameters
    ----------
    folder : Path
        The broker keeps what it owes in here.
    kills : int
    tell : callable
        Takes the fraction done.
    """
    span = kills * (DOWN_S + UP_S)
    with EmbeddedBroker(kind="mosquitto", keep=folder / "broker") as broker:
        async with listening(broker, SESSION) as heard:
            async with publishing_to(broker, SESSION, MqttSettings(), 250.0) as sink:
                traffic = Traffic(250.0, sink)
                await traffic.run(span / 2, 0.1, _TRIGGER_S, lambda done: tell(done / 3))
                calm, traffic.late_ms = traffic.late_ms, []
                killing = asyncio.create_task(_kill(broker, kills))
                await traffic.run(span, 0.1, _TRIGGER_S, lambda done: tell((1 + 2 * done) / 3))
                await killing
                async with asyncio.timeout(30.0):
                    while sink.depth or not sink.connected:  # noqa: ASYNC110  the broker is another process
                        await asyncio.sleep(BEAT_S)
                await asyncio.sleep(_SETTLE_S)
            dropped = sink.losses()
    numbers = Counter(heard.numbers("trigger"))
    return Restarts(
        sent=traffic.triggers,
        lost=len(set(range(traffic.triggers)) - set(numbers)),
        repeated=numbers.total() - len(numbers),
        doubled=len(set(numbers) - set(range(traffic.triggers))),
        dropped=dropped,
        calm_ms=calm,
        beside_ms=traffic.late_ms,
    )


async def _kill(broker: EmbeddedBroker, kills: int) -> None:
    for _ in range(kills):
        if broker.pid is not None:
            os.kill(broker.pid, signal.SIGKILL)
        await asyncio.sleep(DOWN_S)
        await asyncio.to_thread(broker.revive)
        await asyncio.sleep(UP_S)
