"""Work beside the window: what takes longer than a frame, in a thread of its own, the latest wish first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Works out one thing at a time; of the wishes that came meanwhile, only the last is fulfilled.

    Parameters
    ----------
    name : str
        Of the threads; each ends with its work.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.result: T | None = None
        """Of the wish that was fulfilled last; None where it failed."""
        self.of: Hashable = None
        """Which wish that was."""
        self.error = ""
        """Why the last one failed; empty when it did not."""
        self._wish: tuple[Hashable, Callable[[], T]] | None = None
        self._asked: Hashable = None
        self._busy = False
        self._lock = Lock()

    @property
    def busy(self) -> bool:
        """Whether a wish is being fulfilled."""
        with self._lock:
            return self._busy

    def ask(self, key: Hashable, work: Callable[[], T]) -> None:
        """Wish for ``work``, which belongs to ``key``; a key that was asked for last is not asked for again."""
        with self._lock:
            if key == self._asked:
                return
            self._asked = key
            self._wish = (key, work)
            if self._busy:
                return
            self._busy = True
        # a daemon: nobody waits for a picture when the window has closed
        Thread(target=self._run, name=self.name, daemon=True).start()

    def forget(self) -> None:
        """Let the same key be asked for again."""
        with self._lock:
            self._asked = None

    def _run(self) -> None:
        while True:
            with self._lock:
                wish, self._wish = self._wish, None
                if wish is None:
                    self._busy = False
                    return
            key, work = wish
            result, error = None, ""
            try:
                result = work()
            except (ArithmeticError, ImportError, LookupError, MemoryError, OSError, TypeError, ValueError) as failed:
                error = f"{type(failed).__name__}: {failed}"
            with self._lock:
                self.result, self.of, self.error = result, key, error
