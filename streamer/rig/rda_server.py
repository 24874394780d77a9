"""The amplifier as BrainVision Recorder sends it: one TCP stream of numbered blocks, with the markers that lie in them.

The server lives on an event loop in a thread of its own; its methods may be called from any one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from bisect import bisect_left
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np

from streamer.acquire.recording import EegPart
from streamer.errors import SourceError
from streamer.formats.rda import RdaData, RdaMarker, RdaMessage, RdaStart, RdaStop, encode
from streamer.messages import Array

_MICROVOLTS_PER_VOLT = 1e6
_TOO_FAR_BEHIND = 64 * 2**20
"""A client that has not taken so many bytes is hung up on."""
_KIND = "Response"
_HANG_UP_S = 1.0

T = TypeVar("T")


class RdaServer:
    """Plays an EEG part to everyone who connects.

    Blocks have one length and are numbered from 1 whenever monitoring starts; each is sent when its last sample was
    handed over, with the markers that lie in it. Samples that are passed over are lost: the blocks that would have held
    them are numbered and not sent.

    Parameters
    ----------
    eeg : EegPart
    host : str
        Address to listen at.
    port : int
        0 takes any that is free: see ``port``.
    bits : int
        32 sends floats, 16 integers, held at their rails.
    resolution_uv : float
        µV per unit of a sample.
    block_s : float
        Length of a block, s; Recorder's is 20 ms.
    lookup : bool
        Send the part's own markers in their blocks; False sends those alone that ``mark`` is told in time.

    Raises
    ------
    SourceError
        The port cannot be listened at.
    """

    def __init__(
        self,
        eeg: EegPart,
        host: str = "127.0.0.1",
        port: int = 51244,
        *,
        bits: int = 32,
        resolution_uv: float = 0.1,
        block_s: float = 0.02,
        lookup: bool = True,
    ) -> None:
        if bits not in {16, 32}:
            raise ValueError(f"bits is {bits}: expected 16 or 32")
        self.late_markers = 0
        """X"""
        self.points = max(1, round(block_s * eeg.sfreq))
        """Samples of a block."""
        self._eeg, self._bits, self._lookup = eeg, bits, lookup
        self._start = RdaStart(
            1e6 / eeg.sfreq, (resolution_uv,) * len(eeg.channels), tuple(c.name for c in eeg.channels)
        )
        volts = np.array([_MICROVOLTS_PER_VOLT if c.unit == "V" else 1.0 for c in eeg.channels])
        self._scale = volts / resolution_uv
        self._own = sorted((m.sample, m.label, m.kind or _KIND) for m in eeg.markers if m.sample is not None)
        self._told: list[tuple[int, str, str]] = []
        self._block = 1
        self._first: int | None = None
        self._have = 0
        self._dropped: set[int] = set()
        self._monitoring = True
        self._greeting: bytes | None = encode(self._start)
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._loop.run_forever, name="rda-server", daemon=True
        )
        self._thread.start()
        self._server: asyncio.Server | None = None
        try:
            self._server = self._ask(asyncio.start_server(self._serve, host, port))
        except OSError as error:
            self.close()
            raise SourceError(f"cannot listen at {host}:{port} as BrainVision Recorder: {error.strerror}") from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        """Where it listens."""

    def begin(self, t0: float) -> None:
        """Take that playing begins; RDA says no times, and needs none."""

    def heard(self) -> bool:
        """Tell whether somebody listens."""
        return bool(self._clients)

    def listeners(self) -> tuple[bool, bool]:
        """Tell whether somebody listens to the EEG, and to the markers: they are one stream."""
        return self.heard(), self.heard()

    def send(self, start: int, stop: int, offset_s: float = 0.0, ppm: float = 0.0) -> None:  # noqa: ARG002 - no stamps
        """Hand over samples ``start`` to ``stop`` (excluded); those that were handed over before are left out."""
        if not self._monitoring:
            return
        if self._first is None:
            self._first = self._have = start
        if start > self._have:
            lost = -(-(start - self._first) // self.points)
            self._block += lost
            self._first += lost * self.points
        self._have = max(self._have, stop)
        last = self._have == self._eeg.n_samples
        while self._first < self._have and (last or self._first + self.points <= self._have):
            stop = min(self._first + self.points, self._have)
            self._send_block(self._first, stop)
            self._first = stop

    def mark(self, label: str, at_s: float, offset_s: float = 0.0, ppm: float = 0.0) -> None:  # noqa: ARG002 - no stamps
        """Add a marker of this time on the recording's axis, s, before its block is sent.

        The part's own are in their blocks already, unless ``lookup`` is False.
        """
        near = at_s - 0.5 / self._eeg.sfreq
        sample = bisect_left(range(self._eeg.n_samples), near, key=lambda i: float(self._eeg.times(i, i + 1)[1][0]))
        kind = next((kind for at, own, kind in self._own if (at, own) == (sample, label)), None)
        if kind is not None and self._lookup:
            return
        if self._first is not None and sample < self._first:
            self.late_markers += 1
            return
        self._told.append((sample, label, _KIND if kind is None else kind))

    def drop(self, *blocks: int) -> None:
        """Lose the blocks of these numbers: they are counted and not sent."""
        self._dropped.update(blocks)

    def stop_monitoring(self) -> None:
        """End monitoring: what is handed over until it starts again is not sent."""
        self._monitoring = False
        self._tell(RdaStop())

    def start_monitoring(self) -> None:
        """Begin monitoring; blocks are numbered anew."""
        self._monitoring, self._first, self._block = True, None, 1
        self._tell(self._start)

    def cut(self) -> None:
        """Break all connections, as a network does."""
        self._ask(self._hang_up(abort=True))

    def close(self) -> None:
        """Send what is on its way, and leave the network. May be called twice."""
        if self._thread is None:
            return
        if self._server is not None:
            self._server, server = None, self._server
            self._loop.call_soon_threadsafe(server.close)
        self._ask(self._hang_up(abort=False))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None
        self._loop.close()

    def _send_block(self, start: int, stop: int) -> None:
        number, self._block = self._block, self._block + 1
        due = [marker for marker in self._told if start <= marker[0] < stop]
        self.late_markers += sum(marker[0] < start for marker in self._told)
        self._told = [marker for marker in self._told if marker[0] >= stop]
        if self._lookup:
            low, high = (bisect_left(self._own, at, key=lambda marker: marker[0]) for at in (start, stop))
            due = sorted([*due, *self._own[low:high]])
        if number in self._dropped:
            return
        stored: Array = self._eeg.read(start, stop) * self._scale
        if self._bits == 16:
            stored = np.clip(np.rint(stored), -32768, 32767)
        markers = tuple(RdaMarker(sample - start, 1, -1, kind, label) for sample, label, kind in due)
        self._tell(RdaData(number, stored.astype(np.int16 if self._bits == 16 else np.float32), markers))

    def _tell(self, message: RdaMessage) -> None:
        self._loop.call_soon_threadsafe(self._broadcast, message)

    def _broadcast(self, message: RdaMessage) -> None:
        raw = encode(message)
        if not isinstance(message, RdaData):
            self._greeting = raw if isinstance(message, RdaStart) else None
        for writer in tuple(self._clients):
            if writer.is_closing() or writer.transport.get_write_buffer_size() > _TOO_FAR_BEHIND:
                writer.transport.abort()
                self._clients.discard(writer)
            else:
                writer.write(raw)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._greeting is not None:
            writer.write(self._greeting)
        self._clients.add(writer)
        with contextlib.suppress(OSError):
            # clients say nothing: what ends is the connection
            while await reader.read(4096):
                pass
        self._clients.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._tasks.discard(task)

    async def _hang_up(self, *, abort: bool) -> None:
        for writer in tuple(self._clients):
            writer.transport.abort() if abort else writer.close()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_HANG_UP_S)
            for writer in tuple(self._clients):
                writer.transport.abort()
            if left:
                await asyncio.wait(left)

    def _ask(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()
