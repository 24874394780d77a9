"""From the loop's hand to a subscriber in another process, and what a broker's death costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import numpy as np

from streamer import wire
from streamer.bench.figures import Figure
from streamer.bench.mqtt_restarts import Restarts, kill_again_and_again
from streamer.bench.mqtt_traffic import N_CHANNELS, Heard, Traffic, listening, publishing_to
from streamer.broker import EmbeddedBroker, Kind, find_mosquitto
from streamer.clock import stopwatch
from streamer.emit.mqtt import MqttSettings
from streamer.emit.preview import preview_bytes_of, preview_of
from streamer.messages import CleanEeg

KILLS = 20
Preview = Literal["json", "binary"]
_P50_MS, _P99_MS = 5.0, 12.0
_DECIDE_S = 0.05
_TRIGGER_S = 0.25
_ARRIVE_S = 0.3
_SENT_HZ = 250.0
"""Rate of the previews that a session sends, whatever its amplifier's."""


def bench_mqtt(folder: Path, progress: Callable[[float], None], *, quick: bool = False) -> list[Figure]:
    """Measure transport for both brokers and both forms of previews, then kill mosquitto 20 times.

    Parameters
    ----------
    folder : Path
        New; the broker that is killed keeps what it owes in here.
    progress : callable
        Takes the fraction done.
    quick : bool
        Shorter, and 5 kills.
    """
    kinds: list[Kind] = ["mosquitto", "amqtt"] if find_mosquitto() else ["amqtt"]
    sent: list[tuple[Kind, Preview, float]] = [(kind, "json", _SENT_HZ) for kind in kinds]
    raw: list[tuple[Kind, Preview, float]] = [(kinds[0], "json", 5000.0), (kinds[0], "binary", 5000.0)]
    cases = sent + raw
    figures: list[Figure] = []
    seconds = 5.0 if quick else 20.0
    for k, (kind, preview, sfreq) in enumerate(cases):
        heard, protocol = _run(_transport(kind, preview, sfreq, seconds))
        figures += _transport_rows(heard, f"{kind} (MQTT {protocol})", preview, sfreq)
        progress(0.5 * (k + 1) / len(cases))
    figures += _preview_rows()
    if "mosquitto" in kinds:
        kills = 5 if quick else KILLS
        found = _run(kill_again_and_again(folder, kills, lambda done: progress(0.5 + 0.5 * done)))
        figures += _restart_rows(found, kills)
    progress(1.0)
    return figures


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    # as a session does
    return uvloop.run(work)


async def _transport(kind: Kind, preview: Preview, sfreq: float, seconds: float) -> tuple[Heard, str]:
    session = f"bench-{kind}-{preview}"
    settings = MqttSettings(preview=preview)
    with EmbeddedBroker(kind=kind) as broker:
        async with listening(broker, session) as heard, publishing_to(broker, session, settings, sfreq) as sink:
            await Traffic(sfreq, sink).run(seconds, _DECIDE_S, _TRIGGER_S, lambda _: None)
            await asyncio.sleep(_ARRIVE_S)
            protocol = sink.protocol
    return heard, protocol


def _transport_rows(heard: Heard, broker: str, preview: Preview, sfreq: float) -> list[Figure]:
    rows: list[Figure] = []
    # more than a session ever sends is measured, but no bar is set for it
    bars = (_P50_MS, _P99_MS) if sfreq == _SENT_HZ else (None, None)
    for kind, qos in (("prediction", 0), ("score", 0), ("trigger", 1)):
        ages = heard.ages_ms(kind) or [float("nan")]
        note = f"QoS {qos}, {len(ages)} messages, beside {preview} previews of {N_CHANNELS} channels at {sfreq:g} Hz"
        for share, bar in zip((50, 99), bars, strict=True):
            value = float(np.percentile(ages, share))
            rows.append(Figure(f"{broker}: put → subscriber, {kind}, p{share}", value, "ms", bar, note=note))
    return rows


def _preview_rows(repeats: int = 100) -> list[Figure]:
    n_times = 25
    data = np.random.default_rng(0).normal(0, 2e-5, (n_times, N_CHANNELS)).astype(np.float32)
    hops = [CleanEeg(data, np.arange(n_times) / 250.0, 0, 0)]
    rows: list[Figure] = []
    ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("JSON", lambda: wire.encode(preview_of(hops, 250.0))),
        ("binary", lambda: preview_bytes_of(hops, 250.0)),
    )
    for name, make in ways:
        took: list[float] = []
        size = len(make())
        for _ in range(repeats):
            start = stopwatch()
            make()
            took.append(1e3 * (stopwatch() - start))
        note = f"{N_CHANNELS} channels, {n_times} samples"
        rows.append(Figure(f"preview as {name}", float(size), "bytes", note=note))
        rows.append(Figure(f"preview as {name}, made in", float(np.median(took)), "ms", note=note))
    return rows


def _restart_rows(found: Restarts, kills: int) -> list[Figure]:
    note = f"mosquitto killed (-9) {kills} times, {found.sent} triggers of QoS 1, subscriber with a session"
    calm, beside = (float(np.percentile(late, 99)) for late in (found.calm_ms, found.beside_ms))
    return [
        Figure("triggers lost", float(found.lost), "", 0.0, note=note),
        Figure("triggers doubled after dropping doubles by id", float(found.doubled), "", 0.0, note=note),
        Figure("deliveries dropped as doubles by id", float(found.repeated), "", note=note),
        Figure("messages that the sink dropped", float(sum(found.dropped.values())), "", note=note),
        Figure("loop's lateness before the kills, p99", calm, "ms", note="beats of 10 ms with previews and decisions"),
        Figure("loop's lateness during the kills, p99", beside, "ms", calm + 1.0, note="bar: as before, and 1 ms"),
    ]
