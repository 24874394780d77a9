"""A marker stream on LSL as a source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from pydantic import Field

from streamer.acquire.lsl_find import Wanted, describe, find, look
from streamer.acquire.lsl_reader import InletReader, Mailbox
from streamer.clock import Clock
from streamer.contracts import Settings
from streamer.errors import StreamRefused
from streamer.messages import F64, Array, ClockOffset, Marker, SessionTime, SourceState

CAPACITY = 10_000


class MarkerStreamSettings(Settings):
    """Which marker stream is taken."""

    name: str | None = None
    """Name of the stream; none: any of the type."""
    source_id: str | None = None
    """Identity of the sender; none: any."""
    type: str = "Markers"
    """Content type of the stream."""
    resolve_s: float = Field(default=1.0, gt=0)
    """How long one look for streams takes, s."""
    recover: bool = True
    """Wait for a lost stream; False ends the session."""
    ignore: tuple[str, ...] = ("NeurofeedbackTriggers",)
    """Names that are not taken unless ``name`` asks for one: our own triggers."""


class LslMarkerSource:
    """A stream of strings; yields ``Marker``, ``ClockOffset`` and ``SourceState``.

    Parameters
    ----------
    settings : MarkerStreamSettings
    clock : Clock
        The LSL clock of this host.
    """

    name = "markers"

    def __init__(self, settings: MarkerStreamSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._mailbox: Mailbox | None = None
        self._reader: InletReader | None = None

    async def open(self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> None:
        """Find the stream and subscribe to it: every marker sent from here on is received.

        Parameters
        ----------
        wait : bool
            Go on looking while there is none.
        on_wait : callable or None
            Called with a message while it is absent: once, and when the list of streams changes.

        Raises
        ------
        StreamNotFound
            There is none and ``wait`` is False.
        StreamRefused
            Several fit, or it does not hold one string a sample.
        SourceError
            It was found, but does not answer.
        """
        from pylsl import cf_string

        if self._reader is not None:
            raise RuntimeError("the marker source is open already")
        s = self.settings
        wanted = Wanted("marker", s.type, s.name, s.source_id, s.ignore)
        info = await find(wanted, s.resolve_s, wait=wait, on_wait=on_wait)
        if info.channel_format() != cf_string or info.channel_count() != 1:
            held = "strings" if info.channel_format() == cf_string else "numbers"
            raise StreamRefused(f"{describe([info])}, holding {held}: expected one string a sample")
        self._mailbox = Mailbox(CAPACITY)
        self._mailbox.put(SourceState(self.name, "found", describe([info]), self._clock.now()))
        self._reader = await asyncio.to_thread(self._subscribe, info, wanted)
        try:
            await asyncio.to_thread(self._reader.start)
        except BaseException:
            await self.close()
            raise

    def _subscribe(self, info: Any, wanted: Wanted) -> InletReader:
        assert self._mailbox is not None

        def find_again() -> Any:
            same = [i for i in look(self.settings.resolve_s) if wanted.fits(i)]
            return same[0] if len(same) == 1 else None

        return InletReader(
            self.name,
            info,
            self._clock,
            self._mailbox,
            self._convert,
            max_samples=256,
            buffer_s=100,
            silence_s=None,
            find_again=find_again,
            recover=self.settings.recover,
        )

    def _convert(self, samples: Array, stamps: F64, offset: float) -> None:
        assert self._mailbox is not None
        for text, stamp in zip(samples[:, 0], stamps, strict=True):
            marker = Marker(
                label=bytes(text).decode("utf-8", errors="replace"),
                at=SessionTime(float(stamp) + offset),
                at_raw=float(stamp),
                sample=None,
                received=self._clock.now(),
            )
            self._mailbox.put(marker, 1)

    async def __aiter__(self) -> AsyncIterator[Marker | ClockOffset | SourceState]:
        if self._mailbox is None:
            raise RuntimeError("the marker source is not open: call open() first")
        while (item := await self._mailbox.get()) is not None:
            if not isinstance(item, Marker | ClockOffset | SourceState):
                raise TypeError(f"the marker reader made a {type(item).__name__}")
            yield item

    def losses(self) -> Mapping[str, int]:
        """Markers that were received, but not fetched in time."""
        return {"markers": 0 if self._mailbox is None else self._mailbox.lost_samples}

    async def close(self) -> None:
        """End the threads and the subscription. May be called twice."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await asyncio.to_thread(reader.close)
        if self._mailbox is not None:
            self._mailbox.put(None)
