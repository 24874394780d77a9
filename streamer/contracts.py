"""The three contracts, and the base of all settings.

A **Source** is an async iterator of events that never blocks the loop. A **Stage** is frozen settings + state + a plain
callable. A **Sink** takes outputs; it has a bounded queue and says what it does when the queue is full.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from streamer.messages import Event, Output

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Settings(BaseModel):
    """Frozen settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@runtime_checkable
class Source(Protocol):
    """Where events come from.

    Iterating yields events whose ``received`` the loop stamps anew. The iterator ends when the source is exhausted (a
    recording) or closed; a live source that is lost yields a ``SourceState`` and goes on trying.
    """

    name: str

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def close(self) -> None:
        """Free everything: threads, sockets, processes. May be called twice."""
        ...


class Stage(Protocol[In_contra, Out_co]):
    """A pure step: same settings and same inputs in the same order give the same outputs."""

    def __call__(self, item: In_contra, /) -> Out_co: ...


@runtime_checkable
class Sink(Protocol):
    """Where outputs go. ``put`` never blocks and never raises for a full queue: it counts what it drops."""

    name: str

    def put(self, item: Output, /) -> None: ...

    def losses(self) -> Mapping[str, int]:
        """Items dropped so far, by kind."""
        ...

    async def close(self) -> None:
        """Write out what is queued, then free everything. May be called twice."""
        ...
