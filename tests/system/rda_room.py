"""A BrainVision Recorder that plays numbered samples on loopback, and a source that listens to it."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import numpy as np

from streamer.acquire.rda import RdaSettings, RdaSource
from streamer.acquire.recording import RecordedMarker
from streamer.clock import LiveClock
from streamer.messages import ChannelInfo, EegChunk, Marker, SourceState
from streamer.rig.rda_server import RdaServer

SFREQ = 1000.0
BLOCK = 20
KINDS = {"Fz": "eeg", "Cz": "eeg", "EOG1": "eog", "ECG": "ecg"}
UV = np.float32(1e-6)


@dataclass
class Numbered:
    """A recording whose every sample carries its own number, µV, on top of a different level per channel."""

    n_samples: int = 60_000
    markers: tuple[RecordedMarker, ...] = ()
    names: tuple[str, ...] = tuple(KINDS)
    sfreq: float = SFREQ
    size_uv: float = 1.0

    @property
    def channels(self):
        return tuple(ChannelInfo(name, KINDS.get(name, "eeg")) for name in self.names)

    def read(self, start, stop):
        number = np.arange(start, stop, dtype=np.float64)[:, None] % 20_000
        return ((number + 20 * np.arange(len(self.names))) * self.size_uv * 1e-6).astype(np.float32)

    def times(self, start, stop):
        at = np.arange(start, stop) / self.sfreq
        return at + 7.0, at


def markers(*samples, label="R128", kind="Response"):
    return tuple(RecordedMarker(label, s / SFREQ, s / SFREQ, s, kind) for s in samples)


class Room:
    """A Recorder, a source that listens to it, and what came."""

    def __init__(self, eeg=None, *, server=True, **settings):
        self.eeg = eeg if eeg is not None else Numbered()
        self.server = RdaServer(self.eeg, port=0) if server is True else server
        given = {"silence_s": 0.4, "connect_s": 0.4, "port": self.server.port, **settings}
        self.source = RdaSource(RdaSettings(**given), LiveClock())
        self.events = []

    async def __aenter__(self):
        self.description = await self.source.open(wait=False)
        return self

    async def __aexit__(self, *_):
        await self.source.close()
        await asyncio.to_thread(self.server.close)

    async def take(self, until, seconds=10.0):
        """Collect events until the newest satisfy a condition."""
        async with asyncio.timeout(seconds):
            async for event in self.source:
                self.events.append(event)
                if until(event):
                    return
        raise AssertionError("the source ended")

    async def samples(self, last, seconds=10.0):
        """Collect until the sample that carries this number has come."""
        await self.take(lambda e: isinstance(e, EegChunk) and number(e)[-1] >= last, seconds)

    async def state(self, state):
        await self.take(lambda e: isinstance(e, SourceState) and e.state == state)
        return self.events[-1].detail

    @property
    def chunks(self):
        return [event for event in self.events if isinstance(event, EegChunk)]

    @property
    def marked(self):
        return [(event.label, event.sample) for event in self.events if isinstance(event, Marker)]

    @property
    def states(self):
        return [event.state for event in self.events if isinstance(event, SourceState)]


async def eventually(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the server's thread does sets no event of this loop
            await asyncio.sleep(0.01)


async def play(server, stop):
    """Send samples when they were taken; gives when the first one was."""
    clock = LiveClock()
    t0 = clock.now() + 0.1
    for start in range(0, stop, BLOCK):
        await clock.sleep_until(t0 + (start + BLOCK) / SFREQ)
        server.send(start, start + BLOCK)
    return t0


def number(chunk):
    return np.rint(chunk.data[:, 0] / UV).astype(int)


class RdaServerOf:
    """A server for the length of a ``with``."""

    def __init__(self, eeg, **kwargs):
        self.server = RdaServer(eeg, port=0, **kwargs)

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self.server.close()


async def answering(raw):
    """Listen as something that says these bytes to everyone and nothing more."""

    async def serve(reader, writer):
        writer.write(raw)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
