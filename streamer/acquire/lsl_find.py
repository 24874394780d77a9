"""Finding one LSL stream among those that are there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamer.errors import StreamNotFound, StreamRefused


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stream must be to be taken."""

    what: str
    """How messages call it: ``EEG``, ``marker``."""
    type: str
    name: str | None
    source_id: str | None
    ignore: tuple[str, ...]
    """Names that are not taken unless ``name`` asks for one."""

    def fits(self, info: Any) -> bool:
        """Whether a stream is one of those wanted."""
        if self.name is None and info.name() in self.ignore:
            return False
        return (
            info.type().casefold() == self.type.casefold()
            and self.name in {None, info.name()}
            and self.source_id in {None, info.source_id()}
        )

    def __str__(self) -> str:
        named = f" and the name {self.name!r}" if self.name is not None else ""
        identified = " and the source_id of the settings" if self.source_id is not None else ""
        return f"{self.what} stream of type {self.type!r}{named}{identified}"


def look(seconds: float) -> list[Any]:
    """List the streams of the network, as ``pylsl.StreamInfo``; takes ``seconds``."""
    # liblsl is loaded by those that open a stream, not by all that read their settings
    from pylsl import resolve_streams

    streams = {info.uid(): info for info in resolve_streams(seconds)}
    return sorted(streams.values(), key=lambda info: (info.name(), info.type()))


def describe(streams: list[Any]) -> str:
    """Tell names, types, channels and rates; neither hosts nor ids, which may name people."""
    if not streams:
        return "no stream is there"
    listed = [
        f"{info.name()!r} (type {info.type()!r}, {info.channel_count()} channels, {_rate(info)})" for info in streams
    ]
    return f"there {'is' if len(listed) == 1 else 'are'} {'; '.join(listed)}"


async def find(wanted: Wanted, resolve_s: float, *, wait: bool, on_wait: Callable[[str], None] | None) -> Any:
    """Find the stream.

    Parameters
    ----------
    wanted : Wanted
    resolve_s : float
        How long one look takes, s.
    wait : bool
        Go on looking while it is absent.
    on_wait : callable or None
        Called with a message when it is absent, and again whenever the streams that are there change.

    Returns
    -------
    info : pylsl.StreamInfo

    Raises
    ------
    StreamNotFound
        It is absent and ``wait`` is False.
    StreamRefused
        More than one stream fits.
    """
    told = ""
    while True:
        streams = await asyncio.to_thread(look, resolve_s)
        fitting = [info for info in streams if wanted.fits(info)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise StreamRefused(
                f"{len(fitting)} streams fit, expected one {wanted}: {describe(fitting)}; "
                "set name or source_id to choose one"
            )
        message = f"no {wanted}; {describe(streams)}"
        if not wait:
            raise StreamNotFound(message)
        if on_wait is not None and message != told:
            told = message
            on_wait(f"{message}; waiting")


def _rate(info: Any) -> str:
    return f"{info.nominal_srate():g} Hz" if info.nominal_srate() else "irregular"
