"""One TCP connection to BrainVision Recorder."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from streamer.clock import Clock
from streamer.formats.rda import RdaDecoder, RdaMessage
from streamer.messages import SessionTime

_READ_BYTES = 2**20


class RdaLink:
    """Messages of one connection, each with when it was there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self._decoder = RdaDecoder()
        self._ready: deque[tuple[RdaMessage, SessionTime]] = deque()

    @classmethod
    async def open(cls, host: str, port: int, timeout_s: float, clock: Clock) -> RdaLink:
        """Connect.

        Raises
        ------
        OSError
            Nobody is there, or nobody answers in time.
        """
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, limit=_READ_BYTES)
        return cls(reader, writer, clock)

    async def next(self) -> tuple[RdaMessage, SessionTime]:
        """Wait for the next message.

        Raises
        ------
        FormatError
            What came is no RDA.
        OSError
            The connection was lost or closed.
        """
        while not self._ready:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError("closed by the other side")
            at = self._clock.now()
            self._ready.extend((message, at) for message in self._decoder.feed(data))
        return self._ready.popleft()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
