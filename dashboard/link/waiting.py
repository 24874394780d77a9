"""What waits between the network's thread and the window: bounded by number and by bytes."""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from operator import itemgetter

from streamer.wire import (
    About,
    CardMessage,
    ConfigMessage,
    EegPreview,
    MarkerMessage,
    Message,
    Status,
    TriggerMessage,
    VetoMessage,
    VolumeMessage,
)

NOTICES = 256
"""Messages that say who is there, of which so many wait at most."""
EVENTS = 4096
"""Triggers, vetoes and markers, of which so many wait at most."""
MAX_BYTES = 2**25
"""Bytes that all else takes at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message and whose it is."""

    session: str
    message: Message | VolumeMessage
    at: float | None = None
    """When it was sent, SessionTime s; None for one that came just now."""
    came: float = math.nan
    """When it came, s on the clock of the feed; NaN for one of a recording."""


_Entry = tuple[int, int, Arrival]


class Waiting:
    """Arrivals that nobody has taken yet.

    What says who is there, and what happened once and for all (triggers, vetoes, markers), waits apart, where no flood
    of data pushes it out. Of the rest, pictures (EEG and volumes) go first when there is too much, the oldest before
    the newer.

    Parameters
    ----------
    capacity : int
        Results and pictures that wait at most.
    max_bytes : int
        Bytes, as they came, that those take at most.
    """

    def __init__(self, capacity: int = 4096, max_bytes: int = MAX_BYTES) -> None:
        self.bytes = 0
        """That results and pictures take now."""
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._count = 0
        self._notices: deque[_Entry] = deque(maxlen=NOTICES)
        self._events: deque[_Entry] = deque(maxlen=EVENTS)
        self._results: deque[_Entry] = deque()
        self._pictures: deque[_Entry] = deque()

    def put(self, arrival: Arrival, size: int) -> int:
        """Put one of ``size`` bytes; gives how many were dropped for it."""
        self._count += 1
        entry = (self._count, size, arrival)
        match arrival.message:
            case Status() | About() | CardMessage() | ConfigMessage():
                return _into(self._notices, entry)
            case TriggerMessage() | VetoMessage() | MarkerMessage():
                return _into(self._events, entry)
            case EegPreview() | VolumeMessage():
                self._pictures.append(entry)
            case _:
                self._results.append(entry)
        self.bytes += size
        dropped = 0
        while self.bytes > self._max_bytes or len(self._results) + len(self._pictures) > self._capacity:
            _, gone, _ = (self._pictures or self._results).popleft()
            self.bytes -= gone
            dropped += 1
        return dropped

    def take_all(self) -> list[Arrival]:
        """Take all: who is there first, then data in the order of arrival."""
        data = heapq.merge(self._events, self._results, self._pictures, key=itemgetter(0))
        items = [arrival for _, _, arrival in (*self._notices, *data)]
        for queue in (self._notices, self._events, self._results, self._pictures):
            queue.clear()
        self.bytes = 0
        return items


def _into(queue: deque[_Entry], entry: _Entry) -> int:
    full = len(queue) == queue.maxlen
    queue.append(entry)
    return int(full)
