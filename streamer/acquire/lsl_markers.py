"""A marker stream on LSL as a source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from pydantic import Field

from streamer.acquire.lsl_find import Wanted, describe, find
from streamer.acquire.lsl_subscription import Subscription
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
        self._held = Subscription(self.name, "marker", clock)

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

        self._held.refuse_if_open()
        s = self.settings
        wanted = Wanted("marker", s.type, s.name, s.source_id, s.ignore)
        info = await find(wanted, s.resolve_s, wait=wait, on_wait=on_wait)
        if info.channel_format() != cf_string or info.channel_count() != 1:
            held = "strings" if info.channel_format() == cf_string else "numbers"
            raise StreamRefused(f"{describe([info])}, holding {held}: expected one string a sample")
        await self._held.open(
            info,
            wanted,
            self._convert,
            capacity=CAPACITY,
            resolve_s=s.resolve_s,
            same=lambda _: True,
            max_samples=256,
            buffer_s=100,
            silence_s=None,
            recover=s.recover,
        )

    def _convert(self, samples: Array, stamps: F64, offset: float) -> None:
        for text, stamp in zip(samples[:, 0], stamps, strict=True):
            marker = Marker(
                label=bytes(text).decode("utf-8", errors="replace"),
                at=SessionTime(float(stamp) + offset),
                at_raw=float(stamp),
                sample=None,
                received=self._clock.now(),
            )
            self._held.put(marker, 1)

    def __aiter__(self) -> AsyncIterator[Marker | ClockOffset | SourceState]:
        return self._held.items((Marker, ClockOffset, SourceState))

    def losses(self) -> Mapping[str, int]:
        """Markers that were received, but not fetched in time."""
        return {"markers": self._held.lost_samples}

    async def close(self) -> None:
        """End the threads and the subscription. May be called twice."""
        await self._held.close()
