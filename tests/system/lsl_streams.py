"""LSL outlets on loopback whose samples carry their own number, and how to collect what a source makes of them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import numpy as np
from pylsl import StreamInfo, StreamOutlet, cf_float32, local_clock

from streamer.acquire.lsl import EegStreamSettings, LslEegSource
from streamer.clock import LiveClock
from streamer.messages import EegChunk

SFREQ = 500.0


def eeg_outlet(
    name, units=("microvolts",) * 3, kinds=("EEG", "EEG", "ECG"), sfreq=SFREQ, source_id=None, fmt=cf_float32
):
    info = StreamInfo(name, "EEG", len(units), sfreq, fmt, uuid4().hex if source_id is None else source_id)
    channels = info.desc().append_child("channels")
    for number, (unit, kind) in enumerate(zip(units, kinds, strict=True)):
        channel = channels.append_child("channel")
        channel.append_child_value("label", f"E{number}")
        channel.append_child_value("type", kind)
        if unit:
            channel.append_child_value("unit", unit)
    return StreamOutlet(info, chunk_size=0, max_buffered=60)


def source_for(name, **kwargs):
    return LslEegSource(EegStreamSettings(name=name, resolve_s=0.6, **kwargs), LiveClock())


def samples(start, stop, n_channels=3):
    # every sample carries its own number, on top of 20 µV that tells the unit
    number = np.arange(start, stop, dtype=np.float32)[:, None]
    return np.ascontiguousarray(number + 20 * np.arange(n_channels, dtype=np.float32))


def push(outlet, start, stop):
    block = samples(start, stop)
    t0 = local_clock()
    for at in range(0, len(block), 7):
        outlet.push_chunk(block[at : at + 7], t0 + (at + min(7, len(block) - at) - 1) / SFREQ)


async def take(source, until, seconds=10.0):
    events = []
    async with asyncio.timeout(seconds):
        async for event in source:
            events.append(event)
            if until(events):
                return events
    raise AssertionError("the source ended")


async def eventually(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what liblsl's threads do sets no event
            await asyncio.sleep(0.02)


def n_samples(events):
    return sum(len(event.data) for event in events if isinstance(event, EegChunk))


def stamped(outlet, start, stop, stamps):
    """Send samples that carry their own number, each with its own stamp."""
    outlet.push_chunk(samples(start, stop), np.asarray(stamps, dtype=float).tolist())


async def received(source, n, seconds=10.0):
    """Collect events until n samples have come; gives the events and, joined, data, raw stamps and times."""
    events = await take(source, lambda events: n_samples(events) >= n, seconds)
    chunks = [event for event in events if isinstance(event, EegChunk)]
    return events, *(np.concatenate([getattr(c, key) for c in chunks]) for key in ("data", "times_raw", "times"))
