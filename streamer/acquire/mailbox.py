"""What a source has read and the loop has not fetched yet."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque

from streamer.messages import Event


class Mailbox:
    """Items from threads or tasks to one coroutine.

    What is not fetched in time is dropped from the old end, by whole chunks, and counted.

    Parameters
    ----------
    capacity : int
        Samples that may wait; events without samples do not count.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.lost_samples = 0
        """Samples dropped because the loop did not fetch them."""
        self._items: deque[tuple[Event | BaseException | None, int]] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()

    def put(self, item: Event | BaseException | None, n_samples: int = 0) -> None:
        """Add an item, from any thread; None ends the reading."""
        with self._lock:
            self._items.append((item, n_samples))
            self._held += n_samples
            while self._held > self.capacity:
                oldest = next(i for i, (_, n) in enumerate(self._items) if n)
                self._held -= self._items[oldest][1]
                self.lost_samples += self._items[oldest][1]
                del self._items[oldest]
        # the loop may be closed already when a thread ends
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._filled.set)

    async def get(self) -> Event | None:
        """Wait for the next item; an error that a thread met is raised here."""
        while True:
            with self._lock:
                if self._items:
                    item, n_samples = self._items.popleft()
                    self._held -= n_samples
                    break
                self._filled.clear()
            await self._filled.wait()
        if isinstance(item, BaseException):
            raise item
        return item
