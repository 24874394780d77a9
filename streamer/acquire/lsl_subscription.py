"""A source's hold on its LSL stream, from being found to being closed: the same for every kind of stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from streamer.acquire.lsl_find import Wanted, describe, look
from streamer.acquire.lsl_reader import InletReader
from streamer.acquire.mailbox import Mailbox
from streamer.clock import Clock
from streamer.messages import F64, Array, Event, SourceState

T = TypeVar("T")


class Subscription:
    """What is read from one stream, and waits to be fetched.

    Parameters
    ----------
    name : str
        Of the source: what its events say.
    what : str
        Of the source, for messages.
    clock : Clock
    """

    def __init__(self, name: str, what: str, clock: Clock) -> None:
        self._name, self._what, self._clock = name, what, clock
        self._mailbox: Mailbox | None = None
        self._reader: InletReader | None = None

    def refuse_if_open(self) -> None:
        """Raise RuntimeError when it is open already."""
        if self._reader is not None:
            raise RuntimeError(f"the {self._what} source is open already")

    async def open(
        self,
        info: Any,
        wanted: Wanted,
        convert: Callable[[Array, F64, float], None],
        *,
        capacity: int,
        resolve_s: float,
        same: Callable[[Any], bool],
        max_samples: int,
        buffer_s: int,
        silence_s: float | None,
        recover: bool,
        prepare: Callable[[InletReader], None] | None = None,
    ) -> None:
        """Subscribe, let ``prepare`` look at the stream, then begin to read; an error in either ends it all.

        Parameters
        ----------
        capacity : int
            Samples that may wait.
        resolve_s : float
            How long one look for a lost stream takes, s.
        same : callable
            Whether a stream that was found again, and is wanted, may take the lost one's place.
        prepare : callable or None
            Takes the reader before it reads; called in a thread, and may block.

        Others as for ``InletReader``.
        """

        def find_again() -> Any:
            fitting = [i for i in look(resolve_s) if wanted.fits(i) and same(i)]
            return fitting[0] if len(fitting) == 1 else None

        mailbox = self._mailbox = Mailbox(capacity)
        self.put(SourceState(self._name, "found", describe([info]), self._clock.now()))

        def subscribe() -> InletReader:
            return InletReader(
                self._name,
                info,
                self._clock,
                mailbox,
                convert,
                max_samples=max_samples,
                buffer_s=buffer_s,
                silence_s=silence_s,
                find_again=find_again,
                recover=recover,
            )

        self._reader = await asyncio.to_thread(subscribe)
        try:
            if prepare is not None:
                await asyncio.to_thread(prepare, self._reader)
            await asyncio.to_thread(self._reader.start)
        except BaseException:
            await self.close()
            raise

    def put(self, item: Event, n_samples: int = 0) -> None:
        """Add an item that was read, from any thread."""
        assert self._mailbox is not None
        self._mailbox.put(item, n_samples)

    async def items(self, kinds: tuple[type[T], ...]) -> AsyncIterator[T]:
        """Give what was read, in order, until it is closed; an error that a thread met is raised here."""
        if self._mailbox is None:
            raise RuntimeError(f"the {self._what} source is not open: call open() first")
        while (item := await self._mailbox.get()) is not None:
            if not isinstance(item, kinds):
                raise TypeError(f"the {self._what} reader made a {type(item).__name__}")
            yield item

    @property
    def lost_samples(self) -> int:
        """Samples that were received, but not fetched in time."""
        return 0 if self._mailbox is None else self._mailbox.lost_samples

    async def close(self) -> None:
        """End the threads and the subscription. May be called twice."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await asyncio.to_thread(reader.close)
        if self._mailbox is not None:
            self._mailbox.put(None)
