"""What waits to be sent: bounded; triggers leave first and are the last to be dropped."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from streamer import wire
from streamer.messages import BoldFrame, CleanEeg, Feature, Health, Prediction, Score, Trigger, Veto

Item = Prediction | Score | Veto | BoldFrame | Feature | Health | wire.QualityMessage | list[CleanEeg]
"""What may wait beside triggers; a list is one preview: hops without a hole, with the same bad channels."""

_ROUNDING_S = 1e-6


class Outbox:
    """A bounded queue; the oldest goes when it is full, and is counted.

    Parameters
    ----------
    size : int
        Messages at most.
    """

    def __init__(self, size: int) -> None:
        self.lost: Counter[str] = Counter()
        """Messages dropped so far, by kind."""
        self._size = size
        self._triggers: deque[Trigger] = deque()
        self._others: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._triggers) + len(self._others)

    def add(self, item: Trigger | Item) -> None:
        """Queue one; when that is one too many, the oldest that is no trigger goes, then the oldest trigger."""
        if isinstance(item, Trigger):
            self._triggers.append(item)
        else:
            self._others.append(item)
        if len(self) > self._size:
            self.lost[kind_of(self._others.popleft() if self._others else self._triggers.popleft())] += 1

    def take(self) -> Trigger | Item | None:
        """Take the next one out: triggers first."""
        if self._triggers:
            return self._triggers.popleft()
        return self._others.popleft() if self._others else None

    def put_back(self, item: Trigger | Item) -> None:
        """Make one the next again."""
        if isinstance(item, Trigger):
            self._triggers.appendleft(item)
        else:
            self._others.appendleft(item)

    def drop_all(self) -> None:
        """Give all up, and count it."""
        self.lost.update(kind_of(item) for item in (*self._triggers, *self._others))
        self._triggers.clear()
        self._others.clear()


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
    return "preview" if isinstance(item, list) else type(item).__name__.lower().removesuffix("message")
