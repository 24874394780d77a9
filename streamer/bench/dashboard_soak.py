"""Whether the operator's window grows: the messages of hours, sent faster than they would come, and its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamer.bench.dashboard_traffic import SessionTraffic, session_about
from streamer.bench.dashboard_window import WatchedWindow
from streamer.bench.figures import Figure
from streamer.broker import EmbeddedBroker
from streamer.clock import ReplayClock, pause, stopwatch
from streamer.emit.mqtt import MqttSettings, MqttSink

SESSION = "soak"
FILLED_S = 900.0
"""s of the session after which what a window remembers (10 minutes) is full, and replaced."""
_SAMPLE_S = 15.0
"""s of the session between two looks at memory."""
_GROWTH = 5.0
_LAG_MS = 1000.0
"""A window that is further behind is sent more than it can take: what waits is in its memory, too."""
_OPEN_S = 5.0
_READY_S = 20.0
_REST_S = 3.0


def bench_soak(hours: float, speed: float, progress: Callable[[float], None]) -> list[Figure]:
    """Send a session's messages through a real broker to a window that paints everything, on no screen.

    Parameters
    ----------
    hours : float
        Length of the session.
    speed : float
        How many times as fast it is sent.
    progress : callable
        Takes the fraction done.

    Raises
    ------
    StreamerError
        The broker does not start, or the window does not open.
    """
    seconds = 3600.0 * hours
    samples: list[tuple[float, float]] = []

    def watch(window: WatchedWindow, over: float) -> None:
        if not samples or over - samples[-1][0] >= _SAMPLE_S:
            samples.append((over, window.memory_mb))
            progress(over / seconds)

    with (
        EmbeddedBroker() as broker,
        WatchedWindow(broker.url, SESSION, "--offscreen", "--all-panels") as window,
    ):
        pause(_OPEN_S)
        window.mark()
        begin = stopwatch()
        lost = asyncio.run(_send(broker.url, seconds, speed, lambda over: watch(window, over)))
        took = stopwatch() - begin
        share = window.cpu_share()
        pause(_REST_S)
        said = window.close()
    return soak_rows(samples, seconds, took, share, said, lost)


async def _send(url: str, seconds: float, speed: float, tell: Callable[[float], None]) -> int:
    """Send it; gives how many messages the sink dropped."""
    clock = ReplayClock(speed)
    sink = MqttSink(MqttSettings(), url, SESSION, clock)
    task = asyncio.create_task(sink.run())
    try:
        async with asyncio.timeout(_READY_S):
            while not sink.connected:  # noqa: ASYNC110  the broker is another process
                await asyncio.sleep(0.01)
        sink.publish_about(session_about(SESSION))
        sink.publish_status("RUNNING")
        await SessionTraffic(sink, clock).run(seconds, tell)
    finally:
        await sink.close()
        await asyncio.gather(task, return_exceptions=True)
    return sum(sink.losses().values())


def soak_rows(
    samples: Sequence[tuple[float, float]], seconds: float, took: float, share: float, said: dict[str, Any], lost: int
) -> list[Figure]:
    """Lay out what was found.

    Parameters
    ----------
    samples : sequence of (float, float)
        s of the session, and memory, MB.
    seconds : float
        Length of the session.
    took : float
        s that it was sent in.
    share : float
        Of a core, %.
    said : dict
        The window's summary.
    lost : int
        Messages that were not sent.
    """
    second, last = quarters(samples, seconds)
    lag = float((said["arrival_to_pixels"] or {}).get("p95_ms", float("nan")))
    # before that, what is remembered still fills: growth is no leak
    filled = seconds / 4 >= FILLED_S
    note = "" if filled else f"the bar holds from {4 * FILLED_S / 3600:g} hours on: before, what is remembered fills"
    hours = f"{seconds / 3600:g} hours"
    problems = ("dropped", "malformed", "rejected")
    return [
        Figure(f"{hours}: sent at", seconds / took, "times", note="the speed of a session"),
        Figure(f"{hours}: messages", float(said["messages"]), ""),
        Figure(f"{hours}: messages lost on the way to the broker", float(lost), "", 0.0),
        *(Figure(f"{hours}: messages {what}", float(said[what]), "", 0.0) for what in problems),
        Figure(f"{hours}: message to pixels, p95", lag, "ms", _LAG_MS, note="more: it falls behind, lower --speed"),
        Figure(f"{hours}: memory in the second quarter", second, "MB"),
        Figure(f"{hours}: memory in the last quarter", last, "MB"),
        Figure(
            f"{hours}: memory grown from the second quarter to the last", 100.0 * (last / second - 1.0), "%",
            _GROWTH if filled else None, "near", note=note,
        ),
        Figure(f"{hours}: of a core", share, "%"),
        Figure(f"{hours}: frames", float(said["frames"]), ""),
    ]  # fmt: skip


def quarters(samples: Sequence[tuple[float, float]], seconds: float) -> tuple[float, float]:
    """Give the median of memory in the second and in the last quarter of a session; NaN where nothing was seen."""
    at, memory = (np.array(column) for column in zip(*samples, strict=True)) if samples else (np.empty(0), np.empty(0))

    def middle(quarter: int) -> float:
        chosen = memory[(at > quarter * seconds / 4) & (at <= (quarter + 1) * seconds / 4)]
        return float(np.median(chosen)) if len(chosen) else float("nan")

    return middle(1), middle(3)
