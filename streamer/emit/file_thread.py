"""One thread that writes files, behind a bounded queue: the loop never waits for a disk."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from queue import Full, Queue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")

_ALIVE_S = 1.0

_log = logging.getLogger(__name__)


class FileThread(Generic[T]):
    """Hands items to a thread that stores them, in order.

    Parameters
    ----------
    name : str
        Of the thread.
    store : callable
        Stores one item; runs in the thread. What it refuses (OSError, TypeError, ValueError) is counted.
    done : callable
        Runs in the thread after the last item, whatever happened; what it refuses is counted as ``close``.
    capacity : int
        Items that may wait for the disk.
    waits : bool
        A full queue makes ``put`` wait (a replay, in which nothing is in a hurry) instead of dropping the item.
    """

    def __init__(
        self, name: str, store: Callable[[T], None], done: Callable[[], None], capacity: int, *, waits: bool = False
    ) -> None:
        self._store = store
        self._done = done
        self._waits = waits
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._queue: Queue[tuple[str, T] | None] = Queue(capacity)
        self._closed = False
        self._thread = Thread(target=self._write, name=name, daemon=True)
        self._thread.start()

    def put(self, kind: str, item: T) -> None:
        """Queue one item; ``kind`` is what it is counted as when it is lost."""
        if self._closed or not self._queued((kind, item)):
            self._dropped[kind] += 1

    def _queued(self, entry: tuple[str, T]) -> bool:
        while self._thread.is_alive():
            try:
                self._queue.put(entry, self._waits, _ALIVE_S)
            except Full:
                if not self._waits:
                    return False
            else:
                return True
        return False

    def losses(self) -> Mapping[str, int]:
        """Items that are not on disk, by kind."""
        # each counter has one writing thread; a copy is one step for the interpreter
        return dict(self._dropped.copy() + self._refused.copy())

    def finish(self) -> None:
        """Store what is queued and end the thread. May be called twice."""
        if self._closed:
            return
        self._closed = True
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_ALIVE_S)
                break
            except Full:
                continue
        self._thread.join()

    def _write(self) -> None:
        try:
            while (entry := self._queue.get()) is not None:
                kind, item = entry
                try:
                    self._store(item)
                except (OSError, TypeError, ValueError) as error:
                    self._refuse(kind, error)
        finally:
            try:
                self._done()
            except (OSError, TypeError, ValueError) as error:
                self._refuse("close", error)

    def _refuse(self, kind: str, error: Exception) -> None:
        if not self._refused:
            _log.error("%s: data is lost: %s", self._thread.name, error)
        self._refused[kind] += 1
