"""What waits to be sent: bounded; triggers leave first and are the last to be dropped, previews the first."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from streamer import wire
from streamer.messages import BoldFrame, CleanEeg, Feature, Health, Prediction, Score, SessionTime, Trigger, Veto

JSON = "application/json"
BYTES = "application/octet-stream"
NEVER = SessionTime(math.inf)
RAW = "preview/raw.bin"
VOLUME = "preview/volume"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message, ready to be sent."""

    name: str
    """Of its topic."""
    payload: bytes
    qos: int = 0
    expires: SessionTime = NEVER
    """Of no use after this time."""
    content: str = JSON


Item = (
    Prediction
    | Score
    | Veto
    | BoldFrame
    | Feature
    | Health
    | wire.QualityMessage
    | wire.MarkerMessage
    | list[CleanEeg]
    | Outgoing
)
"""What may wait beside triggers; a list is one preview: hops without a hole, with the same bad channels; what is ready
to be sent already is a preview, too."""

_ROUNDING_S = 1e-6


class Outbox:
    """A bounded queue; what is only looked at goes first when it is full, then the oldest, and all is counted.

    Parameters
    ----------
    size : int
        Messages at most.
    """

    def __init__(self, size: int) -> None:
        self.lost: Counter[str] = Counter()
        """Messages dropped so far, by kind."""
        self._size = size
        self._ranks: tuple[deque[Trigger | Item], ...] = (deque(), deque(), deque())
        """Triggers, results, previews."""

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def add(self, item: Trigger | Item) -> None:
        """Queue one; when that is one too many, the oldest preview goes, then the oldest result, then a trigger.

        Of volumes the newest alone waits.
        """
        older = self._volume() if _is_volume(item) else None
        if older is not None:
            self._ranks[-1].remove(older)
            self.lost[kind_of(older)] += 1
        self._ranks[_rank(item)].append(item)
        if len(self) > self._size:
            least = next(rank for rank in reversed(self._ranks) if rank)
            self.lost[kind_of(least.popleft())] += 1

    def take(self) -> Trigger | Item | None:
        """Take the next one out: triggers first, previews last."""
        return next((rank.popleft() for rank in self._ranks if rank), None)

    def put_back(self, item: Trigger | Item) -> None:
        """Make one the next of its rank again, unless a newer volume waits."""
        if _is_volume(item) and self._volume() is not None:
            self.lost[kind_of(item)] += 1
        else:
            self._ranks[_rank(item)].appendleft(item)

    def drop_all(self) -> None:
        """Give all up, and count it."""
        while (item := self.take()) is not None:
            self.lost[kind_of(item)] += 1

    def _volume(self) -> Trigger | Item | None:
        return next((item for item in self._ranks[-1] if _is_volume(item)), None)


def _rank(item: Trigger | Item) -> int:
    return 0 if isinstance(item, Trigger) else 2 if isinstance(item, list | Outgoing) else 1


def _is_volume(item: Trigger | Item) -> bool:
    return isinstance(item, Outgoing) and item.name == VOLUME


class Gathering:
    """Joins hops of cleaned EEG to previews.

    Parameters
    ----------
    span_s : float
        Length of a preview, s.
    give : callable
        Takes each preview: hops without a hole, with the same bad channels.
    """

    def __init__(self, span_s: float, give: Callable[[list[CleanEeg]], None]) -> None:
        self._span_s = span_s
        self._give = give
        self._hops: list[CleanEeg] = []

    def add(self, hop: CleanEeg) -> None:
        """Take one hop."""
        if not len(hop.data):
            return
        last = self._hops[-1] if self._hops else None
        if last is not None and (last.first_sample + len(last.data) != hop.first_sample or last.bad != hop.bad):
            self.flush()
        self._hops.append(hop)
        if hop.times[-1] - self._hops[0].times[0] >= self._span_s - _ROUNDING_S:
            self.flush()

    def flush(self) -> None:
        """Give what there is."""
        if self._hops:
            hops, self._hops = self._hops, []
            self._give(hops)


def kind_of(item: Trigger | Item) -> str:
    """Name what it is, in lower case."""
    match item:
        case list():
            return "preview"
        case Outgoing():
            return item.name.partition(".")[0].replace("/", "_")
        case _:
            return type(item).__name__.lower().removesuffix("message")
